// Package asl interprets the Amazon States Language, JSONPath query language: the
// files in statemachines/ run here at home as they run on Step Functions.
//
// Parse reads a definition and refuses what the service refuses. A Machine is
// immutable. An Execution is the whole state of one run of it: a tree of threads,
// one for the execution and one for each open branch of a Parallel or iteration
// of a Map. It is a value that can be stored as JSON between any two calls.
//
// A step, from the outside:
//
//	run := asl.Begin(machine, asl.Start{Name: "run-1", Input: input}, env)
//	calls := run.Advance(now)          // runs until every thread waits
//	...store run.Execution...          // what must survive, before the effects
//	run.Succeed(call.Task, output)     // what a call answered
//	calls = run.Advance(now)           // and on, until run.Execution.Ended()
//
// Advance never calls anybody and never sleeps: it answers the calls that somebody
// has to make, and Next tells when time alone will move the execution on. Time,
// tokens and randomness come in through arguments, so the same inputs make the same
// execution: the recordings test replays histories of the real service with a
// clock that nobody waits for.
//
// One file a state type (task.go, choice.go …), with the section of the
// specification that it implements. JSONata is refused with a sentence.
//
// Elsewhere: who makes the calls, what is stored when (asl/engine).
//
// Source: states-language.net/spec.html; Step Functions Developer Guide.
package asl
