package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// held runs tasks only when the test lets them go.
type held struct {
	platform.Tasks
	mu   sync.Mutex
	jobs []platform.TaskSpec
}

func (h *held) Run(_ context.Context, spec platform.TaskSpec) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.jobs = append(h.jobs, spec)
	return spec.Token, nil
}

func (h *held) Stop(context.Context, string, time.Duration) error { return nil }

// hold keeps every task from starting: the test is the supervisor.
func hold(h *held) change {
	return func(_ *world, home *platform.Home) { h.Tasks, home.Tasks = home.Tasks, h }
}

// attempt is the first attempt of the only stage, as its supervisor has it.
func (w *world) attempt(run pipeline.Run) *pipeline.Attempt {
	w.t.Helper()
	view, err := w.service.View(w.t.Context(), w.org, run.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := w.service.Attempt(w.t.Context(), w.org, run.ID, view.Stages[0].Key, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

const oneStage = "pipeline \"p\"\nstage \"a\" { run \"true\"; }\n"

var ok = supervisor.Result{V: 1, Reason: "ok", Command: -1}

func TestFinishTwiceWakesOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hold(&held{}))
	run := w.begin(oneStage)
	w.await("a starting")
	a := w.attempt(run)
	if _, err := a.Hello(t.Context(), supervisor.Hello{BootID: "one"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Hello(t.Context(), supervisor.Hello{BootID: "one"}); err != nil {
		t.Errorf("the second hello of one process: %v", err)
	}
	if _, err := a.Hello(t.Context(), supervisor.Hello{BootID: "two"}); !errors.Is(err, supervisor.ErrSettled) {
		t.Errorf("the hello of another process: %v", err)
	}
	if err := a.Finish(t.Context(), ok); err != nil {
		t.Fatal(err)
	}
	failed := supervisor.Result{V: 1, Reason: "exit", ExitCode: 1}
	if err := a.Finish(t.Context(), failed); !errors.Is(err, supervisor.ErrSettled) {
		t.Errorf("the second finish: %v", err)
	}
	expect(t, w.end(run), pipeline.Succeeded, "a succeeded")
}

func TestLateFinishAfterCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hold(&held{}))
	run := w.begin(oneStage)
	w.await("a starting")
	a := w.attempt(run)
	if _, err := a.Hello(t.Context(), supervisor.Hello{BootID: "one"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.service.Cancel(t.Context(), w.org, run.ID, "user", ""); err != nil {
		t.Fatal(err)
	}
	w.await("a canceling")
	order, err := a.Beat(t.Context(), supervisor.Beat{})
	if err != nil || !order.Cancel || order.Cause != "user" {
		t.Errorf("beat answers %+v, %v", order, err)
	}
	if err := a.Finish(t.Context(), ok); err != nil { // it had ended before it heard
		t.Fatal(err)
	}
	expect(t, w.end(run), pipeline.Canceled, "a succeeded")
	if err := a.Finish(t.Context(), ok); !errors.Is(err, supervisor.ErrSettled) {
		t.Errorf("a finish after the end: %v", err)
	}
}

func TestCancelWhileQueued(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	w := newWorld(t, func(_ *world, home *platform.Home) { home.Tasks = slowStart{home.Tasks, release} })
	run := w.begin(oneStage)
	w.await("a queued")
	if _, err := w.service.Cancel(t.Context(), w.org, run.ID, "user", ""); err != nil {
		t.Fatal(err)
	}
	w.await("a canceled") // while its task is being asked for: CancelBetweenStartAndToken
	close(release)
	expect(t, w.end(run), pipeline.Canceled, "a canceled")
}

// TestCancelBeforeHello cancels a stage whose task exists and whose supervisor has
// not said a word: its hello ends it.
func TestCancelBeforeHello(t *testing.T) {
	t.Parallel()
	w := newWorld(t, hold(&held{}))
	run := w.begin(oneStage)
	w.await("a starting")
	if _, err := w.service.Cancel(t.Context(), w.org, run.ID, "user", ""); err != nil {
		t.Fatal(err)
	}
	w.await("a canceling")
	if _, err := w.attempt(run).Hello(t.Context(), supervisor.Hello{BootID: "one"}); !errors.Is(err, supervisor.ErrSettled) {
		t.Errorf("hello answers %v", err)
	}
	expect(t, w.end(run), pipeline.Canceled, "a canceled")
}

// slowStart holds the call that asks for a task.
type slowStart struct {
	platform.Tasks
	release chan struct{}
}

func (s slowStart) Run(ctx context.Context, spec platform.TaskSpec) (string, error) {
	<-s.release
	return s.Tasks.Run(ctx, spec)
}

func TestRunTimeoutStopsItsStages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := load(t, "pipeline \"p\" { timeout \"1m\"; }\nstage \"a\" { run \"sleep 60\"; }\nstage \"b\" needs=\"a\" { run \"true\"; }\n")
	file.Timeout = time.Second // shorter than a file may say, so that the test is short
	run, err := w.service.StartFile(t.Context(), w.org, push("main"), file, pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, w.end(run), pipeline.TimedOut, "a canceled, b canceled")
}

func TestClassThatIsNotHereIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(_ *world, home *platform.Home) { home.Tasks = noClass{home.Tasks} })
	view := w.run(oneStage)
	expect(t, view, pipeline.Errored, "a errored")
	if view.Stages[0].Reason != "class-unfit" || view.Stages[0].Attempt != 1 {
		t.Errorf("reason %s, attempt %d", view.Stages[0].Reason, view.Stages[0].Attempt)
	}
}

// noClass is a home without a class for the stage.
type noClass struct{ platform.Tasks }

func (noClass) Run(context.Context, platform.TaskSpec) (string, error) {
	return "", platform.ErrInvalid
}

// TestOutboxWakesAgainAfterCrash stores a result whose wake was cut off, and lets
// the outbox's consumer find it.
func TestOutboxWakesAgainAfterCrash(t *testing.T) {
	t.Parallel()
	cut := &cutWake{}
	w := newWorld(t, hold(&held{}), func(_ *world, home *platform.Home) { cut.Flow, home.Flow = home.Flow, cut })
	run := w.begin(oneStage)
	w.await("a starting")
	a := w.attempt(run)
	if _, err := a.Hello(t.Context(), supervisor.Hello{BootID: "one"}); err != nil {
		t.Fatal(err)
	}
	cut.set(true)
	if err := a.Finish(t.Context(), ok); err == nil {
		t.Fatal("the wake was not cut off")
	}
	cut.set(false)
	w.awaitEnd(run)
	view, err := w.service.View(t.Context(), w.org, run.ID)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, view, pipeline.Succeeded, "a succeeded")
}

type cutWake struct {
	platform.Flow
	mu  sync.Mutex
	cut bool
}

func (c *cutWake) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
}

func (c *cutWake) Succeed(ctx context.Context, token string, output json.RawMessage) error {
	c.mu.Lock()
	cut := c.cut
	c.mu.Unlock()
	if cut {
		return errors.New("killed")
	}
	return c.Flow.Succeed(ctx, token, output)
}
