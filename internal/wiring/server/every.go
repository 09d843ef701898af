package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// lookEvery is the pause between two looks for what is due. A look is one query
// for each shard of an index, and reads nothing where nothing is due.
const lookEvery = time.Second

// every looks for due work until ctx ends. A look that fails is logged, and made
// again.
func every(clock platform.Clock, log *slog.Logger, name string, look func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for ctx.Err() == nil {
			if err := look(ctx); err != nil && ctx.Err() == nil {
				log.ErrorContext(ctx, "look for due work failed", "look", name, "err", err)
			}
			if err := clock.Sleep(ctx, lookEvery); err != nil {
				return nil // ctx has ended
			}
		}
		return nil
	}
}
