package asl_test

import (
	"fmt"
	"time"

	"github.com/buildit-dev/buildit/internal/asl"
)

// A machine asks for a call, is stored while it waits, and goes on with the answer.
func Example() {
	machine, err := asl.Parse([]byte(`{"StartAt": "Ask", "States": {
		"Ask": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
			"Parameters": {"FunctionName": "${greet}", "Payload": {"name.$": "$.name"}}, "Next": "Pause"},
		"Pause": {"Type": "Wait", "Seconds": 60, "End": true}
	}}`), asl.Standard)
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	env := &asl.Env{Record: func(e asl.Event) { fmt.Println(e.ID, e.Type) }}
	run := asl.Begin(machine, asl.Start{Name: "one", Input: map[string]any{"name": "Ada"}}, env, now)
	for _, call := range run.Advance(now) {
		fmt.Println("call:", call.Resource.Service, call.Payload)
		run.Succeed(call.Task, "Hello Ada", now)
	}
	run.Advance(now)
	fmt.Println("until:", run.Next().Format(time.TimeOnly))
	run.Advance(run.Next())
	fmt.Println(run.Execution.Status, run.Execution.Output)
	// Output:
	// 1 ExecutionStarted
	// 2 TaskStateEntered
	// 3 TaskScheduled
	// 4 TaskStarted
	// call: lambda map[FunctionName:${greet} Payload:map[name:Ada]]
	// 5 TaskSucceeded
	// 6 TaskStateExited
	// 7 WaitStateEntered
	// until: 00:01:00
	// 8 WaitStateExited
	// 9 ExecutionSucceeded
	// SUCCEEDED Hello Ada
}
