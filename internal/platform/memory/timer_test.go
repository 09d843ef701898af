package memory_test

import (
	"testing"

	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func TestTimers(t *testing.T) {
	platformtest.Timers(t, func(t *testing.T) platformtest.TimerStore {
		clock := platformtest.NewClock()
		queues := memory.NewQueues(clock)
		return platformtest.TimerStore{Timers: memory.NewTimers(clock, queues), Queues: queues, Clock: clock, Elapse: clock.Advance}
	})
}
