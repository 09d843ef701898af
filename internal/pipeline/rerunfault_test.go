package pipeline_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/fault"
)

// armed lets the nth call fail once it is armed, and counts from there.
type armed struct {
	phase fault.Phase
	nth   int // 0: none
	mu    sync.Mutex
	on    bool
	calls int
}

func (a *armed) plan(_ context.Context, call fault.Call) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.on || call.Phase != a.phase {
		return nil
	}
	if a.calls++; a.calls == a.nth {
		return fmt.Errorf("injected: %w", platform.ErrThrottled)
	}
	return nil
}

func (a *armed) arm(on bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.on = on
}

// Every call of a rerun fails once, before it is done and after: there is one run
// again, which ends as if nothing had been, with what passed carried over.
func TestNthCallOfARerunFails(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("runs a pipeline a few hundred times")
	}
	for _, phase := range []fault.Phase{fault.Before, fault.After} {
		counter := &armed{phase: phase}
		rerunFaulty(t, counter)
		if counter.calls < 20 {
			t.Fatalf("a rerun makes %d calls", counter.calls)
		}
		var group sync.WaitGroup
		slots := make(chan struct{}, 32) // most of the time they wait for a retry
		for n := 1; n <= counter.calls; n++ {
			group.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				t.Run(fmt.Sprintf("%s call %d", phase, n), func(t *testing.T) { rerunFaulty(t, &armed{phase: phase, nth: n}) })
			})
		}
		group.Wait()
	}
}

func rerunFaulty(t *testing.T, faults *armed) {
	w := newWorld(t, func(_ *world, home *platform.Home) {
		home.Table, home.Flow, home.Tasks = fault.Table(home.Table, faults.plan), fault.Flow(home.Flow, faults.plan), fault.Tasks(home.Tasks, faults.plan)
	})
	dir := t.TempDir()
	first := w.run(`pipeline "p"
stage "make" { output "O"; run "echo O=1 >> $BUILDIT_OUTPUT"; }
stage "test" needs="make" { run "test $OUTPUT_MAKE_O = 1 && test -e ` + dir + `/fixed"; }
stage "last" needs="test" { run "true"; }
`)
	expect(t, first, pipeline.Failed, "make succeeded, test failed, last skipped need-failed")
	leave(t, dir+"/fixed")
	faults.arm(true)
	var run pipeline.Run
	err := again(func() (err error) {
		run, err = w.service.Rerun(t.Context(), w.org, first.ID, pipeline.RerunRequest{What: "failed"}, "op", "bob")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !run.Status.Final() {
		w.awaitEnd(run)
	}
	faults.arm(false)
	view, err := w.service.View(t.Context(), w.org, run.ID)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, view, pipeline.Succeeded, "make succeeded, test succeeded, last succeeded")
	if w.ran("make") != 1 || view.Attempt != 2 || view.Stages[0].From != first.ID {
		t.Errorf("make ran %d times; %+v", w.ran("make"), view.Run)
	}
}
