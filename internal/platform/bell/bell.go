// Package bell wakes those who wait in this process for something to happen under
// a name, so that a long poll costs nothing while nothing happens.
package bell

import (
	"context"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Bells are bells by name. The zero value is ready, and is not copied.
type Bells struct {
	mu      sync.Mutex
	waiting map[string]map[*Waiter]bool
}

// Waiter hears one bell. A ring before Wait is not lost.
type Waiter struct {
	bells *Bells
	name  string
	rung  chan struct{}
}

// Listen begins to hear the bell of that name, until Stop.
func (b *Bells) Listen(name string) *Waiter {
	w := &Waiter{b, name, make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting = map[string]map[*Waiter]bool{}
	}
	if b.waiting[name] == nil {
		b.waiting[name] = map[*Waiter]bool{}
	}
	b.waiting[name][w] = true
	return w
}

// Ring wakes everybody who listens to the bell of that name.
func (b *Bells) Ring(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for w := range b.waiting[name] {
		w.ring()
	}
}

func (w *Waiter) ring() {
	select {
	case w.rung <- struct{}{}:
	default: // it has a ring to hear already
	}
}

// Wait returns when the bell has rung, when d has passed on the clock, or with
// the error of ctx when that ends.
func (w *Waiter) Wait(ctx context.Context, clock platform.Clock, d time.Duration) error {
	stop := clock.AfterFunc(d, w.ring)
	defer stop()
	select {
	case <-w.rung:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Stop ends the listening.
func (w *Waiter) Stop() {
	w.bells.mu.Lock()
	defer w.bells.mu.Unlock()
	delete(w.bells.waiting[w.name], w)
	if len(w.bells.waiting[w.name]) == 0 {
		delete(w.bells.waiting, w.name)
	}
}
