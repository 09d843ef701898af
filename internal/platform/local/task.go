package local

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/system"
	"github.com/buildit-dev/buildit/internal/supervisor"
	"github.com/buildit-dev/buildit/internal/supervisor/proctable"
)

// classProcess is the class that this driver has: a child process in its own
// session. It isolates nothing: commands have the rights of who runs the server.
const classProcess = "process"

// keepTask is how long an ended task is described.
const keepTask = time.Hour

// TaskOptions say where tasks come from.
type TaskOptions struct {
	Runner string // path of the supervisor's binary, called with "supervise"
	URL    string // of the platform, for the supervisor
	// Env is the environment that commands begin with. It should hold no secret.
	Env []string
	// Untrusted allows untrusted runs, which nothing keeps from this machine.
	Untrusted bool
	// Warm is how many idle supervisors wait, so that a task starts without an exec.
	Warm  int
	Clock platform.Clock // nil is the machine's
	Log   *slog.Logger   // nil discards
}

// Tasks runs supervisors as child processes that outlive the server: each in its own
// session, with no pipe to us. A record of each stands in a file, with what names
// its process for ever (pid, start time, boot), so that a server which comes back
// finds it again; how it ended the supervisor records beside it.
type Tasks struct {
	dir  string
	opt  TaskOptions
	boot string
	idle *idle

	mu       sync.Mutex
	children map[string]*child        // that we have started, and that have a task
	ended    map[string]platform.Task // how tasks ended, as far as we have seen it
	killed   map[string]bool          // whose grace is over
	watched  map[string]taskRecord    // whose end Watch has not told
	swept    time.Time
}

// taskRecord is the file of a task.
type taskRecord struct {
	ID      string    `json:"id"`
	Job     string    `json:"job,omitempty"`
	PID     int       `json:"pid"` // 0: it never started
	Started uint64    `json:"started_ticks"`
	Boot    string    `json:"boot"`
	At      time.Time `json:"at"`
	Failure string    `json:"failure,omitempty"`
}

// NewTasks keeps its records in dir, and finds the tasks of the server before there.
// Close ends the idle supervisors, and no task.
func NewTasks(dir string, opt TaskOptions) (*Tasks, error) {
	if opt.Clock == nil {
		opt.Clock = system.Clock{}
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(filepath.Join(dir, "work"), 0o700); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	boot, err := proctable.Boot()
	if err != nil {
		return nil, fmt.Errorf("this machine does not say when it was started: %w", err)
	}
	t := &Tasks{
		dir: dir, opt: opt, boot: boot, swept: opt.Clock.Now(),
		children: map[string]*child{}, ended: map[string]platform.Task{}, killed: map[string]bool{},
		watched: map[string]taskRecord{},
	}
	t.idle = newIdle(dir, opt, t.over, t.exited)
	return t, errors.Join(t.sweep(), t.findTasks())
}

// findTasks watches the tasks of the server before.
func (t *Tasks) findTasks() error {
	names, err := filepath.Glob(filepath.Join(t.dir, "*.json"))
	for _, name := range names {
		record, readErr := t.read(strings.TrimSuffix(filepath.Base(name), ".json"))
		if err = errors.Join(err, readErr); readErr == nil {
			t.watch(record)
		}
	}
	return err
}

// Close ends the idle supervisors.
func (t *Tasks) Close() error { return t.idle.close() }

// Run hands the ticket to an idle supervisor, once for each token. The record is
// written first: after a crash between the two there is a task that ended without
// having begun, and never one that nobody knows.
func (t *Tasks) Run(_ context.Context, spec platform.TaskSpec) (string, error) {
	switch n := len(spec.Token); {
	case n < 1 || n > 64:
		return "", fmt.Errorf("a token of %d bytes: %w", n, platform.ErrInvalid)
	case spec.Class != classProcess && spec.Class != "":
		return "", fmt.Errorf("this home has no runner class %q, only %q: %w", spec.Class, classProcess, platform.ErrInvalid)
	case spec.Trust == "untrusted" && !t.opt.Untrusted:
		return "", fmt.Errorf("the class %q isolates nothing, and untrusted runs are not allowed on it: %w", classProcess, platform.ErrDenied)
	}
	id := taskID(spec.Token)
	if _, err := os.Stat(t.recordPath(id)); err == nil {
		return id, nil
	}
	t.sweepSometimes()
	child, err := t.idle.take(poolOf(spec))
	record := taskRecord{ID: id, Job: spec.Job, Boot: t.boot, At: t.opt.Clock.Now().UTC()}
	if err != nil {
		record.Failure = err.Error()
	} else {
		record.PID, record.Started = child.process.PID, child.process.Started
	}
	created, err := t.create(record)
	if created {
		t.watch(record)
	}
	if child != nil {
		if err != nil || !created {
			return id, errors.Join(err, t.idle.giveBack(child))
		}
		return id, t.hand(child, spec, id)
	}
	return id, err
}

// poolOf names the tasks that may share a supervisor with a task, "" for none.
func poolOf(spec platform.TaskSpec) string {
	if spec.Pool == "" || spec.Trust != "trusted" {
		return ""
	}
	return spec.Org + "/" + spec.Pool
}

// taskID names a task by its token. It is a file's name.
func taskID(token string) string {
	sum := sha256.Sum256([]byte(token))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:])[:26])
}

