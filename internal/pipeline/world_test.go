package pipeline_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/buildit-dev/buildit/internal/asl/engine"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/secret"
	"github.com/buildit-dev/buildit/internal/supervisor"
	"github.com/buildit-dev/buildit/statemachines"
)

// world is a memory home with a pipeline service, the state machines and real
// supervisors that run real shells.
type world struct {
	t       *testing.T
	home    platform.Home
	sure    platform.Table // home's table, which never fails
	service *pipeline.Service
	store   *pipeline.LogStore
	org     platform.Org
	flow    *engine.Flow

	mu      sync.Mutex
	stages  map[pipeline.StageKey][]pipeline.StageStatus // in the order of their steps
	order   []string                                     // "name status", as it happened
	finals  map[pipeline.RunID]chan pipeline.Run
	changed chan struct{}
	secrets map[string]string
}

// change lets a test put something between the service and its home.
type change func(w *world, home *platform.Home)

func newWorld(t *testing.T, changes ...change) *world {
	t.Helper()
	w := &world{
		t: t, org: platform.System("acme", "test"), stages: map[pipeline.StageKey][]pipeline.StageStatus{},
		finals: map[pipeline.RunID]chan pipeline.Run{}, changed: make(chan struct{}), secrets: map[string]string{},
	}
	clock := memory.NewClock()
	ctx, stop := context.WithCancel(context.Background())
	flow, err := memory.NewFlow(ctx, engine.Options{Machines: statemachines.All(), History: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	w.flow = flow
	dir := t.TempDir()
	w.home = platform.Home{
		Table: memory.NewTable(clock), Blobs: memory.NewBlobs(clock), Keys: memory.NewKeys(), Flow: flow, Clock: clock, IDs: memory.NewIDs(),
	}
	var group sync.WaitGroup
	w.home.Tasks = memory.NewTasks(clock, func(ctx context.Context, spec platform.TaskSpec) int {
		group.Add(1)
		defer group.Done()
		return w.supervise(ctx, spec, dir)
	})
	w.sure = w.home.Table
	for _, c := range changes {
		c(w, &w.home)
	}
	w.store = pipeline.NewLogStore(w.home.Blobs)
	w.service = pipeline.New(w.home, pipeline.Parts{
		Log: slog.New(slog.DiscardHandler), Logs: w.store, Observe: w, AllowUntrusted: true,
		Secrets: func(_ context.Context, _ platform.Org, _ secret.Use, name string) (string, error) {
			value, has := w.secrets[name]
			if !has {
				return "", platform.ErrNotFound
			}
			return value, nil
		},
	})
	flow.SetFunctions(map[string]platform.Function{"pipeline": w.service.Function})
	end := make(chan error, 1)
	go func() { end <- flow.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-end; err != nil {
			t.Error(err)
		}
		group.Wait()
	})
	return w
}

func (w *world) supervise(ctx context.Context, spec platform.TaskSpec, dir string) int {
	name, err := pipeline.ParseJobName(spec.Job)
	if err != nil {
		w.t.Error(err)
		return 1
	}
	var attempt *pipeline.Attempt
	err = again(func() (err error) {
		attempt, err = w.service.Attempt(context.WithoutCancel(ctx), w.org, name.Run, name.Key, name.Attempt)
		return err
	})
	if err != nil {
		w.t.Error(err)
		return 1
	}
	_, err = supervisor.Run(ctx, patient{attempt}, supervisor.Options{
		Hello: supervisor.Hello{Protocol: 1, Class: "process", BootID: spec.Token}, Dir: filepath.Join(dir, spec.Token), Env: os.Environ(),
	})
	if err != nil && !errors.Is(err, supervisor.ErrSettled) {
		return 1
	}
	return 0
}

// StageChanged implements pipeline.Observer.
func (w *world) StageChanged(_ pipeline.RunID, st pipeline.Stage) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stages[st.Key] = append(w.stages[st.Key], st.Status)
	w.order = append(w.order, st.Name+" "+string(st.Status))
	close(w.changed)
	w.changed = make(chan struct{})
}

