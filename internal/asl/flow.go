package asl

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// How a state gets its input, and what becomes of its result: InputPath,
// Parameters, the work, ResultSelector, ResultPath, OutputPath, Assign.
//
// Source: the specification, "Input and Output Processing"; Developer Guide,
// "Passing data between states with variables" (variables have on the whole way
// the values that they had when the state was entered).

func (r *Run) sight(t *Thread, node any) *sight {
	return &sight{
		node:     node,
		context:  func() map[string]any { return r.contextOf(t) },
		variable: t.variable,
		env:      r.env,
	}
}

// input is the state's input after InputPath.
func (r *Run) input(t *Thread, s *state) (any, error) {
	v, err := t.Input, error(nil)
	switch {
	case s.noInput:
		v = map[string]any{}
	case s.inputPath != nil:
		if v, err = s.inputPath.eval(r.sight(t, t.Input)); err != nil {
			return nil, invalidPath(err)
		}
	}
	r.inspect(s, "afterInputPath", v)
	return v, nil
}

// arguments is what the work is done with: the input after Parameters.
func (r *Run) arguments(t *Thread, s *state) (any, error) {
	in, err := r.input(t, s)
	if err != nil {
		return nil, err
	}
	if s.parameters != nil {
		if in, err = s.parameters.eval(r.sight(t, in)); err != nil {
			return nil, err
		}
	}
	r.inspect(s, "afterParameters", in)
	return in, nil
}

// succeed ends a state with the result of its work, and goes on. assigned, if not
// nil, replaces the state's own Assign (a Choice's rule has one too).
func (r *Run) succeed(t *Thread, s *state, result any, assigned *template) {
	output, vars, err := r.output(t, s, result, assigned)
	if err != nil {
		r.fail(t, s, t.problem(s, err))
		return
	}
	r.leave(t, s, output, vars, s.next)
}

func (r *Run) output(t *Thread, s *state, result any, assigned *template) (output any, vars map[string]any, err error) {
	if assigned == nil {
		assigned = s.assign
	}
	if vars, err = r.assigned(t, assigned, result); err != nil {
		return nil, nil, err
	}
	if s.selector != nil {
		if result, err = s.selector.eval(r.sight(t, result)); err != nil {
			return nil, nil, err
		}
	}
	r.inspect(s, "afterResultSelector", result)
	if output, err = r.place(t, s, result); err != nil {
		return nil, nil, err
	}
	r.inspect(s, "afterResultPath", output)
	switch {
	case s.noOutput:
		output = map[string]any{}
	case s.outputPath != nil:
		if output, err = s.outputPath.eval(r.sight(t, output)); err != nil {
			return nil, nil, invalidPath(err)
		}
	}
	if size(output, maxState) > maxState {
		return nil, nil, tooLarge(s.name)
	}
	return output, vars, nil
}

// place puts the result into the state's input, as ResultPath says. States
// without results pass their input on.
func (r *Run) place(t *Thread, s *state, result any) (any, error) {
	switch {
	case s.noResult:
		return t.Input, nil
	case len(s.resultPath.steps) == 0:
		return result, nil
	}
	output, err := s.resultPath.put(t.Input, result)
	if err != nil {
		return nil, failure{name: errorResultPath, cause: err.Error()}
	}
	return output, nil
}

func (r *Run) assigned(t *Thread, assign *template, node any) (map[string]any, error) {
	if assign == nil {
		return nil, nil
	}
	v, err := assign.eval(r.sight(t, node))
	vars, _ := v.(map[string]any)
	return vars, err
}

// leave ends a state: the variables change, the thread goes to the next state or
// ends.
func (r *Run) leave(t *Thread, s *state, output any, vars map[string]any, next string) {
	exited := stateExited{Name: s.name, Output: payload{output}}
	if vars != nil {
		t.assign(vars)
		if r.env.Record != nil {
			exited.AssignedVariablesDetails = &cut{}
			exited.AssignedVariables = make(map[string]payload, len(vars))
			for name, v := range vars {
				exited.AssignedVariables[name] = payload{v}
			}
		}
	}
	r.follow(t, s.kind+"StateExited", exited)
	r.forget(t)
	if r.Ended() {
		return
	}
	if next == "" {
		r.finish(t, output)
		return
	}
	t.State, t.Input, t.Phase = next, output, Entering
	r.ready = append(r.ready, t)
}

func (t *Thread) assign(vars map[string]any) {
	changed := maps.Clone(t.Vars)
	if changed == nil {
		changed = make(map[string]any, len(vars))
	}
	maps.Copy(changed, vars)
	t.Vars = changed
}

// forget clears what a thread waited for.
func (*Run) forget(t *Thread) {
	t.Wake, t.Deadline, t.Heartbeat = time.Time{}, time.Time{}, 0
	t.Task, t.Token, t.Submitted, t.Calls = 0, "", false, 0
	t.Fan = nil
}

