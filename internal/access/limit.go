package access

import (
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Rate is how often somebody may call: a token bucket.
type Rate struct {
	PerSecond float64
	Burst     float64
}

// The default rates (trust.md 8): of a principal, and of an address without one.
var (
	principalRate = Rate{PerSecond: 100, Burst: 200}
	addressRate   = Rate{PerSecond: 20, Burst: 40}
)

// maxBuckets bounds the memory of limits: full buckets are forgotten first, and an
// attack by ever new addresses forgets everybody's.
const maxBuckets = 10_000

// limiter holds the buckets of one process, in memory.
type limiter struct {
	clock   platform.Clock
	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newLimiter(clock platform.Clock) *limiter {
	return &limiter{clock: clock, buckets: map[string]*bucket{}}
}

// take spends one call of who, or answers how long to wait for the next.
func (l *limiter) take(who string, rate Rate) (wait time.Duration) {
	now := l.clock.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.buckets[who]
	if b == nil {
		if len(l.buckets) >= maxBuckets {
			l.forget(now)
		}
		b = &bucket{left: rate.Burst, at: now}
		l.buckets[who] = b
	}
	b.left = min(rate.Burst, b.left+now.Sub(b.at).Seconds()*rate.PerSecond)
	b.at = now
	if b.left < 1 {
		return time.Duration((1 - b.left) / rate.PerSecond * float64(time.Second))
	}
	b.left--
	return 0
}

// forget drops buckets that nobody has touched for a minute, which are full again,
// and all of them where that is not enough.
func (l *limiter) forget(now time.Time) {
	for who, b := range l.buckets {
		if now.Sub(b.at) > time.Minute {
			delete(l.buckets, who)
		}
	}
	if len(l.buckets) >= maxBuckets {
		clear(l.buckets)
	}
}
