package platformtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// FlowSetup is what a case asks of a home.
type FlowSetup struct {
	Machines  map[string][]byte
	Functions map[string]platform.Function
	Clock     platform.Clock
	CallLimit time.Duration // how long one call of a function may take; 0 is the home's choice
}

// OpenFlow returns a flow without executions that runs until the test ends.
type OpenFlow func(*testing.T, FlowSetup) platform.Flow

// Flow checks everything that platform.Flow promises in the life of one process,
// on a home whose machines can call functions of the test, and whose time can be
// moved.
func Flow(t *testing.T, open OpenFlow) {
	run(t, func(*testing.T) OpenFlow { return open }, []Case[OpenFlow]{
		{"flow/start-same-name-running", startSameNameRunning},
		{"flow/start-same-name-other-input", startSameNameOtherInput},
		{"flow/start-same-name-ended", startSameNameEnded},
		{"flow/start-by-many", startByMany},
		{"flow/name-rules", nameRules},
		{"flow/input-limit", inputLimit},
		{"flow/unknown-machine", unknownMachine},
		{"flow/token-success-once", tokenSuccessOnce},
		{"flow/token-before-answer", tokenBeforeAnswer},
		{"flow/token-late", tokenLate},
		{"flow/token-replaced", tokenReplaced},
		{"flow/token-failure-caught", tokenFailureCaught},
		{"flow/heartbeat-timeout", heartbeatTimeout},
		{"flow/heartbeat-keeps-alive", heartbeatKeepsAlive},
		{"flow/timeout-of-a-state", timeoutOfAState},
		{"flow/timeout-of-the-machine", timeoutOfTheMachine},
		{"flow/ErrorNamesAreTheSameInEveryHome", functionErrors},
		{"flow/unknown-token", unknownToken},
		{"flow/stop-idempotent", stopIdempotent},
		{"flow/name-after-end", nameAfterEnd},
		{"flow/child-execution", childExecution},
	})
}

