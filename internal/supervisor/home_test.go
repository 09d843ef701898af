package supervisor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// home is a platform of one attempt, in memory: it keeps objects by digest, the
// log in order, and one result.
type home struct {
	job     Job
	secrets map[string]string

	mu      sync.Mutex
	objects map[string][]byte
	log     bytes.Buffer
	sum     hash.Hash // if set, the log is not kept, only summed
	size    int64
	parts   []LogPart
	arrived time.Time // of the first part
	wake    chan struct{}
	order   Order
	beats   []Beat
	result  *Result
	refuse  func(call string) error // before anything else, if set
	sent    []Object                // uploads
	missing bool                    // the store knows that objects are not there
	saved   []CacheSave
	faults  []CacheFault
}

func (h *home) check(ctx context.Context, call string) error {
	if h.refuse != nil {
		if err := h.refuse(call); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (h *home) Hello(ctx context.Context, _ Hello) (Job, error) { return h.job, h.check(ctx, "hello") }

func (h *home) Secrets(ctx context.Context) (map[string]string, error) {
	return h.secrets, h.check(ctx, "secrets")
}

func (h *home) Log(ctx context.Context, part LogPart) error {
	if err := h.check(ctx, "log"); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if part.Segment < len(h.parts) {
		return nil // it came before
	}
	if part.Segment != len(h.parts) || part.Offset != h.size {
		return fmt.Errorf("segment %d at %d, want %d at %d", part.Segment, part.Offset, len(h.parts), h.size)
	}
	if err := part.Check(); err != nil {
		return err
	}
	if h.arrived.IsZero() {
		h.arrived = time.Now()
	}
	h.size += int64(len(part.Text))
	if h.sum != nil {
		h.sum.Write(part.Text)
	} else {
		h.log.Write(part.Text)
	}
	part.Text = nil
	h.parts = append(h.parts, part)
	if h.wake != nil {
		close(h.wake)
		h.wake = nil
	}
	return nil
}

func (h *home) Beat(ctx context.Context, beat Beat) (Order, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beats = append(h.beats, beat)
	return h.order, h.check(ctx, "beat")
}

func (h *home) Lacks(ctx context.Context, objects []Object) (lacks []Object, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, object := range objects {
		if h.objects[object.SHA256] == nil {
			lacks = append(lacks, object)
		}
	}
	return lacks, h.check(ctx, "lacks")
}

func (h *home) Upload(ctx context.Context, object Object, body io.ReadSeeker) error {
	if err := h.check(ctx, "upload"); err != nil {
		return err
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != object.SHA256 || int64(len(text)) != object.Size {
		return errors.New("the body is not what was announced")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.put(text)
	h.sent = append(h.sent, object)
	return nil
}

// put keeps an object and names it.
func (h *home) put(text []byte) Object {
	sum := sha256.Sum256(text)
	object := Object{SHA256: hex.EncodeToString(sum[:]), Size: int64(len(text))}
	if h.objects == nil {
		h.objects = map[string][]byte{}
	}
	h.objects[object.SHA256] = text
	return object
}

func (h *home) Wants(context.Context, []Object) error { return nil }

func (h *home) Download(ctx context.Context, object Object) (io.ReadCloser, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.check(ctx, "download"); err != nil {
		return nil, err
	}
	text, ok := h.objects[object.SHA256]
	if !ok && h.missing {
		return nil, fmt.Errorf("object %s: %w", object.SHA256, platform.ErrNotFound)
	}
	if !ok {
		return nil, fmt.Errorf("no object %s", object.SHA256)
	}
	return io.NopCloser(bytes.NewReader(text)), nil
}

func (h *home) Finish(ctx context.Context, result Result) error {
	if err := h.check(ctx, "finish"); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.result = &result
	return nil
}

// ended is the result that was reported, the zero Result for none.
func (h *home) ended() Result {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.result == nil {
		return Result{}
	}
	return *h.result
}

// text is the log so far.
func (h *home) text() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.String()
}

// awaitText waits until the log holds want.
func (h *home) awaitText(t *testing.T, want string) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		h.mu.Lock()
		if strings.Contains(h.log.String(), want) {
			h.mu.Unlock()
			return
		}
		if h.wake == nil {
			h.wake = make(chan struct{})
		}
		wake := h.wake
		h.mu.Unlock()
		select {
		case <-wake:
		case <-limit:
			t.Errorf("%q did not come; the log is %q", want, h.text())
			return
		}
	}
}

// jobOf is a job of these scripts in a workspace of the test's own.
func jobOf(t *testing.T, scripts ...string) Job {
	job := Job{
		V: 1, Stage: "test", Class: "process", Workspace: t.TempDir(), Shell: []string{"sh", "-e", "-c"},
		Env: map[string]string{}, Timeout: time.Minute, Grace: 2 * time.Second, Live: 20 * time.Millisecond,
	}
	for _, script := range scripts {
		job.Commands = append(job.Commands, Command{Script: script})
	}
	return job
}

// options are those of a test: the PATH and a folder of its own.
func options(t *testing.T) Options {
	return Options{Dir: filepath.Join(t.TempDir(), "attempt"), Env: []string{"PATH=" + os.Getenv("PATH")}}
}

// run runs the job to its end.
func (h *home) run(t *testing.T) Result {
	t.Helper()
	result, err := Run(t.Context(), h, options(t))
	if err != nil {
		t.Fatalf("Run: %v", err)
	}
	if h.ended().Reason != result.Reason {
		t.Fatalf("reported %+v, returned %+v", h.ended(), result)
	}
	return result
}

// want fails the test unless the result has this reason.
func want(t *testing.T, h *home, result Result, reason string) {
	t.Helper()
	if result.Reason != reason {
		text := h.text()
		t.Fatalf("reason %s (%s), want %s; log ends %q", result.Reason, result.Detail, reason, text[max(0, len(text)-500):])
	}
}

// writeJSON answers a call.
func writeJSON(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		panic(http.ErrAbortHandler) // the other side hung up
	}
}
