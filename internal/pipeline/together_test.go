package pipeline_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
)

// Of two last needs that end at the same moment exactly one starts the stage, however
// often.
func TestLastTwoNeedsEndTogether(t *testing.T) {
	t.Parallel()
	h := &held{}
	w := newWorld(t, hold(h))
	for i := range 10 {
		run := w.startAs(commit("main", i), "pipeline \"p\"\nstage \"a\" { run \"true\"; }\nstage \"b\" { run \"true\"; }\nstage \"c\" needs=\"a\" { needs \"b\"; run \"true\"; }\n")
		view := w.until(run.ID, "starting", func(v pipeline.View) bool {
			return v.Stages[0].Status == pipeline.StageStarting && v.Stages[1].Status == pipeline.StageStarting
		})
		w.finishAll(view, 0, 1)
		view = w.until(run.ID, "c starting", func(v pipeline.View) bool { return v.Stages[2].Status == pipeline.StageStarting })
		w.finishAll(view, 2)
		w.ends(run.ID)
		asked := 0
		h.mu.Lock()
		for _, job := range h.jobs {
			if job.Token == fmt.Sprintf("%s-%s-01", run.ID, view.Stages[2].Key) {
				asked++
			}
		}
		h.mu.Unlock()
		if asked != 1 {
			t.Errorf("the task of c was asked for %d times", asked)
		}
	}
}

// finishAll reports stages as done, all at the same moment.
func (w *world) finishAll(view pipeline.View, stages ...int) {
	w.t.Helper()
	var together sync.WaitGroup
	for _, i := range stages {
		together.Go(func() {
			a, err := w.service.Attempt(w.t.Context(), w.org, view.ID, view.Stages[i].Key, 1)
			if err == nil {
				err = a.Finish(w.t.Context(), ok)
			}
			if err != nil {
				w.t.Error(err)
			}
		})
	}
	together.Wait()
}

// woken counts the tokens that are completed, by what takes them.
type woken struct {
	platform.Flow
	mu    sync.Mutex
	taken map[string]int
}

func (f *woken) Succeed(ctx context.Context, token string, output json.RawMessage) error {
	err := f.Flow.Succeed(ctx, token, output)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.taken[token]++
	}
	return err
}

// However many stages end together, the end of their run is settled once, and its
// execution woken once.
func TestEndNodeWakesTheRunOnce(t *testing.T) {
	t.Parallel()
	const stages = 8
	flow := &woken{taken: map[string]int{}}
	w := newWorld(t, hold(&held{}), func(_ *world, home *platform.Home) { flow.Flow, home.Flow = home.Flow, flow })
	file := "pipeline \"p\"\n"
	var all []int
	for i := range stages {
		file += fmt.Sprintf("stage \"s%d\" { run \"true\"; }\n", i)
		all = append(all, i)
	}
	run := w.begin(file)
	view := w.until(run.ID, "starting", func(v pipeline.View) bool {
		for _, st := range v.Stages {
			if st.Status != pipeline.StageStarting {
				return false
			}
		}
		return true
	})
	w.finishAll(view, all...)
	if w.ends(run.ID).Status != pipeline.Succeeded {
		t.Error("the run has not succeeded")
	}
	ended := 0
	for _, row := range w.events(run.ID) {
		if row.Item.Text("key") == "end" && row.Item.Text("status") == string(pipeline.StageSucceeded) {
			ended++
		}
	}
	flow.mu.Lock()
	defer flow.mu.Unlock()
	if ended != 1 || len(flow.taken) != stages+1 {
		t.Errorf("the end was settled %d times, %d tokens were completed; want 1 and %d", ended, len(flow.taken), stages+1)
	}
	for token, times := range flow.taken {
		if times != 1 {
			t.Errorf("a token was completed %d times: %.8s…", times, token)
		}
	}
}

// A cancel that comes between the start of an attempt and the row that keeps its
// token is seen by the start: the task is never asked for.
func TestCancelBetweenStartAndToken(t *testing.T) {
	t.Parallel()
	h, before := &held{}, &beforeToken{reached: make(chan struct{}), goOn: make(chan struct{})}
	w := newWorld(t, hold(h), func(_ *world, home *platform.Home) { before.Table, home.Table = home.Table, before })
	run := w.begin(oneStage)
	<-before.reached
	if _, err := w.service.Cancel(t.Context(), w.org, run.ID, "user", ""); err != nil {
		t.Fatal(err)
	}
	close(before.goOn)
	expect(t, w.end(run), pipeline.Canceled, "a canceled")
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.jobs) > 0 {
		t.Errorf("%d tasks were asked for", len(h.jobs))
	}
}

// beforeToken holds the first transaction that stores an attempt's token until it is
// told to go on.
type beforeToken struct {
	platform.Table
	once          sync.Once
	reached, goOn chan struct{}
}

func (b *beforeToken) Transact(ctx context.Context, token string, actions ...platform.Action) error {
	if update, is := actions[len(actions)-1].(platform.Update); is && update.Key.Parts()[0] == "attempt" && update.Set["token"] != nil {
		b.once.Do(func() {
			close(b.reached)
			<-b.goOn
		})
	}
	return b.Table.Transact(ctx, token, actions...)
}
