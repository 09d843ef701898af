package local_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/supervisor/proctable"
)

// ledger notes which jobs it is told of, and refuses the first word.
type ledger struct {
	mu   sync.Mutex
	told []string
}

func (l *ledger) ended(_ context.Context, job string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, job)
	if len(l.told) == 1 {
		return errors.New("the table is away")
	}
	return nil
}

func (l *ledger) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.told, " ")
}

// watch watches until the test ends.
func watch(t *testing.T, tasks *local.Tasks) *ledger {
	t.Helper()
	l := &ledger{}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var group sync.WaitGroup
	group.Go(func() { tasks.Watch(ctx, l.ended) })
	t.Cleanup(func() { stop(); group.Wait() })
	return l
}

// A supervisor that died without a word is told of until it is taken note of, by the
// server that saw it and by one that comes back, and what it had started is killed.
// One that reported, and one that lives, are not.
func TestWatchTellsOfSilentDeaths(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"seen": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			home, tasks := openTasks(t, dir, nil)
			pids, begun := filepath.Join(t.TempDir(), "pids"), filepath.Join(t.TempDir(), "begun")
			ids := map[string]string{}
			for job, ticket := range map[string]string{"dies": "family " + pids, "ends": "exit 1", "lives": "wait " + begun} {
				spec := trusted(job, ticket)
				spec.Job = job
				var err error
				if ids[job], err = home.Run(t.Context(), spec); err != nil {
					t.Fatal(err)
				}
			}
			var family []proctable.Process
			await(t, "all begin", func() bool {
				_, err := os.Stat(begun)
				family = familyIn(t, pids)
				return err == nil && len(family) == 2 && describe(t, home, ids["ends"]).Status == platform.TaskStopped
			})
			if restart {
				home, tasks = openTasks(t, dir, nil)
			}
			l := watch(t, tasks)
			if err := syscall.Kill(pidOf(t, dir, ids["dies"]), syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			await(t, "it is told of twice", func() bool { home.Elapse(time.Second); return l.all() == "dies dies" })
			await(t, "its commands are killed", func() bool { return !family[0].Lives() })
			home.Elapse(time.Minute)
			if got := l.all(); got != "dies dies" {
				t.Errorf("told of %s", got)
			}
			for _, left := range []int{family[1].PID, pidOf(t, dir, ids["lives"])} { // one has left the session: nobody can know it
				if err := syscall.Kill(left, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// familyIn are the processes whose numbers a file has.
func familyIn(t *testing.T, file string) (family []proctable.Process) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for _, line := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(line)
		if err != nil {
			t.Fatal(err)
		}
		if p, ok := proctable.Read(pid); ok {
			family = append(family, p)
		}
	}
	return family
}
