package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// gated are several runs of one plan whose stages and runs wait for groups, a quota
// and people.
type gated struct {
	people []access.Caller
	groups []string // of the repository, by name

	mu   sync.Mutex
	runs []pipeline.RunID
}

// gatesTried are the seeds of one test: each is four runs.
const gatesTried = 12

// TestSimulationOfGates is TestSimulation for several runs that wait for one another
// and for people: what begins holds its places, every run ends, nothing stays held.
func TestSimulationOfGates(t *testing.T) {
	t.Parallel()
	tried := seeds(t)
	if os.Getenv(seedsVariable) == "" {
		tried = tried[:min(len(tried), gatesTried)]
	}
	for _, seed := range tried {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { simulateGates(t, seed) })
			if t.Failed() {
				t.Logf("again: %s=%d go test -run TestSimulationOfGates ./internal/pipeline; keep the seed as a file in %s", seedVariable, seed, seedsFolder)
			}
		})
	}
}

func simulateGates(t *testing.T, seed uint64) {
	s := &simulation{
		t: t, random: &dice{Rand: rand.New(rand.NewPCG(seed, 1))}, org: platform.System("acme", "test"), begun: map[string]int{}, gates: &gated{},
	}
	s.plan = newPlan(s.random)
	s.closeGates()
	ctx, stop := context.WithCancel(t.Context())
	s.build(ctx)
	s.gates.people = s.persons(ctx)
	if s.random.chance(50) {
		if _, err := s.sure.SetQuota(ctx, s.org, pipeline.Quota{Runs: 3, Stages: 2}); err != nil {
			t.Fatal(err)
		}
	}
	s.group.Go(func() {
		if err := s.flow.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	s.group.Go(func() {
		if err := s.home.Feed.Consume(ctx, "pipeline-outbox", s.outbox); err != nil {
			t.Error(err)
		}
	})
	s.group.Go(func() { s.sweep(ctx) })
	s.group.Go(func() { s.approve(ctx) })
	for _, view := range s.runAllToEnd(ctx) {
		s.check(ctx, view)
	}
	s.checkGroups(ctx)
	stop()
	s.group.Wait()
	if t.Failed() {
		t.Logf("the file:\n%s%s", s.plan.text(), strings.Join(s.notes, "\n"))
	}
}

// closeGates gives the plan groups and approvals.
func (s *simulation) closeGates() {
	s.random.mu.Lock()
	defer s.random.mu.Unlock()
	for i, st := range s.plan.stages {
		if st.cells == 0 && s.random.IntN(2) == 0 {
			st.group = fmt.Sprintf("g%d", s.random.IntN(2))
			st.gates += fmt.Sprintf("    concurrency %q limit=%d\n", st.group, 1+int(st.group[1]-'0'))
		}
		if i%3 == 0 && s.random.IntN(2) == 0 {
			st.gates += fmt.Sprintf("    approval count=%d timeout=\"30d\"\n", 1+s.random.IntN(2))
		}
	}
	switch s.random.IntN(3) {
	case 0: // a name in the middle, so that the run takes some groups of its stages too
		s.plan.head = "concurrency \"g05\" limit=2\n"
	case 1:
		s.plan.head, s.plan.cancel = "concurrency \"g05\" mode=\"cancel-older\"\n", true
	}
	s.gates.groups = []string{"g0", "g05", "g1"}
}

// persons are three tokens.
func (s *simulation) persons(ctx context.Context) []access.Caller {
	s.t.Helper()
	creds := access.NewCredentials(s.home.Table, s.home.Keys, s.home.Clock, s.home.IDs)
	var list []access.Caller
	for i := range 3 {
		_, token, err := creds.Issue(ctx, s.org, access.Token{Name: fmt.Sprintf("p%d", i), Role: access.Developer})
		if err != nil {
			s.t.Fatal(err)
		}
		caller, err := creds.Again(ctx, s.org, access.KindToken+"/"+token.ID)
		if err != nil {
			s.t.Fatal(err)
		}
		list = append(list, caller)
	}
	return list
}

// holds is what of its places a stage lacks that begins.
func (g *gated) holds(s *simulation, job supervisor.Job) string {
	if g == nil {
		return ""
	}
	st, _ := s.plan.find(job.Stage)
	if st.group == "" {
		return ""
	}
	place := "slot " + job.Run + " " + job.StageKey
	for _, scope := range []string{"repository/r1", "run/" + job.Run} {
		for _, row := range groupRows(s.t, s.home.Table, s.org, scope, st.group) {
			if row == place {
				return ""
			}
		}
	}
	return "it holds no place of " + st.group
}

// approve agrees to whatever waits for people, one after the other.
func (s *simulation) approve(ctx context.Context) {
	for s.home.Clock.Sleep(ctx, 3*time.Second) == nil {
		s.gates.mu.Lock()
		runs := s.gates.runs
		s.gates.mu.Unlock()
		for _, run := range runs {
			view, err := s.sure.View(ctx, s.org, run)
			if err != nil {
				continue
			}
			for _, st := range view.Stages {
				if len(st.Waits) > 0 && st.Waits[0].Kind == "approval" {
					who := s.gates.people[int(s.random.upTo(3))]
					err := s.surviving(func() error {
						_, err := s.service.Approve(ctx, who, run, string(st.Key), pipeline.Decision{})
						return err
					})
					if err != nil && !problem.Is(err, problem.Conflict) {
						s.note("approve", err)
					}
				}
			}
		}
	}
}

// runAllToEnd starts runs one after the other, cancels the first of some, and waits
// for all of them.
func (s *simulation) runAllToEnd(ctx context.Context) []pipeline.View {
	s.t.Helper()
	file := load(s.t, s.plan.text())
	const many = 4
	for i := range many {
		var run pipeline.Run
		err := s.patiently(ctx, func() (err error) {
			run, err = s.service.StartFile(ctx, s.org, commit("main", i), file, pipeline.Options{})
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
		s.gates.mu.Lock()
		s.gates.runs = append(s.gates.runs, run.ID)
		s.gates.mu.Unlock()
		if err := s.home.Clock.Sleep(ctx, s.random.upTo(20*time.Second)); err != nil {
			s.t.Fatal(err)
		}
	}
	if s.plan.cancel {
		err := s.surviving(func() error { _, err := s.service.Cancel(ctx, s.org, s.gates.runs[1], "user", ""); return err })
		if err != nil && !errors.Is(err, errKilled) {
			s.note("cancel", err)
		}
	}
	final := func(v pipeline.View) bool { return v.Status.Final() }
	for _, run := range s.gates.runs {
		s.await(ctx, run, 8*time.Hour, final)
	}
	s.mu.Lock()
	s.calm = s.home.Clock.Now()
	s.mu.Unlock()
	if err := s.home.Clock.Sleep(ctx, 15*time.Minute); err != nil { // whatever is late comes
		s.t.Fatal(err)
	}
	var views []pipeline.View
	for _, run := range s.gates.runs {
		views = append(views, s.await(ctx, run, time.Second, final))
	}
	return views
}

// checkGroups wants nothing held, and nobody waiting.
func (s *simulation) checkGroups(ctx context.Context) {
	s.t.Helper()
	look := map[string][]string{"repository/r1": s.gates.groups, "quota": {"runs", "stages"}}
	for _, run := range s.gates.runs {
		look["run/"+string(run)] = s.gates.groups
	}
	for scope, names := range look {
		for _, name := range names {
			if left := groupRows(s.t, s.home.Table, s.org, scope, name); len(left) > 0 {
				s.t.Errorf("%s %s: %v", scope, name, left)
			}
		}
	}
	if ctx.Err() != nil {
		s.t.Error(ctx.Err())
	}
}
