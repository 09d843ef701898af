package asl

import (
	"strconv"
	"strings"
	"time"
)

// task has work done outside: it gives out a Call, and waits for the answer, a
// token, a timeout or a missed beat.
//
// Source: the specification, "Task State"; Developer Guide, "Service integration
// patterns".
type task struct {
	resource      Resource
	timeout       int64 // seconds; 0 is none
	timeoutPath   expression
	heartbeat     int64 // seconds; 0 is none
	heartbeatPath expression
	credentials   *template
}

func readTask(p *parser, o map[string]any, s *state) work {
	w := &task{
		timeoutPath:   p.lookup(o, "TimeoutSecondsPath", s.place),
		heartbeatPath: p.lookup(o, "HeartbeatSecondsPath", s.place),
		credentials:   p.credentials(o, s.place),
	}
	p.one(o, s.place, "TimeoutSeconds", "TimeoutSecondsPath")
	p.one(o, s.place, "HeartbeatSeconds", "HeartbeatSecondsPath")
	w.timeout = p.positive(o, "TimeoutSeconds", s.place)
	w.heartbeat = p.positive(o, "HeartbeatSeconds", s.place)
	if w.timeout > 0 && w.heartbeat >= w.timeout {
		p.schema(s.place, "HeartbeatSeconds must be smaller than TimeoutSeconds")
	}
	if p.required(o, s.place, "Resource") {
		w.resource = p.resource(p.text(o, "Resource", s.place), s.place+"/Resource")
	}
	return w
}

func (p *parser) resource(arn, place string) Resource {
	r, ok := parseResource(arn)
	switch {
	case !ok:
		p.schema(place, "The resource provided %s is not recognized. The value is not a valid resource ARN, or the resource is not available in this region.", arn)
	case p.kind == Express && r.Kind == Activity:
		p.schema(place, "Express state machine does not support Activity ARN '%s'", arn)
	case p.kind == Express && r.Pattern == Callback:
		p.schema(place, "Express state machine does not support '%s' service integration ", r.Pattern)
	case p.kind == Express && r.waits():
		p.schema(place, "Express state machine does not support '%s' service integration", r.Pattern)
	}
	return r
}

// credentials are the role of another account.
func (p *parser) credentials(o map[string]any, place string) *template {
	v, ok := o["Credentials"]
	if !ok {
		return nil
	}
	object, _ := v.(map[string]any)
	_, fixed := object["RoleArn"]
	_, dynamic := object["RoleArn.$"]
	if !fixed && !dynamic {
		p.schema(place+"/Credentials", "The field 'RoleArn' is required but was missing")
		return nil
	}
	return p.template(o, "Credentials", place)
}

func (p *parser) positive(o map[string]any, field, place string) int64 {
	n, ok := p.whole(o, field, place)
	if ok && n == 0 {
		p.schema(place+"/"+field, "Expected a positive Integer")
	}
	return n
}

// begin schedules one try. A new try has a new token: nobody can answer for the
// one before.
func (w *task) begin(r *Run, t *Thread, s *state) {
	if w.resource.needsToken() {
		t.Token = r.env.Token()
	}
	scheduled, err := w.schedule(r, t, s)
	if err != nil {
		r.fail(t, s, t.problem(s, err))
		return
	}
	r.Execution.LastID++
	t.Phase, t.Task, t.Calls = Calling, r.Execution.LastID, 1
	t.beat = r.now
	if scheduled.timeout > 0 {
		t.Deadline = r.now.Round(0).Add(time.Duration(scheduled.timeout) * time.Second)
	}
	t.Heartbeat = scheduled.heartbeat
	r.taskScheduled(t, w.resource, scheduled)
	r.calls = append(r.calls, w.call(t, scheduled.payload))
}

func (w *task) call(t *Thread, payload any) Call {
	return Call{Task: t.Task, State: t.State, Resource: w.resource, Payload: payload, Token: t.Token}
}

// scheduled is what one try is made with.
type scheduled struct {
	payload            any
	timeout, heartbeat int64
	credentials        any
}

func (w *task) schedule(r *Run, t *Thread, s *state) (scheduled, error) {
	in, err := r.input(t, s)
	if err != nil {
		return scheduled{}, err
	}
	see := r.sight(t, in)
	made := scheduled{payload: in, timeout: w.timeout, heartbeat: w.heartbeat}
	if s.parameters != nil {
		if made.payload, err = s.parameters.eval(see); err != nil {
			return made, err
		}
	}
	r.inspect(s, "afterParameters", made.payload)
	if size(made.payload, maxState) > maxState {
		return made, tooLarge(s.name)
	}
	if w.timeoutPath != nil {
		if made.timeout, err = seconds(w.timeoutPath, see, "TimeoutSecondsPath"); err != nil {
			return made, err
		}
	}
	if w.heartbeatPath != nil {
		if made.heartbeat, err = seconds(w.heartbeatPath, see, "HeartbeatSecondsPath"); err != nil {
			return made, err
		}
	}
	if w.credentials != nil {
		made.credentials, err = w.credentials.eval(see)
	}
	return made, err
}

