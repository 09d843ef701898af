package platformtest

import (
	"fmt"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// BenchmarkQueues measures messages from Send to Delete. open returns queues without
// messages.
func BenchmarkQueues(b *testing.B, open func(*testing.B) platform.Queues) {
	for _, callers := range []int{1, 8} {
		b.Run(fmt.Sprintf("send/callers=%d", callers), func(b *testing.B) {
			queues := open(b)
			inParallel(b, callers, func(int) error { return queues.Send(b.Context(), "bench", []byte("message"), 0) })
		})
	}
	for _, batch := range []int{1, 10} {
		b.Run(fmt.Sprintf("send-receive-delete/batch=%d", batch), func(b *testing.B) {
			queues := open(b)
			inParallel(b, 1, func(n int) error {
				if err := queues.Send(b.Context(), "bench", []byte("message"), 0); err != nil || n%batch != 0 {
					return err
				}
				messages, err := queues.Receive(b.Context(), "bench", batch, time.Second, time.Minute)
				if err != nil {
					return err
				}
				var receipts []string
				for _, m := range messages {
					receipts = append(receipts, m.Receipt)
				}
				return queues.Delete(b.Context(), "bench", receipts...)
			})
		})
	}
}
