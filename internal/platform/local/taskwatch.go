package local

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"time"

	"github.com/buildit-dev/buildit/internal/supervisor"
	"github.com/buildit-dev/buildit/internal/supervisor/proctable"
)

// watchEvery is the pause between two looks at who still lives. A look reads one
// file of the process table for each running task.
const watchEvery = 250 * time.Millisecond

// Watch tells ended of each task whose supervisor has died without reporting, by the
// job that its specification named, so that nobody waits for a heartbeat that cannot
// come. It is told again until it answers nil, also after a restart of the server.
// What the supervisor has left running is killed first. Watch returns when ctx ends.
func (t *Tasks) Watch(ctx context.Context, ended func(ctx context.Context, job string) error) {
	for ctx.Err() == nil {
		for id, record := range t.watchedNow() {
			if err := t.look(ctx, record, ended); err != nil && ctx.Err() == nil {
				t.opt.Log.Error("end of a task not told", "task", id, "err", err)
			}
		}
		if err := t.opt.Clock.Sleep(ctx, watchEvery); err != nil {
			return // ctx has ended
		}
	}
}

func (t *Tasks) watchedNow() map[string]taskRecord {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.watched)
}

func (t *Tasks) watch(record taskRecord) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watched[record.ID] = record
}

func (t *Tasks) unwatch(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watched, id)
}

// look tells of a task that has died silently, and stops watching what has ended.
func (t *Tasks) look(ctx context.Context, record taskRecord, ended func(context.Context, string) error) error {
	if lives, err := t.lives(record); err != nil || lives {
		return err
	}
	reported, err := t.reported(record.ID)
	if err != nil {
		return err
	}
	if !reported {
		if err := t.endFamily(record); err != nil {
			return err
		}
		if err := ended(ctx, record.Job); err != nil {
			return err
		}
	}
	t.unwatch(record.ID)
	return nil
}

// reported tells whether a supervisor that has ended recorded that the platform
// knows its result.
func (t *Tasks) reported(id string) (bool, error) {
	text, err := os.ReadFile(t.exitPath(id))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	var exit supervisor.Exit
	if err == nil {
		err = json.Unmarshal(text, &exit)
	}
	return exit.Code != supervisor.ExitUnreported, err
}

// endFamily kills what a dead supervisor has left in its session. A session keeps
// its number from being given to another process; where a process has it that is not
// the supervisor, the session is not ours.
func (t *Tasks) endFamily(record taskRecord) error {
	if record.PID == 0 || record.Boot != t.boot {
		return nil
	}
	if now, taken := proctable.Read(record.PID); taken && now.Started != record.Started {
		return nil
	}
	return endSession(record.PID)
}
