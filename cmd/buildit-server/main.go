// Command buildit-server is everything of BuildIt on one machine, in one process;
// `buildit up` starts it. It opens the home, serves, and closes.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	_ "time/tzdata" // schedules name zones that this machine may not know

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/wiring/server"
	"github.com/buildit-dev/buildit/statemachines"
)

// version is set by the linker (-X main.version=…), and commit too.
var version, commit = "development", "unknown"

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the program: 0 when it was asked to end, 1 with one sentence otherwise.
func run(args []string, stdout, stderr io.Writer) int {
	o, err := parse(args)
	switch {
	case errors.Is(err, errHelp):
		fmt.Fprint(stdout, usage)
		return 0
	case err == nil && o.version:
		fmt.Fprintf(stdout, "buildit-server %s (commit %s)\n", version, commit)
		return 0
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop) // a second signal ends the process at once
		err = up(ctx, o, stdout, stderr)
		stop()
	}
	if err != nil {
		fmt.Fprintln(stderr, "buildit-server:", err)
		return 1
	}
	return 0
}

// up opens the home, serves until ctx ends, and closes.
func up(ctx context.Context, o options, stdout, stderr io.Writer) error {
	log := newLog(o, stderr)
	listener, err := listen(o.listen)
	if err != nil {
		return err
	}
	home, err := local.Open(ctx, o.data, local.Options{
		URL: link(listener.Addr()), Machines: statemachines.All(), Log: log, Tasks: tasks(),
	})
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	platform, err := server.New(ctx, home.Home, server.Options{
		Version: version, Data: o.data, TempDir: home.TempDir(), Origins: o.origins(), Blobs: home.BlobHandler(), Log: log,
		AllowUntrusted: o.allowUntrusted, Quota: pipeline.Quota{Runs: o.runs, Stages: o.stages},
		Local: o.allowLocal || isLoopback(listener.Addr()),
	})
	if err != nil {
		return errors.Join(err, listener.Close(), home.Close())
	}
	home.SetFunctions(platform.Functions)
	home.OnTaskEnded(platform.TaskEnded)
	if err := greet(stdout, o, listener.Addr()); err != nil {
		return errors.Join(err, listener.Close(), home.Close())
	}
	work := func(ctx context.Context) error { return both(ctx, home.Run, platform.Run) }
	return errors.Join(serve(ctx, listener, platform.Handler, work, log), home.Close())
}

// both runs two things; when one ends, so does the other.
func both(ctx context.Context, one, other func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		defer cancel()
		ended <- other(ctx)
	}()
	err := one(ctx)
	cancel()
	return errors.Join(err, <-ended)
}

// newLog is one line an event, to stderr, without tokens.
func newLog(o options, stderr io.Writer) *slog.Logger {
	level := slog.LevelInfo
	if o.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: access.Redact}))
}

// runnerName is the supervisor, the first process of every task.
const runnerName = "buildit-runner"

// minWarm is how many idle supervisors wait at least; each takes about 8 MB.
const minWarm = 4

// tasks finds the supervisor beside this program. Commands begin with what a login
// shell has, and not with this process's environment, which may hold secrets.
func tasks() local.TaskOptions {
	t := local.TaskOptions{Warm: max(minWarm, 2*runtime.NumCPU())}
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		return t
	}
	if beside := filepath.Join(filepath.Dir(self), runnerName); isFile(beside) {
		t.Runner = beside
	}
	for _, name := range []string{"PATH", "HOME", "USER", "LANG", "TZ", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			t.Env = append(t.Env, name+"="+value)
		}
	}
	return t
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// greet says what runs, where, and what it does not protect.
func greet(stdout io.Writer, o options, address net.Addr) error {
	classes := "process (does not isolate: stages have your rights on this machine)"
	if tasks().Runner == "" {
		classes = "none: there is no " + runnerName + " beside this program; `make build` builds it"
	}
	_, err := fmt.Fprintf(stdout, "BuildIt %s\n  listening       %s\n  data            %s\n  owner's token   %s\n  runner classes  %s\n",
		version, link(address), o.data, filepath.Join(o.data, access.TokenFile), classes)
	if err == nil && !isLoopback(address) {
		_, err = fmt.Fprintln(stdout, "  warning         other machines reach this address, and tokens travel to it unencrypted: put a proxy with TLS before it")
	}
	return err
}