func (t *Tasks) recordPath(id string) string { return filepath.Join(t.dir, id+".json") }
func (t *Tasks) exitPath(id string) string   { return filepath.Join(t.dir, id+".exit") }

// create writes a record unless there is one: of callers with one token one wins.
func (t *Tasks) create(record taskRecord) (created bool, err error) {
	text, err := json.Marshal(record)
	if err != nil {
		return false, err
	}
	temporary, err := os.CreateTemp(t.dir, ".new-")
	if err != nil {
		return false, err
	}
	_, err = temporary.Write(text)
	err = errors.Join(err, temporary.Close())
	if err == nil {
		err = os.Link(temporary.Name(), t.recordPath(record.ID))
		created = err == nil
		if errors.Is(err, os.ErrExist) {
			err = nil
		}
	}
	return created, errors.Join(err, os.Remove(temporary.Name()))
}

// hand gives a supervisor a start.
func (t *Tasks) hand(child *child, spec platform.TaskSpec, id string) error {
	if child.work == "" {
		child.work, child.pool = filepath.Join(t.dir, "work", id), poolOf(spec)
	}
	text, err := json.Marshal(supervisor.Start{
		URL: t.opt.URL, Ticket: spec.Ticket, Class: classProcess,
		Dir: child.work, Exit: t.exitPath(id), More: child.pool != "",
	})
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.children[id] = child
	t.mu.Unlock()
	child.serve(id)
	_, err = child.start.Write(text)
	if child.pool == "" {
		err = errors.Join(err, child.start.Close())
	}
	if err != nil {
		t.opt.Log.Warn("supervisor ended before it began", "task", id, "err", err) // Describe says so
	}
	return nil
}

// over is told of a task that has recorded its end, and whose supervisor goes on.
func (t *Tasks) over(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.children, id)
	delete(t.watched, id)
}

// Describe answers what is known of a task.
func (t *Tasks) Describe(_ context.Context, id string) (platform.Task, error) {
	gone := fmt.Errorf("task %s: %w", id, platform.ErrGone)
	if id != filepath.Base(id) {
		return platform.Task{}, gone
	}
	record, err := t.read(id)
	if errors.Is(err, os.ErrNotExist) {
		return platform.Task{}, gone
	}
	if err != nil {
		return platform.Task{}, err
	}
	task, err := t.describe(record)
	if err == nil && task.Status == platform.TaskStopped && t.opt.Clock.Now().Sub(task.Stopped) > keepTask {
		return platform.Task{}, gone
	}
	return task, err
}

