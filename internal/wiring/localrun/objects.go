package localrun

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// Artifacts lie in .buildit/run/objects by digest: manifests and files that one
// stage made and another fetches.

func (c *control) path(object supervisor.Object) (string, error) {
	if _, err := hex.DecodeString(object.SHA256); err != nil || len(object.SHA256) != 2*sha256.Size {
		return "", fmt.Errorf("%s %q has no digest", object.Kind, object.Name)
	}
	folder := "objects"
	if object.Kind == "cache" {
		folder = cachePacks
	}
	return filepath.Join(c.all.data.dir, folder, object.SHA256), nil
}

// Lacks answers which objects are not there.
func (c *control) Lacks(_ context.Context, objects []supervisor.Object) ([]supervisor.Object, error) {
	var lacking []supervisor.Object
	for _, object := range objects {
		path, err := c.path(object)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(path); err != nil {
			lacking = append(lacking, object)
		}
	}
	return lacking, nil
}

// Upload keeps an object; other bytes than its digest says are refused. Reports stay in
// the engine, which shows them when the run ends.
func (c *control) Upload(ctx context.Context, object supervisor.Object, body io.ReadSeeker) error {
	if object.Kind == supervisor.KindReport {
		return c.Attempt.Upload(ctx, object, body)
	}
	path, err := c.path(object)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.CreateTemp(c.all.data.work, "object-")
	if err != nil {
		return err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, hash), body)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if sum := hex.EncodeToString(hash.Sum(nil)); sum != object.SHA256 {
		return errors.Join(fmt.Errorf("%s %q changed while it was read", object.Kind, object.Name), os.Remove(file.Name()))
	}
	return os.Rename(file.Name(), path)
}

// Download opens an object.
func (c *control) Download(ctx context.Context, object supervisor.Object) (io.ReadCloser, error) {
	path, err := c.path(object)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist) && c.all.config.Fetch != nil:
		return c.all.config.Fetch(ctx, object)
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s %q: %w", object.Kind, object.Name, platform.ErrNotFound)
	}
	return file, err
}
