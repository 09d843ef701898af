package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/buildit-dev/buildit/internal/platform/system"
)

// Start is what a task driver hands to a supervisor through a descriptor that is
// read once and closed. It holds the ticket, and so it stands in no argument, no
// environment and no file.
type Start struct {
	URL    string `json:"url"` // of the platform
	Ticket string `json:"ticket"`
	Class  string `json:"class"`
	Dir    string `json:"dir"`  // the attempt's own folder
	Exit   string `json:"exit"` // the file to record the exit in, "" for none
}

// Exit is how a supervisor ended, recorded by itself, so that it can be learned by
// a server that was not there.
type Exit struct {
	Code int       `json:"code"`
	At   time.Time `json:"at"`
}

// Exit codes of a supervisor's process.
const (
	ExitOK         = 0 // the stage succeeded, or there was nothing to do
	ExitStage      = 1 // the stage ended otherwise, and the platform knows
	ExitUnreported = 3 // the platform does not know
)

// maxStart is the longest Start, in bytes.
const maxStart = 64 << 10

// Supervise is the life of a supervisor's process: it waits for its Start, which
// may be long in coming, does one attempt, and answers the exit code. A start that
// ends empty means that nothing is wanted of it. ctx ends with SIGTERM; env is the
// environment of the base image.
func Supervise(ctx context.Context, start io.ReadCloser, version string, env []string, log *slog.Logger) int {
	release := context.AfterFunc(ctx, func() {
		if err := start.Close(); err != nil {
			log.Debug("start not closed", "err", err)
		}
	})
	text, err := io.ReadAll(io.LimitReader(start, maxStart))
	if release() {
		err = errors.Join(err, start.Close())
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return ExitOK
	}
	var in Start
	if err = errors.Join(err, json.Unmarshal(text, &in)); err != nil {
		log.Error("no start", "err", err)
		return ExitUnreported
	}
	code := superviseOne(ctx, in, version, env, log)
	if err := recordExit(in.Exit, Exit{code, time.Now().UTC()}); err != nil {
		log.Error("exit not recorded", "err", err)
	}
	return code
}

func superviseOne(ctx context.Context, in Start, version string, env []string, log *slog.Logger) int {
	alone := true
	if err := Adopt(); err != nil {
		log.Warn("orphans of the commands will not be found", "err", err)
		alone = false
	}
	client := NewClient(in.URL, in.Ticket)
	result, err := Run(ctx, client, Options{
		Hello: Hello{
			Version: version, Protocol: Protocol, Class: in.Class,
			CPUs: runtime.NumCPU(), MemoryMB: TotalMemoryMB(), BootID: system.IDs{}.New(),
		},
		Dir: in.Dir, Env: env, Alone: alone, Log: log,
		Masked: func() []string { return []string{in.Ticket, client.Token()} },
	})
	switch {
	case err != nil:
		log.Error("result not reported", "reason", result.Reason, "err", err)
		return ExitUnreported
	case result.Reason != ReasonOK:
		return ExitStage
	}
	return ExitOK
}

// recordExit writes the record whole or not at all.
func recordExit(path string, exit Exit) error {
	if path == "" {
		return nil
	}
	text, err := json.Marshal(exit)
	if err != nil {
		return err
	}
	temporary := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
