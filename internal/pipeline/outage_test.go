package pipeline_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/fault"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// A task that lives and is silent is waited for; one that is gone is not.
func TestHeartbeatOfLivingTaskIsInspected(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := shelterOf(t, oneStage)
		a := s.hello()
		time.Sleep(5 * time.Minute)
		if st := s.stage(); st.Status != pipeline.StageRunning || st.Attempt != 1 {
			t.Fatalf("after five silent minutes it is %s, attempt %d", st.Status, st.Attempt)
		}
		if err := a.Finish(t.Context(), ok); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		expect(t, s.view(), pipeline.Succeeded, "a succeeded")
		s.end()
	})
}

// The attempt of a task that is gone is over within 90 seconds, and made again.
func TestHeartbeatOfDeadTaskEndsTheAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := shelterOf(t, oneStage)
		s.hello()
		if err := s.home.Tasks.Stop(t.Context(), "memory/"+s.name(s.stage().Key, 1), 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Second)
		if st := s.stage(); st.Attempt != 2 || !strings.Contains(st.Why+st.Reason, "heartbeat") && st.Status != pipeline.StageStarting {
			t.Errorf("after 90 s it is %s, attempt %d (%s %s)", st.Status, st.Attempt, st.Reason, st.Why)
		}
		s.end()
	})
}

// A home that sees tasks die need not wait for a heartbeat; one that says so of an
// attempt that is over, or of a run that nobody knows, is not minded.
func TestTaskEndedIsTheEndOfItsAttempt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := shelterOf(t, oneStage)
		s.hello()
		key := s.stage().Key
		job := pipeline.JobName(s.org.ID(), s.run.ID, key, 1)
		if err := s.service.TaskEnded(t.Context(), job); err != nil || s.stage().Attempt != 1 {
			t.Errorf("a task that lives: %v, %s, attempt %d", err, s.stage().Status, s.stage().Attempt)
		}
		if err := s.home.Tasks.Stop(t.Context(), "memory/"+s.name(key, 1), 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for range 2 {
			if err := s.service.TaskEnded(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if st := s.stage(); st.Status != pipeline.StageQueued || st.Attempt != 2 {
				t.Errorf("it is %s, attempt %d", st.Status, st.Attempt)
			}
		}
		if err := s.service.TaskEnded(t.Context(), pipeline.JobName(s.org.ID(), "nobody", key, 1)); err != nil {
			t.Errorf("a run that nobody knows: %v", err)
		}
		s.end()
	})
}

// atToken does something just before a token is stored for the nth time.
type atToken struct {
	platform.Table
	mu    sync.Mutex
	nth   int
	first func()
}

func (a *atToken) Transact(ctx context.Context, token string, actions ...platform.Action) error {
	for _, action := range actions {
		update, is := action.(platform.Update)
		if is && update.Set["token"] != nil {
			a.mu.Lock()
			a.nth--
			now := a.nth == 0
			a.mu.Unlock()
			if now {
				a.first()
			}
		}
	}
	return a.Table.Transact(ctx, token, actions...)
}

// A start that is repeated replaces the token. A result that comes in between has
// completed the old one: the start sees it, and completes the new one.
func TestTokenReplacedOnRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s *shelter
		table, made := &atToken{nth: 2}, make(chan struct{})
		table.first = func() {
			<-made
			if err := s.hello().Finish(t.Context(), ok); err != nil {
				t.Error(err)
			}
		}
		s = shelterOf(t, oneStage, func(_ *shelter, home *platform.Home, _ *pipeline.Parts) {
			table.Table = home.Table
			nth := fault.At(1, fault.After, platform.ErrThrottled)
			home.Table, home.Tasks = table, fault.Tasks(home.Tasks, nth.Plan)
		})
		close(made)
		time.Sleep(10 * time.Second) // less than a heartbeat
		expect(t, s.view(), pipeline.Succeeded, "a succeeded")
		s.end()
	})
}

// Whoever creates a run is killed before and after each of its writes; called again,
// and with a sweeper, there is one run, and it ends.
func TestKilledWhileCreatingARun(t *testing.T) {
	t.Parallel()
	const file = "pipeline \"p\"\nstage \"a\" { run \"true\"; }\nstage \"b\" needs=\"a\" { run \"true\"; }\n"
	for _, phase := range []fault.Phase{fault.Before, fault.After} {
		for n, fired := 1, true; fired; n++ {
			synctest.Test(t, func(t *testing.T) {
				s := shelterOf(t, "")
				nth := fault.At(n, phase, fault.ErrCrash)
				home := s.home.Home
				home.Table, home.Blobs, home.Flow = fault.Table(home.Table, nth.Plan), fault.Blobs(home.Blobs, nth.Plan), fault.Flow(home.Flow, nth.Plan)
				killed := pipeline.New(home, s.service.Parts)
				start := func(service *pipeline.Service) {
					var err error
					if s.run, err = service.StartFile(t.Context(), s.org, push("main"), load(t, file), pipeline.Options{}); err != nil {
						t.Fatal(err)
					}
				}
				crashed := fault.Survive(func() { start(killed) })
				if fired = nth.Fired(); crashed != fired {
					t.Fatalf("crashed %v, fired %v", crashed, fired)
				}
				start(s.service)
				for range 30 { // outbox rows are due after 15 s
					time.Sleep(time.Second)
					s.sweep()
				}
				view := s.view()
				if view.Status != pipeline.Running || statuses(view) != "a starting, b blocked" {
					t.Errorf("killed %s call %d: %s, %s", phase, n, view.Status, statuses(view))
				}
				runs, _, err := s.service.List(t.Context(), s.org, pipeline.Selection{}, 10, "")
				if err != nil || len(runs) != 1 {
					t.Errorf("killed %s call %d: %d runs, %v", phase, n, len(runs), err)
				}
				s.end()
			})
		}
	}
}

