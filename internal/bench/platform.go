package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

// platform is a buildit-server of our own on an empty data folder, with a git
// server beside it.
type platform struct {
	url, token string
	dir        string
	git        *httptest.Server
	process    *exec.Cmd
	root       string
}

// startPlatform starts both; stop ends them.
func startPlatform(ctx context.Context, b *bench, name string) (*platform, error) {
	p := &platform{dir: filepath.Join(b.dir, name), root: b.root}
	if err := os.MkdirAll(filepath.Join(p.dir, "git"), 0o755); err != nil {
		return nil, err
	}
	handler, err := gittest.Handler(filepath.Join(p.dir, "git"), gittest.Options{})
	if err != nil {
		return nil, err
	}
	p.git = httptest.NewServer(handler)
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	p.url = "http://" + address
	return p, p.serve(ctx, address)
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// serve starts the server's process, and waits until it answers.
func (p *platform) serve(ctx context.Context, address string) error {
	log, err := os.OpenFile(filepath.Join(p.dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	data := filepath.Join(p.dir, "data")
	p.process = exec.Command(filepath.Join(p.root, "bin", "buildit-server"), "--listen", address, "--data", data)
	p.process.Stdout, p.process.Stderr = log, log
	if err := p.process.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := p.call(ctx, http.MethodGet, "/healthz", nil, nil)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the server does not answer: %w (its log is %s)", err, log.Name())
		}
		time.Sleep(20 * time.Millisecond)
	}
	token, err := os.ReadFile(filepath.Join(data, "token"))
	p.token = strings.TrimSpace(string(token))
	return errors.Join(err, log.Close())
}

// restart kills the server's process, as a crash does, and starts it again.
func (p *platform) restart(ctx context.Context) error {
	if err := p.process.Process.Kill(); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := p.process.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return p.serve(ctx, strings.TrimPrefix(p.url, "http://"))
}

func (p *platform) stop() error {
	p.git.Close()
	if err := p.process.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	var exit *exec.ExitError
	if err := p.process.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// call makes one API call below the organization, or of an absolute path.
func (p *platform) call(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	if path != "/healthz" {
		path = "/api/v1/orgs/default" + path
	}
	req, err := http.NewRequestWithContext(ctx, method, p.url+path, body)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	if res.StatusCode == http.StatusTooManyRequests {
		if err := comeLater(ctx); err != nil {
			return err
		}
		return p.call(ctx, method, strings.TrimPrefix(path, "/api/v1/orgs/default"), in, out)
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, answer)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// repository makes a repository with one pipeline, serves it and connects it.
func (p *platform) repository(ctx context.Context, name string, stages []stage) error {
	work := filepath.Join(p.dir, "work", name)
	if err := workload(ctx, work, stages, peers(p.root)[:1]); err != nil {
		return err
	}
	bare := filepath.Join(p.dir, "git", name+".git")
	if err := command(ctx, p.dir, "git", "clone", "--quiet", "--bare", work, bare); err != nil {
		return err
	}
	return p.call(ctx, http.MethodPost, "/repositories", map[string]any{
		"name": name, "url": p.git.URL + "/" + name + ".git", "run_pipelines": true,
	}, nil)
}

// runOf is what figures read of a run.
type runOf struct {
	ID        string    `json:"id"`
	Status    string    `json:"status"`
	Reason    string    `json:"reason"`
	CreatedAt time.Time `json:"created_at"`
	StartedAt time.Time `json:"started_at"`
	EndedAt   time.Time `json:"ended_at"`
	Stages    []struct {
		Key       string    `json:"key"`
		Name      string    `json:"name"`
		StartedAt time.Time `json:"started_at"`
	} `json:"stages"`
}

func (p *platform) start(ctx context.Context, repository string) (string, error) {
	var run runOf
	err := p.call(ctx, http.MethodPost, "/runs", map[string]any{"repository": repository}, &run)
	return run.ID, err
}

func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}
