package fault

import (
	"context"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

type tasks struct {
	port
	to platform.Tasks
}

// Tasks are tasks whose calls go as planned.
func Tasks(to platform.Tasks, plan Plan) platform.Tasks { return tasks{wrap("tasks", plan), to} }

func (t tasks) Run(ctx context.Context, spec platform.TaskSpec) (string, error) {
	return call(ctx, t.port, "Run", func() (string, error) { return t.to.Run(ctx, spec) })
}

func (t tasks) Stop(ctx context.Context, id string, grace time.Duration) error {
	return try(ctx, t.port, "Stop", func() error { return t.to.Stop(ctx, id, grace) })
}

func (t tasks) Describe(ctx context.Context, id string) (platform.Task, error) {
	return call(ctx, t.port, "Describe", func() (platform.Task, error) { return t.to.Describe(ctx, id) })
}
