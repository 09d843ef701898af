package platform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// FunctionFailure is what a function answers instead of an output, in the form
// that Lambda gives errors. Type is one of the closed list of names in flow.go, so
// that a Retry that works in one home works in all.
type FunctionFailure struct {
	Type    string `json:"errorType"`
	Message string `json:"errorMessage"`
}

func (f *FunctionFailure) Error() string { return f.Type + ": " + f.Message }

// FailureOf is the one place where errors of Go become names that a state machine
// catches.
func FailureOf(err error) *FunctionFailure {
	var own *FunctionFailure
	if errors.As(err, &own) {
		return own
	}
	name := FunctionError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		name = FunctionTimeout
	case errors.Is(err, ErrThrottled), errors.Is(err, ErrConflict):
		name = Throttled
	case errors.Is(err, ErrInvalid), errors.Is(err, ErrDenied), errors.Is(err, ErrTooLarge):
		name = Rejected
	}
	return &FunctionFailure{name, err.Error()}
}

// Invoke calls a function as Lambda does: payload and output are JSON of at most
// MaxState bytes, the call ends after limit whether the function listens to its
// context or not, and a panic is an answer. The error is a *FunctionFailure, or
// ctx's own if ctx ended before the limit: then nobody knows what the function did.
func Invoke(ctx context.Context, f Function, payload json.RawMessage, limit time.Duration) (json.RawMessage, error) {
	if len(payload) > MaxState {
		return nil, &FunctionFailure{Rejected, fmt.Sprintf("the payload has %d bytes, at most %d are allowed", len(payload), MaxState)}
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answered := make(chan answer, 1)
	go func() { answered <- invoke(within, f, payload) }()
	select {
	case a := <-answered:
		if a.err != nil && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return a.output, a.err
	case <-within.Done():
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &FunctionFailure{FunctionTimeout, fmt.Sprintf("the function did not answer within %s", limit)}
	}
}

type answer struct {
	output json.RawMessage
	err    error
}

func invoke(ctx context.Context, f Function, payload json.RawMessage) (a answer) {
	defer func() {
		if cause := recover(); cause != nil {
			a = answer{nil, &FunctionFailure{FunctionPanic, fmt.Sprint(cause)}}
		}
	}()
	output, err := f(ctx, payload)
	switch {
	case err != nil:
		return answer{nil, FailureOf(err)}
	case len(output) == 0:
		return answer{json.RawMessage("null"), nil}
	case !json.Valid(output):
		return answer{nil, &FunctionFailure{FunctionError, "the function's output is no JSON"}}
	}
	return answer{output, nil}
}
