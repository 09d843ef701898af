package memory_test

import (
	"context"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func TestTasks(t *testing.T) {
	platformtest.Tasks(t, "process", func(*testing.T) platformtest.TaskHome {
		clock := platformtest.NewClock()
		tasks := memory.NewTasks(clock, func(ctx context.Context, spec platform.TaskSpec) int {
			return platformtest.TaskProgram(ctx, spec.Ticket)
		})
		return platformtest.TaskHome{Tasks: tasks, Elapse: clock.Advance}
	})
}
