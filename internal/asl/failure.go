package asl

import (
	"errors"
	"fmt"
	"slices"
)

// Error names of the language.
//
// Source: the specification, Appendix A; Developer Guide, "Handling errors".
const (
	errorAll         = "States.ALL"
	errorTimeout     = "States.Timeout"
	errorHeartbeat   = "States.HeartbeatTimeout"
	errorTaskFailed  = "States.TaskFailed"
	errorRuntime     = "States.Runtime"
	errorDataLimit   = "States.DataLimitExceeded"
	errorNoChoice    = "States.NoChoiceMatched"
	errorIntrinsic   = "States.IntrinsicFailure"
	errorResultPath  = "States.ResultPathMatchFailure"
	errorItemReader  = "States.ItemReaderFailed"
	errorThreshold   = "States.ExceedToleratedFailureThreshold"
	historyFullCause = "The execution reached the maximum number of history events (25000)."
)

// failure is an error on its way through Retry and Catch. Name and cause may be
// empty: a Fail state need not say any.
type failure struct {
	name, cause string
	alias       string // a second name to catch it by
	fromTask    bool   // a task's answer: States.TaskFailed stands for it
}

func (f failure) Error() string { return f.name + ": " + f.cause }

// matches says whether one of the names in ErrorEquals means this failure.
// States.ALL means neither States.Runtime, which nothing catches, nor
// States.DataLimitExceeded, unless a task answered it.
func (f failure) matches(names []string) bool {
	if f.name == errorRuntime {
		return false
	}
	switch {
	case slices.Contains(names, f.name), f.alias != "" && slices.Contains(names, f.alias):
		return true
	case slices.Contains(names, errorAll):
		return f.name != errorDataLimit || f.fromTask
	}
	return f.fromTask && f.name != errorTimeout && slices.Contains(names, errorTaskFailed)
}

// output is what a catcher's ResultPath places.
func (f failure) output() map[string]any {
	return map[string]any{"Error": f.name, "Cause": f.cause}
}

// wording is an error in the words of the service, which begin and end as its do.
type wording string

func (w wording) Error() string { return string(w) }

func saying(format string, args ...any) error { return wording(fmt.Sprintf(format, args...)) }

// problem turns an error of the state's own fields into a failure, in the
// service's words.
func (t *Thread) problem(s *state, err error) failure {
	var own failure
	if errors.As(err, &own) {
		return own
	}
	name := errorRuntime
	var call *failedCall
	if errors.As(err, &call) {
		name = errorIntrinsic
	}
	return failure{name: name, cause: t.where(s) + err.Error()}
}

func (t *Thread) where(s *state) string {
	return fmt.Sprintf("An error occurred while executing the state '%s' (entered at the event id #%d). ", s.name, t.Entered)
}

func tooLarge(name string) failure {
	return failure{name: errorDataLimit, cause: fmt.Sprintf(
		"The state/task '%s' returned a result with a size exceeding the maximum number of bytes service limit.", name)}
}
