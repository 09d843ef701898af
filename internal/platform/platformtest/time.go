package platformtest

import (
	"context"
	"regexp"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// ClockStore is a clock under test.
type ClockStore struct {
	platform.Clock
	Elapse func(time.Duration) // has time pass, nothing if it passes by itself
}

// Clocks checks everything that platform.Clock promises.
func Clocks(t *testing.T, open func(t *testing.T) ClockStore) {
	run(t, open, []Case[ClockStore]{
		{"clock/now-never-goes-back", clockNow},
		{"clock/sleep", clockSleep},
		{"clock/sleep-ends-with-its-context", clockSleepCanceled},
		{"clock/after", clockAfter},
		{"clock/after-stopped", clockAfterStopped},
	})
}

// moment is long for a clock and short for a test.
const moment = 20 * time.Millisecond

func clockNow(t *testing.T, c ClockStore) {
	before := c.Now()
	c.Elapse(moment)
	if after := c.Now(); after.Before(before) {
		t.Errorf("the clock went from %s to %s", before, after)
	}
}

func clockSleep(t *testing.T, c ClockStore) {
	begin, woke := c.Now(), make(chan error, 1)
	go func() { woke <- c.Sleep(t.Context(), moment) }()
	eventually(t, "the end of a sleep", c.Elapse, moment/4, func() bool { return len(woke) == 1 })
	noError(t, <-woke)
	if slept := c.Now().Sub(begin); slept < moment {
		t.Errorf("slept %s, want %s", slept, moment)
	}
	noError(t, c.Sleep(t.Context(), 0))
	noError(t, c.Sleep(t.Context(), -moment))
}

func clockSleepCanceled(t *testing.T, c ClockStore) {
	ctx, cancel := context.WithCancel(t.Context())
	woke := make(chan error, 1)
	go func() { woke <- c.Sleep(ctx, time.Hour) }()
	cancel()
	isError(t, arrives(t, woke), context.Canceled)
}

func clockAfter(t *testing.T, c ClockStore) {
	begin, called := c.Now(), make(chan time.Time, 1)
	stop := c.AfterFunc(moment, func() { called <- c.Now() })
	eventually(t, "the call", c.Elapse, moment/4, func() bool { return len(called) == 1 })
	if after := (<-called).Sub(begin); after < moment {
		t.Errorf("called after %s, want %s", after, moment)
	}
	equal(t, "stopped after the call", stop(), false)
	c.AfterFunc(0, func() { called <- c.Now() })
	arrives(t, called)
}

func clockAfterStopped(t *testing.T, c ClockStore) {
	called := make(chan string, 2)
	stop := c.AfterFunc(moment, func() { called <- "stopped" })
	equal(t, "stopped in time", stop(), true)
	equal(t, "stopped again", stop(), false)
	c.AfterFunc(2*moment, func() { called <- "later" })
	eventually(t, "the later call", c.Elapse, moment/4, func() bool { return len(called) > 0 })
	equal(t, "the call", <-called, "later")
}

var idForm = regexp.MustCompile(`^[a-z2-7]{26}$`)

// IDSource checks everything that platform.IDs promises.
func IDSource(t *testing.T, ids platform.IDs) {
	t.Run("id/form", func(t *testing.T) {
		seen := map[string]bool{}
		for range 1000 {
			id := ids.New()
			if !idForm.MatchString(id) || seen[id] {
				t.Fatalf("%q is no name, or was given before", id)
			}
			seen[id] = true
		}
	})
}
