package repository

import (
	"context"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

const (
	workers    = 2                // deliveries at a time
	receive    = 20 * time.Second // a wait for messages
	visibility = 10 * time.Minute // longer than a fetch may take
	round      = time.Second      // between two rounds of the reconciler
)

// Work consumes the queue and reconciles until ctx ends. The feed is brought to
// HandleChanges by whoever consumes it for this home.
func (s *Service) Work(ctx context.Context) {
	var group sync.WaitGroup
	for range workers {
		group.Go(func() { s.consume(ctx) })
	}
	group.Go(func() {
		for s.home.Clock.Sleep(ctx, round) == nil {
			if err := s.ReconcileDue(ctx); err != nil && ctx.Err() == nil {
				s.log.ErrorContext(ctx, "reconciler failed", "err", err)
			}
		}
	})
	group.Wait()
}

func (s *Service) consume(ctx context.Context) {
	for ctx.Err() == nil {
		messages, err := s.home.Queues.Receive(ctx, Queue, 1, receive, visibility)
		if err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "deliveries not received", "err", err)
			if s.home.Clock.Sleep(ctx, round) != nil {
				return
			}
		}
		for _, m := range messages {
			if err := s.handle(ctx, m); err != nil && ctx.Err() == nil {
				s.log.ErrorContext(ctx, "delivery failed, it comes again", "receives", m.Receives, "err", err)
			}
		}
	}
}

// handle does one message; one that fails comes again after a pause that grows.
func (s *Service) handle(ctx context.Context, m platform.Message) error {
	if err := s.HandleMessage(ctx, m.Body); err != nil {
		pause := time.Duration(m.Receives*m.Receives) * time.Second
		if again := s.home.Queues.Extend(ctx, Queue, m.Receipt, pause); again != nil && ctx.Err() == nil {
			s.log.InfoContext(ctx, "delivery comes again only after its visibility", "err", again)
		}
		return err
	}
	return s.home.Queues.Delete(ctx, Queue, m.Receipt)
}
