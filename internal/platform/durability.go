package platform

import "context"

type relaxedKey struct{}

// Relaxed marks writes that need not wait for the disk: they are atomic and
// visible at once, survive a kill of the process, and are made durable, in order,
// by the next write without the mark. For the steps between two acknowledgements;
// never for what somebody outside is told, nor for what precedes an effect.
// A home whose writes are always durable ignores it.
func Relaxed(ctx context.Context) context.Context { return context.WithValue(ctx, relaxedKey{}, true) }

// IsRelaxed is for drivers.
func IsRelaxed(ctx context.Context) bool { return ctx.Value(relaxedKey{}) != nil }
