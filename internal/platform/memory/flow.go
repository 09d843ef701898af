package memory

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/asl/engine"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/system"
)

// NewFlow returns a flow whose executions live as long as the process. Without a
// clock or ids it takes the machine's own.
func NewFlow(ctx context.Context, o engine.Options) (*engine.Flow, error) {
	if o.Clock == nil {
		o.Clock = system.Clock{}
	}
	if o.IDs == nil {
		o.IDs = system.IDs{}
	}
	o.Store = &executions{records: map[[2]string]*execution{}, definitions: map[string][]byte{}}
	return engine.New(ctx, o)
}

// executions is the store of a flow that need not outlive the process: what runs
// is the engine's, so that only what Describe and History tell is kept.
type executions struct {
	mu          sync.Mutex
	records     map[[2]string]*execution
	definitions map[string][]byte
}

type execution struct {
	engine.Record
	history []platform.HistoryEvent
}

// Create implements [engine.Store].
func (s *executions) Create(_ context.Context, r engine.Record, now time.Time) (*engine.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := [2]string{r.Machine, r.Name}
	if old := s.records[key]; old != nil && !old.over(now) {
		taken := old.Record
		return &taken, nil
	}
	s.records[key] = &execution{Record: told(r), history: r.Events}
	return nil, nil
}

// told is what of a record is kept: not the state, which the engine has.
func told(r engine.Record) engine.Record {
	r.State, r.Events = nil, nil
	return r
}

func (e *execution) over(now time.Time) bool { return !e.Forget.IsZero() && !now.Before(e.Forget) }

// Save implements [engine.Store].
func (s *executions) Save(_ context.Context, r engine.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.records[[2]string{r.Machine, r.Name}]
	e.Record, e.history = told(r), append(e.history, r.Events...)
	return nil
}

// Load implements [engine.Store].
func (s *executions) Load(_ context.Context, machine, name string, now time.Time) (engine.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.records[[2]string{machine, name}]
	if e == nil || e.over(now) {
		return engine.Record{}, platform.ErrNotFound
	}
	return e.Record, nil
}

// Open implements [engine.Store]: nothing survives the process.
func (*executions) Open(context.Context) ([]engine.Record, error) { return nil, nil }

// Events implements [engine.Store].
func (s *executions) Events(_ context.Context, machine, name string) ([]platform.HistoryEvent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.records[[2]string{machine, name}]
	if e == nil {
		return nil, fmt.Errorf("execution %s of %s: %w", name, machine, platform.ErrNotFound)
	}
	return append([]platform.HistoryEvent(nil), e.history...), nil
}

// Define implements [engine.Store].
func (s *executions) Define(_ context.Context, digest string, definition []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.definitions[digest] = definition
	return nil
}

// Definition implements [engine.Store].
func (s *executions) Definition(_ context.Context, digest string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	definition, ok := s.definitions[digest]
	if !ok {
		return nil, fmt.Errorf("definition %s: %w", digest, platform.ErrNotFound)
	}
	return definition, nil
}
