package localrun

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/pipeline/workspace"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// tasks runs supervisors as goroutines: it is the task port of a local run.
type tasks struct {
	live    context.Context
	config  Config
	data    *folder
	service *pipeline.Service
	scratch *supervisor.Scratch
	slots   chan struct{}
	tree    chan taken // the snapshot, once it is made

	mu      sync.Mutex
	running map[string]*task
	group   sync.WaitGroup
}

type taken struct {
	snapshot *workspace.Snapshot
	err      error
}

type task struct {
	stop    context.CancelFunc
	started time.Time
	stopped time.Time
	over    bool
}

// atOnce bounds the stages that run at the same time: more only take memory and
// time from each other.
func atOnce() int { return max(16, 8*runtime.GOMAXPROCS(0)) }

func newTasks(c Config, data *folder) *tasks {
	return &tasks{
		config: c, data: data,
		scratch: supervisor.NewScratch(filepath.Join(data.work, "scratch")),
		slots:   make(chan struct{}, atOnce()),
		tree:    make(chan taken, 1),
		running: make(map[string]*task),
	}
}

// begin names the service that attempts belong to, and begins to copy the tree,
// while the engine makes the run. Supervisors live as long as live.
func (t *tasks) begin(live context.Context, service *pipeline.Service) {
	t.live, t.service = live, service
	if t.config.InPlace {
		return
	}
	go func() {
		snapshot, err := workspace.Take(live, t.config.Root, t.config.Git, filepath.Join(t.data.work, "snapshot"))
		t.tree <- taken{snapshot, err}
	}()
}

// Run starts the supervisor of an attempt, once for each token.
func (t *tasks) Run(_ context.Context, spec platform.TaskSpec) (string, error) {
	name, err := pipeline.ParseJobName(spec.Job)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.running[spec.Token] != nil {
		return spec.Token, nil
	}
	ctx, stop := context.WithCancel(t.live)
	one := &task{stop: stop, started: time.Now()}
	t.running[spec.Token] = one
	t.group.Go(func() {
		t.slots <- struct{}{}
		defer func() { <-t.slots }()
		defer stop()
		if err := t.supervise(ctx, name, spec.Token); err != nil && !errors.Is(err, supervisor.ErrSettled) {
			t.config.Log.ErrorContext(t.live, "attempt broke off", "attempt", spec.Token, "err", err)
		}
		t.mu.Lock()
		one.over, one.stopped = true, time.Now()
		t.mu.Unlock()
	})
	return spec.Token, nil
}

func (t *tasks) supervise(ctx context.Context, name pipeline.LogName, token string) error {
	attempt, err := t.service.Attempt(t.live, platform.System(organization, "supervisor"), name.Run, name.Key, name.Attempt)
	if err != nil {
		return err
	}
	control := &control{Attempt: attempt, tasks: t, dir: filepath.Join(t.data.work, token)}
	_, err = supervisor.Run(ctx, control, supervisor.Options{
		Hello: hello(), Scratch: t.scratch, Env: t.config.Env, Log: t.config.Log,
	})
	return err
}

// Stop tells a supervisor to end its commands.
func (t *tasks) Stop(_ context.Context, id string, _ time.Duration) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one := t.running[id]; one != nil {
		one.stop()
	}
	return nil
}

// Describe tells what became of a supervisor.
func (t *tasks) Describe(_ context.Context, id string) (platform.Task, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.running[id]
	if one == nil {
		return platform.Task{}, fmt.Errorf("task %s: %w", id, platform.ErrGone)
	}
	seen := platform.Task{ID: id, Status: platform.TaskRunning, Started: one.started, Stopped: one.stopped}
	if one.over {
		seen.Status, seen.Reason = platform.TaskStopped, "exit"
	}
	return seen, nil
}

// wait returns when every supervisor has ended.
func (t *tasks) wait() { t.group.Wait() }

// control is the engine as the supervisor of a local run sees it: objects are
// files, and the workspace is a copy of the tree.
type control struct {
	*pipeline.Attempt
	tasks *tasks
	dir   string
}

// Hello answers the job with a workspace that is ready.
func (c *control) Hello(ctx context.Context, hello supervisor.Hello) (supervisor.Job, error) {
	job, err := c.Attempt.Hello(ctx, hello)
	if err != nil {
		return job, err
	}
	source := job.Source.Name != ""
	job.Source, job.Workspace, job.Grace = supervisor.Object{}, c.dir, grace
	switch {
	case c.tasks.config.InPlace:
		job.Workspace = c.tasks.config.Root
	case source:
		err = c.tasks.fill(ctx, c.dir)
	default:
		err = os.Mkdir(c.dir, 0o755)
	}
	if err != nil {
		return job, fmt.Errorf("workspace of %s: %w", job.Stage, err)
	}
	return job, nil
}

// fill makes a copy of the tree, once that is taken.
func (t *tasks) fill(ctx context.Context, dir string) error {
	tree := <-t.tree
	t.tree <- tree
	if tree.err != nil {
		return tree.err
	}
	return tree.snapshot.Fill(ctx, dir)
}