// widest remembers the longest transaction.
type widest struct {
	platform.Table
	mu   sync.Mutex
	most int
}

func (w *widest) Transact(ctx context.Context, token string, actions ...platform.Action) error {
	w.mu.Lock()
	w.most = max(w.most, len(actions))
	w.mu.Unlock()
	return w.Table.Transact(ctx, token, actions...)
}

func TestFanOf256InTransactionsOf100(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var file strings.Builder
		file.WriteString(oneStage)
		for i := range 256 {
			fmt.Fprintf(&file, "stage \"d%d\" needs=\"a\" { run \"true\"; }\n", i)
		}
		table := &widest{}
		s := shelterOf(t, file.String(), func(_ *shelter, home *platform.Home, _ *pipeline.Parts) { table.Table, home.Table = home.Table, table })
		if err := s.hello().Finish(t.Context(), supervisor.Result{V: 1, Reason: "exit", ExitCode: 1}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		view := s.view()
		if got := strings.Count(statuses(view), "skipped need-failed"); view.Status != pipeline.Failed || got != 256 {
			t.Errorf("%s, %d stages skipped", view.Status, got)
		}
		if table.most > 100 || table.most < 90 {
			t.Errorf("the longest transaction had %d rows", table.most)
		}
		s.end()
	})
}

// A sweeper that comes back with its home gives each status its time again: who
// moves it on was away too.
func TestServerDownThreeMinutes(t *testing.T) {
	t.Parallel()
	for name, reach := range map[string]func(s *shelter){
		"starting": func(*shelter) {},
		"running":  func(s *shelter) { s.hello() },
		"reported": func(s *shelter) {
			a := s.hello()
			s.lose(pipeline.StageMachine)
			if err := a.Finish(s.t.Context(), ok); err != nil {
				s.t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := shelterOf(t, oneStage)
				if reach(s); string(s.stage().Status) != name {
					t.Fatalf("the test reached %s", s.stage().Status)
				}
				time.Sleep(3 * time.Minute)
				before := s.rows()
				parts := s.service.Parts
				parts.Since = time.Now()
				back := pipeline.New(s.home.Home, parts)
				if err := back.Sweep(t.Context()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if now := s.rows(); now != before {
					t.Errorf("ended by silence:\n%s\nwas\n%s", now, before)
				}
				s.end()
			})
		})
	}
}

// Payloads of the version before are understood, those of a later one refused.
func TestOldExecutionOnNewVersion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := shelterOf(t, oneStage)
		graph, err := s.home.Table.Get(t.Context(), s.org.Partition("run", string(s.run.ID)).Row("run"))
		if err != nil {
			t.Fatal(err)
		}
		payload := func(v int) []byte { // as it was before cancel-stages was told the error
			return fmt.Appendf(nil, `{"v":%d,"op":"cancel-stages","org":%q,"run":%q,"graph":%q}`, v, s.org.ID(), s.run.ID, graph.Text("graph"))
		}
		if _, err := s.service.Function(t.Context(), payload(2)); err == nil {
			t.Error("a payload of a later version was taken")
		}
		if _, err := s.service.Function(t.Context(), payload(0)); err != nil {
			t.Fatal(err)
		}
		if view := s.view(); view.Status != pipeline.Canceling || view.Reason != "timeout" {
			t.Errorf("%s, %s", view.Status, view.Reason)
		}
		s.end()
	})
}

// slowUpload holds what is uploaded of an artifact until it is let go.
type slowUpload struct {
	platform.Blobs
	begun chan struct{}
	let   chan struct{}
	once  sync.Once
}

func (b *slowUpload) Create(ctx context.Context, key platform.BlobKey, body io.ReadSeeker) (platform.ETag, error) {
	if strings.Contains(key.String(), "objects") {
		b.once.Do(func() { close(b.begun) })
		select {
		case <-b.let:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return b.Blobs.Create(ctx, key, body)
}

// A cancel that comes while artifacts go up ends the run as canceled, and what the
// stage says of itself is either that it was done before it heard, or canceled.
func TestCancelDuringUpload(t *testing.T) {
	t.Parallel()
	blobs := &slowUpload{begun: make(chan struct{}), let: make(chan struct{})}
	w := newWorld(t, func(_ *world, home *platform.Home) { blobs.Blobs, home.Blobs = home.Blobs, blobs })
	run := w.begin(`pipeline "p"
stage "make" { artifact "bin" path="x"; run "echo made > x"; }
stage "next" needs="make" { fetch "bin" to="in"; run "true"; }
`)
	<-blobs.begun
	if _, err := w.service.Cancel(t.Context(), w.org, run.ID, "user", ""); err != nil {
		t.Fatal(err)
	}
	w.await("make canceling")
	close(blobs.let)
	view := w.end(run)
	if view.Status != pipeline.Canceled || view.Stages[1].Status != pipeline.StageCanceled {
		t.Errorf("%s: %s", view.Status, statuses(view))
	}
	switch done := view.Stages[0].Status; {
	case done == pipeline.StageSucceeded && len(view.Artifacts) == 1:
	case done == pipeline.StageCanceled && len(view.Artifacts) == 0:
	default:
		t.Errorf("make is %s and has left %d artifacts", done, len(view.Artifacts))
	}
}
