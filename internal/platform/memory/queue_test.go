package memory_test

import (
	"testing"

	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func TestQueues(t *testing.T) {
	platformtest.Queues(t, func(t *testing.T) platformtest.QueueStore {
		clock := platformtest.NewClock()
		return platformtest.QueueStore{Queues: memory.NewQueues(clock), Elapse: clock.Advance}
	})
}

func TestConsumers(t *testing.T) {
	platformtest.Consumers(t, func(t *testing.T) platformtest.ConsumerStore {
		clock := platformtest.NewClock()
		return platformtest.ConsumerStore{Queues: memory.NewQueues(clock), Clock: clock}
	})
}
