package supervisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
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
	Dir    string `json:"dir"`  // the supervisor's own folder
	Exit   string `json:"exit"` // the file to record the exit in, "" for none
	// More says that further starts may come through the descriptor, all of one
	// organization, repository and trust. Dir then is the same in all of them.
	More bool `json:"more,omitempty"`
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

// maxSeries is how many attempts a supervisor serves at most. (pipelines.md 5.1)
const maxSeries = 50

// Supervise is the life of a supervisor's process: it waits for its Start, which
// may be long in coming, does one attempt, and answers the exit code. Where the
// start says that there may be more, it records the exit, writes a byte to ended,
// and waits for the next start, until none comes, the 50th is done, an attempt could
// not be reported or ended cleanly, or nobody reads ended any more: whoever started
// it is gone. A start that ends empty means that nothing is wanted of it. ctx ends
// with SIGTERM; env is the environment of the base image.
func Supervise(ctx context.Context, start io.ReadCloser, ended io.Writer, version string, env []string, log *slog.Logger) (code int) {
	release := context.AfterFunc(ctx, func() {
		if err := start.Close(); err != nil {
			log.Debug("start not closed", "err", err)
		}
	})
	s := &series{version: version, env: env, log: log, transport: newTransport()}
	defer func() {
		err := s.close()
		if release() {
			err = errors.Join(err, start.Close())
		}
		if err != nil {
			log.Warn("supervisor not ended cleanly", "err", err)
		}
	}()
	for n := 1; ; n++ {
		in, err := readStart(start)
		switch {
		case err != nil && ctx.Err() == nil:
			log.Error("no start", "err", err)
			return ExitUnreported
		case err != nil, in.URL == "":
			return code
		}
		var clean bool
		code, clean = s.attempt(ctx, in)
		if err := recordExit(in.Exit, Exit{code, time.Now().UTC()}); err != nil {
			log.Error("exit not recorded", "err", err)
			return code
		}
		if !clean || !in.More || n == maxSeries || ctx.Err() != nil {
			return code
		}
		if _, err := ended.Write([]byte{'\n'}); err != nil {
			return code // the server is gone, and no start will come
		}
	}
}

// readStart reads one start, or a zero one if the descriptor ends. The next comes
// only when this one's attempt is over, so that nothing is read ahead, and no ticket
// outlives its attempt in a buffer.
func readStart(start io.Reader) (in Start, err error) {
	err = json.NewDecoder(io.LimitReader(start, maxStart)).Decode(&in)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return in, err
}

// series is what the attempts of one supervisor share: the connections to the
// platform and the folders, and nothing that an attempt knew.
type series struct {
	version   string
	env       []string
	log       *slog.Logger
	transport *http.Transport
	adopts    bool     // orphans of the commands come to us
	scratch   *Scratch // nil for an attempt on its own
}

// attempt does one. clean tells whether nothing of it is left that the next could meet.
func (s *series) attempt(ctx context.Context, in Start) (code int, clean bool) {
	if !s.adopts {
		if err := Adopt(); err != nil {
			s.log.Warn("orphans of the commands will not be found", "err", err)
		} else {
			s.adopts = true
		}
	}
	if in.More && s.scratch == nil {
		s.scratch = NewScratch(in.Dir)
		s.scratch.keep = true
	}
	client := NewClient(in.URL, in.Ticket)
	client.http.Transport = s.transport
	result, err := Run(ctx, client, Options{
		Hello: Hello{
			Version: s.version, Protocol: Protocol, Class: in.Class,
			CPUs: runtime.NumCPU(), MemoryMB: TotalMemoryMB(), BootID: system.IDs{}.New(),
		},
		Dir: in.Dir, Scratch: s.scratch, Env: s.env, Alone: s.adopts, Log: s.log,
		Masked: func() []string { return []string{in.Ticket, client.Token()} },
	})
	switch {
	case err != nil:
		s.log.Error("result not reported", "reason", result.Reason, "err", err)
		return ExitUnreported, false
	case result.Reason == ReasonOK:
		code = ExitOK
	default:
		code = ExitStage
	}
	if err := EndAdopted(); err != nil {
		s.log.Warn("processes of an attempt are left", "err", err)
		return code, false
	}
	return code, s.adopts && result.Reason != ReasonCrash
}

// close removes the folders.
func (s *series) close() error {
	s.transport.CloseIdleConnections()
	if s.scratch == nil {
		return nil
	}
	return s.scratch.Close()
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
