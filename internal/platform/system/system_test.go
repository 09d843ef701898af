package system_test

import (
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform/platformtest"
	"github.com/buildit-dev/buildit/internal/platform/system"
)

func TestClock(t *testing.T) {
	platformtest.Clocks(t, func(*testing.T) platformtest.ClockStore {
		return platformtest.ClockStore{Clock: system.Clock{}, Elapse: func(time.Duration) {}}
	})
}

func TestIDs(t *testing.T) { platformtest.IDSource(t, system.IDs{}) }

// What is measured between two times of this clock does not follow the wall. One that
// was made UTC, or written down and read again, has no monotonic reading, and would.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	began := system.Clock{}.Now()
	if text := began.String(); !strings.Contains(text, " m=") {
		t.Errorf("%s has no monotonic reading", text)
	}
}
