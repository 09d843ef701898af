package platform

import (
	"context"
	"time"
)

// Timer is a message that is due once, at an instant.
type Timer struct {
	Name  string // of the organization's making; at most 64 bytes
	At    time.Time
	Queue string
	Body  []byte // at most MaxMessage
}

// Timers sends messages at an instant, at least once, up to 60 seconds late and
// never early; one in the past is due at once. After an outage everything that
// fell due is sent, oldest first. The product computes cron ticks itself.
//
// Source: EventBridge Scheduler User Guide, one-time schedules.
type Timers interface {
	// Set makes or replaces the timer of that name, as a whole.
	Set(ctx context.Context, timer Timer) error
	// Cancel removes a timer; none is no error. A message may be on its way.
	Cancel(ctx context.Context, name string) error
}
