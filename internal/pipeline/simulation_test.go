package pipeline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/fault"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/supervisor"
	"github.com/buildit-dev/buildit/statemachines"
)

// BUILDIT_SEEDS is how many seeds are tried, BUILDIT_SEED the only one.
const (
	seedsVariable = "BUILDIT_SEEDS"
	seedVariable  = "BUILDIT_SEED"
	seedsTried    = 50
	seedsFolder   = "testdata/seeds" // files named after the seeds that found a mistake; they are tried for ever
)

// simulation is a home in memory, under a clock that jumps, with ports that fail as
// a seed has it, tasks that are told what to do, a feed that repeats and loses, and
// a sweeper.
type simulation struct {
	t       *testing.T
	random  *dice
	plan    *plan
	home    platform.Home // its ports never fail
	sure    *pipeline.Service
	service *pipeline.Service
	flow    *memory.Home
	org     platform.Org

	gates *gated // what holds the runs of a simulation of gates
	mu    sync.Mutex
	calm  time.Time      // from then on there are no faults
	begun map[string]int // how often the commands of an attempt have begun
	early []string       // stages that began before their needs allowed it
	dead  []string       // jobs of tasks that died without a word
	notes []string
	group sync.WaitGroup
}

// dice are random numbers for many goroutines.
type dice struct {
	mu sync.Mutex
	*rand.Rand
}

func (d *dice) chance(percent float64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.Float64()*100 < percent
}

func (d *dice) upTo(most time.Duration) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return time.Duration(d.Int64N(int64(most)))
}

// TestSimulation runs random graphs on ports that fail, and wants each run to end as
// a naive reading of its file has it, each attempt to begin once, no stage before its
// needs, and only the steps of the tables.
func TestSimulation(t *testing.T) {
	t.Parallel()
	for _, seed := range seeds(t) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { simulate(t, seed) })
			if t.Failed() {
				t.Logf("again: %s=%d go test -run TestSimulation ./internal/pipeline; keep the seed as a file in %s", seedVariable, seed, seedsFolder)
			}
		})
	}
}

func seeds(t *testing.T) []uint64 {
	t.Helper()
	number := func(text string) uint64 {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if one := os.Getenv(seedVariable); one != "" {
		return []uint64{number(one)}
	}
	kept, err := os.ReadDir(seedsFolder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	var all []uint64
	for _, file := range kept {
		all = append(all, number(file.Name()))
	}
	many := uint64(seedsTried)
	if text := os.Getenv(seedsVariable); text != "" {
		many = number(text)
	}
	first := rand.Uint64N(1 << 40)
	for i := range many {
		all = append(all, first+i)
	}
	return all
}

func simulate(t *testing.T, seed uint64) {
	s := &simulation{
		t: t, random: &dice{Rand: rand.New(rand.NewPCG(seed, 0))}, org: platform.System("acme", "test"), begun: map[string]int{},
	}
	s.plan = newPlan(s.random)
	ctx, stop := context.WithCancel(t.Context())
	s.build(ctx)
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
	view := s.runToEnd(ctx)
	s.check(ctx, view)
	stop()
	s.group.Wait()
	if t.Failed() {
		t.Logf("the file:\n%s%s", s.plan.text(), strings.Join(s.notes, "\n"))
	}
}

func (s *simulation) build(ctx context.Context) {
	var err error
	s.flow, err = memory.New(ctx, memory.Options{Machines: patientMachines(), Task: s.supervise})
	if err != nil {
		s.t.Fatal(err)
	}
	s.home = s.flow.Home
	failing := s.home
	failing.Table, failing.Flow, failing.Tasks = fault.Table(s.home.Table, s.fault), fault.Flow(s.home.Flow, s.fault), fault.Tasks(s.home.Tasks, s.fault)
	parts := pipeline.Parts{Log: slog.New(slog.DiscardHandler), Logs: pipeline.NewLogStore(s.home.Blobs)}
	s.sure, s.service = pipeline.New(s.home, parts), pipeline.New(failing, parts)
	s.flow.SetFunctions(map[string]platform.Function{"pipeline": s.function})
}

// function is what the state machines call: some calls come once more, and late, as
// a service does that promises them at least once.
func (s *simulation) function(ctx context.Context, payload json.RawMessage) (json.RawMessage, error) {
	if !s.isCalm() && s.random.chance(3) {
		late := context.WithoutCancel(ctx)
		s.group.Go(func() {
			if s.home.Clock.Sleep(late, s.random.upTo(20*time.Second)) == nil {
				fault.Survive(func() {
					if _, err := s.service.Function(late, payload); err != nil {
						s.note("a late call", err)
					}
				})
			}
		})
	}
	return s.service.Function(ctx, payload)
}

// note keeps an error that the test expects, for when something else goes wrong.
func (s *simulation) note(what string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notes = append(s.notes, what+": "+err.Error())
}

// patientMachines are ours, with more repeats: ports fail here far more often than a
// run survives.
func patientMachines() map[string][]byte {
	all := map[string][]byte{}
	for name, machine := range statemachines.All() {
		all[name] = bytes.ReplaceAll(machine, []byte(`"MaxAttempts": 6`), []byte(`"MaxAttempts": 60`))
	}
	return all
}

// fault is what happens to a call: it fails before it is done, or after, is done
// twice, takes long, or is the last of who made it.
func (s *simulation) fault(ctx context.Context, call fault.Call) error {
	switch {
	case s.isCalm():
	case s.random.chance(1.5):
		return fmt.Errorf("%s of %s: %w", call.Method, call.Port, platform.ErrThrottled)
	case call.Phase == fault.Before && s.random.chance(0.5):
		return fault.ErrAgain
	case s.random.chance(0.3):
		return fault.ErrCrash
	case s.random.chance(1):
		return s.home.Clock.Sleep(ctx, s.random.upTo(2*time.Second))
	}
	return nil
}

func (s *simulation) isCalm() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.calm.IsZero()
}

// settled tells whether what failed has had time to be repeated.
func (s *simulation) settled() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.calm.IsZero() && s.home.Clock.Now().Sub(s.calm) > 5*time.Minute
}