// RunUntilEnd runs a loop of a home until the test ends, and waits for it.
func RunUntilEnd(t testing.TB, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	over := make(chan error, 1)
	go func() { over <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// Machines of the cases. ${function} is what they call.
const (
	tokenMachine = `{"StartAt": "Wait", "States": {
		"Wait": {
			"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
			"Parameters": {"FunctionName": "${function}", "Payload": {"token.$": "$$.Task.Token", "input.$": "$"}},
			%s
			"ResultPath": "$.result", "End": true
		}
		%s
	}}`
	caught      = `, "Caught": {"Type": "Pass", "End": true}`
	callMachine = `{"StartAt": "Call", "States": {"Call": {
		"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
		"Parameters": {"FunctionName": "${function}", "Payload.$": "$"},
		"ResultSelector": {"answer.$": "$.Payload"}, "End": true
	}}}`
	catchAll = `"Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Caught"}],`
)

// waiting is tokenMachine with some more fields in its state.
func waiting(fields string) []byte {
	if strings.Contains(fields, `"Caught"`) {
		return fmt.Appendf(nil, tokenMachine, fields, caught)
	}
	return fmt.Appendf(nil, tokenMachine, fields, "")
}

// tokenKeeper is a function that hands the token of each call to the test.
type tokenKeeper chan string

func (k tokenKeeper) call(_ context.Context, payload json.RawMessage) (json.RawMessage, error) {
	var in struct{ Token string }
	if err := json.Unmarshal(payload, &in); err != nil {
		return nil, err
	}
	k <- in.Token
	return json.RawMessage(`{}`), nil
}

func (k tokenKeeper) next(t *testing.T) string {
	t.Helper()
	select {
	case token := <-k:
		return token
	case <-time.After(patience):
		t.Fatal("the function was not called")
		return ""
	}
}

// withToken opens a flow with one machine "m" that waits for a token.
func withToken(t *testing.T, open OpenFlow, fields string) (platform.Flow, tokenKeeper, *Clock) {
	t.Helper()
	keeper, clock := make(tokenKeeper, 16), NewClock()
	f := open(t, FlowSetup{
		Machines:  map[string][]byte{"m": waiting(fields)},
		Functions: map[string]platform.Function{"function": keeper.call},
		Clock:     clock,
	})
	return f, keeper, clock
}

func mustStart(t *testing.T, f platform.Flow, machine, name, input string) {
	t.Helper()
	if err := f.Start(t.Context(), machine, name, json.RawMessage(input)); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
}

// ended waits until an execution has a final status.
func ended(t *testing.T, f platform.Flow, machine, name string) platform.Execution {
	t.Helper()
	return endedMeanwhile(t, f, machine, name, func() {})
}

// endedMeanwhile does something again and again until an execution has ended.
func endedMeanwhile(t *testing.T, f platform.Flow, machine, name string, meanwhile func()) (x platform.Execution) {
	t.Helper()
	eventually(t, "the end of execution "+name, func(time.Duration) { meanwhile() }, 0, func() bool {
		var err error
		x, err = f.Describe(t.Context(), machine, name)
		noError(t, err)
		return x.Status != "RUNNING"
	})
	return x
}

func wantStatus(t *testing.T, x platform.Execution, status, errorName string) {
	t.Helper()
	if x.Status != status || x.Error != errorName {
		t.Fatalf("execution %s: status %s, error %q (%s); want %s, %q", x.Name, x.Status, x.Error, x.Cause, status, errorName)
	}
}

func wantOutput(t *testing.T, x platform.Execution, output string) {
	t.Helper()
	wantStatus(t, x, "SUCCEEDED", "")
	if string(x.Output) != output {
		t.Errorf("execution %s: output %s, want %s", x.Name, x.Output, output)
	}
}

func startSameNameRunning(t *testing.T, open OpenFlow) {
	f, tokens, _ := withToken(t, open, "")
	mustStart(t, f, "m", "one", `{"a": 1, "b": [2]}`)
	mustStart(t, f, "m", "one", `{ "b":[2],"a":1 }`) // the same input, written otherwise
	token := tokens.next(t)
	noError(t, f.Succeed(t.Context(), token, json.RawMessage(`3`)))
	wantOutput(t, ended(t, f, "m", "one"), `{"a":1,"b":[2],"result":3}`)
	if len(tokens) > 0 {
		t.Error("one execution called its function twice")
	}
}

func startSameNameOtherInput(t *testing.T, open OpenFlow) {
	f, _, _ := withToken(t, open, "")
	mustStart(t, f, "m", "one", `{"a":1}`)
	isError(t, f.Start(t.Context(), "m", "one", json.RawMessage(`{"a":2}`)), platform.ErrExists)
}

func startSameNameEnded(t *testing.T, open OpenFlow) {
	f, tokens, _ := withToken(t, open, "")
	mustStart(t, f, "m", "one", `{}`)
	noError(t, f.Succeed(t.Context(), tokens.next(t), json.RawMessage(`1`)))
	before := ended(t, f, "m", "one")
	mustStart(t, f, "m", "one", `{}`)
	isError(t, f.Start(t.Context(), "m", "one", json.RawMessage(`{"a":2}`)), platform.ErrExists)
	if after := ended(t, f, "m", "one"); !after.Started.Equal(before.Started) {
		t.Error("an ended execution was started again")
	}
}

func startByMany(t *testing.T, open OpenFlow) {
	f, tokens, _ := withToken(t, open, "")
	const callers = 16
	oneWins(t, race(callers, func(i int) error {
		return f.Start(t.Context(), "m", "one", fmt.Appendf(nil, `{"caller":%d}`, i))
	}), platform.ErrExists)
	tokens.next(t)
}

func nameRules(t *testing.T, open OpenFlow) {
	f, _, _ := withToken(t, open, "")
	for _, name := range []string{"", "a b", "a:b", "a/b", "ä", "a\n", strings.Repeat("a", platform.MaxName+1)} {
		isError(t, f.Start(t.Context(), "m", name, nil), platform.ErrInvalid)
	}
	mustStart(t, f, "m", "A-z_0.9"+strings.Repeat("a", platform.MaxName-7), `{}`)
	isError(t, f.Start(t.Context(), "m", "one", json.RawMessage(`{`)), platform.ErrInvalid)
	_, err := f.Describe(t.Context(), "m", "one")
	isError(t, err, platform.ErrNotFound)
}

func inputLimit(t *testing.T, open OpenFlow) {
	f, _, _ := withToken(t, open, "")
	quoted := func(n int) json.RawMessage { return fmt.Appendf(nil, `{"a":%q}`, strings.Repeat("a", n-8)) }
	if err := f.Start(t.Context(), "m", "one", quoted(platform.MaxPayload)); err != nil {
		t.Error(err)
	}
	isError(t, f.Start(t.Context(), "m", "two", quoted(platform.MaxPayload+1)), platform.ErrTooLarge)
}

func unknownMachine(t *testing.T, open OpenFlow) {
	f, _, _ := withToken(t, open, "")
	isError(t, f.Start(t.Context(), "other", "one", nil), platform.ErrNotFound)
	_, err := f.Describe(t.Context(), "m", "never")
	isError(t, err, platform.ErrNotFound)
	isError(t, f.Stop(t.Context(), "m", "never", "", ""), platform.ErrNotFound)
}

func tokenSuccessOnce(t *testing.T, open OpenFlow) {
	f, tokens, _ := withToken(t, open, "")
	mustStart(t, f, "m", "one", `{}`)
	token := tokens.next(t)
	if err := f.Beat(t.Context(), token); err != nil {
		t.Error(err)
	}
	isError(t, f.Succeed(t.Context(), token, json.RawMessage(`{`)), platform.ErrInvalid)
	noError(t, f.Succeed(t.Context(), token, json.RawMessage(`"a"`)))
	isError(t, f.Succeed(t.Context(), token, json.RawMessage(`"b"`)), platform.ErrGone)
	isError(t, f.Fail(t.Context(), token, "E", ""), platform.ErrGone)
	isError(t, f.Beat(t.Context(), token), platform.ErrGone)
	wantOutput(t, ended(t, f, "m", "one"), `{"result":"a"}`)
}

// The work may be done before the function that started it has answered.
func tokenBeforeAnswer(t *testing.T, open OpenFlow) {
	tokens, answer := make(tokenKeeper, 1), make(chan struct{})
	f := open(t, FlowSetup{
		Machines: map[string][]byte{"m": waiting("")}, Clock: NewClock(),
		Functions: map[string]platform.Function{"function": func(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
			out, err := tokens.call(ctx, in)
			<-answer
			return out, err
		}},
	})
	mustStart(t, f, "m", "one", `{}`)
	noError(t, f.Succeed(t.Context(), tokens.next(t), json.RawMessage(`1`)))
	close(answer)
	wantOutput(t, ended(t, f, "m", "one"), `{"result":1}`)
}

func tokenLate(t *testing.T, open OpenFlow) {
	f, tokens, clock := withToken(t, open, `"TimeoutSeconds": 5, `+catchAll)
	mustStart(t, f, "m", "one", `{}`)
	token := tokens.next(t)
	x := endedMeanwhile(t, f, "m", "one", func() { clock.Advance(time.Second) })
	wantOutput(t, x, `{"error":{"Cause":"","Error":"States.Timeout"}}`)
	isError(t, f.Succeed(t.Context(), token, json.RawMessage(`1`)), platform.ErrGone)
}

func tokenReplaced(t *testing.T, open OpenFlow) {
	f, tokens, clock := withToken(t, open, `"Retry": [{"ErrorEquals": ["Again"], "IntervalSeconds": 1}],`)
	mustStart(t, f, "m", "one", `{}`)
	old := tokens.next(t)
	noError(t, f.Fail(t.Context(), old, "Again", "once more"))
	clock.AwaitTimers(t, 1)
	clock.Advance(2 * time.Second)
	token := tokens.next(t)
	if token == old {
		t.Fatal("a try that is repeated has the token of the one before")
	}
	isError(t, f.Succeed(t.Context(), old, json.RawMessage(`"old"`)), platform.ErrGone)
	noError(t, f.Succeed(t.Context(), token, json.RawMessage(`"new"`)))
	wantOutput(t, ended(t, f, "m", "one"), `{"result":"new"}`)
}

func tokenFailureCaught(t *testing.T, open OpenFlow) {
	f, tokens, _ := withToken(t, open, catchAll)
	mustStart(t, f, "m", "failed", `{}`)
	noError(t, f.Fail(t.Context(), tokens.next(t), "Canceled", "by a person"))
	wantOutput(t, ended(t, f, "m", "failed"), `{"error":{"Cause":"by a person","Error":"Canceled"}}`)

	mustStart(t, f, "m", "stopped", `{}`)
	token := tokens.next(t)
	noError(t, f.Stop(t.Context(), "m", "stopped", "Swept", "nobody owns it"))
	x := ended(t, f, "m", "stopped")
	wantStatus(t, x, "ABORTED", "Swept")
	if x.Cause != "nobody owns it" || x.Output != nil {
		t.Errorf("a stopped execution has cause %q and output %s", x.Cause, x.Output)
	}
	isError(t, f.Succeed(t.Context(), token, json.RawMessage(`1`)), platform.ErrGone)
}

// A missed beat arrives as States.Timeout, and can be caught by that name or by
// its own.
func heartbeatTimeout(t *testing.T, open OpenFlow) {
	for _, name := range []string{platform.FlowHeartbeat, platform.FlowTimeout} {
		fields := fmt.Sprintf(`"HeartbeatSeconds": 60, "TimeoutSeconds": 3600,
			"Catch": [{"ErrorEquals": [%q], "ResultPath": "$.error", "Next": "Caught"}],`, name)
		f, tokens, clock := withToken(t, open, fields)
		mustStart(t, f, "m", "one", `{}`)
		token := tokens.next(t)
		x := endedMeanwhile(t, f, "m", "one", func() { clock.Advance(10 * time.Second) })
		wantOutput(t, x, `{"error":{"Cause":"","Error":"States.Timeout"}}`)
		isError(t, f.Beat(t.Context(), token), platform.ErrGone)
	}
}

func heartbeatKeepsAlive(t *testing.T, open OpenFlow) {
	f, tokens, clock := withToken(t, open, `"HeartbeatSeconds": 60, "TimeoutSeconds": 86400,`)
	mustStart(t, f, "m", "one", `{}`)
	token := tokens.next(t)
	for range 10 {
		clock.Advance(50 * time.Second)
		if err := f.Beat(t.Context(), token); err != nil {
			t.Fatalf("a token that beat every 50 seconds of 60: %v", err)
		}
	}
	noError(t, f.Succeed(t.Context(), token, json.RawMessage(`1`)))
	wantOutput(t, ended(t, f, "m", "one"), `{"result":1}`)
}

func timeoutOfAState(t *testing.T, open OpenFlow) {
	f, tokens, clock := withToken(t, open, `"TimeoutSecondsPath": "$.seconds", `+catchAll)
	mustStart(t, f, "m", "one", `{"seconds":7200}`)
	token := tokens.next(t)
	clock.Advance(7199 * time.Second)
	if err := f.Beat(t.Context(), token); err != nil {
		t.Fatalf("a second before the timeout: %v", err)
	}
	x := endedMeanwhile(t, f, "m", "one", func() { clock.Advance(time.Second) })
	wantOutput(t, x, `{"error":{"Cause":"","Error":"States.Timeout"},"seconds":7200}`)
}

// The timeout of a machine runs no Catch: that is why ours have none.
func timeoutOfTheMachine(t *testing.T, open OpenFlow) {
	tokens, clock := make(tokenKeeper, 1), NewClock()
	machine := strings.Replace(string(waiting(catchAll)), "{", `{"TimeoutSeconds": 5, `, 1)
	f := open(t, FlowSetup{
		Machines: map[string][]byte{"m": []byte(machine)}, Clock: clock,
		Functions: map[string]platform.Function{"function": tokens.call},
	})
	mustStart(t, f, "m", "one", `{}`)
	tokens.next(t)
	x := endedMeanwhile(t, f, "m", "one", func() { clock.Advance(time.Second) })
	wantStatus(t, x, "TIMED_OUT", "")
}

// What a function does wrong arrives under the names of the closed list, and
// nothing else: a Retry that names them works in every home.
func functionErrors(t *testing.T, open OpenFlow) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	wrong := map[string]platform.Function{
		platform.FunctionError: func(context.Context, json.RawMessage) (json.RawMessage, error) {
			return nil, errors.New("broken")
		},
		platform.FunctionPanic: func(context.Context, json.RawMessage) (json.RawMessage, error) { panic("broken") },
		platform.FunctionTimeout: func(context.Context, json.RawMessage) (json.RawMessage, error) {
			<-release // it does not listen
			return nil, nil
		},
		platform.Throttled: func(context.Context, json.RawMessage) (json.RawMessage, error) {
			return nil, fmt.Errorf("row: %w", platform.ErrConflict)
		},
		platform.Rejected: func(context.Context, json.RawMessage) (json.RawMessage, error) {
			return nil, fmt.Errorf("input: %w", platform.ErrInvalid)
		},
	}
	f := open(t, FlowSetup{
		Machines: map[string][]byte{"m": []byte(callMachine)}, Clock: NewClock(), CallLimit: 50 * time.Millisecond,
		Functions: map[string]platform.Function{"function": func(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
			var kind string
			if err := json.Unmarshal(in, &kind); err != nil {
				return nil, err
			}
			if call := wrong[kind]; call != nil {
				return call(ctx, in)
			}
			return in, nil
		}},
	})
	for name := range wrong {
		mustStart(t, f, "m", name, fmt.Sprintf("%q", name))
		wantStatus(t, ended(t, f, "m", name), "FAILED", name)
	}
	mustStart(t, f, "m", "well", `"well"`)
	wantOutput(t, ended(t, f, "m", "well"), `{"answer":"well"}`)
}

func unknownToken(t *testing.T, open OpenFlow) {
	f, _, _ := withToken(t, open, "")
	isError(t, f.Succeed(t.Context(), "nobody's", json.RawMessage(`1`)), platform.ErrGone)
	isError(t, f.Fail(t.Context(), "nobody's", "E", ""), platform.ErrGone)
	isError(t, f.Beat(t.Context(), ""), platform.ErrGone)
}

func stopIdempotent(t *testing.T, open OpenFlow) {
	f, tokens, _ := withToken(t, open, "")
	mustStart(t, f, "m", "one", `{}`)
	tokens.next(t)
	for _, name := range []string{"First", "Second"} {
		if err := f.Stop(t.Context(), "m", "one", name, name+" cause"); err != nil {
			t.Fatal(err)
		}
	}
	x := ended(t, f, "m", "one")
	wantStatus(t, x, "ABORTED", "First")
	if x.Cause != "First cause" {
		t.Errorf("cause %q, want that of the first stop", x.Cause)
	}
}

func nameAfterEnd(t *testing.T, open OpenFlow) {
	f, tokens, clock := withToken(t, open, "")
	mustStart(t, f, "m", "one", `{"a":1}`)
	noError(t, f.Succeed(t.Context(), tokens.next(t), json.RawMessage(`1`)))
	ended(t, f, "m", "one")
	clock.Advance(platform.NameTaken - time.Minute)
	isError(t, f.Start(t.Context(), "m", "one", json.RawMessage(`{"a":2}`)), platform.ErrExists)
	clock.Advance(2 * time.Minute)
	mustStart(t, f, "m", "one", `{"a":2}`)
	tokens.next(t)
}

// A machine starts another one and waits for its end; a second start of the same
// name is the same execution.
func childExecution(t *testing.T, open OpenFlow) {
	var calls atomic.Int32
	f := open(t, FlowSetup{
		Clock: NewClock(),
		Machines: map[string][]byte{
			"child": []byte(callMachine),
			"parent": []byte(`{"StartAt": "Child", "States": {"Child": {
				"Type": "Task", "Resource": "arn:aws:states:::states:startExecution.sync:2",
				"Parameters": {"StateMachineArn": "${child}", "Name": "the-child", "Input.$": "$"},
				"ResultSelector": {"status.$": "$.Status", "output.$": "$.Output"}, "End": true
			}}}`),
		},
		Functions: map[string]platform.Function{"function": func(_ context.Context, in json.RawMessage) (json.RawMessage, error) {
			calls.Add(1)
			return in, nil
		}},
	})
	for _, name := range []string{"one", "two"} {
		mustStart(t, f, "parent", name, `{"n":1}`)
		wantOutput(t, ended(t, f, "parent", name), `{"output":{"answer":{"n":1}},"status":"SUCCEEDED"}`)
	}
	wantOutput(t, ended(t, f, "child", "the-child"), `{"answer":{"n":1}}`)
	if n := calls.Load(); n != 1 {
		t.Errorf("the child called its function %d times, want once", n)
	}
}
