package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/asl"
	"github.com/buildit-dev/buildit/internal/platform"
)

// make does what a task asks for, in a goroutine, and tells the execution what
// came of it. Nobody holds a lock or a transaction meanwhile.
func (f *Flow) make(e *entry, c asl.Call) {
	f.spawn(func(ctx context.Context) {
		select {
		case f.workers <- struct{}{}:
		case <-ctx.Done():
			return
		}
		defer func() { <-f.workers }()
		f.perform(ctx, e, c)
	})
}

func (f *Flow) perform(ctx context.Context, e *entry, c asl.Call) {
	if c.Resource.Kind == asl.Integration && c.Resource.Service == "states" {
		f.startChild(ctx, e, c)
		return
	}
	output, err := f.invoke(ctx, c)
	if ctx.Err() != nil && err != nil {
		return // the flow ends: the call is made again by the next one
	}
	f.persist(ctx, e, func(run *asl.Run, now time.Time) error {
		var open bool
		var failure *platform.FunctionFailure
		switch {
		case errors.As(err, &failure):
			open = run.Fail(c.Task, failure.Type, causeOf(failure), now)
		case c.Resource.Pattern == asl.Callback:
			open = run.Submit(c.Task, output, now)
		default:
			open = run.Succeed(c.Task, output, now)
		}
		if !open {
			return platform.ErrGone
		}
		return nil
	})
}

// causeOf is what Lambda gives as the cause of a function's error.
func causeOf(failure *platform.FunctionFailure) string {
	text, err := json.Marshal(failure)
	if err != nil {
		return failure.Message
	}
	return string(text)
}

// invoke calls a function and answers what the state's result is.
func (f *Flow) invoke(ctx context.Context, c asl.Call) (any, error) {
	name, payload, err := invocation(c)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	function, ok := f.functions[name]
	f.mu.Unlock()
	if !ok {
		return nil, &platform.FunctionFailure{Type: platform.Rejected, Message: fmt.Sprintf("there is no function %q", name)}
	}
	text, err := asl.Encode(payload)
	if err != nil {
		return nil, platform.FailureOf(err)
	}
	answer, err := platform.Invoke(ctx, function, text, f.options.CallLimit)
	if err != nil {
		return nil, err
	}
	output, err := asl.Decode(answer)
	if err != nil {
		return nil, platform.FailureOf(err)
	}
	if c.Resource.Kind == asl.FunctionARN {
		return output, nil
	}
	return map[string]any{"ExecutedVersion": "$LATEST", "Payload": output, "StatusCode": json.Number("200")}, nil
}

// invocation is the name of the function and what it is called with.
func invocation(c asl.Call) (name string, payload any, err error) {
	if c.Resource.Kind == asl.FunctionARN {
		return c.Resource.Function(), c.Payload, nil
	}
	if c.Resource.Kind != asl.Integration || c.Resource.Service != "lambda" {
		return "", nil, &platform.FunctionFailure{
			Type: platform.Rejected, Message: fmt.Sprintf("%s is not called here: state machines call functions", c.Resource.ARN),
		}
	}
	parameters, _ := c.Payload.(map[string]any)
	name, ok := parameters["FunctionName"].(string)
	if !ok {
		return "", nil, &platform.FunctionFailure{Type: platform.Rejected, Message: "FunctionName is missing"}
	}
	return lastPart(name), parameters["Payload"], nil
}

// lastPart is the name in ${name}, in an ARN, or itself.
func lastPart(name string) string {
	if inner, ok := strings.CutPrefix(name, "${"); ok {
		return strings.TrimSuffix(inner, "}")
	}
	return name[strings.LastIndex(name, ":")+1:]
}
