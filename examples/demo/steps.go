package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// startPlatform starts bin/buildit up in a session of its own, unless a platform
// of an earlier demonstration still answers.
func (d *demo) startPlatform(ctx context.Context) error {
	if !answers(platformURL + "/healthz") {
		if err := d.background("platform", d.cli, "up"); err != nil {
			return err
		}
	}
	if err := await(ctx, func() bool { return answers(platformURL + "/healthz") }); err != nil {
		return fmt.Errorf("the platform did not start; its log is %s: %w", d.file("platform.log"), err)
	}
	fmt.Println("up at", platformURL)
	return nil
}

// startGit makes the bare repository with the shop in it, and serves it.
func (d *demo) startGit(ctx context.Context) error {
	if _, err := os.Stat(d.bare); err != nil {
		if err := d.makeRepositories(ctx); err != nil {
			return err
		}
	}
	if !d.gitUp() {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		if err := d.background("git-server", self, "git-server", filepath.Dir(d.bare)); err != nil {
			return err
		}
	}
	if err := await(ctx, d.gitUp); err != nil {
		return fmt.Errorf("no git server at %s; its log is %s: %w", gitAddress, d.file("git-server.log"), err)
	}
	return d.sh(ctx, d.clone, "git", "push", "--quiet", "origin", "main")
}

// makeRepositories makes the bare repository, with a hook that tells the platform
// of a push as any git server could, and a clone with the shop's first commit.
func (d *demo) makeRepositories(ctx context.Context) error {
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--bare", "--initial-branch=main", d.bare},
		{"init", "--quiet", "--initial-branch=main", d.clone},
	} {
		if err := d.sh(ctx, d.dir, "git", args...); err != nil {
			return err
		}
	}
	hook := fmt.Sprintf("#!/bin/sh\n# Tells the platform to look now; without it the reconciler would, within half a minute.\n"+
		"cd %s && exec %s repo sync shop >/dev/null 2>&1\n", quote(d.root), quote(d.cli))
	if err := os.WriteFile(filepath.Join(d.bare, "hooks", "post-receive"), []byte(hook), 0o755); err != nil {
		return err
	}
	if err := os.CopyFS(d.clone, os.DirFS(filepath.Join(d.root, "examples", "shop"))); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"config", "user.name", "Demo"},
		{"config", "user.email", "demo@example.com"},
		{"remote", "add", "origin", "http://" + gitAddress + "/shop.git"},
		{"add", "--all"},
		{"commit", "--quiet", "--message", "The corner shop opens"},
	} {
		if err := d.sh(ctx, d.clone, "git", args...); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) connect(ctx context.Context) error {
	if d.quietly(ctx, "repo", "show", "shop") == nil {
		fmt.Println("shop is connected already")
		return nil
	}
	return d.buildit(ctx, "repo", "connect", "http://"+gitAddress+"/shop.git", "--name", "shop")
}

// push changes the catalogue, so that there is something new to build.
func (d *demo) push(ctx context.Context) error {
	catalogue := filepath.Join(d.clone, "src", "catalog.csv")
	line := fmt.Sprintf("tea of %s,4.20,%d\n", d.start.Format("15:04:05"), d.start.Second()+1)
	f, err := os.OpenFile(catalogue, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(line); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := d.sh(ctx, d.clone, "git", "commit", "--quiet", "--all", "--message", "Sell "+strings.TrimSpace(line)); err != nil {
		return err
	}
	return d.sh(ctx, d.clone, "git", "push", "--quiet", "origin", "main")
}

// follow prints the log of every stage, live, and fails if the run does.
func (d *demo) follow(ctx context.Context) error {
	commit, err := d.head(ctx)
	if err != nil {
		return err
	}
	return d.buildit(ctx, "logs", "-f", "--commit", commit)
}

func (d *demo) results(ctx context.Context) error {
	commit, err := d.head(ctx)
	if err != nil {
		return err
	}
	if err := d.buildit(ctx, "runs"); err != nil {
		return err
	}
	return d.buildit(ctx, "artifacts", "--commit", commit)
}

func (d *demo) farewell() {
	fmt.Printf("\nDone in %s. The platform stays up at %s; what to try next:\n\n", time.Since(d.start).Round(time.Millisecond), platformURL)
	for _, line := range []string{
		"bin/buildit runs",
		"cd .buildit/demo/shop && git commit --allow-empty -m again && git push origin main",
		"bin/buildit run --help          # a pipeline without a server",
		"kill $(cat .buildit/demo/*.pid) # stop platform and git server",
	} {
		fmt.Println("  " + line)
	}
}

func (d *demo) head(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "-C", d.clone, "rev-parse", "HEAD").Output()
	return strings.TrimSpace(string(out)), err
}

// buildit runs the command line as a person would, in the checkout's folder.
func (d *demo) buildit(ctx context.Context, args ...string) error {
	return d.sh(ctx, d.root, d.cli, args...)
}

func (d *demo) quietly(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, d.cli, args...)
	cmd.Dir = d.root
	return cmd.Run()
}

// sh prints a command and runs it.
func (d *demo) sh(ctx context.Context, dir, name string, args ...string) error {
	shown := name
	if name == d.cli {
		shown = "bin/buildit"
	}
	fmt.Printf("\033[2m$ %s %s\033[0m\n", shown, strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, os.Stdout, os.Stderr
	return cmd.Run()
}

// background starts a process that outlives this one; its log and pid are files
// of the demonstration.
func (d *demo) background(name, program string, args ...string) error {
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	log, err := os.Create(d.file(name + ".log"))
	if err != nil {
		return err
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.root, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	pid := fmt.Appendf(nil, "%d\n", cmd.Process.Pid)
	return errors.Join(os.WriteFile(d.file(name+".pid"), pid, 0o644), log.Close(), cmd.Process.Release())
}

func (d *demo) file(name string) string { return filepath.Join(d.dir, name) }

func (d *demo) gitUp() bool {
	conn, err := net.DialTimeout("tcp", gitAddress, time.Second)
	return err == nil && conn.Close() == nil
}

func answers(url string) bool {
	client := http.Client{Timeout: time.Second}
	res, err := client.Get(url)
	if err != nil {
		return false
	}
	var body bytes.Buffer
	_, readErr := body.ReadFrom(res.Body)
	return errors.Join(readErr, res.Body.Close()) == nil && res.StatusCode == http.StatusOK
}

// await waits until ok holds, at most 30 seconds.
func await(ctx context.Context, ok func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
