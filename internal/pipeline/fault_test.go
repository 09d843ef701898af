package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/fault"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// patient repeats calls that fail, as the supervisor's HTTP client does.
type patient struct{ *pipeline.Attempt }

func again(do func() error) error {
	err := do()
	for try := 0; try < 5 && err != nil && !errors.Is(err, supervisor.ErrSettled); try++ {
		err = do()
	}
	return err
}

func (p patient) Hello(ctx context.Context, hello supervisor.Hello) (job supervisor.Job, err error) {
	err = again(func() error { job, err = p.Attempt.Hello(ctx, hello); return err })
	return job, err
}

func (p patient) Log(ctx context.Context, part supervisor.LogPart) error {
	return again(func() error { return p.Attempt.Log(ctx, part) })
}

func (p patient) Finish(ctx context.Context, result supervisor.Result) error {
	return again(func() error { return p.Attempt.Finish(ctx, result) })
}

// faulty makes one call of the table and the flow fail.
func faulty(nth *fault.Nth) change {
	return func(_ *world, home *platform.Home) {
		home.Table = fault.Table(home.Table, nth.Plan)
		home.Flow = fault.Flow(home.Flow, nth.Plan)
		home.Tasks = fault.Tasks(home.Tasks, nth.Plan)
	}
}

// TestNthCallFails lets every call of every handler fail once, before it is done
// and after, and wants the run to end as if nothing had been.
func TestNthCallFails(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs a pipeline a few hundred times")
	}
	const file = `pipeline "p"
stage "a" { run "true"; }
stage "b" needs="a" { run "true"; }
stage "c" needs="a" { when branch="dev"; run "true"; }
`
	for _, phase := range []fault.Phase{fault.Before, fault.After} {
		calls := countCalls(t, file, phase)
		var group sync.WaitGroup
		slots := make(chan struct{}, 32) // most of the time they wait for a retry
		for n := 1; n <= calls; n++ {
			group.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				t.Run(fmt.Sprintf("%s call %d", phase, n), func(t *testing.T) { failNth(t, file, n, phase) })
			})
		}
		group.Wait()
	}
}

// countCalls is how many calls a run makes when nothing fails.
func countCalls(t *testing.T, file string, phase fault.Phase) int {
	t.Helper()
	counter := &counting{phase: phase}
	w := newWorld(t, func(_ *world, home *platform.Home) {
		home.Table, home.Flow, home.Tasks = fault.Table(home.Table, counter.plan), fault.Flow(home.Flow, counter.plan), fault.Tasks(home.Tasks, counter.plan)
	})
	w.run(file)
	counter.mu.Lock()
	defer counter.mu.Unlock()
	return counter.calls
}

type counting struct {
	phase fault.Phase
	mu    sync.Mutex
	calls int
}

func (c *counting) plan(_ context.Context, call fault.Call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if call.Phase == c.phase {
		c.calls++
	}
	return nil
}

func failNth(t *testing.T, text string, n int, phase fault.Phase) {
	nth := fault.At(n, phase, fmt.Errorf("injected: %w", platform.ErrThrottled))
	w := newWorld(t, faulty(nth))
	file := load(t, text)
	run, err := w.service.StartFile(t.Context(), w.org, push("main"), file, pipeline.Options{})
	if err != nil { // whoever starts runs tries again
		run, err = w.service.StartFile(t.Context(), w.org, push("main"), file, pipeline.Options{})
	}
	if err != nil {
		t.Fatal(err)
	}
	if !run.Status.Final() {
		w.awaitEnd(run)
	}
	var view pipeline.View
	err = again(func() (err error) {
		view, err = w.service.View(t.Context(), w.org, run.ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, view, pipeline.Succeeded, "a succeeded, b succeeded, c skipped condition")
	for _, row := range w.outbox(run.ID) {
		if row.Item.Text("kind") == "" {
			t.Errorf("an outbox row that nobody can carry out: %v", row)
		}
	}
}

// awaitEnd waits for the end of a run, and carries on as the outbox's consumer does.
func (w *world) awaitEnd(run pipeline.Run) {
	w.t.Helper()
	for range 200 {
		select {
		case <-w.final(run.ID):
			return
		case <-time.After(100 * time.Millisecond):
		}
		var changes []platform.Change
		for _, row := range w.outbox(run.ID) {
			changes = append(changes, platform.Change{Key: row.Key, New: row.Item})
		}
		if _, err := w.service.Outbox(w.t.Context(), changes); err != nil {
			w.t.Log(err)
		}
	}
	w.t.Fatalf("the run did not end: %v", w.order)
}
