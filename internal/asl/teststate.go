package asl

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Trial is one state to be tried alone, as the TestState API does.
//
// Source: Step Functions API Reference, TestState.
type Trial struct {
	Definition   map[string]any // of a state; or of a machine, with StateName
	StateName    string
	Input        any
	Context      map[string]any // replaces the context object, if not nil
	Variables    map[string]any
	Mock         *Mock // what a Task, Map or Parallel answers; nil: it is not called
	RetryCount   int   // tries that the matching retrier has behind it
	FailureCount *int  // iterations of a Map that failed
	Reveal       bool  // secrets were to be shown
	ItemData     any   // what the ItemReader of a Map reads, as JSON text
}

// Mock is an answer that nobody gave: an error, or a result.
type Mock struct {
	Result any
	Failed bool
	Error  string
	Cause  string
}

// Verdict is how a trial came out.
type Verdict struct {
	Status     string // SUCCEEDED, FAILED, RETRIABLE, CAUGHT_ERROR
	Output     any    // unless FAILED or RETRIABLE
	Error      string
	Cause      string
	NextState  string
	Inspection map[string]any // what the value was after each field
}

// Refusal is a trial that TestState does not make.
type Refusal struct{ Type, Message string }

func (r *Refusal) Error() string { return r.Type + ": " + r.Message }

func refuse(format string, args ...any) error {
	return &Refusal{"ValidationException", fmt.Sprintf(format, args...)}
}

const trialState = "StateName"

// Try evaluates one state.
func Try(trial Trial, now time.Time) (Verdict, error) {
	name, definition := trialState, trial.Definition
	if trial.StateName != "" {
		name = trial.StateName
		if definition = findState(trial.Definition, name); definition == nil {
			return Verdict{}, refuse("State not found in definition")
		}
	}
	p := &parser{kind: Standard}
	s := p.state(name, definition, "/States/"+name)
	if len(p.found) > 0 {
		return Verdict{}, &Refusal{"InvalidDefinition", (&InvalidDefinition{p.found}).Error()}
	}
	if err := trial.check(s, definition); err != nil {
		return Verdict{}, err
	}
	return trial.run(s, now)
}

// findState looks for a state in a machine and its branches.
func findState(machine map[string]any, name string) map[string]any {
	states, _ := machine["States"].(map[string]any)
	if s, ok := states[name].(map[string]any); ok {
		return s
	}
	for _, inner := range slices.Sorted(maps.Keys(states)) {
		s, _ := states[inner].(map[string]any)
		below, _ := s["Branches"].([]any)
		for _, field := range []string{"ItemProcessor", "Iterator"} {
			below = append(slices.Clone(below), s[field])
		}
		for _, b := range below {
			if machine, ok := b.(map[string]any); ok {
				if found := findState(machine, name); found != nil {
					return found
				}
			}
		}
	}
	return nil
}

// check refuses what TestState does.
func (trial Trial) check(s *state, definition map[string]any) error {
	if trial.Mock == nil {
		switch {
		case trial.FailureCount != nil:
			return refuse("TestState does not support MapIterationFailureCount when a mock is not specified.")
		case s.kind == "Map" || s.kind == "Parallel":
			return refuse("TestState API does not support Map or Parallel states. Supported state types include: [Task, Wait, Pass, Succeed, Fail, Choice]")
		}
		return nil
	}
	if trial.Reveal {
		return refuse("TestState does not support RevealSecrets when a mock is specified.")
	}
	if !s.retries() {
		return refuse("State type '%s' is not supported when a mock is specified", s.kind)
	}
	if err := checkContext(trial.Context, s); err != nil {
		return err
	}
	if trial.Mock.Failed {
		return nil
	}
	list, isArray := trial.Mock.Result.([]any)
	_, writes := definition["ResultWriter"]
	switch w := s.work.(type) {
	case *mapping:
		_, isObject := trial.Mock.Result.(map[string]any)
		if writes && !isObject {
			return refuse("Mocked result must be a JSON object.")
		}
		if !writes && !isArray {
			return refuse("Mocked result must be an array.")
		}
	case *parallel:
		if !isArray {
			return refuse("Mocked result must be an array.")
		}
		if len(list) != len(w.branches) {
			return refuse("Mocked result must contain the same number of items as number of Parallel branches.")
		}
	}
	return nil
}

// contextFields are what a context object may hold.
var contextFields = map[string][]string{
	"Execution":    {"Id", "Input", "Name", "RoleArn", "StartTime", "RedriveCount", "RedriveTime"},
	"State":        {"EnteredTime", "Name", "RetryCount"},
	"StateMachine": {"Id", "Name"},
	"Task":         {"Token"},
}

