package memory

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Timers is the timer port in memory. A timer goes off by itself: there is nothing
// to run.
type Timers struct {
	clock  platform.Clock
	queues platform.Queues

	mu     sync.Mutex
	timers map[string]*alarm
}

// alarm is a timer that the clock will bring up. A timer set anew is a new alarm,
// so that a late call of the old one is told apart.
type alarm struct {
	platform.Timer
	stop func() bool
}

// NewTimers makes timers that follow clock and send into queues.
func NewTimers(clock platform.Clock, queues platform.Queues) *Timers {
	return &Timers{clock: clock, queues: queues, timers: map[string]*alarm{}}
}

// Set implements platform.Timers.
func (t *Timers) Set(_ context.Context, timer platform.Timer) error {
	if err := timer.Check(); err != nil {
		return err
	}
	timer.Body = slices.Clone(timer.Body)
	t.mu.Lock()
	defer t.mu.Unlock()
	old, ok := t.timers[timer.Name]
	if ok && old.At.Equal(timer.At) && old.Queue == timer.Queue && bytes.Equal(old.Body, timer.Body) {
		return nil
	}
	if ok {
		old.stop()
	}
	t.arm(&alarm{Timer: timer})
	return nil
}

// arm has the clock bring up a timer. The caller holds the lock, so that a timer of
// the past waits until it is known.
func (t *Timers) arm(a *alarm) {
	t.timers[a.Name] = a
	a.stop = t.clock.AfterFunc(max(0, a.At.Sub(t.clock.Now())), func() { t.fire(a) })
}

// fire sends the message of a timer, unless it was replaced or canceled.
func (t *Timers) fire(a *alarm) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timers[a.Name] != a {
		return
	}
	delete(t.timers, a.Name)
	if err := t.queues.Send(context.Background(), a.Queue, a.Body, 0); err != nil {
		a.At = t.clock.Now().Add(retryTimer) // at least once
		t.arm(a)
	}
}

// retryTimer is when a timer goes off again whose message no queue took.
const retryTimer = time.Second

// Cancel implements platform.Timers.
func (t *Timers) Cancel(_ context.Context, name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a, ok := t.timers[name]; ok {
		a.stop()
		delete(t.timers, name)
	}
	return nil
}
