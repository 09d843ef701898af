package local_test

import (
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func BenchmarkBlobs(b *testing.B) {
	platformtest.BenchmarkBlobs(b, func(b *testing.B) platform.Blobs { return openBlobs(b, b.TempDir()) })
}

func BenchmarkQueues(b *testing.B) {
	platformtest.BenchmarkQueues(b, func(b *testing.B) platform.Queues {
		return local.NewQueues(openDB(b, b.TempDir()), local.NewClock())
	})
}
