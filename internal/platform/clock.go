package platform

import (
	"context"
	"time"
)

// Clock is time, so that a simulation can drive it. Now carries a monotonic
// reading where the home has one.
type Clock interface {
	Now() time.Time
	// Sleep waits for d, or until ctx ends, whose error it returns.
	Sleep(ctx context.Context, d time.Duration) error
	// AfterFunc calls f in its own goroutine after d. stop answers whether it
	// prevented the call.
	AfterFunc(d time.Duration, f func()) (stop func() bool)
}

// IDs makes names that nobody can guess: 26 characters of lower-case base32, 128
// random bits.
type IDs interface {
	New() string
}
