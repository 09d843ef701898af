package local_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
	"github.com/buildit-dev/buildit/internal/platform/softkey"
)

func TestBlobs(t *testing.T) {
	platformtest.Blobs(t, func(t *testing.T) platformtest.BlobStore {
		clock := platformtest.NewClock()
		mux := http.NewServeMux()
		server := httptest.NewServer(mux)
		t.Cleanup(server.Close)
		blobs, err := local.OpenBlobs(t.TempDir(), local.BlobOptions{Clock: clock, URL: server.URL, Secret: softkey.NewSecret()})
		if err != nil {
			t.Fatal(err)
		}
		mux.Handle(local.BlobsPath, blobs.Handler(slog.New(slog.DiscardHandler)))
		return platformtest.BlobStore{Blobs: blobs, Client: server.Client(), Elapse: clock.Advance}
	})
}
