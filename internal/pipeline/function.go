package pipeline

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/buildit-dev/buildit/internal/platform"
)

// runInput is the input of an execution of pipeline.asl.json.
type runInput struct {
	V       int    `json:"v"`
	Org     string `json:"org"`
	Run     RunID  `json:"run"`
	Graph   string `json:"graph"`
	Timeout int    `json:"timeout_seconds"`
}

// stageInput is the input of an execution of stage.asl.json.
type stageInput struct {
	V       int      `json:"v"`
	Org     string   `json:"org"`
	Run     RunID    `json:"run"`
	Graph   string   `json:"graph"`
	Key     StageKey `json:"key"`
	Attempt int      `json:"attempt"`
	Timeout int      `json:"timeout_seconds"`
}

// call is what a state machine asks of the function "pipeline".
type call struct {
	V       int             `json:"v"`
	Op      string          `json:"op"`
	Org     string          `json:"org"`
	Run     RunID           `json:"run"`
	Graph   string          `json:"graph"`
	Key     StageKey        `json:"key"`
	Attempt int             `json:"attempt"`
	Looks   int             `json:"looks"`
	Token   string          `json:"token"`
	Error   json.RawMessage `json:"error"`
}

// flowError is how a state machine tells what failed.
type flowError struct {
	Error string `json:"Error"`
	Cause string `json:"Cause"`
}

// flowErrorOf reads a call's error; nothing where there is none.
func flowErrorOf(report json.RawMessage) flowError {
	var flow flowError
	if err := json.Unmarshal(report, &flow); err != nil {
		return flowError{}
	}
	return flow
}

// callVersion is the version of payloads; the one before is accepted too.
const callVersion = 1

// Function is what the state machines call as "pipeline": one op a state. Each may
// be called twice. An error that wraps platform.ErrInvalid is not retried.
func (s *Service) Function(ctx context.Context, payload json.RawMessage) (json.RawMessage, error) {
	var in call
	if err := json.Unmarshal(payload, &in); err != nil {
		return nil, fmt.Errorf("payload: %w: %w", err, platform.ErrInvalid)
	}
	if in.V < callVersion-1 || in.V > callVersion {
		return nil, fmt.Errorf("payload version %d is not known here: %w", in.V, platform.ErrInvalid)
	}
	r, err := s.open(ctx, platform.System(in.Org, "state machine"), in.Run, in.Graph)
	if err != nil {
		return nil, err
	}
	if in.Op != "start-attempt" { // the one op that an effect follows
		ctx = platform.Relaxed(ctx)
	}
	out, err := s.dispatch(ctx, r, in)
	if err != nil || out == nil {
		return json.RawMessage("{}"), err
	}
	return json.Marshal(out)
}

func (s *Service) dispatch(ctx context.Context, r ref, in call) (any, error) {
	switch in.Op {
	case "open-run":
		return nil, s.openRunState(ctx, r, in.Token)
	case "cancel-stages":
		return nil, s.cancelStages(ctx, r, in.Error)
	case "await-end":
		return nil, s.awaitEnd(ctx, r, in.Token)
	case "close-run":
		return nil, s.closeRun(ctx, r, false)
	case "give-up":
		return nil, s.closeRun(ctx, r, true)
	case "start-attempt":
		return nil, s.startAttempt(ctx, r, in)
	case "watch":
		return nil, s.watch(ctx, r, in)
	case "inspect":
		return s.inspect(ctx, r, in)
	case "record":
		return s.record(ctx, r, in)
	case "next-attempt":
		return nil, s.startExecution(ctx, r, in.Key, in.Attempt+1)
	}
	return nil, fmt.Errorf("there is no op %q: %w", in.Op, platform.ErrInvalid)
}

// errNotRunning ends a state whose run is canceled; its Catch finds out.
var errNotRunning = fmt.Errorf("the run is not running any more: %w", platform.ErrInvalid)
