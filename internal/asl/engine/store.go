package engine

import (
	"context"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Record is an execution as a store keeps it.
type Record struct {
	platform.Execution
	Digest string    // of its definition
	Forget time.Time // when its name is free again; zero while it runs
	// State is the interpreter's, for Open. A store that does not outlive the
	// process never asks for it.
	State func() ([]byte, error)
	// Events are those since the record was last saved.
	Events []platform.HistoryEvent
}

// Store keeps executions by machine and name. All methods may be called
// concurrently, though never two writes of one execution. A write is durable when
// it returns, unless its context is marked platform.Relaxed.
type Store interface {
	// Create stores an execution whose name is free at now, or answers the one that
	// has the name, and stores nothing.
	Create(ctx context.Context, r Record, now time.Time) (taken *Record, err error)
	// Save stores an execution again.
	Save(ctx context.Context, r Record) error
	// Load answers ErrNotFound for a name that is free at now.
	Load(ctx context.Context, machine, name string, now time.Time) (Record, error)
	// Open answers all executions that have not ended.
	Open(ctx context.Context) ([]Record, error)
	// Events answers the history, oldest first.
	Events(ctx context.Context, machine, name string) ([]platform.HistoryEvent, error)
	// Define keeps a definition by its digest, Definition answers it.
	Define(ctx context.Context, digest string, definition []byte) error
	Definition(ctx context.Context, digest string) ([]byte, error)
}
