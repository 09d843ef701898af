package local

import (
	"log/slog"
	"net/http"

	"github.com/buildit-dev/buildit/internal/platform/presign"
)

// BlobsPath is where the server mounts Handler.
const BlobsPath = presign.Path

// Handler serves the URLs that Presign makes, below BlobsPath: PUT makes exactly the
// object that was granted, GET answers it, with ranges. Every refusal is a problem
// document.
func (b *Blobs) Handler(log *slog.Logger) http.Handler { return b.signer.Handler(b, log) }
