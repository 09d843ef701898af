package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// Download is an artifact with what it takes to read it: nothing of it passes
// through the API. Blobs has a signed request for each file, by the SHA-256 of its
// bytes; a reader checks them, and the manifest against the artifact's digest.
type Download struct {
	Artifact Artifact                          `json:"artifact"`
	Manifest json.RawMessage                   `json:"manifest,omitempty"` // supervisor.Manifest, in its canonical form
	Blobs    map[string]platform.SignedRequest `json:"blobs,omitempty"`
}

// maxDownload is how many files one answer signs; a larger artifact is fetched by
// a stage.
const maxDownload = 10_000

// Download grants the reading of an artifact. Where several stages made one of
// that name, key says which.
func (s *Service) Download(ctx context.Context, org platform.Org, id RunID, name string, key StageKey) (Download, error) {
	list, err := s.Artifacts(ctx, org, id)
	if err != nil {
		return Download{}, err
	}
	list = slices.DeleteFunc(list, func(a Artifact) bool { return a.Name != name || key != "" && a.Key != key })
	switch {
	case len(list) == 0:
		return Download{}, problem.New(problem.NotFound, "Run %s has no artifact %q.", id, name)
	case len(list) > 1:
		return Download{}, problem.New(problem.Invalid,
			"%d stages made an artifact %q; say which with stage=%s (%s) or another.", len(list), name, list[0].Key, list[0].Stage).InField("stage")
	}
	d := Download{Artifact: list[0]}
	if d.Artifact.SHA256 == "" {
		return d, nil
	}
	if d.Artifact.Expired(s.home.Clock.Now()) {
		return Download{}, problem.New(problem.Expired, "The files of artifact %q were kept until %s. Run the stage that made it again: `buildit rerun %s --stage %s`.",
			name, d.Artifact.Expires.UTC().Format(time.RFC3339), id, d.Artifact.Stage)
	}
	form, err := s.manifest(ctx, org, d.Artifact)
	if err != nil {
		return Download{}, err
	}
	manifest, err := supervisor.ParseManifest(form)
	if err != nil {
		return Download{}, fmt.Errorf("artifact %s of run %s: %w", name, id, err)
	}
	if len(manifest.Files) > maxDownload {
		return Download{}, problem.New(problem.TooLarge, "The artifact has %d files; up to %d can be downloaded.", len(manifest.Files), maxDownload)
	}
	d.Manifest, d.Blobs = form, map[string]platform.SignedRequest{}
	for _, file := range manifest.Files {
		if file.SHA256 == "" {
			continue
		}
		grant := platform.Grant{Key: objectBlob(org, "blob", file.SHA256), Method: http.MethodGet, Expire: grantLife}
		if d.Blobs[file.SHA256], err = s.home.Blobs.Presign(ctx, grant); err != nil {
			return Download{}, fmt.Errorf("artifact %s of run %s: %w", name, id, err)
		}
	}
	return d, nil
}

// maxShownManifest is the bytes of a manifest of maxDownload files, and more.
const maxShownManifest = 16 << 20

func (s *Service) manifest(ctx context.Context, org platform.Org, a Artifact) ([]byte, error) {
	body, _, err := s.home.Blobs.Open(ctx, objectBlob(org, "artifact", a.SHA256), 0)
	if errors.Is(err, platform.ErrNotFound) {
		return nil, problem.New(problem.Expired, "The files of artifact %q were deleted when their time was over.", a.Name)
	}
	if err != nil {
		return nil, err
	}
	form, err := io.ReadAll(io.LimitReader(body, maxShownManifest))
	return form, errors.Join(err, body.Close())
}
