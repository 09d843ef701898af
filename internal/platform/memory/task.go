package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// keepTask is how long an ended task is described.
const keepTask = time.Hour

// Tasks runs tasks as goroutines. What cannot be done to a goroutine is killing it:
// one that outlives the grace of a stop is described as killed, and left alone.
type Tasks struct {
	clock platform.Clock
	run   func(ctx context.Context, spec platform.TaskSpec) (exitCode int)

	mu    sync.Mutex
	tasks map[string]*task
}

type task struct {
	platform.Task
	cancel context.CancelFunc
	kill   func() bool // of the timer that a stop has set
}

// NewTasks runs every task by calling run, whose context ends when the task is
// stopped. What a supervisor is told by its ticket, run finds in the spec.
func NewTasks(clock platform.Clock, run func(ctx context.Context, spec platform.TaskSpec) (exitCode int)) *Tasks {
	return &Tasks{clock: clock, run: run, tasks: map[string]*task{}}
}

// Run starts a task, once for each token.
func (t *Tasks) Run(ctx context.Context, spec platform.TaskSpec) (string, error) {
	if n := len(spec.Token); n < 1 || n > 64 {
		return "", fmt.Errorf("a token of %d bytes: %w", n, platform.ErrInvalid)
	}
	id := "memory/" + spec.Token
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.tasks[id] != nil {
		return id, nil
	}
	t.forget()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	t.tasks[id] = &task{
		Task:   platform.Task{ID: id, Status: platform.TaskRunning, Started: t.clock.Now()},
		cancel: cancel,
	}
	go func() {
		defer cancel()
		t.ended(id, t.run(ctx, spec), "exit")
	}()
	return id, nil
}

// Stop ends the context of the task, and gives it up after grace.
func (t *Tasks) Stop(_ context.Context, id string, grace time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	running := t.tasks[id]
	if running == nil || running.Status == platform.TaskStopped {
		return nil
	}
	running.cancel()
	if running.kill == nil {
		running.kill = t.clock.AfterFunc(grace, func() { t.ended(id, 137, "killed: it did not end within its grace") })
	}
	return nil
}

// Describe answers what is known of a task.
func (t *Tasks) Describe(_ context.Context, id string) (platform.Task, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget()
	known := t.tasks[id]
	if known == nil {
		return platform.Task{}, fmt.Errorf("task %s: %w", id, platform.ErrGone)
	}
	return known.Task, nil
}

// ended records how a task ended, if nothing was recorded before.
func (t *Tasks) ended(id string, code int, reason string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	over := t.tasks[id]
	if over == nil || over.Status == platform.TaskStopped {
		return
	}
	over.Status, over.Stopped, over.ExitCode, over.Reason = platform.TaskStopped, t.clock.Now(), &code, reason
	if over.kill != nil {
		over.kill()
	}
}

// forget drops what ended long ago; the lock is held.
func (t *Tasks) forget() {
	for id, task := range t.tasks {
		if task.Status == platform.TaskStopped && t.clock.Now().Sub(task.Stopped) > keepTask {
			delete(t.tasks, id)
		}
	}
}
