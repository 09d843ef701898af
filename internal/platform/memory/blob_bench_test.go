package memory_test

import (
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func BenchmarkBlobs(b *testing.B) {
	platformtest.BenchmarkBlobs(b, func(*testing.B) platform.Blobs { return memory.NewBlobs(memory.NewClock()) })
}

func BenchmarkQueues(b *testing.B) {
	platformtest.BenchmarkQueues(b, func(*testing.B) platform.Queues { return memory.NewQueues(memory.NewClock()) })
}
