package platformtest

import (
	"sync/atomic"
	"time"

	"github.com/buildit-dev/buildit/internal/platform/system"
)

// AheadClock is the machine's clock, ahead of it by as much as a test has put it
// forward: for stores, which are asked in real time about what lies hours ahead.
// Sleep and AfterFunc take real time.
type AheadClock struct {
	system.Clock
	ahead atomic.Int64 // nanoseconds
}

// Now is the machine's time, put forward.
func (c *AheadClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.ahead.Load())) }

// Advance puts the clock forward.
func (c *AheadClock) Advance(d time.Duration) { c.ahead.Add(int64(d)) }
