// Package fault makes the ports of a home fail as planned, for tests of what
// stands on them: fault.Table(home.Table, plan) is the same table, except that the
// plan is asked before and after each call.
//
//	for n := 1; ; n++ {
//		nth := fault.At(n, fault.After, platform.ErrThrottled)
//		work(fault.Table(table, nth.Plan))
//		if !nth.Fired() {
//			break // every call has failed once
//		}
//		… do the work again, without faults, and check what must hold
//	}
//
// It injects what a service may answer and a home of ours never does, and says
// nothing about what a driver does below its port.
package fault

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Phase is a side of a call.
type Phase string

// An error Before means that nothing was done; After, that it was, and the
// caller does not know.
const (
	Before Phase = "before"
	After  Phase = "after"
)

// Call is one side of one call of a port.
type Call struct {
	Number int    // of the calls of this wrapped port, from 1
	Port   string // table, blobs, queues, flow, tasks
	Method string
	Phase  Phase
}

// Plan decides about a call: nil lets it go on, an error is what the caller gets.
// ErrCrash and ErrAgain are errors with a meaning of their own. A plan that does not
// return delays the call, until ctx ends if it minds it. It may be asked from many
// goroutines at once.
type Plan func(ctx context.Context, call Call) error

// ErrCrash ends the caller where it stands, as if its process had been killed: the
// wrapped port panics, and Survive catches it.
var ErrCrash = errors.New("fault: crash")

// ErrAgain, before a call, has it done twice; the caller gets the second answer.
var ErrAgain = errors.New("fault: again")

// Survive runs f and says whether a planned crash ended it.
func Survive(f func()) (crashed bool) {
	defer func() {
		switch r := recover(); r {
		case nil:
		case ErrCrash:
			crashed = true
		default:
			panic(r)
		}
	}()
	f()
	return false
}

// Nth fails one call, counted over all ports that are given its Plan.
type Nth struct {
	n     int
	phase Phase
	err   error

	mu    sync.Mutex
	seen  int
	fired bool
}

// At fails the nth call, from 1, with err in that phase.
func At(n int, phase Phase, err error) *Nth { return &Nth{n: n, phase: phase, err: err} }

// Plan is the plan of this failure.
func (n *Nth) Plan(_ context.Context, call Call) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if call.Phase != n.phase {
		return nil
	}
	if n.seen++; n.seen != n.n {
		return nil
	}
	n.fired = true
	return n.err
}

// Fired says whether there has been an nth call.
func (n *Nth) Fired() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fired
}

// Delay has every call wait for d before it is done.
func Delay(clock platform.Clock, d time.Duration) Plan {
	return func(ctx context.Context, call Call) error {
		if call.Phase == After {
			return nil
		}
		return clock.Sleep(ctx, d)
	}
}

// port asks the plan about the calls of one wrapped port.
type port struct {
	name  string
	plan  Plan
	calls *atomic.Int64
}

func wrap(name string, plan Plan) port { return port{name, plan, new(atomic.Int64)} }

// call does a call as planned.
func call[T any](ctx context.Context, p port, method string, do func() (T, error)) (T, error) {
	var none T
	c := Call{int(p.calls.Add(1)), p.name, method, Before}
	switch err := p.ask(ctx, c); {
	case errors.Is(err, ErrAgain):
		if _, err := do(); err != nil {
			return none, err
		}
	case err != nil:
		return none, err
	}
	answer, failed := do()
	c.Phase = After
	if err := p.ask(ctx, c); err != nil {
		return none, err
	}
	return answer, failed
}

// try is call for methods that answer nothing but an error.
func try(ctx context.Context, p port, method string, do func() error) error {
	_, err := call(ctx, p, method, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

func (p port) ask(ctx context.Context, c Call) error {
	err := p.plan(ctx, c)
	if errors.Is(err, ErrCrash) {
		panic(ErrCrash)
	}
	return err
}
