package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/asl"
	"github.com/buildit-dev/buildit/internal/platform"
)

// Defaults of Options.
const (
	defaultCallLimit = 2 * time.Minute
	defaultWorkers   = 64
)

// maxCalls is how often one call is made when the process ends while it is under
// way.
const maxCalls = 3

// Options are what a flow is made of. Machines, Store, Clock and IDs are needed.
type Options struct {
	Machines  map[string][]byte // definitions, by the names of the machines
	Store     Store
	Clock     platform.Clock
	IDs       platform.IDs
	CallLimit time.Duration // how long one call of a function may take; 2 minutes
	Workers   int           // calls at once; 64
	History   bool          // keep histories, for tests and debug
	Log       *slog.Logger  // what goes wrong behind the back of callers; nil is slog.Default
}

// Flow runs state machines. It implements platform.Flow. Calls may come before
// and while Run runs; without Run nothing is called and no time passes.
type Flow struct {
	options  Options
	workers  chan struct{}
	machines map[string]definition // by name, those of today

	mu        sync.Mutex
	byDigest  map[string]*asl.Machine
	functions map[string]platform.Function
	entries   map[key]*entry // those that have not ended
	tokens    map[string]target
	watchers  map[key][]target // who waits for the end of an execution
	alarms    alarms
	rearm     chan struct{} // the earliest alarm has changed
	life      *life         // nil unless Run runs
}

// definition is one machine of today.
type definition struct {
	machine *asl.Machine
	digest  string
}

// key names an execution.
type key struct{ machine, name string }

// target is one task of one execution.
type target struct {
	entry *entry
	task  int64
}

var _ platform.Flow = (*Flow)(nil)

// New makes a flow. It refuses definitions that cannot be run, and takes up the
// executions that the store has open; they go on when Run runs.
func New(ctx context.Context, o Options) (*Flow, error) {
	if o.CallLimit == 0 {
		o.CallLimit = defaultCallLimit
	}
	if o.Workers == 0 {
		o.Workers = defaultWorkers
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	f := &Flow{
		options: o, workers: make(chan struct{}, o.Workers),
		machines: map[string]definition{}, byDigest: map[string]*asl.Machine{},
		entries: map[key]*entry{}, tokens: map[string]target{}, watchers: map[key][]target{},
		rearm: make(chan struct{}, 1),
	}
	for name, text := range o.Machines {
		d, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("state machine %s: %w", name, err)
		}
		f.machines[name], f.byDigest[d.digest] = d, d.machine
		if err := o.Store.Define(ctx, d.digest, text); err != nil {
			return nil, fmt.Errorf("keep state machine %s: %w", name, err)
		}
	}
	return f, f.takeUp(ctx)
}

func parse(text []byte) (definition, error) {
	m, err := asl.Parse(text, asl.Standard)
	if err != nil {
		return definition{}, err
	}
	if len(m.Unsupported) > 0 {
		return definition{}, fmt.Errorf("it uses %s, which is not run here", strings.Join(m.Unsupported, ", "))
	}
	sum := sha256.Sum256(text)
	return definition{m, hex.EncodeToString(sum[:])}, nil
}

// takeUp loads what the store has open.
func (f *Flow) takeUp(ctx context.Context) error {
	open, err := f.options.Store.Open(ctx)
	if err != nil {
		return fmt.Errorf("load open executions: %w", err)
	}
	for _, r := range open {
		e := &entry{flow: f, key: key{r.Machine, r.Name}, alarm: -1}
		if err := e.restore(ctx, r); err != nil {
			return fmt.Errorf("execution %s of %s: %w", r.Name, r.Machine, err)
		}
		e.recalled = true
		f.entries[e.key] = e
		f.register(e)
	}
	return nil
}

// SetFunctions says what the names in the machines stand for. It is called before
// Run: the functions need the flow, and the flow needs them.
func (f *Flow) SetFunctions(functions map[string]platform.Function) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.functions = functions
}

func (f *Flow) env(record func(asl.Event)) *asl.Env {
	return &asl.Env{Token: f.options.IDs.New, UUID: f.options.IDs.New, Random: rand.Float64, Record: record}
}