// outbox is the feed's consumer, with changes that come twice, or not at all.
func (s *simulation) outbox(ctx context.Context, changes []platform.Change) (done int, err error) {
	if fault.Survive(func() { done, err = s.consume(ctx, changes) }) {
		return 0, errKilled
	}
	return done, err
}

func (s *simulation) consume(ctx context.Context, changes []platform.Change) (int, error) {
	switch {
	case s.isCalm():
	case s.random.chance(10):
		return len(changes), nil
	case s.random.chance(10):
		if _, err := s.service.Outbox(ctx, changes); err != nil {
			return 0, err
		}
	}
	return s.service.Outbox(ctx, changes)
}

// sweep looks every second, and tells of half of the tasks that have died.
func (s *simulation) sweep(ctx context.Context) {
	for s.home.Clock.Sleep(ctx, time.Second) == nil {
		fault.Survive(func() {
			if err := s.service.Sweep(ctx); err != nil && s.settled() && ctx.Err() == nil {
				s.t.Error(err)
			}
		})
		s.mu.Lock()
		dead := s.dead
		s.dead = nil
		s.mu.Unlock()
		for _, job := range dead {
			if err := s.surviving(func() error { return s.service.TaskEnded(ctx, job) }); err != nil {
				s.note("task ended", err)
			}
		}
	}
}

// supervise is a task: it does what the plan has its stage do.
func (s *simulation) supervise(ctx context.Context, spec platform.TaskSpec) int {
	name, err := pipeline.ParseJobName(spec.Job)
	if err != nil {
		s.t.Error(err)
		return 1
	}
	if name.Attempt == 1 && s.random.chance(5) {
		return s.die(spec.Job) // before hello
	}
	calls := context.WithoutCancel(ctx)
	var attempt *pipeline.Attempt
	var job supervisor.Job
	err = s.patiently(calls, func() (err error) {
		if attempt, err = s.service.Attempt(calls, s.org, name.Run, name.Key, name.Attempt); err == nil {
			job, err = attempt.Hello(calls, supervisor.Hello{BootID: spec.Token})
		}
		return err
	})
	if err != nil {
		return 1
	}
	s.began(calls, spec.Token, job)
	if name.Attempt == 1 && s.random.chance(5) {
		return s.die(spec.Job) // in the midst of its commands
	}
	result := s.work(ctx, calls, attempt, job)
	if err := s.patiently(calls, func() error { return attempt.Finish(calls, result) }); err != nil && !errors.Is(err, supervisor.ErrSettled) {
		s.t.Errorf("%s: not reported: %v", job.Stage, err)
	}
	return 0
}

