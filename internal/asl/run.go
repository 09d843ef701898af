package asl

import (
	"slices"
	"time"
)

// Run moves one execution. It is not safe for concurrent use.
type Run struct {
	Execution *Execution

	machine *Machine
	env     *Env
	now     time.Time
	ready   []*Thread // about to enter a state, in order
	calls   []Call
	changed bool // since Changed was asked

	trial   *Trial  // of TestState; nil in an execution
	refused error   // why a trial cannot be made
	failed  failure // the latest error of a state
	matched int     // which retrier or catcher took it
}

// Env is what comes from outside: names, chance, and where the history goes.
type Env struct {
	Token  func() string  // a task token that nobody can guess
	UUID   func() string  // for States.UUID
	Random func() float64 // from 0 up to 1
	Record func(Event)    // nil: no history is kept
	// Object reads what an ItemReader names; nil: there is no object store.
	Object func(resource string, parameters map[string]any) ([]byte, error)
	// Inspect, if not nil, hears what the value is after each field of a state.
	Inspect func(step string, v any)
}

// Call is what somebody outside has to do for a task. Its answer comes back by
// Succeed or Fail; Task names it.
type Call struct {
	Task     int64
	State    string
	Resource Resource
	Payload  any    // what Parameters made, or the state's input
	Token    string // "" unless the resource waits for one
}

// maxState is the size of a state's input, output and result, in bytes.
const maxState = 262144

// maxEvents is how many events a history has; the last one says that it is full.
const maxEvents = 25000

// maxInstantSteps bounds what one Advance does, for machines that go in circles
// without ever waiting. Whoever calls again goes on.
const maxInstantSteps = 1000

// Begin starts an execution.
func Begin(m *Machine, start Start, env *Env, now time.Time) *Run {
	x := &Execution{Version: recordFormat, Start: start, Status: Running, Began: now.Round(0)}
	x.Root = &Thread{ID: 1, State: m.start, Phase: Entering, Input: start.Input, scope: &m.branch}
	x.LastID = 1
	r := &Run{Execution: x, machine: m, env: env, now: now}
	r.ready = append(r.ready, x.Root)
	r.record(0, "ExecutionStarted", executionStarted{Input: payload{start.Input}, RoleARN: start.Role})
	return r
}

// Ended says whether the execution has a final status.
func (r *Run) Ended() bool { return r.Execution.Status != Running }

// Changed says whether the execution is another one than when this was asked last:
// whether there is something to store.
func (r *Run) Changed() bool {
	changed := r.changed
	r.changed = false
	return changed
}

// Ready says whether Advance has something to do at once.
func (r *Run) Ready() bool { return len(r.ready) > 0 && !r.Ended() }

// Advance does what can be done at now, until every thread waits, and answers the
// calls to make for those that wait for one.
func (r *Run) Advance(now time.Time) []Call {
	r.now = now
	r.expire()
	for steps := 0; r.Ready() && steps < maxInstantSteps; steps++ {
		t := r.ready[0]
		r.ready = r.ready[1:]
		r.enter(t)
	}
	calls := r.calls
	r.calls = nil
	if r.Ended() {
		return nil
	}
	return calls
}

// Next is when time alone moves the execution on; zero if it never does.
func (r *Run) Next() time.Time {
	var next time.Time
	earliest := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if r.Ended() {
		return next
	}
	earliest(r.deadline())
	r.Execution.Root.each(func(t *Thread) {
		earliest(t.Wake)
		earliest(t.Deadline)
		earliest(t.beatDue())
	})
	return next
}

func (r *Run) deadline() time.Time {
	if r.machine.timeout == 0 {
		return time.Time{}
	}
	return r.Execution.Began.Add(r.machine.timeout)
}

func (t *Thread) beatDue() time.Time {
	if t.Heartbeat == 0 {
		return time.Time{}
	}
	return t.beat.Add(time.Duration(t.Heartbeat) * time.Second)
}

