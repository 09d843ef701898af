package asl_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/asl"
)

// What the specification says and no recording shows.

const store = `{"a": [{"b": 1, "c": "x"}, {"b": 2.5}, {"c": "y"}], "d": {"e": null, "f.g": [[1, 2], [3]], "it's": 4}, "n": 7}`

// evaluate answers the value of a field "v.$", as JSON, or the error's name.
func evaluate(t *testing.T, expression, input string) string {
	t.Helper()
	v, err := asl.Decode([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	m := machineOf(t, map[string]any{"v.$": expression})
	if m == nil {
		return "refused"
	}
	x := outcome(m, v)
	if x.Status != asl.Succeeded {
		return x.Error
	}
	return encoded(t, x.Output.(map[string]any)["v"])
}

func TestPaths(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ path, want string }{
		{"$.a[0].b", "1"},
		{"$.a[-1].c", `"y"`},
		{"$['d']['f.g'][0][1]", "2"},
		{`$["d"]["it's"]`, "4"},
		{`$.d['it\'s']`, "4"},
		{"$.a[*].b", "[1,2.5]"},
		{"$.a[1:].c", `["y"]`},
		{"$.a[:-1].b", "[1,2.5]"},
		{"$.a[::2].c", `["x","y"]`},
		{"$.a[0,2].c", `["x","y"]`},
		{"$..c", `["x","y"]`},
		{"$.d.*", "[null,[[1,2],[3]],4]"},
		{"$.a[?(@.b)].b", "[1,2.5]"},
		{"$.a[?(@.b > 1 && @.b < $.n)].b", "[2.5]"},
		{"$.a[?(@.c == 'y' || @.b == 1)].c", `["x","y"]`},
		{"$.a[?(!(@.b))].c", `["y"]`},
		{"$.a[?(@.c != 'x')].c", `["y"]`},
		{"$.a.length()", "3"},
		{"$.d.e", "null"},
		{"$.a[*].nothing", "[]"}, // what may select several selects none: an empty array
		{"$.nothing", "States.Runtime"},
		{"$.a[9]", "States.Runtime"},
		{"$.n.x", "States.Runtime"},
		{"$nothing", "States.Runtime"},
		{"$.a[", "refused"},
		{"$.a[?(@.b >)]", "refused"},
		{"$.", "refused"},
		{"a.b", "refused"},
		{"$.a[0:9:0]", "refused"},
	} {
		if got := evaluate(t, tt.path, store); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.path, got, tt.want)
		}
	}
}

func TestIntrinsics(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ call, want string }{
		{`States.Format('{} is \'{}\', \{\}', $.n, 'x')`, `"7 is 'x', {}"`},
		{`States.Format('{}', $.a[0], 1)`, "States.IntrinsicFailure"},
		{`States.Format('{}')`, "States.IntrinsicFailure"},
		{`States.ArrayRange(1, 9, 3)`, "[1,4,7]"},
		{`States.ArrayRange(3, 1, -1)`, "[3,2,1]"},
		{`States.ArrayRange(1, 2000, 1)`, "States.IntrinsicFailure"},
		{`States.ArrayRange(1, 2, 0)`, "States.IntrinsicFailure"},
		{`States.ArrayPartition($.a, 0)`, "States.IntrinsicFailure"},
		{`States.ArrayGetItem($.a, 3)`, "States.IntrinsicFailure"},
		{`States.ArrayUnique(States.Array(1, 1.0, 'a', 'a', null, null))`, `[1,"a",null]`},
		{`States.ArrayContains($.d['f.g'], States.Array(1, 2))`, "true"},
		{`States.Base64Decode(States.Base64Encode('ä{}'))`, `"ä{}"`},
		{`States.Base64Decode('%')`, "States.IntrinsicFailure"},
		{`States.Hash('a', 'MD5')`, `"0cc175b9c0f1b6a831c399e269772661"`},
		{`States.Hash('a', 'MD4')`, "States.IntrinsicFailure"},
		{`States.JsonMerge($.d, States.StringToJson('\{"e":1\}'), false)`, `{"e":1,"f.g":[[1,2],[3]],"it's":4}`},
		{`States.JsonMerge($.d, $.d, true)`, "States.IntrinsicFailure"},
		{`States.StringToJson('\{')`, "States.IntrinsicFailure"},
		{`States.MathAdd($.a[1].b, 1)`, "4"}, // halves go up
		{`States.MathRandom(3, 4)`, "3"},
		{`States.MathRandom(4, 4)`, "States.IntrinsicFailure"},
		{`States.StringSplit('a.+b.c', '.+')`, `["a","b","c"]`},
		{`States.ArrayLength($.n)`, "States.IntrinsicFailure"},
		{`States.UUID()`, `"uuid"`},
		{`States.UUID(1)`, "refused"},
		{`States.Other()`, "refused"},
		{`States.Format('a`, "refused"},
		{`States.Array(1,)`, "refused"},
	} {
		if got := evaluate(t, tt.call, store); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.call, got, tt.want)
		}
	}
}

