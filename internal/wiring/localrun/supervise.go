package localrun

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/pipeline/workspace"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// supervisors are the tasks of a local run: each a supervisor in a goroutine, with
// a folder of its own.
type supervisors struct {
	config  Config
	data    *folder
	scratch *supervisor.Scratch
	caches  *caches
	slots   chan struct{}
	opened  chan struct{} // closed when pool and poolErr are there

	service *pipeline.Service
	logs    *logKeeper
	pool    *workspace.Pool
	poolErr error
	group   sync.WaitGroup
	past    past
}

// atOnce bounds the stages that run at the same time: more only take memory and
// time from each other.
func atOnce() int { return max(16, 8*runtime.GOMAXPROCS(0)) }

func newSupervisors(c Config, data *folder) *supervisors {
	return &supervisors{
		config: c, data: data,
		scratch: supervisor.NewScratch(filepath.Join(data.work, "scratch")),
		caches:  &caches{dir: data.dir},
		slots:   make(chan struct{}, atOnce()),
		opened:  make(chan struct{}),
	}
}

// copyTree takes the snapshot, while the engine makes the run, and then looks into
// it, until nobody wants the run any more.
func (s *supervisors) copyTree(ctx, wanted context.Context) {
	if s.config.InPlace {
		close(s.opened)
		return
	}
	s.past.tree = func(component string) (workspace.Sum, error) { return s.look(wanted, component) }
	s.group.Go(func() {
		s.pool, s.poolErr = workspace.Open(ctx, s.data.work, s.config.Root, s.config.Git)
		close(s.opened)
		if _, err := s.past.tree(""); err != nil {
			s.config.Log.InfoContext(ctx, "nothing of this run can be reused", "err", err)
		}
	})
}

// run is one task: the supervisor of an attempt, to its end. Its context ends when
// the task is stopped.
func (s *supervisors) run(ctx context.Context, spec platform.TaskSpec) (exitCode int) {
	s.group.Add(1)
	defer s.group.Done()
	s.slots <- struct{}{}
	defer func() { <-s.slots }()
	err := s.supervise(ctx, spec)
	if err != nil && !errors.Is(err, supervisor.ErrSettled) {
		s.config.Log.ErrorContext(ctx, "attempt broke off", "attempt", spec.Token, "err", err)
		return 1
	}
	return 0
}

func (s *supervisors) supervise(ctx context.Context, spec platform.TaskSpec) error {
	name, err := pipeline.ParseJobName(spec.Job)
	if err != nil {
		return err
	}
	// Calls outlive the stop of the task: how it ended is still reported.
	attempt, err := s.service.Attempt(context.WithoutCancel(ctx), platform.System(organization, "supervisor"), name.Run, name.Key, name.Attempt)
	if err != nil {
		return err
	}
	control := &control{Attempt: attempt, all: s}
	_, err = supervisor.Run(ctx, control, supervisor.Options{
		Hello: hello(), Scratch: s.scratch, Env: s.config.Env, Log: s.config.Log,
	})
	if control.dir != "" {
		err = errors.Join(err, s.pool.Give(context.WithoutCancel(ctx), control.dir))
	}
	return err
}

// close waits for what is still under way, and leaves the folders for the next run.
func (s *supervisors) close() error {
	s.group.Wait()
	if s.pool == nil {
		return s.poolErr
	}
	return s.pool.Close()
}

// control is the engine as the supervisor of a local run sees it: objects are
// files, and the workspace is a copy of the tree.
type control struct {
	*pipeline.Attempt
	all *supervisors
	dir string // lent, "" for none
	job supervisor.Job
}

// Hello answers the job with a workspace that is ready.
func (c *control) Hello(ctx context.Context, hello supervisor.Hello) (supervisor.Job, error) {
	job, err := c.Attempt.Hello(ctx, hello)
	if err != nil {
		return job, err
	}
	c.job = job
	source := job.Source.Name != ""
	job.Source, job.Grace = supervisor.Object{}, grace
	switch {
	case c.all.config.InPlace:
		job.Workspace = c.all.config.Root
	case source: // without a checkout the supervisor makes an empty folder
		<-c.all.opened
		if err = c.all.poolErr; err == nil {
			c.dir, err = c.all.pool.Take(ctx)
		}
		job.Workspace = c.dir
	}
	if err != nil {
		return job, fmt.Errorf("workspace of %s: %w", job.Stage, err)
	}
	return job, nil
}

// Finish reports the result, and notes a success for the runs to come.
func (c *control) Finish(ctx context.Context, result supervisor.Result) error {
	err := c.Attempt.Finish(ctx, result)
	if err == nil && result.Reason == supervisor.ReasonOK {
		c.all.past.note(c.job, result)
	}
	return err
}
