package local_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/asl/engine"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
	"github.com/buildit-dev/buildit/internal/platform/system"
)

// server is a process that keeps a flow, as far as the flow can tell.
type server struct {
	*engine.Flow
	tokens chan string
	stop   func()
}

const waitMachine = `{"StartAt": "Wait", "States": {
	"Wait": {
		"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
		"Parameters": {"FunctionName": "${token}", "Payload.$": "$$.Task.Token"}, %s "Next": "Then"
	},
	"Then": {"Type": "Pass", "Result": %q, "End": true}
}}`

func waitFor(fields, result string) map[string][]byte {
	return map[string][]byte{"m": fmt.Appendf(nil, waitMachine, fields, result)}
}

// serve opens the flow of a folder and runs it until stop, or the end of the test.
func serve(t *testing.T, store engine.Store, machines map[string][]byte, clock platform.Clock) *server {
	t.Helper()
	f, err := engine.New(t.Context(), engine.Options{Machines: machines, Store: store, Clock: clock, IDs: system.IDs{}})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Flow: f, tokens: make(chan string, 8)}
	f.SetFunctions(map[string]platform.Function{"token": func(_ context.Context, in json.RawMessage) (json.RawMessage, error) {
		var token string
		if err := json.Unmarshal(in, &token); err != nil {
			return nil, err
		}
		s.tokens <- token
		return nil, nil
	}})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	over := make(chan error, 1)
	go func() { over <- f.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *server) start(t *testing.T, name string) (token string) {
	t.Helper()
	if err := s.Start(t.Context(), "m", name, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case token := <-s.tokens:
		return token
	case <-time.After(10 * time.Second):
		t.Fatal("the function was not called")
		return ""
	}
}

// awaitEnd lets the clock go on in steps until an execution has ended.
func (s *server) awaitEnd(t *testing.T, clock *platformtest.Clock, step time.Duration, name string) platform.Execution {
	t.Helper()
	limit := time.After(10 * time.Second)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for {
		x, err := s.Describe(t.Context(), "m", name)
		if err != nil {
			t.Fatal(err)
		}
		if x.Status != "RUNNING" {
			return x
		}
		clock.Advance(step)
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("execution %s did not end", name)
		}
	}
}

// TestFlowHeartbeatPausedWhileDown is flow/heartbeat-paused-while-down: beats are
// due anew after a start, timeouts are absolute.
func TestFlowHeartbeatPausedWhileDown(t *testing.T) {
	t.Parallel()
	clock, store := platformtest.NewClock(), local.NewExecutions(openDB(t, t.TempDir()))
	machines := waitFor(`"HeartbeatSeconds": 60, "TimeoutSeconds": 3600,`, "well")
	first := serve(t, store, machines, clock)
	token := first.start(t, "one")
	first.stop()
	clock.Advance(3 * time.Minute)

	second := serve(t, store, machines, clock)
	clock.AwaitTimers(t, 1)
	clock.Advance(59 * time.Second)
	if err := second.Beat(t.Context(), token); err != nil {
		t.Fatalf("59 seconds after the start: %v", err)
	}
	second.stop()
	clock.Advance(time.Hour)

	third := serve(t, store, machines, clock)
	x := third.awaitEnd(t, clock, 0, "one")
	if x.Status != "FAILED" || x.Error != platform.FlowTimeout {
		t.Errorf("an hour later: %s, %s; want the timeout, which goes on while the server is down", x.Status, x.Error)
	}
}

// TestFlowDefinitionByDigest is flow/definition-by-digest: the file changes, a
// running execution goes on with the states that it began with.
func TestFlowDefinitionByDigest(t *testing.T) {
	t.Parallel()
	clock, store := platformtest.NewClock(), local.NewExecutions(openDB(t, t.TempDir()))
	first := serve(t, store, waitFor("", "old"), clock)
	token := first.start(t, "one")
	first.stop()

	changed := map[string][]byte{"m": []byte(`{"StartAt": "Else", "States": {"Else": {"Type": "Pass", "Result": "new", "End": true}}}`)}
	second := serve(t, store, changed, clock)
	if err := second.Start(t.Context(), "m", "two", nil); err != nil {
		t.Fatal(err)
	}
	if err := second.Succeed(t.Context(), token, nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"one": `"old"`, "two": `"new"`} {
		if x := second.awaitEnd(t, clock, 0, name); string(x.Output) != want {
			t.Errorf("execution %s: output %s, want %s", name, x.Output, want)
		}
	}
}

// journal is a store that remembers how its writes were stored, and can refuse
// them.
type journal struct {
	engine.Store
	mu      sync.Mutex
	writes  []bool // durable
	refused error
}

func (j *journal) note(ctx context.Context) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writes = append(j.writes, !platform.IsRelaxed(ctx))
	return j.refused
}

func (j *journal) refuse(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.refused = err
}

// since says how many writes there were after the first n, and whether one of them
// was durable: then all before it are, too.
func (j *journal) since(n int) (writes int, durable bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, d := range j.writes[n:] {
		durable = durable || d
	}
	return len(j.writes), durable
}

func (j *journal) Create(ctx context.Context, r engine.Record, now time.Time) (*engine.Record, error) {
	if err := j.note(ctx); err != nil {
		return nil, err
	}
	return j.Store.Create(ctx, r, now)
}

func (j *journal) Save(ctx context.Context, r engine.Record) error {
	if err := j.note(ctx); err != nil {
		return err
	}
	return j.Store.Save(ctx, r)
}

// TestFlowAcknowledgedIsDurable is flow/acknowledged-is-durable: what is told to
// somebody outside, and what precedes a call, waits for the disk.
func TestFlowAcknowledgedIsDurable(t *testing.T) {
	t.Parallel()
	store := &journal{Store: local.NewExecutions(openDB(t, t.TempDir()))}
	s := serve(t, store, waitFor("", "well"), platformtest.NewClock())
	before := 0
	acknowledged := func(what string, do func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		n, durable := store.since(before)
		if !durable {
			t.Errorf("%s was acknowledged after %d writes, none of which waited for the disk", what, n-before)
		}
		before = n
	}
	var token string
	acknowledged("Start", func() error { token = s.start(t, "one"); return nil })
	acknowledged("Succeed", func() error { return s.Succeed(t.Context(), token, nil) })
	acknowledged("Start", func() error { token = s.start(t, "two"); return nil })
	acknowledged("Fail", func() error { return s.Fail(t.Context(), token, "E", "") })
	acknowledged("Start", func() error { s.start(t, "three"); return nil })
	acknowledged("Stop", func() error { return s.Stop(t.Context(), "m", "three", "E", "") })
}

// A result that could not be stored was not given: the caller hears of it, and
// may bring it again.
func TestFlowDiskFull(t *testing.T) {
	t.Parallel()
	full := errors.New("the disk is full")
	clock := platformtest.NewClock()
	store := &journal{Store: local.NewExecutions(openDB(t, t.TempDir()))}
	s := serve(t, store, waitFor("", "well"), clock)
	token := s.start(t, "one")
	store.refuse(full)
	if err := s.Succeed(t.Context(), token, nil); !errors.Is(err, full) {
		t.Fatalf("Succeed on a full disk: %v", err)
	}
	if err := s.Start(t.Context(), "m", "two", nil); !errors.Is(err, full) {
		t.Fatalf("Start on a full disk: %v", err)
	}
	store.refuse(nil)
	if err := s.Succeed(t.Context(), token, nil); err != nil {
		t.Fatalf("Succeed when there is room again: %v", err)
	}
	s.awaitEnd(t, clock, time.Second, "one")
	s.start(t, "two")
}
