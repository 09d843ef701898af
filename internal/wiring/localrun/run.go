package localrun

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/buildit-dev/buildit/internal/asl/engine"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/pipeline/workspace"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/secret"
	"github.com/buildit-dev/buildit/internal/supervisor"
	"github.com/buildit-dev/buildit/statemachines"
)

// Config is one local run.
type Config struct {
	Root    string // top folder of the tree
	Git     bool   // whether git knows the tree
	InPlace bool   // run in the tree itself instead of a copy for each stage
	File    *language.Pipeline
	Trigger pipeline.Trigger
	Options pipeline.Options
	Secrets map[string]string
	Env     []string // what commands inherit
	Log     *slog.Logger
	Show    Show
}

// Show hears of everything as it happens, from many goroutines.
type Show interface {
	pipeline.Observer
	// Log is a piece of the log of a stage: bytes in order, cut anywhere.
	Log(key pipeline.StageKey, attempt int, text []byte)
	// LogEnd says that an attempt will print no more.
	LogEnd(key pipeline.StageKey, attempt int)
}

// Result is how a local run ended.
type Result struct {
	Run       pipeline.Run
	Stages    []pipeline.Stage
	Artifacts []pipeline.Artifact
}

// organization owns the rows of a local run.
const organization = "local"

// Do runs the pipeline and returns when it has ended. When ctx ends the run is
// canceled, and Do still waits for its commands to stop. The error is ErrBusy, or
// says what kept the run from going on; a pipeline that fails is no error.
func Do(ctx context.Context, c Config) (result Result, err error) {
	data, err := openFolder(filepath.Join(c.Root, workspace.Ours, "run"))
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, data.close()) }()

	flow, err := memory.NewFlow(ctx, engine.Options{Machines: statemachines.All(), Workers: atOnce(), Log: c.Log})
	if err != nil {
		return Result{}, err
	}
	tasks := newSupervisors(c, data)
	logs := &logKeeper{show: c.Show, work: data.work, kept: make(map[string]*keptLog)}
	w := &watcher{Show: c.Show, final: make(chan pipeline.Run, 1)}
	clock := memory.NewClock()
	home := platform.Home{
		Table: memory.NewTable(clock), Blobs: memory.NewBlobs(clock), Keys: memory.NewKeys(),
		Clock: clock, IDs: memory.NewIDs(), Flow: flow, Tasks: memory.NewTasks(clock, tasks.run),
	}
	service := pipeline.New(home, pipeline.Parts{Log: c.Log, Logs: logs, Observe: w, Secrets: secretsOf(c.Secrets), Live: liveEvery})
	flow.SetFunctions(map[string]platform.Function{"pipeline": service.Function})

	live, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	tasks.service = service
	tasks.copyTree(live)
	flowEnd := make(chan error, 1)
	go func() { flowEnd <- flow.Run(live) }()

	result, err = follow(ctx, live, c, service, w)
	err = errors.Join(err, tasks.close())
	stop()
	return result, errors.Join(err, <-flowEnd, logs.write(data.dir))
}

// secretsOf finds secrets among those that were given.
func secretsOf(given map[string]string) pipeline.SecretSource {
	return func(_ context.Context, _ platform.Org, _ secret.Use, name string) (string, error) {
		value, has := given[name]
		if !has {
			return "", platform.ErrNotFound
		}
		return value, nil
	}
}

// follow starts the run, waits for its end, and cancels it when ctx ends.
func follow(ctx, live context.Context, c Config, service *pipeline.Service, w *watcher) (Result, error) {
	org := platform.System(organization, "buildit run")
	run, err := service.StartFile(live, org, c.Trigger, c.File, c.Options)
	if err != nil {
		return Result{}, err
	}
	if !run.Status.Final() {
		select {
		case run = <-w.final:
		case <-ctx.Done():
			if _, err := service.Cancel(live, org, run.ID, "user", "interrupted at the terminal"); err != nil {
				c.Log.InfoContext(live, "cancel came too late", "err", err)
			}
			run = <-w.final
		}
	}
	view, err := service.View(live, org, run.ID)
	return Result{view.Run, view.Stages, view.Artifacts}, err
}

// watcher passes on what happens and notes the end of the run.
type watcher struct {
	Show
	final chan pipeline.Run
}

func (w *watcher) RunChanged(run pipeline.Run) {
	w.Show.RunChanged(run)
	if !run.Status.Final() {
		return
	}
	select {
	case w.final <- run:
	default: // it is known
	}
}

// grace bounds how long a local command may take to stop.
const grace = 10 * time.Second

// hello is what this process says as a supervisor.
func hello() supervisor.Hello {
	return supervisor.Hello{
		Version: "local", Protocol: 1, Class: "process", BootID: fmt.Sprint(os.Getpid()),
		CPUs: runtime.NumCPU(), MemoryMB: supervisor.TotalMemoryMB(),
	}
}