// finish ends a thread whose last state has an output.
func (r *Run) finish(t *Thread, output any) {
	if t.parent == nil {
		r.end(Succeeded, failure{})
		r.Execution.Output = output
		r.record(t.Last, "ExecutionSucceeded", executionSucceeded{Output: payload{output}})
		return
	}
	r.branchSucceeded(t, output)
}

// fail takes an error to the state's Retry, then to its Catch, then out of the
// thread.
func (r *Run) fail(t *Thread, s *state, f failure) {
	r.failed = f
	if r.Ended() || r.retry(t, s, f) {
		return
	}
	if below, ok := s.work.(fan); ok && t.Fan != nil {
		below.failed(r, t, f)
		t.Fan = nil
	}
	for i, c := range s.catch {
		if f.matches(c.errors) {
			r.matched = i
			r.caught(t, s, c, f)
			return
		}
	}
	r.abandon(t, f)
}

// retry pauses before the next try, if a retrier has one left.
func (r *Run) retry(t *Thread, s *state, f failure) bool {
	for i, retrier := range s.retry {
		if !f.matches(retrier.errors) {
			continue
		}
		if t.Tries == nil {
			t.Tries = make([]int, len(s.retry))
		}
		if t.Tries[i] >= retrier.attempts {
			return false
		}
		t.Tries[i]++
		r.matched = i
		r.forget(t)
		t.Retries++
		t.Phase = Trying
		t.Wake = r.now.Round(0).Add(retrier.delay(t.Tries[i], r.env.Random))
		return true
	}
	return false
}

// caught goes to the state of a catcher. Its output is not filtered further.
func (r *Run) caught(t *Thread, s *state, c catcher, f failure) {
	vars, err := r.assigned(t, c.assign, f.output())
	if err != nil {
		r.abandon(t, t.problem(s, err))
		return
	}
	output := t.Input
	if !c.noResult {
		if output, err = c.resultPath.put(t.Input, f.output()); err != nil {
			r.abandon(t, failure{name: errorResultPath, cause: err.Error()})
			return
		}
	}
	if size(output, maxState) > maxState {
		r.abandon(t, tooLarge(s.name))
		return
	}
	r.leave(t, s, output, vars, c.next)
}

// abandon ends a thread with an error.
func (r *Run) abandon(t *Thread, f failure) {
	r.failed = f
	r.forget(t)
	if t.parent == nil {
		r.end(Failed, f)
		r.record(t.Last, "ExecutionFailed", executionFailed{failed{f.name, f.cause}})
		return
	}
	r.branchFailed(t, f)
}

// contextOf is the context object, $$, as a thread sees it.
//
// Source: Developer Guide, "Accessing execution data from the Context object".
func (r *Run) contextOf(t *Thread) map[string]any {
	if r.trial != nil && r.trial.Context != nil {
		return maps.Clone(r.trial.Context)
	}
	start := r.Execution.Start
	at := map[string]any{"Name": t.State, "EnteredTime": stamp(t.EnteredAt)}
	if t.state().retries() {
		at["RetryCount"] = number(t.Retries)
	}
	context := map[string]any{
		"Execution": map[string]any{
			"Id": start.ID, "Name": start.Name, "Input": start.Input, "RoleArn": start.Role,
			"StartTime": stamp(r.Execution.Began), "RedriveCount": number(0),
		},
		"StateMachine": map[string]any{"Id": start.MachineID, "Name": start.Machine},
		"State":        at,
	}
	if t.Token != "" {
		context["Task"] = map[string]any{"Token": t.Token}
	}
	for above := t; above != nil; above = above.parent {
		if above.parent != nil && above.parent.Fan != nil && above.parent.Fan.Items != nil {
			context["Map"] = mapContext(above.Index, above.Item)
			break
		}
	}
	return context
}

func mapContext(index int, item any) map[string]any {
	return map[string]any{"Item": map[string]any{"Index": number(index), "Value": item}}
}

func (s *state) retries() bool { return slices.Contains([]string{"Task", "Map", "Parallel"}, s.kind) }

// stamp is a time as the service writes it: UTC, milliseconds.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// brackets is a path as Jayway's messages spell it, $['a'][0].
func brackets(source string) string {
	p, err := parsePath(source)
	if err != nil {
		return source
	}
	var b strings.Builder
	b.WriteString("$")
	for _, s := range p.steps {
		switch s := s.(type) {
		case names:
			b.WriteString("['" + strings.Join(s, "','") + "']")
		case indexes:
			b.WriteString("[" + strconv.Itoa(s[0]) + "]")
		default:
			return source
		}
	}
	return b.String()
}

// invalidPath says of InputPath and OutputPath that they select nothing.
func invalidPath(err error) error {
	if missing, ok := err.(*noValue); ok { //nolint:errorlint // eval returns it as it is
		return failedPath{missing.path}
	}
	return err
}

type failedPath struct{ path string }

func (e failedPath) Error() string {
	return "Invalid path '" + e.path + "' : No results for path: " + brackets(e.path)
}
