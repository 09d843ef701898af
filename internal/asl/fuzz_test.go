package asl_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/asl"
)

// machineOf runs one Pass state with Parameters.
func machineOf(t testing.TB, parameters map[string]any) *asl.Machine {
	t.Helper()
	definition, err := asl.Encode(map[string]any{
		"StartAt": "P",
		"States":  map[string]any{"P": map[string]any{"Type": "Pass", "Parameters": parameters, "End": true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	m, err := asl.Parse(definition, asl.Standard)
	if err != nil {
		return nil
	}
	return m
}

func quiet() *asl.Env {
	return &asl.Env{
		Token: func() string { return "token" }, UUID: func() string { return "uuid" },
		Random: func() float64 { return 0.5 },
	}
}

func outcome(m *asl.Machine, input any) *asl.Execution {
	begin := start
	begin.Input = input
	run := asl.Begin(m, begin, quiet(), time.Unix(0, 0))
	run.Advance(time.Unix(0, 0))
	return run.Execution
}

// FuzzJSONPath: whatever a path is, it is refused, or selects something or nothing,
// twice the same; and never changes what it looks at.
func FuzzJSONPath(f *testing.F) {
	const document = `{"a":[{"b":1,"c":"x"},{"b":2.5}],"d":{"e":null,"f.g":[[1,2],[3]]},"h":true}`
	for _, path := range []string{
		"$", "$.a[0].b", "$.a[*].b", "$..b", "$.a[?(@.b > 1)]", "$['d']['f.g'][1:]", "$.a[-1]", "$.a[0,1]", "$.a.length()",
		"$.a[?(@.c == 'x' && !(@.b < 0) || @.z)]", "$$.Execution.Id", "$.d.*", "$..[0]", "$[", "$.a[1:9:0]", "$.a[?(@.b in 3)]",
	} {
		f.Add(path, document)
	}
	f.Fuzz(func(t *testing.T, path, document string) {
		input, err := asl.Decode([]byte(document))
		if err != nil {
			return
		}
		m := machineOf(t, map[string]any{"v.$": path})
		if m == nil {
			return
		}
		before := encoded(t, input)
		first, second := outcome(m, input), outcome(m, input)
		if encoded(t, first.Output) != encoded(t, second.Output) || first.Error != second.Error {
			t.Errorf("%s: %v, then %v", path, first, second)
		}
		if after := encoded(t, input); after != before {
			t.Errorf("%s changed its input to %s", path, after)
		}
		if first.Status == asl.Running {
			t.Errorf("%s: still running", path)
		}
	})
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	b, err := asl.Encode(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// FuzzIntrinsic: a call is refused, fails under a name of the language, or answers
// JSON; and nothing else happens.
func FuzzIntrinsic(f *testing.F) {
	for _, call := range []string{
		`States.Format('a {} \{\} {}', $.s, States.Array(1, null))`, `States.StringToJson($.j)`, `States.JsonToString($)`,
		`States.ArrayPartition($.l, 2)`, `States.ArrayRange(1, 9, 2)`, `States.ArrayRange(9, 1, -3)`, `States.ArrayUnique($.l)`,
		`States.ArrayGetItem($.l, 0)`, `States.ArrayContains($.l, 1)`, `States.ArrayLength($.l)`, `States.Base64Encode($.s)`,
		`States.Base64Decode('YQ==')`, `States.Hash($.s, 'SHA-256')`, `States.JsonMerge($.o, $.o, false)`,
		`States.MathRandom(1, 9, 3)`, `States.MathAdd($.n, -1.5)`, `States.StringSplit($.s, ',')`, `States.UUID()`,
		`States.Format('it''s \' {`, `States.Nothing()`, `States.Array(States.Array(States.Array()))`,
	} {
		f.Add(call)
	}
	input := map[string]any{
		"s": "a,b,,c", "j": `{"a":[1]}`, "l": []any{json.Number("1"), json.Number("1.0"), "x"},
		"o": map[string]any{"a": nil}, "n": json.Number("2.5"),
	}
	f.Fuzz(func(t *testing.T, call string) {
		m := machineOf(t, map[string]any{"v.$": call})
		if m == nil {
			return
		}
		switch x := outcome(m, input); x.Status {
		case asl.Succeeded:
			encoded(t, x.Output)
		case asl.Failed:
			if x.Error != "States.IntrinsicFailure" && x.Error != "States.Runtime" && x.Error != "States.DataLimitExceeded" {
				t.Errorf("%s failed as %s", call, x.Error)
			}
		default:
			t.Errorf("%s: %s", call, x.Status)
		}
	})
}

// FuzzDefinition: a definition is refused with a place and a reason, or it runs;
// and wherever it waits it can be stored and goes on as if it had not been.
func FuzzDefinition(f *testing.F) {
	for _, definition := range []string{
		`{"StartAt": "A", "States": {"A": {"Type": "Pass", "Assign": {"x": 1}, "Next": "B"}, "B": {"Type": "Wait", "Seconds": 1, "End": true}}}`,
		`{"StartAt": "A", "States": {"A": {"Type": "Choice", "Choices": [{"Variable": "$.a", "NumericLessThan": 3, "Next": "A"}], "Default": "B"}, "B": {"Type": "Succeed"}}}`,
		`{"StartAt": "A", "States": {"A": {"Type": "Map", "ItemProcessor": {"StartAt": "B", "States": {"B": {"Type": "Fail", "Error": "E"}}}, "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "C"}], "Next": "C"}, "C": {"Type": "Succeed"}}}`,
		`{"StartAt": "A", "States": {"A": {"Type": "Parallel", "Branches": [{"StartAt": "B", "States": {"B": {"Type": "Wait", "SecondsPath": "$.n", "End": true}}}], "Retry": [{"ErrorEquals": ["States.ALL"]}], "End": true}}}`,
		`{"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken", "Parameters": {"t.$": "$$.Task.Token"}, "HeartbeatSeconds": 1, "End": true}}}`,
		`{"QueryLanguage": "JSONata", "StartAt": "A", "States": {"A": {"Type": "Pass", "Output": "{% 1 %}", "End": true}}}`,
	} {
		f.Add(definition, `{"a": 5, "n": 2}`)
		f.Add(definition, `[1, "x", {}]`)
	}
	f.Fuzz(func(t *testing.T, definition, text string) {
		m, err := asl.Parse([]byte(definition), asl.Standard)
		if err != nil {
			for _, d := range asl.Validate([]byte(definition), asl.Standard) {
				if d.Code == "" || d.Message == "" {
					t.Errorf("a refusal without a reason: %+v", d)
				}
			}
			return
		}
		input, err := asl.Decode([]byte(text))
		if err != nil {
			return
		}
		begin := start
		begin.Input = input
		now := time.Unix(0, 0)
		straight, stored := asl.Begin(m, begin, quiet(), now), asl.Begin(m, begin, quiet(), now)
		for range 20 {
			straight.Advance(now)
			stored.Advance(now)
			state, err := json.Marshal(stored.Execution)
			if err != nil {
				t.Fatal(err)
			}
			if stored, err = asl.Load(m, state, quiet(), now); err != nil {
				t.Fatalf("an execution that was stored: %v", err)
			}
			if a, b := described(t, straight), described(t, stored); a != b {
				t.Fatalf("stored, it goes on otherwise:\n%s\n%s", b, a)
			}
			if straight.Ended() || straight.Next().IsZero() && !straight.Ready() {
				return
			}
			if next := straight.Next(); !next.IsZero() {
				now = next
			}
		}
	})
}

func described(t *testing.T, r *asl.Run) string {
	t.Helper()
	b, err := json.Marshal(r.Execution)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
