package memory

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/buildit-dev/buildit/internal/asl/engine"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/presign"
)

// Options are what a home in memory needs from above.
type Options struct {
	Clock    platform.Clock    // nil is the machine's
	IDs      platform.IDs      // nil is the machine's randomness
	Machines map[string][]byte // state machines, by name
	History  bool              // keep the histories of executions
	Log      *slog.Logger      // nil discards

	// Task is what a task does, until ctx ends; it answers its exit code. nil: this
	// home runs no tasks.
	Task func(ctx context.Context, spec platform.TaskSpec) (exitCode int)
}

// Home is every port in the memory of this process.
type Home struct {
	platform.Home
	flow  *engine.Flow
	blobs *Blobs
	log   *slog.Logger
}

// New makes an empty home.
func New(ctx context.Context, o Options) (*Home, error) {
	if o.Clock == nil {
		o.Clock = NewClock()
	}
	if o.IDs == nil {
		o.IDs = NewIDs()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	flow, err := NewFlow(ctx, engine.Options{Machines: o.Machines, Clock: o.Clock, IDs: o.IDs, History: o.History, Log: o.Log})
	if err != nil {
		return nil, err
	}
	table, queues, blobs := NewTable(o.Clock), NewQueues(o.Clock), NewBlobs(o.Clock)
	h := &Home{flow: flow, blobs: blobs, log: o.Log, Home: platform.Home{
		Table:  table,
		Feed:   table,
		Blobs:  blobs,
		Flow:   flow,
		Queues: queues,
		Push:   NewPush(),
		Keys:   NewKeys(),
		Timers: NewTimers(o.Clock, queues),
		Clock:  o.Clock,
		IDs:    o.IDs,
	}}
	if o.Task != nil {
		h.Tasks = NewTasks(o.Clock, o.Task)
	}
	return h, nil
}

// SetFunctions says what the names in the state machines stand for. It is called
// before Run: the functions are made of the home.
func (h *Home) SetFunctions(functions map[string]platform.Function) { h.flow.SetFunctions(functions) }

// Client reaches the URLs that the home's blobs sign, without a network.
func (h *Home) Client() *http.Client { return presign.Client(h.blobs.Handler(h.log)) }

// Run executes state machines until ctx ends, and returns nil then. All else in this
// home goes by itself.
func (h *Home) Run(ctx context.Context) error { return h.flow.Run(ctx) }
