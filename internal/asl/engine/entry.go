package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/asl"
	"github.com/buildit-dev/buildit/internal/platform"
)

// entry is one execution that has not ended.
type entry struct {
	flow   *Flow
	key    key
	digest string

	mu       sync.Mutex // holds the execution; taken before the flow's
	run      *asl.Run   // nil once it has ended
	input    json.RawMessage
	events   []platform.HistoryEvent // not yet saved
	recalled bool                    // taken up from the store: its open calls are to be made again
	tokens   []string                // those that the flow knows

	at    time.Time // of its alarm; guarded by the flow's lock
	alarm int       // its place among the alarms, -1 for none; likewise
}

// begin makes a new execution, stores it and, if the flow runs, makes its first
// calls. One with the same name and input counts as begun. The entry is locked.
func (e *entry) begin(ctx context.Context, m *asl.Machine, input any) error {
	f := e.flow
	now := f.options.Clock.Now()
	e.run = asl.Begin(m, asl.Start{
		Name: e.key.name, Machine: e.key.machine, Input: input,
		ID: executionARN(e.key), MachineID: machineARN(e.key.machine),
	}, f.env(e.recorder()), now)
	var calls []asl.Call
	if f.running() {
		calls = e.run.Advance(now)
	}
	taken, err := f.options.Store.Create(ctx, e.record(), now)
	if err == nil && taken != nil {
		f.drop(e)
		return e.same(taken.Input)
	}
	if err != nil {
		f.drop(e)
		return fmt.Errorf("start %s of %s: %w", e.key.name, e.key.machine, err)
	}
	e.run.Changed()
	e.events = nil
	e.settled(calls)
	return nil
}

// drop takes back an entry that could not be stored.
func (f *Flow) drop(e *entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.entries, e.key)
	e.run = nil
}

// same says whether the execution that has the name, and input, is the one that is
// asked for.
func (e *entry) same(input json.RawMessage) error {
	if !bytes.Equal(input, e.input) {
		return fmt.Errorf("execution %s of %s was started with another input: %w", e.key.name, e.key.machine, platform.ErrExists)
	}
	return nil
}

// open says whether the execution runs; it waits for one that is being stored.
func (e *entry) open() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.run != nil
}

// The names that AWS would give, which the context object shows.
func machineARN(machine string) string {
	return "arn:aws:states:home:000000000000:stateMachine:" + machine
}

func executionARN(k key) string {
	return "arn:aws:states:home:000000000000:execution:" + k.machine + ":" + k.name
}

func (e *entry) recorder() func(asl.Event) {
	if !e.flow.options.History {
		return nil
	}
	return func(event asl.Event) {
		details, err := json.Marshal(event.Details)
		if err != nil || event.Details == nil {
			details = nil
		}
		e.events = append(e.events, platform.HistoryEvent{
			ID: event.ID, Previous: event.Previous, Type: event.Type, At: event.At, Details: details,
		})
	}
}

// record is the execution as the store keeps it.
func (e *entry) record() Record {
	x := e.run.Execution
	r := Record{
		Execution: platform.Execution{
			Machine: e.key.machine, Name: e.key.name, Status: string(x.Status),
			Input: e.input, Error: x.Error, Cause: x.Cause, Started: x.Began, Stopped: x.Stopped,
		},
		Digest: e.digest,
		Events: e.events,
		State:  func() ([]byte, error) { return json.Marshal(x) },
	}
	if x.Status == asl.Succeeded {
		if output, err := asl.Encode(x.Output); err == nil {
			r.Output = output
		}
	}
	if e.run.Ended() {
		r.Forget = x.Stopped.Add(platform.NameTaken)
	}
	return r
}

// restore makes the execution what the store has.
func (e *entry) restore(ctx context.Context, r Record) error {
	m, err := e.flow.machineOf(ctx, r.Digest)
	if err != nil {
		return err
	}
	state, err := r.State()
	if err != nil {
		return err
	}
	e.digest, e.input, e.events = r.Digest, r.Input, nil
	e.run, err = asl.Load(m, state, e.flow.env(e.recorder()), e.flow.options.Clock.Now())
	return err
}

// change tells the execution what happened, lets it advance, stores it and makes
// its calls. relaxed is for what nobody outside is told; it is stored durably all
// the same if a call follows. If it cannot be stored it did not happen.
func (e *entry) change(ctx context.Context, relaxed bool, do func(run *asl.Run, now time.Time) error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.run == nil {
		return fmt.Errorf("execution %s of %s has ended: %w", e.key.name, e.key.machine, platform.ErrGone)
	}
	now := e.flow.options.Clock.Now()
	if err := do(e.run, now); err != nil {
		return err
	}
	var calls []asl.Call
	runs := e.flow.running()
	if runs {
		if e.recalled {
			calls = e.run.Repeat(maxCalls, platform.FunctionPanic, "The process ended while the function was called.", now)
		}
		calls = append(calls, e.run.Advance(now)...)
	}
	if e.run.Changed() {
		if relaxed && len(calls) == 0 {
			ctx = platform.Relaxed(ctx)
		}
		if err := e.flow.options.Store.Save(ctx, e.record()); err != nil {
			return e.undo(ctx, err)
		}
	}
	e.recalled = e.recalled && !runs
	e.events = nil
	e.settled(calls)
	return nil
}

// undo goes back to what is stored, after a write that failed.
func (e *entry) undo(ctx context.Context, cause error) error {
	r, err := e.flow.options.Store.Load(context.WithoutCancel(ctx), e.key.machine, e.key.name, e.flow.options.Clock.Now())
	if err == nil {
		err = e.restore(context.WithoutCancel(ctx), r)
	}
	if err != nil {
		return fmt.Errorf("store execution %s of %s: %w; and going back to what is stored: %w", e.key.name, e.key.machine, cause, err)
	}
	e.flow.register(e)
	return fmt.Errorf("store execution %s of %s: %w", e.key.name, e.key.machine, cause)
}

// settled does what follows from a state that is stored: tokens and alarm are
// those of the new state, calls are made, who waited for the end hears of it.
func (e *entry) settled(calls []asl.Call) {
	f := e.flow
	f.register(e)
	if e.run.Ended() {
		f.ended(e)
		e.run = nil
		return
	}
	for _, c := range calls {
		f.make(e, c)
	}
	if e.run.Ready() && f.running() {
		f.later(e)
	}
}

// register makes the flow know the entry's tokens and when to wake it.
func (f *Flow) register(e *entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, token := range e.tokens {
		delete(f.tokens, token)
	}
	e.tokens = e.tokens[:0]
	e.run.Tokens(func(token string, task int64) {
		f.tokens[token] = target{e, task}
		e.tokens = append(e.tokens, token)
	})
	f.setAlarm(e, e.run.Next())
}

// ended forgets an execution and wakes who waited for it.
func (f *Flow) ended(e *entry) {
	f.mu.Lock()
	delete(f.entries, e.key)
	waiting := f.watchers[e.key]
	delete(f.watchers, e.key)
	f.mu.Unlock()
	if len(waiting) == 0 {
		return
	}
	r := e.record().Execution
	for _, w := range waiting {
		f.spawn(func(ctx context.Context) { f.childEnded(ctx, w, r) })
	}
}

// beat passes a sign of life on.
func (e *entry) beat(task int64, token string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.run != nil && e.run.Holds(task, token) && e.run.Beat(task, e.flow.options.Clock.Now())
}