func (t *Tasks) read(id string) (taskRecord, error) {
	var record taskRecord
	text, err := os.ReadFile(t.recordPath(id))
	if err == nil {
		err = json.Unmarshal(text, &record)
	}
	return record, err
}

// describe says how a task is: running, ended as we have seen, as it has recorded
// itself, or without a word.
func (t *Tasks) describe(record taskRecord) (platform.Task, error) {
	task := platform.Task{ID: record.ID, Status: platform.TaskStopped, Started: record.At, Stopped: record.At}
	if record.PID == 0 {
		task.Started, task.Reason = time.Time{}, "never-started: "+record.Failure
		return task, nil
	}
	lives, err := t.lives(record)
	if err != nil || lives {
		task.Status, task.Stopped = platform.TaskRunning, time.Time{}
		return task, err
	}
	if seen, ok := t.seen(record.ID); ok {
		seen.Started = record.At
		return seen, nil
	}
	text, err := os.ReadFile(t.exitPath(record.ID))
	switch {
	case errors.Is(err, os.ErrNotExist):
		task.Stopped, task.Reason = t.opt.Clock.Now(), "killed: it ended while the server was down, and left no word"
		if record.Boot != t.boot {
			task.Reason = "killed: the machine was restarted"
		}
		t.remember(task)
		return task, nil
	case err != nil:
		return task, err
	}
	var exit supervisor.Exit
	err = json.Unmarshal(text, &exit)
	task.Stopped, task.ExitCode, task.Reason = exit.At, &exit.Code, "exit"
	return task, err
}

// seen is how a task ended, if we have seen it. For a child of ours that serves no
// other task it waits until the kernel has said so.
func (t *Tasks) seen(id string) (platform.Task, bool) {
	t.mu.Lock()
	child := t.children[id]
	t.mu.Unlock()
	if child != nil && (child.pool == "" || !child.process.Lives()) {
		<-child.done
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	task, ok := t.ended[id]
	return task, ok
}

// remember keeps when a death was noticed, so that it is described for an hour.
func (t *Tasks) remember(task platform.Task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended[task.ID] = task
}

// lives tells whether a task is under way: its process is still that one, and has
// not recorded its end, after which it may serve another.
func (t *Tasks) lives(record taskRecord) (bool, error) {
	if !t.processLives(record) {
		return false, nil
	}
	_, err := os.Lstat(t.exitPath(record.ID))
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	return false, err
}

func (t *Tasks) processLives(record taskRecord) bool {
	return record.PID != 0 && record.Boot == t.boot && t.process(record).Lives()
}

func (t *Tasks) process(record taskRecord) proctable.Process {
	return proctable.Process{PID: record.PID, Started: record.Started}
}

// sweepSometimes sweeps in the background, once in keepTask.
func (t *Tasks) sweepSometimes() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.opt.Clock.Now(); now.Sub(t.swept) > keepTask {
		t.swept = now
		go func() {
			if err := t.sweep(); err != nil {
				t.opt.Log.Warn("records of old tasks not removed", "err", err)
			}
		}()
	}
}

// sweep removes the files of tasks that ended long ago.
func (t *Tasks) sweep() error {
	names, err := filepath.Glob(filepath.Join(t.dir, "*.json"))
	for _, name := range names {
		id := strings.TrimSuffix(filepath.Base(name), ".json")
		record, readErr := t.read(id)
		if readErr != nil || t.processLives(record) {
			continue // it may serve others, in the folder that has this name
		}
		if _, descErr := t.Describe(context.Background(), id); errors.Is(descErr, platform.ErrGone) {
			err = errors.Join(err, t.forget(id))
		}
	}
	return err
}

func (t *Tasks) forget(id string) error {
	t.mu.Lock()
	delete(t.children, id)
	delete(t.ended, id)
	delete(t.killed, id)
	delete(t.watched, id)
	t.mu.Unlock()
	err := os.Remove(t.exitPath(id))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(filepath.Join(t.dir, "work", id)), os.Remove(t.recordPath(id)))
}