// RunChanged implements pipeline.Observer.
func (w *world) RunChanged(run pipeline.Run) {
	if run.Status.Final() {
		w.final(run.ID) <- run
	}
}

func (w *world) final(run pipeline.RunID) chan pipeline.Run {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.finals[run] == nil {
		w.finals[run] = make(chan pipeline.Run, 10)
	}
	return w.finals[run]
}

// await returns once something of the kind has happened.
func (w *world) await(what string) {
	w.t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		w.mu.Lock()
		for _, seen := range w.order {
			if seen == what {
				w.mu.Unlock()
				return
			}
		}
		changed := w.changed
		w.mu.Unlock()
		select {
		case <-changed:
		case <-deadline:
			w.t.Fatalf("%q did not happen; what did: %s", what, strings.Join(w.order, ", "))
		}
	}
}

func load(t testing.TB, text string) *language.Pipeline {
	t.Helper()
	file, diagnostics := language.Load(fstest.MapFS{".buildit.kdl": {Data: []byte(text)}}, ".buildit.kdl")
	if file == nil {
		t.Fatalf("%v", diagnostics)
	}
	return file
}

func push(branch string) pipeline.Trigger {
	return pipeline.Trigger{
		Repository: "r1", File: ".buildit.kdl", Event: "push", Subject: branch, Branch: branch, Ref: "refs/heads/" + branch,
		Commit: "0123456789abcdef0123456789abcdef01234567", Generation: 1, Attempt: 1, Trust: "trusted", RepoName: "shop",
	}
}

// begin starts a run of the file.
func (w *world) begin(text string) pipeline.Run {
	w.t.Helper()
	run, err := w.service.StartFile(w.t.Context(), w.org, push("main"), load(w.t, text), pipeline.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return run
}

// end waits for the end of a run.
func (w *world) end(run pipeline.Run) pipeline.View {
	w.t.Helper()
	if !run.Status.Final() {
		select {
		case <-w.final(run.ID):
		case <-time.After(30 * time.Second):
			w.t.Fatalf("the run did not end: %s", strings.Join(w.order, ", "))
		}
	}
	view, err := w.service.View(w.t.Context(), w.org, run.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return view
}

// run runs a file to its end.
func (w *world) run(text string) pipeline.View { w.t.Helper(); return w.end(w.begin(text)) }

// statuses are the stages of a run, as "name status" or "name status reason".
func statuses(view pipeline.View) string {
	var all []string
	for _, st := range view.Stages {
		text := st.Name + " " + string(st.Status)
		if st.Status == pipeline.StageSkipped {
			text += " " + st.Reason
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

func expect(t *testing.T, view pipeline.View, status pipeline.Status, stages string) {
	t.Helper()
	if view.Status != status || statuses(view) != stages {
		t.Errorf("run %s: %s\nwant %s: %s", view.Status, statuses(view), status, stages)
	}
}

// log is the whole log of a stage's first attempt.
func (w *world) log(run pipeline.RunID, key pipeline.StageKey) string {
	w.t.Helper()
	var all strings.Builder
	for segment := 0; ; segment++ {
		part, err := w.store.Part(w.t.Context(), pipeline.LogName{Org: w.org, Run: run, Key: key, Attempt: 1}, segment)
		if errors.Is(err, platform.ErrNotFound) {
			return all.String()
		}
		if err != nil {
			w.t.Fatal(err)
		}
		all.Write(part.Text)
	}
}

func (w *world) events(run pipeline.RunID) []platform.Row {
	w.t.Helper()
	partition := w.org.Partition("run", string(run))
	page, err := w.sure.Query(w.t.Context(), platform.Query{Partition: partition, Prefix: partition.Rows("event")})
	if err != nil {
		w.t.Fatal(err)
	}
	return page.Rows
}

// outbox are the outbox rows that are left.
func (w *world) outbox(run pipeline.RunID) []platform.Row {
	w.t.Helper()
	partition := w.org.Partition("run", string(run))
	page, err := w.sure.Query(w.t.Context(), platform.Query{Partition: partition, Prefix: partition.Rows("outbox")})
	if err != nil {
		w.t.Fatal(err)
	}
	return page.Rows
}

// touch makes an empty file that a stage waits for.
func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
