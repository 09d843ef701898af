package platformtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Clock is a clock that stands still until a test moves it. Sleep and AfterFunc
// follow it.
type Clock struct {
	mu     sync.Mutex
	moved  sync.Cond
	now    time.Time
	timers []*timer
}

type timer struct {
	at time.Time
	f  func()
}

// NewClock makes a clock that stands at an instant of no meaning.
func NewClock() *Clock {
	c := &Clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	c.moved.L = &c.mu
	return c
}

// Now is where the clock stands.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Sleep waits until the clock has been moved by d, or until ctx ends.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	over := make(chan struct{})
	defer c.AfterFunc(d, func() { close(over) })()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// AfterFunc calls f in its own goroutine when the clock has been moved by d; at
// once if d is not above 0.
func (c *Clock) AfterFunc(d time.Duration, f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if d <= 0 {
		go f()
		return func() bool { return false }
	}
	t := &timer{c.now.Add(d), f}
	c.timers = append(c.timers, t)
	c.moved.Broadcast()
	return func() bool { return c.remove(t) }
}

func (c *Clock) remove(t *timer) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.timers, t)
	if i < 0 {
		return false
	}
	c.timers = slices.Delete(c.timers, i, i+1)
	return true
}

// Advance moves the clock by d, stopping at every instant at which something is due.
// What it starts may still run when it returns: tests wait for what they expect.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for end := c.now.Add(d); ; {
		next := slices.MinFunc(append(c.timers, &timer{at: end}), func(a, b *timer) int { return a.at.Compare(b.at) })
		if next.f == nil || next.at.After(end) {
			c.now = end
			return
		}
		c.now = next.at
		c.timers = slices.DeleteFunc(c.timers, func(t *timer) bool { return t == next })
		go next.f()
	}
}

// Jump sets the clock by d, forward or back, as a person or a time server does:
// nothing falls due by it, and waits last as long as they would have.
func (c *Clock) Jump(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for _, t := range c.timers {
		t.at = t.at.Add(d)
	}
}

// AwaitTimers returns when n calls are waiting for the clock, at least.
func (c *Clock) AwaitTimers(t testing.TB, n int) {
	t.Helper()
	late := time.AfterFunc(patience, c.moved.Broadcast)
	defer late.Stop()
	limit := time.Now().Add(patience)
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.timers) < n {
		if !time.Now().Before(limit) {
			t.Fatalf("%d calls wait for the clock after %s, want %d", len(c.timers), patience, n)
		}
		c.moved.Wait()
	}
}

// patience is how long a test waits for what must happen, on the machine's clock.
const patience = 10 * time.Second

// IDs makes names in order: the first ends in b, the second in c.
type IDs struct {
	mu   sync.Mutex
	last int
}

// NewIDs makes names that begin anew.
func NewIDs() *IDs { return &IDs{} }

// New is the next name: its number in letters, which are digits of base 8.
func (i *IDs) New() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.last++
	letter := func(digit rune) rune { return 'a' + digit - '0' }
	return strings.Map(letter, fmt.Sprintf("%026o", i.last))
}