// seconds is a positive number of seconds that a path selects.
func seconds(e expression, s *sight, field string) (int64, error) {
	v, err := e.eval(s)
	if err != nil {
		return 0, forField(err, field)
	}
	n, err := strconv.ParseInt(unquoted(v), 10, 64)
	if err != nil || n < 1 || n > maxSeconds {
		return 0, saying("The %s field refers to value %s which is not a positive integer", field, quotedPlain(v))
	}
	return n, nil
}

func quotedPlain(v any) string { return `"` + unquoted(v) + `"` }

// Repeat answers the calls that were given out and not answered, as after a
// restart, with their tokens; also those of .sync, which are idempotent and whose
// end nobody would hear of otherwise. A call that has been given out most times already
// fails instead, with name: it may be what ends the process.
func (r *Run) Repeat(most int, name, cause string, now time.Time) []Call {
	r.now = now
	if r.Ended() {
		return nil
	}
	var open []*Thread
	r.Execution.Root.each(func(t *Thread) {
		w, ok := t.state().work.(*task)
		if ok && t.Phase == Calling && (!t.Submitted || w.resource.starts()) {
			open = append(open, t)
		}
	})
	var calls []Call
	for _, t := range open {
		if !r.alive(t) {
			continue
		}
		s := t.state()
		w, ok := s.work.(*task)
		if !ok {
			continue
		}
		made, err := w.schedule(r, t, s)
		if err != nil || t.Calls >= most && !t.Submitted {
			r.Fail(t.Task, name, cause, now)
			continue
		}
		if !t.Submitted {
			t.Calls++
		}
		r.changed = true
		calls = append(calls, w.call(t, made.payload))
	}
	return calls
}

// find answers the thread that waits for a task.
func (r *Run) find(task int64) *Thread {
	var found *Thread
	if r.Execution.Root != nil {
		r.Execution.Root.each(func(t *Thread) {
			if t.Phase == Calling && t.Task == task {
				found = t
			}
		})
	}
	return found
}

// Tokens visits the tokens that somebody may bring back.
func (r *Run) Tokens(visit func(token string, task int64)) {
	if r.Execution.Root == nil {
		return
	}
	r.Execution.Root.each(func(t *Thread) {
		if t.Phase == Calling && t.Token != "" {
			visit(t.Token, t.Task)
		}
	})
}

// Holds says whether a task is open and token is its token.
func (r *Run) Holds(task int64, token string) bool {
	t := r.find(task)
	return t != nil && token != "" && t.Token == token
}

// Pattern is how a task that is open ends.
func (r *Run) Pattern(id int64) Pattern {
	if t := r.find(id); t != nil {
		if w, ok := t.state().work.(*task); ok {
			return w.resource.Pattern
		}
	}
	return RequestResponse
}

// Submit tells that the call of a task is answered, and its end still to come.
func (r *Run) Submit(id int64, output any, now time.Time) bool {
	t := r.find(id)
	if t == nil || t.Submitted {
		return false
	}
	r.now = now
	t.Submitted, r.changed = true, true
	w, ok := t.state().work.(*task)
	if ok && w.resource.Kind == Integration {
		r.follow(t, "TaskSubmitted", taskSubmitted{
			Resource: w.resource.Action + string(w.resource.Pattern), ResourceType: w.resource.Service,
			Output: payload{output},
		})
	}
	return true
}

// Succeed ends a task with its output. It answers whether the task was still open.
func (r *Run) Succeed(id int64, output any, now time.Time) bool {
	t := r.find(id)
	if t == nil {
		return false
	}
	r.now = now
	s := t.state()
	w := s.work.(*task)
	if size(output, maxState) > maxState {
		return r.Fail(id, errorDataLimit, tooLarge(w.resource.label(s.name)).cause, now)
	}
	r.taskEnded(t, w.resource, "Succeeded", taskOutput{
		kind: w.resource.Kind, Output: payload{output},
		Resource: w.resource.label(""), ResourceType: w.resource.Service,
	})
	r.forget(t)
	if !r.Ended() {
		r.inspect(s, "result", output)
		r.succeed(t, s, output, nil)
	}
	return true
}

// Fail ends a task with an error. It answers whether the task was still open.
func (r *Run) Fail(id int64, name, cause string, now time.Time) bool {
	t := r.find(id)
	if t == nil {
		return false
	}
	r.now = now
	s := t.state()
	w := s.work.(*task)
	r.taskEnded(t, w.resource, "Failed", taskFailed{
		kind: w.resource.Kind, event: "Failed", Error: name, Cause: cause,
		Resource: w.resource.label(""), ResourceType: w.resource.Service,
	})
	r.forget(t)
	if !r.Ended() {
		r.fail(t, s, failure{name: name, cause: cause, fromTask: true})
	}
	return true
}

// Beat tells that the work of a task is alive. It answers whether the task was
// still open.
func (r *Run) Beat(id int64, now time.Time) bool {
	t := r.find(id)
	if t == nil {
		return false
	}
	t.beat = now
	return true
}

