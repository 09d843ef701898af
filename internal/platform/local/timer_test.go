package local_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func TestTimers(t *testing.T) {
	platformtest.Timers(t, func(t *testing.T) platformtest.TimerStore {
		clock := platformtest.NewClock()
		queues := local.NewQueues(openDB(t, t.TempDir()), clock)
		timers := local.NewTimers(queues)
		runTimers(t, timers)
		return platformtest.TimerStore{Timers: timers, Queues: queues, Clock: clock, Elapse: clock.Advance}
	})
}

// runTimers runs timers until the answer is called, or the test has ended.
func runTimers(t *testing.T, timers *local.Timers) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() {
		if err := timers.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = func() {
		cancel()
		running.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// TestTimerCatchUp is timer/catch-up: what fell due while nobody ran is sent after
// the start, oldest first, each once, and what is not due yet stays.
func TestTimerCatchUp(t *testing.T) {
	t.Parallel()
	dir, clock := t.TempDir(), platformtest.NewClock()
	before := openDB(t, dir)
	timers := local.NewTimers(local.NewQueues(before, clock))
	for _, minute := range []int{3, 1, 5, 2, 4, 90} {
		err := timers.Set(t.Context(), platform.Timer{
			Name: fmt.Sprint("minute-", minute), Queue: "due", Body: fmt.Append(nil, minute),
			At: clock.Now().Add(time.Duration(minute) * time.Minute),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Hour)

	queues := local.NewQueues(openDB(t, dir), clock)
	runTimers(t, local.NewTimers(queues))
	for minute := 1; minute <= 5; minute++ {
		messages, err := queues.Receive(t.Context(), "due", 1, time.Minute, time.Hour)
		if err != nil || len(messages) != 1 {
			t.Fatalf("%d messages, %v", len(messages), err)
		}
		if got := string(messages[0].Body); got != fmt.Sprint(minute) {
			t.Errorf("message %d is that of minute %s", minute, got)
		}
	}
	if messages, err := queues.Receive(t.Context(), "due", 1, 0, time.Hour); err != nil || len(messages) != 0 {
		t.Errorf("%d messages too many, %v", len(messages), err)
	}
}

// TestF28TimerAfterClockJump: a timer is at most a minute late though the machine's
// clock was set, or the machine slept, and what waits does not know.
func TestF28TimerAfterClockJump(t *testing.T) {
	t.Parallel()
	clock := platformtest.NewClock()
	queues := local.NewQueues(openDB(t, t.TempDir()), clock)
	timers := local.NewTimers(queues)
	err := timers.Set(t.Context(), platform.Timer{Name: "tick", At: clock.Now().Add(8 * time.Hour), Queue: "due", Body: []byte("tick")})
	if err != nil {
		t.Fatal(err)
	}
	runTimers(t, timers)
	clock.AwaitTimers(t, 1)
	clock.Jump(9 * time.Hour)
	clock.Advance(time.Minute)
	received := make(chan error, 1)
	go func() {
		messages, err := queues.Receive(t.Context(), "due", 1, time.Hour, time.Hour)
		if err == nil && len(messages) != 1 {
			err = fmt.Errorf("%d messages", len(messages))
		}
		received <- err
	}()
	select {
	case err := <-received:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the timer did not go off")
	}
}
