package fault

import (
	"context"
	"encoding/json"

	"github.com/buildit-dev/buildit/internal/platform"
)

type flow struct {
	port
	to platform.Flow
}

// Flow is a flow whose calls go as planned. What it invokes is not wrapped.
func Flow(to platform.Flow, plan Plan) platform.Flow { return flow{wrap("flow", plan), to} }

func (f flow) Start(ctx context.Context, machine, name string, input json.RawMessage) error {
	return try(ctx, f.port, "Start", func() error { return f.to.Start(ctx, machine, name, input) })
}

func (f flow) Succeed(ctx context.Context, token string, output json.RawMessage) error {
	return try(ctx, f.port, "Succeed", func() error { return f.to.Succeed(ctx, token, output) })
}

func (f flow) Fail(ctx context.Context, token, name, cause string) error {
	return try(ctx, f.port, "Fail", func() error { return f.to.Fail(ctx, token, name, cause) })
}

func (f flow) Beat(ctx context.Context, token string) error {
	return try(ctx, f.port, "Beat", func() error { return f.to.Beat(ctx, token) })
}

func (f flow) Stop(ctx context.Context, machine, name, errorName, cause string) error {
	return try(ctx, f.port, "Stop", func() error { return f.to.Stop(ctx, machine, name, errorName, cause) })
}

func (f flow) Describe(ctx context.Context, machine, name string) (platform.Execution, error) {
	return call(ctx, f.port, "Describe", func() (platform.Execution, error) { return f.to.Describe(ctx, machine, name) })
}

func (f flow) History(ctx context.Context, machine, name string) ([]platform.HistoryEvent, error) {
	return call(ctx, f.port, "History", func() ([]platform.HistoryEvent, error) { return f.to.History(ctx, machine, name) })
}