func TestStringMatches(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"log-*.txt", "log-2026.txt", true},
		{"log-*.txt", "log-.txt", true},
		{"log-*.txt", "log.txt", false},
		{"*", "", true},
		{"a*b*c", "a-b-b-c", true},
		{"a*a", "a", false},
		{`a\*`, "a*", true},
		{`a\*`, "ab", false},
		{`\\*`, `\x`, true},
		{"ä*", "äh", true},
	} {
		definition, err := asl.Encode(map[string]any{"StartAt": "C", "States": map[string]any{
			"C": map[string]any{
				"Type":    "Choice",
				"Choices": []any{map[string]any{"Variable": "$", "StringMatches": tt.pattern, "Next": "Yes"}}, "Default": "No",
			},
			"Yes": map[string]any{"Type": "Pass", "Result": true, "End": true},
			"No":  map[string]any{"Type": "Pass", "Result": false, "End": true},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if got := outcome(parse(t, string(definition)), tt.text).Output; got != tt.want {
			t.Errorf("%q against %q: %v, want %v", tt.text, tt.pattern, got, tt.want)
		}
	}
}

func parse(t testing.TB, definition string) *asl.Machine {
	t.Helper()
	m, err := asl.Parse([]byte(definition), asl.Standard)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// world drives one run, on a clock of its own.
type world struct {
	*asl.Run
	now    time.Time
	events []string
}

func begin(t testing.TB, definition, input string) *world {
	t.Helper()
	w := &world{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	env := quiet()
	env.Record = func(e asl.Event) { w.events = append(w.events, e.Type) }
	v, err := asl.Decode([]byte(input))
	if err != nil {
		t.Fatal(err)
	}
	b := start
	b.Input = v
	w.Run = asl.Begin(parse(t, definition), b, env, w.now)
	return w
}

func (w *world) advance() []asl.Call { return w.Advance(w.now) }

// sleep goes to when time moves the execution on, and answers how long that was.
func (w *world) sleep() time.Duration {
	d := w.Next().Sub(w.now)
	w.now = w.Next()
	return d
}

const retried = `{"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "arn:aws:lambda:r:1:function:f", "End": true, "Retry": [%s]}}}`

// The pauses grow by BackoffRate up to MaxDelaySeconds; FULL jitter takes a part of
// them at random (here a half); each retrier counts for itself.
func TestRetryDelays(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		retry  string
		errors []string
		want   []time.Duration // then it fails
	}{
		{`{"ErrorEquals": ["States.ALL"]}`, []string{"E", "E", "E", "E"}, []time.Duration{1, 2, 4}},
		{`{"ErrorEquals": ["E"], "IntervalSeconds": 3, "BackoffRate": 1.5, "MaxAttempts": 3}`, []string{"E", "E", "E", "E"}, []time.Duration{3000, 4500, 6750}},
		{`{"ErrorEquals": ["E"], "IntervalSeconds": 4, "BackoffRate": 3, "MaxAttempts": 3, "MaxDelaySeconds": 10}`, []string{"E", "E", "E", "E"}, []time.Duration{4, 10, 10}},
		{`{"ErrorEquals": ["E"], "IntervalSeconds": 4, "JitterStrategy": "FULL", "MaxAttempts": 2}`, []string{"E", "E", "E"}, []time.Duration{2, 4}},
		{`{"ErrorEquals": ["A"], "MaxAttempts": 1}, {"ErrorEquals": ["States.TaskFailed"], "IntervalSeconds": 7, "MaxAttempts": 1}`, []string{"A", "B", "A"}, []time.Duration{1, 7}},
		{`{"ErrorEquals": ["E"], "MaxAttempts": 0}`, []string{"E"}, nil},
		{`{"ErrorEquals": ["States.ALL"]}`, []string{"States.Runtime"}, nil}, // nothing helps
	} {
		w := begin(t, fmt.Sprintf(retried, tt.retry), `{}`)
		var got []time.Duration
		for _, name := range tt.errors {
			calls := w.advance()
			if len(calls) != 1 {
				t.Fatalf("%s: %d calls", tt.retry, len(calls))
			}
			w.Fail(calls[0].Task, name, "", w.now)
			if !w.Ended() {
				got = append(got, w.sleep())
			}
		}
		want := slices.Clone(tt.want)
		for i := range want {
			if want[i] < 1000 {
				want[i] *= 1000
			}
			want[i] *= time.Millisecond
		}
		if !slices.Equal(got, want) || !w.Ended() {
			t.Errorf("%s: pauses %v, want %v; ended %v", tt.retry, got, want, w.Ended())
		}
	}
}

func TestMapConcurrency(t *testing.T) {
	t.Parallel()
	w := begin(t, `{"StartAt": "M", "States": {"M": {"Type": "Map", "MaxConcurrency": 2, "End": true, "ItemProcessor": {
		"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "arn:aws:lambda:r:1:function:f", "End": true}}}}}}`, `[1, 2, 3, 4, 5]`)
	open := w.advance()
	for most := 2; len(open) > 0; {
		if len(open) > most {
			t.Fatalf("%d iterations at once, want %d", len(open), most)
		}
		last := open[len(open)-1] // the later one first: results keep their places
		open = open[:len(open)-1]
		w.Succeed(last.Task, []any{last.Payload}, w.now)
		open = append(open, w.advance()...)
	}
	if got := encoded(t, w.Execution.Output); got != "[[1],[2],[3],[4],[5]]" {
		t.Errorf("output %s", got)
	}
}

// A branch that fails ends the others, and its error can be caught.
func TestParallelFails(t *testing.T) {
	t.Parallel()
	w := begin(t, `{"StartAt": "P", "States": {
		"P": {"Type": "Parallel", "Next": "Never", "Catch": [{"ErrorEquals": ["E"], "ResultPath": "$.error", "Next": "Caught"}], "Branches": [
			{"StartAt": "T", "States": {"T": {"Type": "Task", "Resource": "arn:aws:lambda:r:1:function:f", "End": true}}},
			{"StartAt": "W", "States": {"W": {"Type": "Wait", "Seconds": 60, "End": true}}}
		]},
		"Never": {"Type": "Fail"},
		"Caught": {"Type": "Pass", "End": true}
	}}`, `{"a": 1}`)
	calls := w.advance()
	w.Fail(calls[0].Task, "E", "why", w.now)
	w.advance()
	if got := encoded(t, w.Execution.Output); got != `{"a":1,"error":{"Cause":"why","Error":"E"}}` {
		t.Errorf("output %s", got)
	}
	if !slices.Contains(w.events, "WaitStateAborted") || !slices.Contains(w.events, "ParallelStateFailed") {
		t.Errorf("events %v", w.events)
	}
}

// What a branch assigns stays in it; what was there before it sees.
func TestVariableScope(t *testing.T) {
	t.Parallel()
	w := begin(t, `{"StartAt": "Set", "States": {
		"Set": {"Type": "Pass", "Assign": {"x": 1}, "Next": "P"},
		"P": {"Type": "Parallel", "Next": "Last", "Branches": [
			{"StartAt": "A", "States": {"A": {"Type": "Pass", "Assign": {"y.$": "States.MathAdd($x, 1)"}, "Next": "B"},
				"B": {"Type": "Pass", "Parameters": {"sum.$": "States.MathAdd($x, $y)"}, "End": true}}}
		]},
		"Last": {"Type": "Pass", "Parameters": {"x.$": "$x", "branch.$": "$[0].sum"}, "End": true}
	}}`, `{}`)
	w.advance()
	if got := encoded(t, w.Execution.Output); got != `{"branch":3,"x":1}` {
		t.Errorf("output %s (%s)", got, w.Execution.Cause)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	circle := `{"StartAt": "A", "States": {
		"A": {"Type": "Choice", "Choices": [{"Variable": "$.stop", "IsPresent": true, "Next": "B"}], "Default": "A"}, "B": {"Type": "Succeed"}}}`
	w := begin(t, circle, `{}`)
	for w.Ready() {
		w.advance()
	}
	if x := w.Execution; x.Status != asl.Failed || len(w.events) != 25000 || w.events[24999] != "ExecutionFailed" {
		t.Errorf("a machine that goes in circles: %s after %d events, the last %s", x.Status, len(w.events), w.events[len(w.events)-1])
	}

	w = begin(t, fmt.Sprintf(retried, `{"ErrorEquals": ["States.ALL"], "MaxAttempts": 1}`), `{}`)
	w.Succeed(w.advance()[0].Task, strings.Repeat("a", 262144), w.now)
	w.sleep()
	w.Succeed(w.advance()[0].Task, strings.Repeat("a", 262142), w.now) // with its quotes just right
	if w.Execution.Status != asl.Succeeded {
		t.Errorf("a result of 262,144 bytes after one that was too large: %s, %s", w.Execution.Status, w.Execution.Error)
	}
}

// An answer for a try that is over changes nothing.
func TestLateAnswers(t *testing.T) {
	t.Parallel()
	w := begin(t, fmt.Sprintf(retried, `{"ErrorEquals": ["E"]}`), `{}`)
	first := w.advance()[0]
	w.Fail(first.Task, "E", "", w.now)
	w.sleep()
	second := w.advance()[0]
	if w.Succeed(first.Task, 1, w.now) || w.Fail(first.Task, "E", "", w.now) || w.Beat(first.Task, w.now) || w.Submit(first.Task, 1, w.now) {
		t.Error("the answer of a try that is over was taken")
	}
	if !w.Succeed(second.Task, nil, w.now) || w.Succeed(second.Task, nil, w.now) {
		t.Error("the answer of the open try was not taken once")
	}
}

// A machine is stored with its format; one that this version does not know is
// refused and left alone.
func TestStoredFormat(t *testing.T) {
	t.Parallel()
	m := parse(t, fmt.Sprintf(retried, ""))
	if _, err := asl.Load(m, []byte(`{"v": 2, "status": "RUNNING"}`), quiet(), time.Now()); err == nil || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("a later format: %v", err)
	}
	w := begin(t, fmt.Sprintf(retried, ""), `{}`)
	state, err := json.Marshal(w.Execution)
	if err != nil {
		t.Fatal(err)
	}
	other := parse(t, `{"StartAt": "Other", "States": {"Other": {"Type": "Succeed"}}}`)
	if _, err := asl.Load(other, state, quiet(), time.Now()); err == nil || !strings.Contains(err.Error(), `no state "T"`) {
		t.Errorf("another definition: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	state := func(s string) string { return `{"StartAt": "A", "States": {"A": ` + s + `}}` }
	for _, tt := range []struct{ definition, want string }{
		{``, "Definition must be a valid JSON object"},
		{`[]`, "Definition must be a valid JSON object"},
		{`{`, asl.InvalidJSON},
		{`{"StartAt": "A"}`, "These fields are required: [States] at /"},
		{`{"StartAt": "B", "States": {"A": {"Type": "Succeed"}}}`, "Missing 'StartAt' target: B at /StartAt"},
		{state(`{"Type": "Pass", "Next": "B"}`), "Missing 'Next' target: B at /States/A/Next"},
		{state(`{"Type": "Pass"}`), "'Next' or 'End' at /States/A"},
		{state(`{"Type": "Pass", "End": true, "Outputpath": "$"}`), "Field 'Outputpath' is not supported at /States/A"},
		{state(`{"Type": "Pass", "End": true, "Output": "x"}`), "JSONata"},
		{state(`{"Type": "Pass", "End": true, "ResultPath": "$.a[*]"}`), "Value is not a Reference Path at /States/A/ResultPath"},
		{state(`{"Type": "Pass", "End": true, "Parameters": {"a": {"b.$": "c"}}}`), "The value for the field 'b.$' must be a valid JSONPath or a valid intrinsic function call at /States/A/Parameters/a/b.$"},
		{state(`{"Type": "Task", "End": true}`), "These fields are required: [Resource] at /States/A"},
		{state(`{"Type": "Task", "End": true, "Resource": "arn:aws:states:::dynamodb:query"}`), "is not recognized"},
		{state(`{"Type": "Task", "End": true, "Resource": "${f}", "TimeoutSeconds": 5, "HeartbeatSeconds": 5}`), "HeartbeatSeconds must be smaller"},
		{state(`{"Type": "Task", "End": true, "Resource": "${f}", "Retry": [{"ErrorEquals": ["States.ALL"]}, {"ErrorEquals": ["E"]}]}`), "States.ALL must appear alone, in the last one"},
		{state(`{"Type": "Wait", "End": true, "Seconds": 1, "SecondsPath": "$.a"}`), "exactly one of"},
		{state(`{"Type": "Wait", "End": true, "Timestamp": "yesterday"}`), "String does not match RFC3339 timestamp at /States/A/Timestamp"},
		{state(`{"Type": "Choice", "Choices": []}`), "at least one rule"},
		{state(`{"Type": "Choice", "Choices": [{"Variable": "$", "NumericEquals": "1", "Next": "A"}]}`), "another type"},
		{state(`{"Type": "Map", "End": true}`), "[ItemProcessor]"},
		{state(`{"Type": "Sleep"}`), "Acceptable values are"},
		{`{"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": {"Type": "Succeed"}}}`, "JSONata is not supported here: write the state in JSONPath"},
		{state(`{"Type": "Pass", "QueryLanguage": "JSONata", "End": true}`), "JSONata is not supported here: write the state in JSONPath at /States/A"},
		{`{"StartAt": "A", "States": {"A": {"Type": "Succeed"}, "B": {"Type": "Succeed"}}}`, `State "B" is not reachable.`},
	} {
		_, err := asl.Parse([]byte(tt.definition), asl.Standard)
		var refused *asl.InvalidDefinition
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s\n  got  %v\n  want %s", tt.definition, err, tt.want)
		}
	}
}
