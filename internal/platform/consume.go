package platform

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// Consumer takes the messages of one queue. A message may come twice, so whatever
// Handle does must be harmless the second time. An error, or a panic, brings the
// message again, later each time, until it has been received MaxReceives times and
// goes to the dead letters: one poison message holds up no other.
type Consumer struct {
	Queues Queues
	Clock  Clock
	Log    *slog.Logger
	Queue  string
	Handle func(ctx context.Context, message Message) error

	// Limit is how many messages are handled at once; 0 is one.
	Limit int
	// Visibility is for how long a message is hidden from other consumers at a time;
	// it is extended while Handle runs. 0 is 30 seconds.
	Visibility time.Duration
}

const (
	consumeWait       = 20 * time.Second // of one poll, as long as SQS allows
	consumeBatch      = 10               // messages of one poll, as many as SQS gives
	defaultVisibility = 30 * time.Second
	minRedelivery     = time.Second
	maxRedelivery     = 5 * time.Minute
	retryReceive      = time.Second
)

// Run handles messages until ctx ends, waits for those that it has begun, and
// returns. Their contexts end with ctx.
func (c Consumer) Run(ctx context.Context) {
	c.Limit = max(c.Limit, 1)
	if c.Visibility == 0 {
		c.Visibility = defaultVisibility
	}
	slots := make(chan struct{}, c.Limit)
	var running sync.WaitGroup
	defer running.Wait()
	for {
		free := c.take(ctx, slots)
		if free == 0 {
			return
		}
		messages := c.receive(ctx, free)
		for range free - len(messages) {
			<-slots
		}
		for _, m := range messages {
			running.Go(func() {
				defer func() { <-slots }()
				c.settle(ctx, m, c.attend(ctx, m))
			})
		}
	}
}

// receive polls the queue once, and pauses after a failure.
func (c Consumer) receive(ctx context.Context, limit int) []Message {
	messages, err := c.Queues.Receive(ctx, c.Queue, limit, consumeWait, c.Visibility)
	if err == nil || ctx.Err() != nil {
		return messages
	}
	c.Log.WarnContext(ctx, "queue not read", "queue", c.Queue, "err", err)
	if err := c.Clock.Sleep(ctx, retryReceive); err != nil {
		return nil // the end: Run sees it
	}
	return nil
}

// take waits for a free slot, takes those that are free beside it, and returns how
// many these are; 0 when ctx has ended.
func (c Consumer) take(ctx context.Context, slots chan struct{}) int {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return 0
	}
	if ctx.Err() != nil { // both were ready
		return 0
	}
	for taken := 1; taken < consumeBatch; taken++ {
		select {
		case slots <- struct{}{}:
		default:
			return taken
		}
	}
	return consumeBatch
}

// attend handles a message, and keeps it hidden from others meanwhile.
func (c Consumer) attend(ctx context.Context, m Message) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	var hiding sync.WaitGroup
	hiding.Go(func() { c.hide(ctx, m) })
	defer hiding.Wait()
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return c.Handle(ctx, m)
}

// hide extends a message's visibility until ctx ends.
func (c Consumer) hide(ctx context.Context, m Message) {
	for c.Clock.Sleep(ctx, c.Visibility/2) == nil {
		err := c.Queues.Extend(ctx, c.Queue, m.Receipt, c.Visibility)
		if err != nil && ctx.Err() == nil {
			c.Log.WarnContext(ctx, "message may be delivered twice", "queue", c.Queue, "message", m.ID, "err", err)
		}
	}
}

// settle ends a delivery: by deleting the message, or by having it come again. It
// does so too when ctx has ended meanwhile, since the handling is done.
func (c Consumer) settle(ctx context.Context, m Message, handled error) {
	ctx = context.WithoutCancel(ctx)
	if handled == nil {
		if err := c.Queues.Delete(ctx, c.Queue, m.Receipt); err != nil {
			c.Log.WarnContext(ctx, "message not deleted", "queue", c.Queue, "message", m.ID, "err", err)
		}
		return
	}
	again := min(minRedelivery<<(2*min(m.Receives-1, 8)), maxRedelivery)
	c.Log.WarnContext(ctx, "message failed", "queue", c.Queue, "message", m.ID, "receives", m.Receives, "again", again, "err", handled)
	if err := c.Queues.Extend(ctx, c.Queue, m.Receipt, again); err != nil && !errors.Is(err, ErrGone) {
		c.Log.WarnContext(ctx, "message not put back", "queue", c.Queue, "message", m.ID, "err", err)
	}
}
