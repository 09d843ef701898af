package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/buildit-dev/buildit/internal/asl"
	"github.com/buildit-dev/buildit/internal/platform"
)

// startChild starts another execution for a task, and for .sync waits for its
// end. It may come twice, after a restart: the same name and input is the same
// execution.
//
// Source: Developer Guide, "Start workflow executions from a task state".
func (f *Flow) startChild(ctx context.Context, e *entry, c asl.Call) {
	k, err := f.childOf(ctx, e, c)
	if err != nil {
		if ctx.Err() != nil {
			return
		}
		f.persist(ctx, e, func(run *asl.Run, now time.Time) error {
			return gone(run.Fail(c.Task, childError(err), err.Error(), now))
		})
		return
	}
	started := map[string]any{
		"ExecutionArn": executionARN(k), "StartDate": json.Number(fmt.Sprint(f.options.Clock.Now().UnixMilli())),
	}
	if c.Resource.Pattern == asl.RequestResponse {
		f.persist(ctx, e, func(run *asl.Run, now time.Time) error { return gone(run.Succeed(c.Task, started, now)) })
		return
	}
	f.persist(ctx, e, func(run *asl.Run, now time.Time) error { return gone(run.Submit(c.Task, started, now)) })
	f.watch(ctx, k, target{e, c.Task})
}

func gone(open bool) error {
	if open {
		return nil
	}
	return platform.ErrGone
}

func (f *Flow) childOf(ctx context.Context, e *entry, c asl.Call) (key, error) {
	parameters, ok := c.Payload.(map[string]any)
	machine, isName := parameters["StateMachineArn"].(string)
	if !ok || !isName {
		return key{}, fmt.Errorf("StateMachineArn is missing: %w", platform.ErrInvalid)
	}
	name, ok := parameters["Name"].(string)
	if !ok {
		sum := sha256.Sum256([]byte(e.key.machine + "/" + e.key.name + "/" + fmt.Sprint(c.Task)))
		name = hex.EncodeToString(sum[:16])
	}
	input, err := childInput(parameters["Input"])
	if err != nil {
		return key{}, err
	}
	return f.start(ctx, lastPart(machine), name, input)
}

// childInput is JSON text, or a value that becomes it.
func childInput(v any) (json.RawMessage, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return json.RawMessage(v), nil
	}
	return asl.Encode(v)
}

func childError(err error) string {
	switch {
	case errors.Is(err, platform.ErrExists):
		return "StepFunctions.ExecutionAlreadyExistsException"
	case errors.Is(err, platform.ErrNotFound):
		return "StepFunctions.StateMachineDoesNotExistException"
	case errors.Is(err, platform.ErrInvalid):
		return "StepFunctions.InvalidExecutionInputException"
	}
	return "StepFunctions.AWSStepFunctionsException"
}

// watch tells a task when an execution ends, or at once if it has.
func (f *Flow) watch(ctx context.Context, k key, w target) {
	f.mu.Lock()
	_, open := f.entries[k]
	if open {
		f.watchers[k] = append(f.watchers[k], w)
	}
	f.mu.Unlock()
	if open {
		return
	}
	if x, err := f.Describe(ctx, k.machine, k.name); err == nil {
		f.childEnded(ctx, w, x)
	}
}

// childEnded ends a .sync task as its execution ended.
func (f *Flow) childEnded(ctx context.Context, w target, x platform.Execution) {
	f.persist(ctx, w.entry, func(run *asl.Run, now time.Time) error {
		described := description(x, run.Pattern(w.task) == asl.Sync2)
		if x.Status == string(asl.Succeeded) {
			return gone(run.Succeed(w.task, described, now))
		}
		cause, err := asl.Encode(described)
		if err != nil {
			return err
		}
		return gone(run.Fail(w.task, platform.FlowTaskFailed, string(cause), now))
	})
}

// description is what DescribeExecution says; input and output are text, or with
// .sync:2 values.
func description(x platform.Execution, values bool) map[string]any {
	d := map[string]any{
		"ExecutionArn": executionARN(key{x.Machine, x.Name}), "StateMachineArn": machineARN(x.Machine),
		"Name": x.Name, "Status": x.Status,
		"StartDate": json.Number(fmt.Sprint(x.Started.UnixMilli())), "StopDate": json.Number(fmt.Sprint(x.Stopped.UnixMilli())),
		"Input": content(x.Input, values), "InputDetails": map[string]any{"Included": true},
	}
	if x.Output != nil {
		d["Output"], d["OutputDetails"] = content(x.Output, values), map[string]any{"Included": true}
	}
	if x.Error != "" {
		d["Error"] = x.Error
	}
	if x.Cause != "" {
		d["Cause"] = x.Cause
	}
	return d
}

func content(text json.RawMessage, value bool) any {
	if value {
		if v, err := asl.Decode(text); err == nil {
			return v
		}
	}
	return string(text)
}
