package local

import (
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/system"
)

// NewClock is the machine's clock.
func NewClock() platform.Clock { return system.Clock{} }

// NewIDs makes names from the machine's randomness.
func NewIDs() platform.IDs { return system.IDs{} }