func (s *simulation) die(job string) int {
	if s.random.chance(50) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.dead = append(s.dead, job)
	}
	return 137
}

// patiently repeats a call as the supervisor's client does.
func (s *simulation) patiently(ctx context.Context, call func() error) error {
	err := s.surviving(call)
	for try := 0; try < 100 && err != nil && !errors.Is(err, supervisor.ErrSettled); try++ {
		if sleepErr := s.home.Clock.Sleep(ctx, s.random.upTo(4*time.Second)); sleepErr != nil {
			return sleepErr
		}
		err = s.surviving(call)
	}
	return err
}

// errKilled is how a call ends whose maker was killed.
var errKilled = errors.New("killed")

func (s *simulation) surviving(call func() error) (err error) {
	if fault.Survive(func() { err = call() }) {
		return errKilled
	}
	return err
}

// began notes that an attempt's commands begin, and what of its needs is not as it
// must be.
func (s *simulation) began(ctx context.Context, token string, job supervisor.Job) {
	view, err := s.sure.View(ctx, s.org, pipeline.RunID(job.Run))
	if err != nil {
		s.t.Error(err)
		return
	}
	place := s.gates.holds(s, job)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun[token]++
	if place != "" {
		s.early = append(s.early, job.Stage+": "+place)
	}
	if why := s.plan.mayNotBegin(job.Stage, view); why != "" {
		s.early = append(s.early, job.Stage+": "+why)
	}
}

// work takes some time, beats, and answers what the plan says; some are silent for
// longer than a heartbeat.
func (s *simulation) work(ctx, calls context.Context, attempt *pipeline.Attempt, job supervisor.Job) supervisor.Result {
	rest, silent := s.random.upTo(40*time.Second), s.random.chance(5)
	if silent {
		rest += 3 * time.Minute
	}
	canceled := supervisor.Result{V: 1, Reason: "canceled", Command: -1}
	for rest > 0 {
		nap := min(rest, 10*time.Second)
		if s.home.Clock.Sleep(ctx, nap) != nil {
			return canceled
		}
		if rest -= nap; silent {
			continue
		}
		var order supervisor.Order
		err := s.surviving(func() (err error) { order, err = attempt.Beat(calls, supervisor.Beat{}); return err })
		if err == nil && order.Cancel || errors.Is(err, supervisor.ErrSettled) {
			return canceled
		}
	}
	if s.plan.fails(job.Stage) {
		return supervisor.Result{V: 1, Reason: "exit", ExitCode: 1}
	}
	return supervisor.Result{V: 1, Reason: "ok", Command: -1}
}