// expire wakes who has waited long enough, and fails what is overdue. A beat is
// measured by the monotonic clock, what is stored by the calendar.
func (r *Run) expire() {
	due := func(t time.Time) bool { return !t.IsZero() && !r.now.Before(t) }
	if r.Ended() {
		return
	}
	if due(r.deadline()) {
		r.end(TimedOut, failure{})
		r.record(0, "ExecutionTimedOut", executionTimedOut{})
		return
	}
	var late []*Thread
	r.Execution.Root.each(func(t *Thread) {
		if due(t.Wake) || due(t.Deadline) || due(t.beatDue()) {
			late = append(late, t)
		}
	})
	for _, t := range late {
		if r.Ended() || !r.alive(t) {
			continue
		}
		s := t.state()
		switch t.Phase {
		case Waiting:
			t.Wake = time.Time{}
			r.succeed(t, s, t.Input, nil)
		case Trying:
			t.Wake = time.Time{}
			r.try(t)
		case Calling:
			r.timeOut(t, s, due(t.Deadline))
		}
	}
}

// alive says whether a thread still belongs to the execution.
func (r *Run) alive(t *Thread) bool {
	for ; t.parent != nil; t = t.parent {
		if t.parent.Fan == nil || !slices.Contains(t.parent.Fan.Open, t) {
			return false
		}
	}
	return t == r.Execution.Root
}

func (t *Thread) state() *state { return t.scope.states[t.State] }

// enter begins the state that a thread has come to.
func (r *Run) enter(t *Thread) {
	if !r.alive(t) {
		return
	}
	s := t.state()
	t.Tries, t.Retries = nil, 0
	t.EnteredAt = r.now.Round(0)
	t.Entered = r.Execution.Events + 1
	r.follow(t, s.kind+"StateEntered", stateEntered{Name: s.name, Input: payload{t.Input}})
	r.try(t)
}

// try does the state's work, for the first time or again.
func (r *Run) try(t *Thread) {
	r.Execution.Steps++
	r.changed = true
	s := t.state()
	s.work.begin(r, t, s)
}

// record adds one event to the history.
func (r *Run) record(previous int64, kind string, details Details) int64 {
	x := r.Execution
	r.changed = true
	if x.Events == maxEvents-1 && x.Status == Running {
		r.end(Failed, failure{name: errorRuntime, cause: historyFullCause})
		kind, details = "ExecutionFailed", executionFailed{failed{x.Error, x.Cause}}
	} else if x.Events >= maxEvents {
		return x.Events
	}
	x.Events++
	if r.env.Record != nil {
		r.env.Record(Event{ID: x.Events, Previous: previous, Type: kind, At: r.now, Details: details})
	}
	return x.Events
}

// follow adds an event after the thread's last one. aside adds one that nothing
// follows. What happens in an iteration of a distributed Map is in no history.
func (r *Run) follow(t *Thread, kind string, details Details) {
	r.changed = true
	if !t.silent {
		t.Last = r.record(t.previous(), kind, details)
	}
}

func (r *Run) aside(t *Thread, kind string, details Details) int64 {
	if t.silent {
		return t.Last
	}
	return r.record(t.previous(), kind, details)
}

// previous is 0 for the first state: it does not follow from ExecutionStarted.
func (t *Thread) previous() int64 { return t.Last }

// end gives the execution its final status.
func (r *Run) end(status Status, f failure) {
	x := r.Execution
	x.Status, x.Error, x.Cause = status, f.name, f.cause
	x.Stopped = r.now.Round(0)
	x.Root, r.ready, r.calls = nil, nil, nil
}

// Stop ends an execution from outside. No Catch runs. It answers whether the
// execution was still running.
func (r *Run) Stop(name, cause string, now time.Time) bool {
	if r.Ended() {
		return false
	}
	r.now = now
	r.end(Aborted, failure{name: name, cause: cause})
	r.record(0, "ExecutionAborted", executionAborted{failed{name, cause}})
	return true
}
