package platform

import (
	"context"
	"fmt"
	"time"
)

// Timer is a message that is due once, at an instant.
type Timer struct {
	Name  string // 1 to 64 characters of [A-Za-z0-9._-]
	At    time.Time
	Queue string
	Body  []byte // at most MaxMessage
}

// Check is for drivers: it refuses what no home sets (ErrInvalid, ErrTooLarge).
func (t Timer) Check() error {
	if !isName(t.Name, "._-", 64) {
		return fmt.Errorf("timer name %q: 1 to 64 characters of A-Z, a-z, 0-9, . _ and -: %w", t.Name, ErrInvalid)
	}
	if t.At.IsZero() {
		return fmt.Errorf("timer %s: no instant: %w", t.Name, ErrInvalid)
	}
	if err := CheckSend(t.Queue, t.Body, 0); err != nil {
		return fmt.Errorf("timer %s: %w", t.Name, err)
	}
	return nil
}

// Timers sends messages at an instant, at least once, up to 60 seconds late and
// never early; one in the past is due at once. After an outage everything that
// fell due is sent, oldest first. The product computes cron ticks itself.
//
// Source: EventBridge Scheduler User Guide, one-time schedules.
type Timers interface {
	// Set makes or replaces the timer of that name, as a whole. Setting an equal
	// one again changes nothing; a name that has been sent may be set anew.
	Set(ctx context.Context, timer Timer) error
	// Cancel removes a timer; none is no error. A message may be on its way.
	Cancel(ctx context.Context, name string) error
}