// timeOut ends a task that took too long, or did not beat. Both arrive as
// States.Timeout; a missed beat can also be caught by its own name.
func (r *Run) timeOut(t *Thread, s *state, overdue bool) {
	w := s.work.(*task)
	f := failure{name: errorTimeout, fromTask: true}
	if !overdue {
		f.alias = errorHeartbeat
	}
	r.taskEnded(t, w.resource, "TimedOut", taskFailed{
		kind: w.resource.Kind, event: "TimedOut", Error: f.name,
		Resource: w.resource.label(""), ResourceType: w.resource.Service,
	})
	r.forget(t)
	if !r.Ended() {
		r.fail(t, s, f)
	}
}

// label is what the history calls an integration's action; without one, other.
func (r Resource) label(other string) string {
	if r.Kind != Integration {
		return other
	}
	if other != "" {
		return r.Service
	}
	return r.Action + string(r.Pattern)
}

// eventPrefixes begin the types of a task's events.
var eventPrefixes = map[Kind]string{FunctionARN: "LambdaFunction", Activity: "Activity", Integration: "Task"}

func (r *Run) taskEnded(t *Thread, resource Resource, event string, d Details) {
	r.follow(t, eventPrefixes[resource.Kind]+event, d)
}

func (r *Run) taskScheduled(t *Thread, resource Resource, made scheduled) {
	prefix := eventPrefixes[resource.Kind]
	if resource.Kind != Integration {
		r.follow(t, prefix+"Scheduled", scheduledByARN{
			kind: resource.Kind, Resource: resource.ARN, Input: payload{made.payload},
			Timeout: made.timeout, Heartbeat: made.heartbeat, Credentials: roleOf(made.credentials),
		})
		var details Details
		if resource.Kind == Activity {
			details = activityStarted{}
		}
		r.follow(t, prefix+"Started", details)
		return
	}
	r.follow(t, prefix+"Scheduled", taskScheduled{
		Resource: resource.label(""), ResourceType: resource.Service, Region: region(r.Execution.Start.ID),
		Parameters: payload{made.payload}, Timeout: made.timeout, Heartbeat: made.heartbeat,
		Credentials: roleOf(made.credentials),
	})
	r.follow(t, prefix+"Started", taskStarted{Resource: resource.label(""), ResourceType: resource.Service})
}

func roleOf(credentials any) *taskCredentials {
	object, ok := credentials.(map[string]any)
	if !ok {
		return nil
	}
	return &taskCredentials{RoleARN: unquoted(object["RoleArn"])}
}

type (
	taskCredentials struct {
		RoleARN string `json:"roleArn"`
	}
	scheduledByARN struct {
		kind         Kind
		Resource     string           `json:"resource"`
		Input        payload          `json:"input"`
		InputDetails cut              `json:"inputDetails"`
		Timeout      int64            `json:"timeoutInSeconds,omitempty"`
		Heartbeat    int64            `json:"heartbeatInSeconds,omitempty"`
		Credentials  *taskCredentials `json:"taskCredentials,omitempty"`
	}
	activityStarted struct{}
	taskScheduled   struct {
		Resource     string           `json:"resource"`
		ResourceType string           `json:"resourceType"`
		Region       string           `json:"region"`
		Parameters   payload          `json:"parameters"`
		Timeout      int64            `json:"timeoutInSeconds,omitempty"`
		Heartbeat    int64            `json:"heartbeatInSeconds,omitempty"`
		Credentials  *taskCredentials `json:"taskCredentials,omitempty"`
	}
	taskStarted struct {
		Resource     string `json:"resource"`
		ResourceType string `json:"resourceType"`
	}
	taskSubmitted struct {
		Resource      string  `json:"resource"`
		ResourceType  string  `json:"resourceType"`
		Output        payload `json:"output"`
		OutputDetails cut     `json:"outputDetails"`
	}
	taskOutput struct {
		kind          Kind
		Resource      string  `json:"resource,omitempty"`
		ResourceType  string  `json:"resourceType,omitempty"`
		Output        payload `json:"output"`
		OutputDetails cut     `json:"outputDetails"`
	}
	taskFailed struct {
		kind         Kind
		event        string
		Resource     string `json:"resource,omitempty"`
		ResourceType string `json:"resourceType,omitempty"`
		Error        string `json:"error,omitempty"`
		Cause        string `json:"cause,omitempty"`
	}
)

var detailPrefixes = map[Kind]string{FunctionARN: "lambdaFunction", Activity: "activity", Integration: "task"}

func (s scheduledByARN) field() string { return detailPrefixes[s.kind] + "ScheduledEventDetails" }
func (activityStarted) field() string  { return "activityStartedEventDetails" }
func (taskScheduled) field() string    { return "taskScheduledEventDetails" }
func (taskStarted) field() string      { return "taskStartedEventDetails" }
func (taskSubmitted) field() string    { return "taskSubmittedEventDetails" }
func (o taskOutput) field() string     { return detailPrefixes[o.kind] + "SucceededEventDetails" }
func (f taskFailed) field() string     { return detailPrefixes[f.kind] + f.event + "EventDetails" }

// region is that of an ARN.
func region(arn string) string {
	parts := strings.Split(arn, ":")
	if len(parts) < 4 {
		return ""
	}
	return parts[3]
}
