package local_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/asl/engine"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/local"
)

// flowFolder names, for a child process, the data folder whose executions it runs.
const flowFolder = "BUILDIT_TEST_FLOW_FOLDER"

// crashMachine goes through every kind of state: calls, a choice that loops,
// branches, a map, a token that somebody brings back.
const crashMachine = `{"StartAt": "Count", "States": {
	"Count": {
		"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
		"Parameters": {"FunctionName": "${add}", "Payload": {"n.$": "$.n"}},
		"ResultSelector": {"n.$": "$.Payload.n"}, "Retry": [%[1]s], "Next": "Enough?"
	},
	"Enough?": {"Type": "Choice", "Choices": [{"Variable": "$.n", "NumericLessThan": 3, "Next": "Count"}], "Default": "Both"},
	"Both": {"Type": "Parallel", "Next": "Each", "ResultSelector": {"items.$": "$"}, "Branches": [
		{"StartAt": "Left", "States": {"Left": {
			"Type": "Task", "Resource": "arn:aws:lambda:home:000000000000:function:add", "Retry": [%[1]s], "End": true}}},
		{"StartAt": "Right", "States": {"Right": {"Type": "Pass", "Next": "Then"}, "Then": {"Type": "Wait", "Seconds": 0, "End": true}}}
	]},
	"Each": {"Type": "Map", "ItemsPath": "$.items", "ResultPath": "$.items", "MaxConcurrency": 1, "Next": "Wait",
		"ItemProcessor": {"StartAt": "Add", "States": {"Add": {
			"Type": "Task", "Resource": "arn:aws:lambda:home:000000000000:function:add", "Retry": [%[1]s], "End": true}}}},
	"Wait": {
		"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
		"Parameters": {"FunctionName": "${token}", "Payload": {"token.$": "$$.Task.Token"}},
		"ResultPath": "$.token", "Retry": [%[1]s], "End": true
	}
}}`

const (
	crashRetry  = `{"ErrorEquals": ["FunctionPanic"], "IntervalSeconds": 1, "MaxAttempts": 1000, "BackoffRate": 1.0, "JitterStrategy": "FULL"}`
	crashOutput = `{"items":[{"n":5},{"n":4}],"token":"brought"}`
	crashFlows  = 2
	mostLines   = 200
)

func crashMachines() map[string][]byte {
	return map[string][]byte{"m": fmt.Appendf(nil, crashMachine, crashRetry)}
}

// TestKillEngineBetweenStages is flow/resume-after-kill: the process is killed at
// every line that it says, which is before and after each effect, then at random
// moments, and started again until all executions have ended. Each ends once, with
// the right output and a history without a gap.
func TestKillEngineBetweenStages(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	kills := 0
	for line, done := 1, false; !done; line++ {
		dir := t.TempDir()
		done = runFlowsUntil(t, dir, line, 0)
		if kills++; !done {
			after := time.Duration(random.Int64N(int64(5 * time.Millisecond)))
			if kills++; !runFlowsUntil(t, dir, 1+random.IntN(6), after) {
				runFlowsUntil(t, dir, 0, 0)
			}
		}
		if checkFlows(t, dir); t.Failed() {
			t.Fatalf("killed first at line %d, seed %d", line, seed)
		}
		if line > mostLines {
			t.Fatalf("the child said more than %d lines", mostLines)
		}
	}
	t.Logf("%d kills, seed %d", kills, seed)
}

// runFlowsUntil starts a child and kills it a while after line n, 0 for never. It
// answers whether all executions had ended.
func runFlowsUntil(t *testing.T, dir string, n int, after time.Duration) (done bool) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestFlowChild$")
	child.Env = append(os.Environ(), flowFolder+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	read := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		done = done || lines.Text() == "done"
		if read++; read == n {
			time.AfterFunc(after, func() {
				if err := child.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
					t.Errorf("kill: %v", err)
				}
			})
		}
	}
	if err := child.Wait(); err != nil && child.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child failed: %v", child.ProcessState)
	}
	return done
}

// TestFlowChild is the process that TestKillEngineBetweenStages kills, and nothing
// otherwise.
func TestFlowChild(t *testing.T) {
	dir := os.Getenv(flowFolder)
	if dir == "" {
		t.Skip("runs as a child of TestKillEngineBetweenStages")
	}
	f, err := local.NewFlow(t.Context(), openDB(t, dir), engine.Options{Machines: crashMachines(), History: true})
	if err != nil {
		t.Fatal(err)
	}
	var said sync.Mutex
	say := func(line string) {
		said.Lock()
		defer said.Unlock()
		fmt.Println(line)
	}
	f.SetFunctions(map[string]platform.Function{
		"add": func(_ context.Context, in json.RawMessage) (json.RawMessage, error) {
			var v struct{ N int }
			if err := json.Unmarshal(in, &v); err != nil {
				return nil, err
			}
			say("add begins")
			defer say("add ends")
			return fmt.Appendf(nil, `{"n":%d}`, v.N+1), nil
		},
		"token": func(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
			var v struct{ Token string }
			if err := json.Unmarshal(in, &v); err != nil {
				return nil, err
			}
			say("token begins")
			err := f.Succeed(ctx, v.Token, json.RawMessage(`"brought"`))
			if errors.Is(err, platform.ErrGone) {
				err = nil // brought back before the kill
			}
			say("token ends")
			return nil, err
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- f.Run(ctx) }()
	for i := range crashFlows {
		if err := f.Start(ctx, "m", fmt.Sprintf("e%d", i), json.RawMessage(`{"n":0}`)); err != nil {
			t.Fatal(err)
		}
	}
	awaitFlows(t, f)
	say("done")
	cancel()
	if err := <-over; err != nil {
		t.Fatal(err)
	}
}

func awaitFlows(t *testing.T, f platform.Flow) {
	t.Helper()
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for i := range crashFlows {
		for {
			x, err := f.Describe(t.Context(), "m", fmt.Sprintf("e%d", i))
			if err != nil {
				t.Fatal(err)
			}
			if x.Status != "RUNNING" {
				break
			}
			<-again.C
		}
	}
}

func checkFlows(t *testing.T, dir string) {
	t.Helper()
	f, err := local.NewFlow(t.Context(), openDB(t, dir), engine.Options{Machines: crashMachines()})
	if err != nil {
		t.Fatal(err)
	}
	for i := range crashFlows {
		name := fmt.Sprintf("e%d", i)
		x, err := f.Describe(t.Context(), "m", name)
		if err != nil {
			t.Fatal(err)
		}
		if x.Status != "SUCCEEDED" || string(x.Output) != crashOutput {
			t.Errorf("%s: %s, output %s, error %s (%s); want %s", name, x.Status, x.Output, x.Error, x.Cause, crashOutput)
		}
		events, err := f.History(t.Context(), "m", name)
		if err != nil {
			t.Fatal(err)
		}
		ends := 0
		for at, event := range events {
			if event.ID != int64(at+1) {
				t.Fatalf("%s: event %d has id %d", name, at+1, event.ID)
			}
			if event.Type == "ExecutionSucceeded" {
				ends++
			}
		}
		if ends != 1 {
			t.Errorf("%s ended %d times, want once", name, ends)
		}
	}
}