// runToEnd starts a run of the plan's file, cancels some, and waits for the end.
func (s *simulation) runToEnd(ctx context.Context) pipeline.View {
	s.t.Helper()
	file := load(s.t, s.plan.text())
	var run pipeline.Run
	err := s.patiently(ctx, func() (err error) {
		run, err = s.service.StartFile(ctx, s.org, push("main"), file, pipeline.Options{})
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	if s.plan.cancel {
		if err := s.home.Clock.Sleep(ctx, s.random.upTo(2*time.Minute)); err != nil {
			s.t.Fatal(err)
		}
		cancel := func() error { _, err := s.service.Cancel(ctx, s.org, run.ID, "user", ""); return err }
		if err := s.surviving(cancel); err != nil {
			s.note("cancel", err)
		}
	}
	view := s.await(ctx, run.ID, 2*time.Hour, func(v pipeline.View) bool { return v.Status.Final() })
	s.mu.Lock()
	s.calm = s.home.Clock.Now()
	s.mu.Unlock()
	if err := s.home.Clock.Sleep(ctx, 15*time.Minute); err != nil { // whatever is late comes
		s.t.Fatal(err)
	}
	return s.await(ctx, view.ID, time.Second, func(pipeline.View) bool { return true })
}

func (s *simulation) await(ctx context.Context, id pipeline.RunID, within time.Duration, done func(pipeline.View) bool) pipeline.View {
	s.t.Helper()
	for until := s.home.Clock.Now().Add(within); ; {
		view, err := s.sure.View(ctx, s.org, id)
		if err != nil {
			s.t.Fatal(err)
		}
		if done(view) {
			return view
		}
		if s.home.Clock.Now().After(until) {
			s.t.Fatalf("the run does not end: %s, %s\n%s", view.Status, statuses(view), s.plan.text())
		}
		if err := s.home.Clock.Sleep(ctx, time.Second); err != nil {
			s.t.Fatal(err)
		}
	}
}

// check holds the end against the plan, and the way there against the tables.
func (s *simulation) check(ctx context.Context, view pipeline.View) {
	s.t.Helper()
	for token, times := range s.begun {
		if times != 1 {
			s.t.Errorf("attempt %s began %d times", token, times)
		}
	}
	if len(s.early) > 0 {
		s.t.Errorf("began too early: %v", s.early)
	}
	for _, st := range view.Stages {
		if !st.Status.Final() {
			s.t.Errorf("the run is %s, and stage %s is %s", view.Status, st.Name, st.Status)
		}
	}
	if view.Status != pipeline.Canceled {
		s.plan.compare(s.t, view)
	} else if !s.plan.cancel {
		s.t.Error("the run is canceled, and nobody asked for it")
	}
	partition := s.org.Partition("run", string(view.ID))
	s.checkEvents(ctx, partition)
	left, err := s.home.Table.Query(ctx, platform.Query{Partition: partition, Prefix: partition.Rows("outbox")})
	if err != nil || len(left.Rows) > 0 {
		s.t.Errorf("%d outbox rows are left, %v", len(left.Rows), err)
	}
	if view.Started.IsZero() {
		return // it waited for its group to the end, and never had an execution
	}
	if run, err := s.home.Flow.Describe(ctx, pipeline.RunMachine, string(view.ID)); err != nil || run.Status == "RUNNING" {
		s.t.Errorf("the run's execution is %s, %v", run.Status, err)
	}
	for token := range s.begun {
		if !strings.HasPrefix(token, string(view.ID)) {
			continue
		}
		if attempt, err := s.home.Flow.Describe(ctx, pipeline.StageMachine, token); err != nil || attempt.Status == "RUNNING" {
			s.t.Errorf("the execution of %s is %s, %v", token, attempt.Status, err)
		}
		if task, err := s.home.Tasks.Describe(ctx, "memory/"+token); err == nil && task.Status != platform.TaskStopped {
			s.t.Errorf("the task of %s is %s", token, task.Status)
		}
	}
}

// checkEvents wants the events of each row in unbroken order, each a step that the
// tables allow.
func (s *simulation) checkEvents(ctx context.Context, partition platform.Partition) {
	s.t.Helper()
	last := map[string]platform.Item{}
	q := platform.Query{Partition: partition, Prefix: partition.Rows("event")}
	for {
		page, err := s.home.Table.Query(ctx, q)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, row := range page.Rows {
			entity := row.Key.Parts()[1]
			if before := last[entity]; before != nil {
				if row.Item.Int("version") != before.Int("version")+1 || row.Item.Text("from") != before.Text("status") {
					s.t.Errorf("%s: %s to %s as version %d, behind %s, version %d", entity, row.Item.Text("from"), row.Item.Text("status"),
						row.Item.Int("version"), before.Text("status"), before.Int("version"))
				}
			}
			last[entity] = row.Item
			s.checkStep(row.Item)
		}
		if page.Cursor == "" {
			return
		}
		q.Cursor = page.Cursor
	}
}

func (s *simulation) checkStep(event platform.Item) {
	s.t.Helper()
	from, to := event.Text("from"), event.Text("status")
	var err error
	switch {
	case from == "": // the first
	case event.Text("entity") == "run":
		err = pipeline.Status(from).To(pipeline.Status(to))
	case slices.ContainsFunc(s.plan.stages, func(st *planned) bool {
		return strings.HasPrefix(event.Text("name"), st.name+" (") || event.Text("name") == st.name && st.cells == 0
	}):
		err = pipeline.StageStatus(from).To(pipeline.StageStatus(to))
	}
	if err != nil {
		s.t.Error(err)
	}
}