// machineOf answers a definition by its digest.
func (f *Flow) machineOf(ctx context.Context, digest string) (*asl.Machine, error) {
	f.mu.Lock()
	m, ok := f.byDigest[digest]
	f.mu.Unlock()
	if ok {
		return m, nil
	}
	text, err := f.options.Store.Definition(ctx, digest)
	if err != nil {
		return nil, fmt.Errorf("the definition that it began with: %w", err)
	}
	d, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("the definition that it began with: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.byDigest[digest] = d.machine
	return d.machine, nil
}

// Start implements platform.Flow.
func (f *Flow) Start(ctx context.Context, machine, name string, input json.RawMessage) error {
	if len(input) > platform.MaxPayload {
		return fmt.Errorf("start %s of %s: its input has %d bytes, at most %d are allowed: %w",
			name, machine, len(input), platform.MaxPayload, platform.ErrTooLarge)
	}
	_, err := f.start(ctx, machine, name, input)
	return err
}

func (f *Flow) start(ctx context.Context, machine, name string, input json.RawMessage) (key, error) {
	k := key{machine, name}
	d, ok := f.machines[machine]
	if !ok {
		return k, fmt.Errorf("there is no state machine %q: %w", machine, platform.ErrNotFound)
	}
	if err := checkName(name); err != nil {
		return k, err
	}
	if len(input) == 0 {
		input = json.RawMessage("{}")
	}
	value, err := asl.Decode(input)
	if err != nil {
		return k, fmt.Errorf("start %s of %s: its input is no JSON (%w): %w", name, machine, err, platform.ErrInvalid)
	}
	text, err := asl.Encode(value)
	if err != nil {
		return k, err
	}
	e := &entry{flow: f, key: k, digest: d.digest, input: text, alarm: -1}
	e.mu.Lock()
	defer e.mu.Unlock()
	for {
		other := f.claim(e)
		if other == nil {
			return k, e.begin(ctx, d.machine, value)
		}
		if other.open() {
			return k, e.same(other.input)
		}
	}
}

// claim puts e under its key, or answers who is there.
func (f *Flow) claim(e *entry) (other *entry) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other = f.entries[e.key]; other == nil {
		f.entries[e.key] = e
	}
	return other
}

// checkName refuses what Step Functions would.
func checkName(name string) error {
	ok := name != "" && len(name) <= platform.MaxName
	for _, c := range name {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._-", c))
	}
	if !ok {
		return fmt.Errorf("the name %q of an execution has to have 1 to %d characters of A-Z, a-z, 0-9, '.', '_' and '-': %w",
			name, platform.MaxName, platform.ErrInvalid)
	}
	return nil
}

// Lengths of an error and its cause (API Reference, SendTaskFailure).
const (
	maxErrorName = 256
	maxCause     = 32768
)

// Succeed implements platform.Flow.
func (f *Flow) Succeed(ctx context.Context, token string, output json.RawMessage) error {
	if len(output) == 0 {
		output = json.RawMessage("null")
	}
	if len(output) > platform.MaxState {
		return fmt.Errorf("the output has %d bytes, at most %d are allowed: %w", len(output), platform.MaxState, platform.ErrTooLarge)
	}
	value, err := asl.Decode(output)
	if err != nil {
		return fmt.Errorf("the output is no JSON (%w): %w", err, platform.ErrInvalid)
	}
	return f.settle(ctx, token, func(run *asl.Run, task int64, now time.Time) bool {
		return run.Succeed(task, value, now)
	})
}

// Fail implements platform.Flow.
func (f *Flow) Fail(ctx context.Context, token, name, cause string) error {
	name, cause = shorten(name, maxErrorName), shorten(cause, maxCause)
	return f.settle(ctx, token, func(run *asl.Run, task int64, now time.Time) bool {
		return run.Fail(task, name, cause, now)
	})
}

func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
}

func (f *Flow) settle(ctx context.Context, token string, do func(*asl.Run, int64, time.Time) bool) error {
	at, ok := f.target(token)
	if !ok {
		return fmt.Errorf("the task token is settled or unknown: %w", platform.ErrGone)
	}
	return at.entry.change(ctx, false, func(run *asl.Run, now time.Time) error {
		if !run.Holds(at.task, token) || !do(run, at.task, now) {
			return fmt.Errorf("the task token is settled: %w", platform.ErrGone)
		}
		return nil
	})
}

func (f *Flow) target(token string) (target, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.tokens[token]
	return at, ok
}

// Beat implements platform.Flow. It stores nothing: after a restart every wait has
// a full interval anyway.
func (f *Flow) Beat(_ context.Context, token string) error {
	if at, ok := f.target(token); ok && at.entry.beat(at.task, token) {
		return nil
	}
	return fmt.Errorf("the task token is settled or unknown: %w", platform.ErrGone)
}

// Stop implements platform.Flow.
func (f *Flow) Stop(ctx context.Context, machine, name, errorName, cause string) error {
	f.mu.Lock()
	e := f.entries[key{machine, name}]
	f.mu.Unlock()
	if e == nil {
		_, err := f.options.Store.Load(ctx, machine, name, f.options.Clock.Now())
		return err
	}
	err := e.change(ctx, false, func(run *asl.Run, now time.Time) error {
		run.Stop(shorten(errorName, maxErrorName), shorten(cause, maxCause), now)
		return nil
	})
	if errors.Is(err, platform.ErrGone) {
		return nil // it has just ended
	}
	return err
}

// Describe implements platform.Flow.
func (f *Flow) Describe(ctx context.Context, machine, name string) (platform.Execution, error) {
	r, err := f.options.Store.Load(ctx, machine, name, f.options.Clock.Now())
	if err != nil {
		return platform.Execution{}, fmt.Errorf("execution %s of %s: %w", name, machine, err)
	}
	return r.Execution, nil
}

// History implements platform.Flow.
func (f *Flow) History(ctx context.Context, machine, name string) ([]platform.HistoryEvent, error) {
	return f.options.Store.Events(ctx, machine, name)
}
