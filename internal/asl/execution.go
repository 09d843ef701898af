package asl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Status of an execution, as the service names it.
type Status string

// Statuses. All but Running are final.
const (
	Running   Status = "RUNNING"
	Succeeded Status = "SUCCEEDED"
	Failed    Status = "FAILED"
	TimedOut  Status = "TIMED_OUT"
	Aborted   Status = "ABORTED"
)

// Execution is the whole state of one run of a machine. It is plain data: stored
// as JSON between two steps, it goes on where it was.
type Execution struct {
	Version int     `json:"v"` // of this format
	Start   Start   `json:"start"`
	Status  Status  `json:"status"`
	Output  any     `json:"output,omitempty"`
	Error   string  `json:"error,omitempty"`
	Cause   string  `json:"cause,omitempty"`
	Root    *Thread `json:"root,omitempty"` // nil when it has ended
	Events  int64   `json:"events"`         // so many so far
	Steps   int64   `json:"steps"`          // states entered so far, and tries
	LastID  int64   `json:"lastId"`         // of threads and tasks

	Began   time.Time `json:"began"`
	Stopped time.Time `json:"stopped,omitzero"`
}

// recordFormat is the version of Execution that this code writes. It reads no
// other: the first format has none before it.
const recordFormat = 1

// Start is what an execution begins with. Its fields make the context object.
type Start struct {
	Name      string `json:"name"`
	ID        string `json:"id"`        // the execution's ARN
	Machine   string `json:"machine"`   // the machine's name
	MachineID string `json:"machineId"` // the machine's ARN
	Role      string `json:"role"`
	Input     any    `json:"input"`
}

// Thread is one place in the machine at which something happens: the execution
// itself, or an open branch or iteration below another thread.
type Thread struct {
	ID    int64          `json:"id"`
	Index int            `json:"index,omitempty"` // of the branch or the item
	State string         `json:"state"`           // its name
	Phase Phase          `json:"phase"`
	Input any            `json:"input"`
	Item  any            `json:"item,omitempty"` // of the iteration that it is
	Vars  map[string]any `json:"vars,omitempty"` // its own; those of its parents it can read

	Entered   int64     `json:"entered,omitempty"` // id of the event
	EnteredAt time.Time `json:"enteredAt,omitzero"`
	Last      int64     `json:"last,omitempty"` // its newest event

	Tries     []int     `json:"tries,omitempty"` // used, for each retrier
	Retries   int       `json:"retries,omitempty"`
	Wake      time.Time `json:"wake,omitzero"`       // end of a wait, or of the pause before a retry
	Deadline  time.Time `json:"deadline,omitzero"`   // of the task, absolute
	Heartbeat int64     `json:"heartbeat,omitempty"` // seconds between beats
	Task      int64     `json:"task,omitempty"`      // the task that it waits for
	Token     string    `json:"token,omitempty"`
	Submitted bool      `json:"submitted,omitempty"` // the call has been answered, the token not yet
	Calls     int       `json:"calls,omitempty"`     // so often the task was called

	Fan *Fan `json:"fan,omitempty"` // its branches or iterations

	beat   time.Time // the last sign of life; not stored: after a restart it counts anew
	parent *Thread
	scope  *branch
	silent bool // an iteration of a distributed Map has a history of its own
}

// Phase is what a thread is about to do.
type Phase string

// Phases of a thread.
const (
	Entering Phase = "enter" // the next step enters State
	Trying   Phase = "try"   // Wake is when the state is tried again
	Waiting  Phase = "wait"  // Wake ends the state
	Calling  Phase = "call"  // Task has been given out
	Fanned   Phase = "fan"   // its branches run
)

// Fan is what a Parallel or a Map has open.
type Fan struct {
	Items    []any     `json:"items,omitempty"`  // of a Map
	Source   any       `json:"source,omitempty"` // what $ is for the ItemSelector
	Results  []any     `json:"results"`
	Next     int       `json:"next"`  // the first that has not begun
	Ended    int       `json:"ended"` // so many have
	Failures int       `json:"failures,omitempty"`
	Limit    int       `json:"limit,omitempty"`    // open at once; 0 is no limit
	Tolerate int       `json:"tolerate,omitempty"` // failures
	Open     []*Thread `json:"open,omitempty"`
	Started  int64     `json:"started"` // id of its event
}

// Load reads an execution that was stored with json.Marshal, and binds it to its
// machine. Heartbeats count from now.
func Load(m *Machine, stored []byte, env *Env, now time.Time) (*Run, error) {
	d := json.NewDecoder(bytes.NewReader(stored))
	d.UseNumber()
	var x Execution
	if err := d.Decode(&x); err != nil {
		return nil, fmt.Errorf("read a stored execution: %w", err)
	}
	if x.Version != recordFormat {
		return nil, fmt.Errorf("execution %s was stored in format %d: this version reads %d; start the version that stored it, and let it finish",
			x.Start.Name, x.Version, recordFormat)
	}
	r := &Run{Execution: &x, machine: m, env: env, now: now}
	if x.Root != nil {
		if err := r.bind(x.Root, nil, &m.branch); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// bind gives a thread and those below it their scopes, and queues the ready.
func (r *Run) bind(t, parent *Thread, scope *branch) error {
	t.parent, t.scope, t.beat = parent, scope, r.now
	s, ok := scope.states[t.State]
	if !ok {
		return fmt.Errorf("the definition of execution %s has no state %q: it is not the one that it began with",
			r.Execution.Start.Name, t.State)
	}
	if t.Phase == Entering {
		r.ready = append(r.ready, t)
	}
	if t.Fan == nil {
		return nil
	}
	f, ok := s.work.(fan)
	if !ok {
		return fmt.Errorf("state %q of execution %s has no branches in this definition", t.State, r.Execution.Start.Name)
	}
	for _, child := range t.Fan.Open {
		child.silent = t.silent || f.separate()
		if err := r.bind(child, t, f.scope(child.Index)); err != nil {
			return err
		}
	}
	return nil
}

// variable looks a name up, in the thread and above it.
func (t *Thread) variable(name string) (any, bool) {
	for ; t != nil; t = t.parent {
		if v, ok := t.Vars[name]; ok {
			return v, true
		}
	}
	return nil, false
}

// each visits a thread and those below it.
func (t *Thread) each(visit func(*Thread)) {
	visit(t)
	if t.Fan != nil {
		for _, child := range t.Fan.Open {
			child.each(visit)
		}
	}
}
