package memory_test

import (
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func BenchmarkTable(b *testing.B) {
	platformtest.BenchmarkTable(b, func(*testing.B) platform.Table { return memory.NewTable(nil) })
}
