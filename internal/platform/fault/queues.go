package fault

import (
	"context"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

type queues struct {
	port
	to platform.Queues
}

// Queues are queues whose calls go as planned.
func Queues(to platform.Queues, plan Plan) platform.Queues { return queues{wrap("queues", plan), to} }

func (q queues) Send(ctx context.Context, queue string, body []byte, delay time.Duration) error {
	return try(ctx, q.port, "Send", func() error { return q.to.Send(ctx, queue, body, delay) })
}

func (q queues) Receive(ctx context.Context, queue string, max int, wait, visibility time.Duration) ([]platform.Message, error) {
	return call(ctx, q.port, "Receive", func() ([]platform.Message, error) {
		return q.to.Receive(ctx, queue, max, wait, visibility)
	})
}

func (q queues) Delete(ctx context.Context, queue string, receipts ...string) error {
	return try(ctx, q.port, "Delete", func() error { return q.to.Delete(ctx, queue, receipts...) })
}

func (q queues) Extend(ctx context.Context, queue, receipt string, d time.Duration) error {
	return try(ctx, q.port, "Extend", func() error { return q.to.Extend(ctx, queue, receipt, d) })
}
