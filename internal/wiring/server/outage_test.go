package server_test

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/platform/system"
	"github.com/buildit-dev/buildit/internal/supervisor"
	"github.com/buildit-dev/buildit/statemachines"
)

// later is the machine's clock after an outage.
type later struct {
	system.Clock
	by time.Duration
}

func (l later) Now() time.Time { return l.Clock.Now().Add(l.by) }

// outage is a data folder whose server goes away and comes back, and tasks that do
// not mind.
type outage struct {
	t       *testing.T
	dir     string
	tasks   platform.Tasks
	org     platform.Org
	service *pipeline.Service
	swept   chan struct{} // a word for each look of the sweeper
	stop    func()
}

func newOutage(t *testing.T) *outage {
	t.Helper()
	over := make(chan struct{})
	var alive sync.WaitGroup
	t.Cleanup(func() { close(over); alive.Wait() })
	silent := func(ctx context.Context, _ platform.TaskSpec) int {
		alive.Add(1)
		defer alive.Done()
		select {
		case <-ctx.Done():
		case <-over:
		}
		return 1
	}
	return &outage{
		t: t, dir: filepath.Join(t.TempDir(), "data"), org: platform.System("acme", "test"),
		tasks: memory.NewTasks(system.Clock{}, silent), stop: func() {},
	}
}

