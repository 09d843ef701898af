package platform

import (
	"context"
	"encoding/json"
	"time"
)

// Limits of every flow.
const (
	MaxPayload = 32 << 10 // bytes of an execution's input: references travel, not contents
	MaxState   = 262144   // bytes of a state's input or output, as on the service
	MaxName    = 80       // characters of an execution's name
	MaxHistory = 25000    // events of an execution, then it fails
	NameTaken  = 90 * 24 * time.Hour
)

// Error names that flow reports for functions, in every home: the closed list.
const (
	FlowTimeout     = "States.Timeout"
	FlowHeartbeat   = "States.HeartbeatTimeout"
	FlowTaskFailed  = "States.TaskFailed"
	FunctionError   = "FunctionError"   // the function answered an error that is nobody's below
	FunctionTimeout = "FunctionTimeout" // it took longer than it may
	FunctionPanic   = "FunctionPanic"   // it panicked, or was killed in mid-call
	Throttled       = "Throttled"       // wraps ErrThrottled or ErrConflict
	Rejected        = "Rejected"        // wraps ErrInvalid, ErrDenied, ErrTooLarge: retrying is no use
)

// Function is what a state machine invokes: JSON in, JSON out. It may be called
// twice for one state.
type Function func(ctx context.Context, payload json.RawMessage) (json.RawMessage, error)

// Execution describes one execution.
type Execution struct {
	Machine string
	Name    string
	Status  string // RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED
	Input   json.RawMessage
	Output  json.RawMessage
	Error   string
	Cause   string
	Started time.Time
	Stopped time.Time // zero while it runs
}

// HistoryEvent is one event of an execution's history, in AWS's words.
type HistoryEvent struct {
	ID       int64           `json:"id"`
	Previous int64           `json:"previousEventId"`
	Type     string          `json:"type"`
	At       time.Time       `json:"timestamp"`
	Details  json.RawMessage `json:"details,omitempty"` // the object that GetExecutionHistory names after the type
}

// Flow runs state machines, as Step Functions Standard does. An execution is
// started once for each name, survives the process, and goes on with the
// definition that it began with. Executions of one home share one name space for
// each machine.
//
// Source: Step Functions Developer Guide; API StartExecution, SendTaskSuccess.
type Flow interface {
	// Start begins an execution. The same name with the same input is the same
	// execution, and succeeds, whether it still runs or has ended; with another
	// input it is ErrExists. Names stay taken for NameTaken. A name has 1 to
	// MaxName characters of [A-Za-z0-9._-] (ErrInvalid), an input at most
	// MaxPayload bytes (ErrTooLarge).
	Start(ctx context.Context, machine, name string, input json.RawMessage) error

	// Succeed completes the wait that token stands for, and Fail ends it with an
	// error name and a cause. A token whose wait is over, by whatever, is ErrGone:
	// it is settled, and the caller's work is done. An unknown token is ErrGone too.
	Succeed(ctx context.Context, token string, output json.RawMessage) error
	Fail(ctx context.Context, token, name, cause string) error

	// Beat tells that the work behind token is alive. ErrGone as above.
	Beat(ctx context.Context, token string) error

	// Stop ends an execution from outside: no Catch runs, no task is stopped.
	// Stopping one that has ended is no error; error and cause are kept.
	Stop(ctx context.Context, machine, name, errorName, cause string) error

	// Describe answers ErrNotFound for a name that was never started.
	Describe(ctx context.Context, machine, name string) (Execution, error)

	// History is for tests and `buildit debug`: empty where the home keeps none.
	History(ctx context.Context, machine, name string) ([]HistoryEvent, error)
}
