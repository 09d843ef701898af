package supervisor

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

const (
	phasePrepare int32 = iota
	phaseCommands
	phaseFinish
)

var phaseNames = [...]string{"prepare", "commands", "finish"}

// vitals are what beats tell of an attempt. They change without a lock, so that no
// beat waits for anything.
type vitals struct {
	phase   atomic.Int32
	command atomic.Int64
}

// beats tells the platform that the attempt lives, and hears its orders.
type beats struct {
	a     *attempt
	calls context.Context
	halt  context.CancelCauseFunc

	mu       sync.Mutex
	over     bool
	sequence int64
	cancel   func() bool
}

// startBeats beats in the job's interval until stop. It never beats with interval 0.
func (a *attempt) startBeats(calls context.Context, halt context.CancelCauseFunc) *beats {
	b := &beats{a: a, calls: calls, halt: halt}
	if a.job.Beat > 0 {
		b.arm()
	}
	return b
}

func (b *beats) arm() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over {
		b.cancel = b.a.clock.AfterFunc(b.a.job.Beat, func() {
			b.beat()
			b.arm()
		})
	}
}

// stop ends the beats.
func (b *beats) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	if b.cancel != nil {
		b.cancel()
	}
}

// beat sends one sign of life and follows the order that comes back.
func (b *beats) beat() {
	order, err := b.send(b.calls)
	switch {
	case errors.Is(err, ErrSettled):
		b.halt(ErrSettled)
	case err != nil:
		b.a.log.Warn("beat not sent", "err", err)
	case order.Cancel:
		b.halt(canceled(order))
	default:
		b.a.out.cutter.Watch(order.Watched)
	}
}

// send sends the next beat.
func (b *beats) send(ctx context.Context) (Order, error) {
	b.mu.Lock()
	b.sequence++
	sequence := b.sequence
	b.mu.Unlock()
	return b.a.control.Beat(ctx, b.a.beatNow(sequence))
}

// beatNow is the attempt as it is.
func (a *attempt) beatNow(sequence int64) Beat {
	return Beat{
		Sequence: sequence, Phase: phaseNames[a.live.phase.Load()], Command: int(a.live.command.Load()),
		Segment: a.out.cutter.Segments(), MemoryMB: residentMB(), FreeDiskMB: freeSpace(a.opt.spoolFolder()) >> 20,
		LastOutput: a.out.began.Add(time.Duration(a.out.last.Load())),
	}
}

// stopOrder is an order to stop as the cause of an end.
type stopOrder struct {
	*failure
	grace time.Duration
}

func (s *stopOrder) Unwrap() error { return s.failure }

func canceled(order Order) *stopOrder {
	cause := order.Cause
	if cause == "" {
		cause = "user"
	}
	return &stopOrder{failed(ReasonCanceled, "The stage was canceled (%s).", cause), order.Grace}
}

// stopGrace is how long commands may take to end after SIGTERM.
func (a *attempt) stopGrace(ctx context.Context) time.Duration {
	var order *stopOrder
	cause := context.Cause(ctx)
	switch {
	case errors.As(cause, &order) && order.grace > 0:
		return order.grace
	case errors.Is(cause, ErrSettled):
		return 0
	case a.job.Grace > 0:
		return a.job.Grace
	}
	return defaultGrace
}

// askWithin limits the question why the supervisor was told to stop.
const askWithin = 5 * time.Second

// whyStopped asks the platform why the process was told to end: the task port's
// stop carries no reason.
func (b *beats) whyStopped() *failure {
	ctx, cancel := context.WithTimeout(b.calls, askWithin)
	defer cancel()
	order, err := b.send(ctx)
	switch {
	case err != nil:
		b.a.log.Warn("reason of the stop not known", "err", err)
	case order.Cancel:
		return canceled(order).failure
	}
	return failed(ReasonInterrupted, "The runner was told to stop.")
}