// serve is a server that starts when the clock is so much later.
func (o *outage) serve(by time.Duration, machines map[string][]byte) {
	o.t.Helper()
	o.stop()
	clock := later{by: by}
	ctx, cancel := context.WithCancel(context.WithoutCancel(o.t.Context()))
	home, err := local.Open(ctx, o.dir, local.Options{Machines: machines, Clock: clock})
	if err != nil {
		o.t.Fatal(err)
	}
	home.Tasks = o.tasks
	log := slog.New(slog.DiscardHandler)
	service := pipeline.New(home.Home, pipeline.Parts{Log: log, Logs: pipeline.NewLogStore(home.Blobs), Since: clock.Now()})
	home.SetFunctions(map[string]platform.Function{"pipeline": service.Function})
	o.service, o.swept = service, make(chan struct{})
	swept := o.swept
	var work sync.WaitGroup
	work.Go(func() {
		if err := home.Run(ctx); err != nil {
			o.t.Error(err)
		}
	})
	work.Go(func() {
		if err := home.Feed.Consume(ctx, "pipeline-outbox", service.Outbox); err != nil {
			o.t.Error(err)
		}
	})
	work.Go(func() {
		for ctx.Err() == nil {
			if err := service.Sweep(ctx); err != nil && ctx.Err() == nil {
				o.t.Error(err)
			}
			select {
			case swept <- struct{}{}:
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	o.stop = sync.OnceFunc(func() {
		cancel()
		work.Wait()
		if err := home.Close(); err != nil {
			o.t.Error(err)
		}
	})
	o.t.Cleanup(o.stop)
}

func (o *outage) begin(text string) pipeline.Run {
	o.t.Helper()
	file, diagnostics := language.Load(fstest.MapFS{".buildit.kdl": {Data: []byte(text)}}, ".buildit.kdl")
	if file == nil {
		o.t.Fatal(diagnostics)
	}
	trigger := pipeline.Trigger{
		Repository: "r1", File: ".buildit.kdl", Event: "push", Branch: "main", Ref: "refs/heads/main",
		Commit: "0123456789abcdef0123456789abcdef01234567", Generation: 1, Attempt: 1, Trust: "trusted",
	}
	run, err := o.service.StartFile(o.t.Context(), o.org, trigger, file, pipeline.Options{})
	if err != nil {
		o.t.Fatal(err)
	}
	return run
}

// await waits until a run is as it should be.
func (o *outage) await(run pipeline.RunID, what string, is func(pipeline.View) bool) pipeline.View {
	o.t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for until := time.Now().Add(20 * time.Second); ; <-look.C {
		view, err := o.service.View(o.t.Context(), o.org, run)
		if err != nil {
			o.t.Fatal(err)
		}
		if is(view) {
			return view
		}
		if time.Now().After(until) {
			o.t.Fatalf("%s: not within 20 s: %+v", what, view)
		}
	}
}

func (o *outage) attempt(run pipeline.RunID, st pipeline.Stage) *pipeline.Attempt {
	o.t.Helper()
	a, err := o.service.Attempt(o.t.Context(), o.org, run, st.Key, st.Attempt)
	if err != nil {
		o.t.Fatal(err)
	}
	return a
}

func stagesAre(statuses ...pipeline.StageStatus) func(pipeline.View) bool {
	return func(v pipeline.View) bool {
		for i, status := range statuses {
			if v.Stages[i].Status != status {
				return false
			}
		}
		return true
	}
}

var (
	hello = supervisor.Hello{BootID: "one"}
	well  = supervisor.Result{V: 1, Reason: "ok", Command: -1}
)

// An outage ends no stage by silence: after three minutes all goes on where it was.
func TestServerDownThreeMinutes(t *testing.T) {
	t.Parallel()
	o := newOutage(t)
	o.serve(0, statemachines.All())
	run := o.begin("pipeline \"p\"\nstage \"speaks\" { run \"true\"; }\nstage \"waits\" { run \"true\"; }\nstage \"next\" { needs \"speaks\" \"waits\"; run \"true\"; }\n")
	view := o.await(run.ID, "both start", stagesAre(pipeline.StageStarting, pipeline.StageStarting))
	if _, err := o.attempt(run.ID, view.Stages[0]).Hello(t.Context(), hello); err != nil {
		t.Fatal(err)
	}
	o.serve(3*time.Minute, statemachines.All())
	for range 5 {
		<-o.swept
	}
	o.await(run.ID, "nothing has changed", stagesAre(pipeline.StageRunning, pipeline.StageStarting))
	if _, err := o.attempt(run.ID, view.Stages[1]).Hello(t.Context(), hello); err != nil {
		t.Fatal(err)
	}
	for _, st := range view.Stages[:2] {
		a := o.attempt(run.ID, st)
		if _, err := a.Beat(t.Context(), supervisor.Beat{}); err != nil {
			t.Error(err)
		}
		if err := a.Finish(t.Context(), well); err != nil {
			t.Fatal(err)
		}
	}
	view = o.await(run.ID, "the next one starts", stagesAre(pipeline.StageSucceeded, pipeline.StageSucceeded, pipeline.StageStarting))
	for _, st := range view.Stages {
		if st.Attempt != 1 {
			t.Errorf("%s is at attempt %d", st.Name, st.Attempt)
		}
	}
}

// After eight hours only what is past its own timeout ends.
func TestServerDownEightHours(t *testing.T) {
	t.Parallel()
	o := newOutage(t)
	o.serve(0, statemachines.All())
	run := o.begin("pipeline \"p\"\nstage \"short\" { timeout \"1h\"; run \"true\"; }\nstage \"long\" { timeout \"12h\"; run \"true\"; }\n")
	view := o.await(run.ID, "both start", stagesAre(pipeline.StageStarting, pipeline.StageStarting))
	for _, st := range view.Stages {
		if _, err := o.attempt(run.ID, st).Hello(t.Context(), hello); err != nil {
			t.Fatal(err)
		}
	}
	o.serve(8*time.Hour, statemachines.All())
	o.await(run.ID, "the short one ends", stagesAre(pipeline.StageTimedOut, pipeline.StageRunning))
	if err := o.attempt(run.ID, view.Stages[1]).Finish(t.Context(), well); err != nil {
		t.Fatal(err)
	}
	o.await(run.ID, "the run ends", func(v pipeline.View) bool { return v.Status == pipeline.Failed })
}

// An execution goes on with the states that it began with, whatever the files say
// when the server comes back, and calls functions of the new version.
func TestOldExecutionOnNewVersion(t *testing.T) {
	t.Parallel()
	before, after := map[string][]byte{}, statemachines.All()
	for name, machine := range after { // as they were before cancel-stages was told the error
		before[name] = bytes.ReplaceAll(machine, []byte("\"graph.$\": \"$.graph\",\n          \"error.$\": \"$.error\""), []byte(`"graph.$": "$.graph"`))
	}
	if bytes.Equal(before[pipeline.RunMachine], after[pipeline.RunMachine]) {
		t.Fatal("both versions are the same")
	}
	o := newOutage(t)
	o.serve(0, before)
	run := o.begin("pipeline \"p\"\nstage \"a\" { run \"true\"; }\nstage \"b\" needs=\"a\" { run \"true\"; }\n")
	view := o.await(run.ID, "it starts", stagesAre(pipeline.StageStarting))
	if _, err := o.attempt(run.ID, view.Stages[0]).Hello(t.Context(), hello); err != nil {
		t.Fatal(err)
	}
	o.serve(time.Second, after)
	if _, err := o.service.Cancel(t.Context(), o.org, run.ID, "user", ""); err != nil {
		t.Fatal(err)
	}
	o.await(run.ID, "it hears", stagesAre(pipeline.StageCanceling, pipeline.StageCanceled))
	if err := o.attempt(run.ID, view.Stages[0]).Finish(t.Context(), supervisor.Result{V: 1, Reason: "canceled", Command: -1}); err != nil {
		t.Fatal(err)
	}
	o.await(run.ID, "the run ends", func(v pipeline.View) bool { return v.Status == pipeline.Canceled })
}
