package memory_test

import (
	"log/slog"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
	"github.com/buildit-dev/buildit/internal/platform/presign"
)

func TestBlobs(t *testing.T) {
	platformtest.Blobs(t, func(t *testing.T) platformtest.BlobStore {
		clock := platformtest.NewClock()
		blobs := memory.NewBlobs(clock)
		return platformtest.BlobStore{
			Blobs:  blobs,
			Client: presign.Client(blobs.Handler(slog.New(slog.DiscardHandler))),
			Elapse: clock.Advance,
		}
	})
}