func checkContext(context map[string]any, s *state) error {
	const prefix = "Invalid Context object provided: "
	for _, name := range slices.Sorted(maps.Keys(context)) {
		fields, ok := contextFields[name]
		switch {
		case name == "Map":
			return refuse(prefix + "'Map' field is not supported when mocking a Context object")
		case !ok:
			return refuse(prefix+"Field '%s' is not allowed", name)
		case name == "Task" && !waitsForAnswer(s):
			return refuse(prefix + "Context object contains 'Task' when state is not a Task state with a '.sync' or '.waitForTaskToken' service integration pattern")
		}
		inner, _ := context[name].(map[string]any)
		for _, field := range slices.Sorted(maps.Keys(inner)) {
			if !slices.Contains(fields, field) {
				return refuse(prefix+"Field '%s' is not allowed", field)
			}
			if !isString(inner[field]) && !slices.Contains([]string{"Input", "RetryCount", "RedriveCount"}, field) {
				return refuse(prefix+"%s.%s must be a string", name, field)
			}
		}
	}
	return nil
}

func waitsForAnswer(s *state) bool {
	w, ok := s.work.(*task)
	return ok && w.resource.waits()
}

// run does the state's work and stops before the next state.
func (trial Trial) run(s *state, now time.Time) (Verdict, error) {
	seen := map[string]any{"input": trial.Input}
	env := &Env{
		Token: func() string { return "token" }, UUID: func() string { return "00000000-0000-4000-8000-000000000000" },
		Random:  func() float64 { return 0 },
		Inspect: func(step string, v any) { seen[step] = v },
		Object: func(string, map[string]any) ([]byte, error) {
			data, err := stringOf(trial.ItemData)
			return []byte(data), err
		},
	}
	m := &Machine{branch: branch{start: s.name, states: map[string]*state{s.name: s}}}
	r := Begin(m, Start{
		Name: "trial", ID: "arn:aws:states:home:000000000000:express:trial:trial", Machine: "trial",
		MachineID: "arn:aws:states:home:000000000000:stateMachine:trial", Input: trial.Input,
	}, env, now)
	r.trial = &trial
	t := r.Execution.Root
	t.Vars = trial.Variables
	r.ready = nil
	t.EnteredAt, t.Entered = now, 1
	if trial.RetryCount > 0 {
		t.Tries = slices.Repeat([]int{trial.RetryCount}, len(s.retry))
	}
	r.try(t)
	r.now = now.Add(maxSeconds * time.Second)
	if t.Phase == Waiting {
		r.expire()
	}
	for _, c := range r.calls {
		trial.answer(r, c.Task)
	}
	if r.refused != nil {
		return Verdict{}, r.refused
	}
	return trial.verdict(r, t, seen), nil
}

// answer plays the mock to a task.
func (trial Trial) answer(r *Run, task int64) {
	switch mock := trial.Mock; {
	case mock == nil:
		r.Fail(task, errorTaskFailed, "Nobody is called in a trial: give it a mock.", r.now)
	case mock.Failed:
		r.Fail(task, mock.Error, mock.Cause, r.now)
	default:
		r.Succeed(task, mock.Result, r.now)
	}
}

// mocked plays the mock to a Map or a Parallel. It answers false outside of a
// trial.
func (r *Run) mocked(t *Thread, s *state, iterations, tolerated int) bool {
	if r.trial == nil {
		return false
	}
	mock, failures := r.trial.Mock, r.trial.FailureCount
	switch {
	case mock.Failed:
		r.fail(t, s, failure{name: mock.Error, cause: mock.Cause})
	case failures != nil && *failures > iterations:
		r.refused = refuse("Map iteration failure count must be less than or equal to the number of Map iterations")
	case failures != nil && *failures > tolerated:
		r.fail(t, s, thresholdExceeded)
	default:
		r.succeed(t, s, mock.Result, nil)
	}
	return true
}

func (Trial) verdict(r *Run, t *Thread, seen map[string]any) Verdict {
	x := r.Execution
	v := Verdict{Inspection: seen, Error: r.failed.name, Cause: r.failed.cause}
	switch {
	case x.Status == Succeeded:
		v.Status, v.Output = "SUCCEEDED", x.Output
	case x.Status == Failed:
		v.Status = "FAILED"
	case t.Phase == Trying:
		v.Status = "RETRIABLE"
		pause := t.Wake.Sub(r.now.Round(0)).Round(time.Second)
		seen["errorDetails"] = map[string]any{"retryIndex": number(r.matched), "retryBackoffIntervalSeconds": number(int(pause.Seconds()))}
	case r.failed.name != "":
		v.Status, v.Output, v.NextState = "CAUGHT_ERROR", t.Input, t.State
		seen["errorDetails"] = map[string]any{"catchIndex": number(r.matched)}
	default:
		v.Status, v.Output, v.NextState = "SUCCEEDED", t.Input, t.State
	}
	return v
}

// inspect tells a trial what the value is at one step. Only some states show all.
func (r *Run) inspect(s *state, step string, v any) {
	if r.env.Inspect == nil {
		return
	}
	if strings.HasPrefix(step, "afterResult") && !s.retries() && s.kind != "Pass" {
		return
	}
	r.env.Inspect(step, v)
}
