package system_test

import (
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
