package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/golden"
)

// built is the server's program with the supervisor beside it, and a server of it.
type built struct {
	t       *testing.T
	dir     string
	url     string
	token   string
	process *exec.Cmd
}

func newBuilt(t *testing.T) *built {
	t.Helper()
	b := &built{t: t, dir: t.TempDir()}
	for name, source := range map[string]string{"buildit-server": "./cmd/buildit-server", "buildit-runner": "./runner-image"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(b.dir, name), source)
		build.Dir = golden.Root(t)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	free := loopback(t)
	b.url = link(free.Addr())
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	b.serve(strings.TrimPrefix(b.url, "http://"))
	token, err := os.ReadFile(filepath.Join(b.dir, "data", "token"))
	if err != nil {
		t.Fatal(err)
	}
	b.token = strings.TrimSpace(string(token))
	return b
}

func (b *built) serve(address string) {
	b.t.Helper()
	b.process = exec.Command(filepath.Join(b.dir, "buildit-server"), "--listen", address, "--data", filepath.Join(b.dir, "data"))
	var said bytes.Buffer
	b.process.Stdout, b.process.Stderr = &said, &said
	if err := b.process.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := b.process.Process.Signal(syscall.SIGTERM); err != nil {
			b.t.Error(err)
		}
		if err := b.process.Wait(); err != nil || b.t.Failed() {
			b.t.Logf("the server ended: %v\n%s", err, said.String())
		}
	})
	if err := awaitHealth(b.url + "/healthz"); err != nil {
		b.t.Fatal(err)
	}
}

// call makes a call below the organization; the body of its answer is the caller's.
func (b *built) call(method, path string, in any) io.ReadCloser {
	b.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		b.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(b.t.Context(), method, b.url+"/api/v1/orgs/default"+path, bytes.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+b.token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		b.t.Fatal(err)
	}
	if answer.StatusCode >= 300 {
		text, err := io.ReadAll(answer.Body)
		b.t.Fatalf("%s %s: %s %s (%v)", method, path, answer.Status, text, err)
	}
	return answer.Body
}

func ask[T any](b *built, method, path string, in any) (out T) {
	b.t.Helper()
	body := b.call(method, path, in)
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&out); err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return out
}

type runAnswer struct {
	ID     string    `json:"id"`
	Status string    `json:"status"`
	Ended  time.Time `json:"ended_at"`
	Stages []struct {
		Key string `json:"key"`
	} `json:"stages"`
}

// repository connects a git repository whose pipeline has one stage.
func (b *built) repository(script string) {
	b.t.Helper()
	work := filepath.Join(b.dir, "work")
	file := fmt.Sprintf("pipeline \"p\"\nstage \"print\" {\n    run %q name=\"print\"\n}\n", script)
	if err := os.MkdirAll(work, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work, ".buildit.kdl"), []byte(file), 0o644); err != nil {
		b.t.Fatal(err)
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main"},
		{"add", "."},
		{"-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "-m", "print"},
	} {
		git := exec.CommandContext(b.t.Context(), "git", args...)
		git.Dir = work
		if out, err := git.CombinedOutput(); err != nil {
			b.t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	ask[map[string]any](b, http.MethodPost, "/repositories", map[string]any{"name": "p", "url": "file://" + work, "run_pipelines": true})
}

// peak is the most memory that a process had in RAM, in MB; 0 if it is gone.
func peak(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if text, is := strings.CutPrefix(line, "VmHWM:"); is {
			kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(text), " kB"))
			if err == nil {
				return kb >> 10
			}
		}
	}
	return 0
}

// noise writes lines of all lengths and bytes to a file, and answers their digest.
func noise(t *testing.T, path string, size int) (lines int, sum []byte) {
	t.Helper()
	random := rand.NewChaCha8([32]byte{1})
	block := make([]byte, 1<<20)
	digest := sha256.New()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	out := io.MultiWriter(file, digest)
	for written := 0; written < size; written += len(block) {
		if _, err := random.Read(block); err != nil {
			t.Fatal(err)
		}
		block[len(block)-1] = '\n'
		lines += bytes.Count(block, []byte{'\n'})
		if _, err := out.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	return lines, digest.Sum(nil)
}

// OneGigabyteByteExact, 64 MB by default (BUILDIT_LOG_MB=1024 for all of it): a real
// supervisor's log comes back byte for byte, live and from its middle, and the server
// never holds more than a little of it. Its bytes are any bytes.
func TestOneGigabyteByteExact(t *testing.T) {
	t.Parallel()
	size := 64
	if text := os.Getenv("BUILDIT_LOG_MB"); text != "" {
		var err error
		if size, err = strconv.Atoi(text); err != nil {
			t.Fatalf("BUILDIT_LOG_MB: %v", err)
		}
	}
	b := newBuilt(t)
	path := filepath.Join(b.dir, "noise")
	lines, want := noise(t, path, size<<20)
	b.repository("cat " + path)
	run := ask[runAnswer](b, http.MethodPost, "/runs", map[string]any{"repository": "p"})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); run.Ended.IsZero(); <-tick.C {
		if time.Since(began) > time.Minute+time.Duration(size)*time.Second {
			t.Fatal("the run does not end")
		}
		run = ask[runAnswer](b, http.MethodGet, "/runs/"+run.ID, nil)
	}
	if run.Status != "succeeded" {
		t.Fatalf("the run is %s", run.Status)
	}
	log := "/runs/" + run.ID + "/stages/" + run.Stages[0].Key + "/log"
	index := ask[struct {
		Groups []struct{ First, Last int }
	}](b, http.MethodGet, log+"?format=index", nil)
	if len(index.Groups) != 1 || index.Groups[0].Last-index.Groups[0].First+1 != lines {
		t.Fatalf("commands %+v, %d lines were printed", index.Groups, lines)
	}
	first := index.Groups[0].First
	got := sha256.New()
	read(t, got, b.call(http.MethodGet, fmt.Sprintf("%s?line=%d&lines=%d", log, first, lines), nil))
	if !bytes.Equal(got.Sum(nil), want) {
		t.Error("other bytes came back")
	}
	checkMiddle(b, log, path, first, lines/2)
	if most := peak(b.process.Process.Pid); most > 200 {
		t.Errorf("the server had %d MB in memory", most)
	}
}

func read(t *testing.T, into hash.Hash, body io.ReadCloser) {
	t.Helper()
	if _, err := io.Copy(into, body); err != nil {
		t.Error(err)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
}

// checkMiddle opens the log at a line of the file.
func checkMiddle(b *built, log, path string, first, at int) {
	b.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	for range at {
		text = text[bytes.IndexByte(text, '\n')+1:]
	}
	body := b.call(http.MethodGet, fmt.Sprintf("%s?line=%d&lines=1", log, first+at), nil)
	got, err := io.ReadAll(body)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := body.Close(); err != nil {
		b.t.Fatal(err)
	}
	if want := text[:bytes.IndexByte(text, '\n')+1]; !bytes.Equal(got, want) {
		b.t.Errorf("line %d of the file: %d bytes, want %d", at, len(got), len(want))
	}
}
