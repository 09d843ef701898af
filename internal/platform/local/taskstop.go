package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/supervisor/proctable"
)

// Stop sends SIGTERM to the supervisor, which ends its commands, and after grace
// SIGKILL to it and everything that it started.
func (t *Tasks) Stop(_ context.Context, id string, grace time.Duration) error {
	if id != filepath.Base(id) {
		return nil
	}
	record, err := t.read(id)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	terminate := func() error {
		if lives, err := t.lives(record); err != nil || !lives {
			return err
		}
		if err := ignoreGone(syscall.Kill(record.PID, syscall.SIGTERM)); err != nil {
			return err
		}
		t.killAfter(record, grace)
		return nil
	}
	t.mu.Lock()
	child := t.children[id]
	t.mu.Unlock()
	if child != nil {
		return child.stop(id, terminate)
	}
	return terminate() // it has no server to give it another task
}

// killAfter kills a task, and everything that it started, that is still there then.
func (t *Tasks) killAfter(record taskRecord, grace time.Duration) {
	t.opt.Clock.AfterFunc(grace, func() {
		if lives, err := t.lives(record); err != nil || !lives {
			return
		}
		t.mu.Lock()
		t.killed[record.ID] = true
		t.mu.Unlock()
		if err := killAll(t.process(record)); err != nil {
			t.opt.Log.Error("task not killed", "task", record.ID, "err", err)
		}
	})
}

func ignoreGone(err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// killAll kills a supervisor and everything below it or in its session. What forks
// faster than it is found is caught in the next round.
func killAll(root proctable.Process) error {
	err := syscall.Kill(root.PID, syscall.SIGSTOP) // so that it starts nothing more
	if err := ignoreGone(err); err != nil {
		return err
	}
	const rounds = 100
	for range rounds {
		all := proctable.All()
		left := 0
		for _, p := range all {
			if p.Status == 'Z' || p.PID == root.PID || (p.Session != root.PID && !proctable.Descends(all, p, root.PID)) {
				continue
			}
			left++
			if err := ignoreGone(syscall.Kill(p.PID, syscall.SIGKILL)); err != nil {
				return err
			}
		}
		if left == 0 {
			break
		}
		time.Sleep(time.Millisecond) // the dead leave the table a little later
	}
	return ignoreGone(syscall.Kill(root.PID, syscall.SIGKILL))
}

// exited is told of the end of every supervisor that is our child.
func (t *Tasks) exited(id string, state *os.ProcessState, memoryKills int64) {
	if id == "" {
		return // it was idle
	}
	task := platform.Task{ID: id, Status: platform.TaskStopped, Stopped: t.opt.Clock.Now(), Reason: "exit"}
	code := state.ExitCode()
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal())
		task.Reason = "signal: " + status.Signal().String()
		if status.Signal() == syscall.SIGKILL {
			task.Reason = "killed: by SIGKILL"
			if memoryKills > 0 {
				task.Reason = "oom: the kernel killed for want of memory"
			}
		}
		if err := endSession(state.Pid()); err != nil {
			t.opt.Log.Error("processes of a task not killed", "task", id, "err", err)
		}
		if _, err := os.Lstat(t.exitPath(id)); err == nil {
			return // the task had ended before, and recorded how
		}
	}
	task.ExitCode = &code
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.killed[id] {
		task.Reason = "killed: it did not end within its grace"
	}
	t.ended[id] = task
}

// endSession kills what a supervisor that died by a signal has left behind.
func endSession(pid int) error {
	for _, p := range proctable.All() {
		if p.Session == pid && p.Status != 'Z' {
			if err := ignoreGone(syscall.Kill(p.PID, syscall.SIGKILL)); err != nil {
				return err
			}
		}
	}
	return nil
}
