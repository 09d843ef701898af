package asl_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/asl"
)

// The names that the recordings made up.
var start = asl.Start{
	Name:      "execution-1",
	ID:        "arn:aws:states:us-east-1:111111111111:execution:machine-1:execution-1",
	Machine:   "machine-1",
	MachineID: "arn:aws:states:us-east-1:111111111111:stateMachine:machine-1",
	Role:      "arn:aws:iam::111111111111:role/role-1",
}

// Days from which on the service did something else than before.
const (
	redriveSince   = "2023-11-15" // the context object has RedriveCount
	mapRunChanged  = "2024-09-01" // MapStateExited follows MapRunStarted, not MapRunSucceeded
	maxReplaySteps = 10000
)

// replay is one execution on a clock that nobody waits for.
type replay struct {
	*scenario
	run    *asl.Run
	now    time.Time
	events []any
	err    error
}

func (s *scenario) replay() (*replay, string) {
	m, err := asl.Parse(s.definition(), s.Type)
	if err != nil {
		return &replay{err: err}, ""
	}
	if len(m.Unsupported) > 0 {
		return nil, "feature " + strings.Join(m.Unsupported, ", ") + ": not run here"
	}
	input, err := s.input()
	if err != nil {
		return &replay{err: err}, ""
	}
	p := &replay{scenario: s, now: s.start()}
	begin := start
	begin.Input = input
	if s.Type == asl.Express {
		begin.ID = "arn:aws:states:us-east-1:111111111111:express:machine-1:execution-1:1"
	}
	p.run = asl.Begin(m, begin, p.env(), p.now)
	for range maxReplaySteps {
		for _, call := range p.run.Advance(p.now) {
			p.answer(call)
		}
		if p.run.Ended() {
			return p, ""
		}
		if p.run.Ready() {
			continue
		}
		next := p.run.Next()
		if s.stopped(next) {
			p.run.Stop("", "", p.now)
			return p, ""
		}
		if next.IsZero() {
			p.err = fmt.Errorf("it waits for something that never comes")
			return p, ""
		}
		p.now = next
	}
	p.err = fmt.Errorf("it did not end")
	return p, ""
}

// stopped says whether somebody stopped the execution while it waited: nobody
// sends StopExecution in a replay, but the recording ends with it.
func (s *scenario) stopped(next time.Time) bool { return s.Expected["status"] == "ABORTED" }

func (s *scenario) input() (any, error) {
	text := []byte(s.Input)
	if s.InputText != nil {
		text = []byte(*s.InputText)
	}
	if len(text) == 0 {
		text = []byte("{}")
	}
	return asl.Decode(text)
}

// start is when the recording was made, or what the input was derived from.
func (s *scenario) start() time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02 15:04:05", time.DateOnly} {
		for _, text := range []string{s.Clock, s.Recorded} {
			if at, err := time.Parse(layout, text); err == nil && (text == s.Clock || s.Clock == "") {
				return at
			}
		}
	}
	return time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
}

func (p *replay) env() *asl.Env {
	serial := 0
	return &asl.Env{
		Token:  func() string { serial++; return fmt.Sprintf("token-%d", serial) },
		UUID:   func() string { return "00000000-0000-4000-8000-000000000000" },
		Random: func() float64 { return 0.5 },
		Record: func(e asl.Event) { p.events = append(p.events, decoded(e)) },
		Object: p.object,
	}
}

func decoded(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	value, err := asl.Decode(text)
	if err != nil {
		panic(err)
	}
	return value
}

// object reads the S3 objects that the scenario begins with.
func (p *replay) object(resource string, parameters map[string]any) ([]byte, error) {
	if strings.HasSuffix(resource, ":listObjectsV2") {
		list := []any{}
		for _, o := range p.Resources.S3 {
			prefix, _ := parameters["Prefix"].(string)
			if o.Bucket == parameters["Bucket"] && strings.HasPrefix(o.Key, prefix) {
				list = append(list, map[string]any{
					"Etag": "etag", "Key": o.Key, "LastModified": 0, "Size": len(o.Body), "StorageClass": "STANDARD",
				})
			}
		}
		return asl.Encode(list)
	}
	for _, o := range p.Resources.S3 {
		if o.Bucket == parameters["Bucket"] && o.Key == parameters["Key"] {
			return []byte(o.Body), nil
		}
	}
	return nil, fmt.Errorf("there is no object %v", parameters["Key"])
}

// answer plays back what the task answered: the first unused stub of the state
// whose input matches, else the first unused one.
func (p *replay) answer(call asl.Call) {
	unused := func(s *stub) bool { return s.State == call.State && !s.used }
	i := slices.IndexFunc(p.Stubs, func(s *stub) bool {
		return unused(s) && match("", s.Input, call.Payload) == ""
	})
	if i < 0 {
		i = slices.IndexFunc(p.Stubs, unused)
	}
	if i < 0 {
		p.err = fmt.Errorf("no answer was recorded for state %s with %s", call.State, short(call.Payload))
		return
	}
	s := p.Stubs[i]
	s.used = true
	if s.Submitted != nil {
		p.run.Submit(call.Task, s.Submitted, p.now)
	}
	switch s.Outcome {
	case "succeeded":
		p.run.Succeed(call.Task, s.Output, p.now)
	case "failed":
		p.run.Fail(call.Task, s.Error, causeText(s.Cause), p.now)
	}
}

func causeText(cause any) string {
	switch c := cause.(type) {
	case nil:
		return ""
	case string:
		return c
	}
	text, err := asl.Encode(cause)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func (s *scenario) judgeExecution() (string, []string) {
	p, reason := s.replay()
	if reason != "" {
		return reason, nil
	}
	if p.err != nil {
		return "", []string{p.err.Error()}
	}
	want := map[string]any{}
	for _, field := range []string{"status", "output", "error", "cause"} {
		if v, ok := s.Expected[field]; ok {
			want[field] = v
		}
	}
	if _, ok := want["output"]; ok {
		want["output"] = s.asOf(want["output"])
	}
	var problems []string
	if problem := match("result", want, p.result()); problem != "" {
		problems = append(problems, problem)
	}
	if events, ok := s.Expected["events"].([]any); ok {
		if problem := s.matchHistory(events, p.events); problem != "" {
			problems = append(problems, problem)
		}
	}
	return "", problems
}

func (p *replay) result() map[string]any {
	x := p.run.Execution
	got := map[string]any{"status": string(x.Status)}
	if x.Status == asl.Succeeded {
		got["output"] = x.Output
	}
	if x.Error != "" {
		got["error"] = x.Error
	}
	if x.Cause != "" {
		got["cause"] = p.cause(x.Error, x.Cause)
	}
	return got
}
