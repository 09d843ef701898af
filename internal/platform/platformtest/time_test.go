package platformtest_test

import (
	"testing"

	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

// TestClock: the clock that tests drive keeps what a clock promises.
func TestClock(t *testing.T) {
	platformtest.Clocks(t, func(*testing.T) platformtest.ClockStore {
		clock := platformtest.NewClock()
		return platformtest.ClockStore{Clock: clock, Elapse: clock.Advance}
	})
}

func TestIDs(t *testing.T) { platformtest.IDSource(t, platformtest.NewIDs()) }
