package pipeline_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/supervisor"
	"github.com/buildit-dev/buildit/statemachines"
)

// shelter is a home in memory under a clock that jumps, in which nobody moves a run
// on but the test: tasks live and say nothing, the executions can be lost.
type shelter struct {
	t       *testing.T
	home    *memory.Home
	service *pipeline.Service
	org     platform.Org
	run     pipeline.Run
	end     func()
}

// shelterOf makes a shelter and starts a run of the file there, if one is
// given.
func shelterOf(t *testing.T, file string, change ...func(*shelter, *platform.Home, *pipeline.Parts)) *shelter {
	t.Helper()
	s := &shelter{t: t, org: platform.System("acme", "test")}
	ctx, stop := context.WithCancel(t.Context())
	silent := func(ctx context.Context, _ platform.TaskSpec) int { <-ctx.Done(); return 1 }
	var err error
	if s.home, err = memory.New(ctx, memory.Options{Machines: statemachines.All(), Task: silent}); err != nil {
		t.Fatal(err)
	}
	home := s.home.Home
	parts := pipeline.Parts{Log: slog.New(slog.DiscardHandler), Logs: pipeline.NewLogStore(home.Blobs)}
	for _, c := range change {
		c(s, &home, &parts)
	}
	s.service = pipeline.New(home, parts)
	s.home.SetFunctions(map[string]platform.Function{"pipeline": s.service.Function})
	var group sync.WaitGroup
	group.Go(func() {
		if err := s.home.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	s.end = func() { // before the bubble ends: tasks are goroutines of it
		for _, st := range s.view().Stages {
			for attempt := range st.Attempt {
				if err := s.home.Tasks.Stop(ctx, "memory/"+s.name(st.Key, attempt+1), 0); err != nil {
					t.Error(err)
				}
			}
		}
		stop()
		group.Wait()
	}
	if file == "" {
		return s
	}
	if s.run, err = s.service.StartFile(ctx, s.org, push("main"), load(t, file), pipeline.Options{}); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return s
}

func (s *shelter) view() pipeline.View {
	s.t.Helper()
	view, err := s.service.View(s.t.Context(), s.org, s.run.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	return view
}

func (s *shelter) stage() pipeline.Stage { s.t.Helper(); return s.view().Stages[0] }

// name is that of an attempt's execution, and its task's token.
func (s *shelter) name(key pipeline.StageKey, attempt int) string {
	return string(s.run.ID) + "-" + string(key) + "-0" + string(rune('0'+attempt))
}

// lose ends the executions as nothing else does: no state of them runs any more.
func (s *shelter) lose(machine string) {
	s.t.Helper()
	name := string(s.run.ID)
	if machine == pipeline.StageMachine {
		name = s.name(s.stage().Key, 1)
	}
	if err := s.home.Flow.Stop(s.t.Context(), machine, name, "Lost", ""); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shelter) attempt() *pipeline.Attempt {
	s.t.Helper()
	a, err := s.service.Attempt(s.t.Context(), s.org, s.run.ID, s.stage().Key, s.stage().Attempt)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *shelter) hello() *pipeline.Attempt {
	s.t.Helper()
	a := s.attempt()
	if _, err := a.Hello(s.t.Context(), supervisor.Hello{BootID: "one"}); err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *shelter) cancel() {
	s.t.Helper()
	if _, err := s.service.Cancel(s.t.Context(), s.org, s.run.ID, "user", ""); err != nil {
		s.t.Fatal(err)
	}
	synctest.Wait()
}

func (s *shelter) sweep() {
	s.t.Helper()
	if err := s.service.Sweep(s.t.Context()); err != nil {
		s.t.Error(err)
	}
}

// rows are those of the run, as they are.
func (s *shelter) rows() string {
	s.t.Helper()
	view := s.view()
	text := string(view.Status) + ": " + statuses(view)
	partition := s.org.Partition("run", string(s.run.ID))
	page, err := s.home.Table.Query(s.t.Context(), platform.Query{Partition: partition, Prefix: partition.Rows("event")})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, row := range page.Rows {
		text += "\n" + row.Key.SK()
	}
	return text
}

// TestSweep leaves a run or a stage in each status in which somebody owes it a step,
// loses who that is, and wants the sweeper to touch nothing in time, and to end it or
// drive it on after its deadline.
func TestSweep(t *testing.T) {
	t.Parallel()
	stageIs := func(status pipeline.StageStatus) func(pipeline.View) bool {
		return func(v pipeline.View) bool { return v.Stages[0].Status == status }
	}
	runIs := func(status pipeline.Status) func(pipeline.View) bool {
		return func(v pipeline.View) bool { return v.Status == status }
	}
	again := func(v pipeline.View) bool { return v.Stages[0].Attempt == 2 }
	for name, tt := range map[string]struct {
		file     string
		at       string // the status that is reached: the run's, and the stage's
		reach    func(s *shelter)
		deadline time.Duration
		want     func(pipeline.View) bool
	}{
		"queued": {
			at: "running queued", deadline: 2 * time.Minute, want: again,
			reach: func(s *shelter) { s.lose(pipeline.StageMachine) },
		},
		"starting": {
			at: "running starting", deadline: 2 * time.Minute, want: again,
			reach: func(s *shelter) { s.lose(pipeline.StageMachine) },
		},
		"running": {
			at: "running running", deadline: time.Hour + 15*time.Minute, want: stageIs(pipeline.StageTimedOut),
			reach: func(s *shelter) { s.hello(); s.lose(pipeline.StageMachine) },
		},
		"finishing": {
			at: "running finishing", deadline: 15 * time.Minute, want: again,
			reach: func(s *shelter) {
				if _, err := s.hello().Beat(s.t.Context(), supervisor.Beat{Phase: "finish"}); err != nil {
					s.t.Fatal(err)
				}
				s.lose(pipeline.StageMachine)
			},
		},
		"canceling": {
			at: "canceling canceling", deadline: 50 * time.Second, want: stageIs(pipeline.StageCanceled),
			reach: func(s *shelter) { s.hello(); s.lose(pipeline.StageMachine); s.cancel() },
		},
		"reported": {
			at: "running reported", deadline: 2 * time.Minute, want: stageIs(pipeline.StageSucceeded),
			reach: func(s *shelter) {
				a := s.hello()
				s.lose(pipeline.StageMachine)
				if err := a.Finish(s.t.Context(), ok); err != nil {
					s.t.Fatal(err)
				}
			},
		},
		"gated": {
			file: `pipeline "p"
stage "m" { matrix max-parallel=1 fail-fast=false { v "1" "2"; }; run "true"; }
`,
			at: "running running", deadline: time.Hour + 15*time.Minute, // of the cell that has the slot
			want:  func(v pipeline.View) bool { return v.Stages[1].Status == pipeline.StageStarting },
			reach: func(s *shelter) { s.hello(); s.lose(pipeline.StageMachine) },
		},
		"run created": {
			at: "created", deadline: 5 * time.Minute, want: runIs(pipeline.Errored),
		},
		"run running": {
			file: `pipeline "p" { timeout "10m"; }
stage "a" { run "true"; }
stage "b" needs="a" { run "true"; }
`,
			at: "running running", deadline: 10 * time.Minute, want: runIs(pipeline.TimedOut),
			reach: func(s *shelter) { s.hello(); s.lose(pipeline.RunMachine) },
		},
		"run that is over and was not closed": {
			at: "running succeeded", deadline: 2 * time.Minute, want: runIs(pipeline.Succeeded),
			reach: func(s *shelter) {
				a := s.hello()
				s.lose(pipeline.RunMachine)
				if err := a.Finish(s.t.Context(), ok); err != nil {
					s.t.Fatal(err)
				}
				synctest.Wait()
			},
		},
		"run canceling": {
			at: "canceling canceling", deadline: 50 * time.Second, want: runIs(pipeline.Canceled),
			reach: func(s *shelter) { s.hello(); s.cancel(); s.lose(pipeline.RunMachine); s.lose(pipeline.StageMachine) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				if tt.file == "" {
					tt.file = oneStage
				}
				s := stuck(t, name, tt.file)
				if tt.reach != nil {
					tt.reach(s)
				}
				at := string(s.view().Status)
				if len(s.view().Stages) > 0 {
					at += " " + string(s.stage().Status)
				}
				if at != tt.at {
					t.Fatalf("the test reached %q, not %q", at, tt.at)
				}
				before := s.rows()
				s.sweep()
				time.Sleep(tt.deadline - 10*time.Second)
				s.sweep()
				if now := s.rows(); now != before {
					t.Errorf("in time, and touched:\n%s\nwas\n%s", now, before)
				}
				for until := time.Now().Add(20 * time.Minute); !tt.want(s.view()); time.Sleep(time.Second) {
					if s.sweep(); time.Now().After(until) {
						t.Fatalf("still %s", s.rows())
					}
				}
				s.end()
			})
		})
	}
}

// stuck is a shelter with a run that is on its way to where the case wants it.
func stuck(t *testing.T, name, file string) *shelter {
	t.Helper()
	switch name {
	case "run created": // its file never comes
		s := shelterOf(t, "")
		trigger := push("main")
		run, err := s.service.Start(t.Context(), s.org, trigger)
		if err == nil {
			t.Fatal("a trigger without files was started")
		}
		s.run = run
		return s
	case "queued":
		return shelterOf(t, file, func(_ *shelter, home *platform.Home, _ *pipeline.Parts) { home.Tasks = full{home.Tasks} })
	}
	return shelterOf(t, file)
}

// full is a home without room for a task.
type full struct{ platform.Tasks }

func (full) Run(context.Context, platform.TaskSpec) (string, error) {
	return "", platform.ErrThrottled
}
