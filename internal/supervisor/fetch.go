package supervisor

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/buildit-dev/buildit/internal/platform"
)

// fetchArtifacts brings the artifacts of stages upstream into the workspace.
func (a *attempt) fetchArtifacts(ctx context.Context) error {
	if len(a.job.Fetches) == 0 {
		return nil
	}
	workspace, err := os.OpenRoot(a.folders.workspace)
	if err != nil {
		return a.diskTrouble(err)
	}
	defer workspace.Close()
	for _, use := range a.job.Fetches {
		err := a.fetch(ctx, workspace, use)
		var f *failure
		switch {
		case err == nil:
		case use.Optional && errors.Is(err, platform.ErrNotFound):
			a.notice("artifact-none", "The optional artifact %s is not there.", use.Name)
		case errors.As(err, &f):
			return err
		case isDiskFull(err):
			return a.diskTrouble(err)
		default:
			return &failure{ReasonGrantFailed, fmt.Sprintf("The artifact %s could not be fetched: %v.", use.Name, err), err}
		}
	}
	return nil
}

// fetch brings one artifact.
func (a *attempt) fetch(ctx context.Context, workspace *os.Root, use Fetch) error {
	began := a.clock.Now()
	manifest, err := a.readManifest(ctx, use)
	if err != nil {
		return err
	}
	to := filepath.Clean(use.To)
	if use.To != "" && !filepath.IsLocal(to) {
		return failed(ReasonArtifactInvalid, "The artifact %s would go to %q, outside the workspace.", use.Name, use.To)
	}
	if err := workspace.MkdirAll(to, 0o755); err != nil {
		return err
	}
	root, err := workspace.OpenRoot(to)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := a.unpackManifest(ctx, root, manifest); err != nil {
		return err
	}
	bytes := int64(0)
	for _, f := range manifest.Files {
		bytes += f.Size
	}
	a.out.say("%s", speed(fmt.Sprintf("fetch %s: %d files", use.Name, len(manifest.Files)), bytes, a.clock.Now().Sub(began)))
	return nil
}

func (a *attempt) readManifest(ctx context.Context, use Fetch) (*Manifest, error) {
	if use.Manifest.Size > maxManifest {
		return nil, failed(ReasonArtifactInvalid, "The manifest of the artifact %s has %d bytes.", use.Name, use.Manifest.Size)
	}
	body, err := a.control.Download(ctx, use.Manifest)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	form, err := io.ReadAll(io.TeeReader(io.LimitReader(body, maxManifest), sum))
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	if err := checkSum(use.Manifest, sum); err != nil {
		return nil, err
	}
	manifest, err := ParseManifest(form)
	if err != nil {
		return nil, &failure{ReasonArtifactInvalid, fmt.Sprintf("The artifact %s is not valid: %v.", use.Name, err), err}
	}
	return manifest, nil
}

// unpackManifest writes the files of a manifest below root. Links come last, so
// that nothing is ever written through one of them.
func (a *attempt) unpackManifest(ctx context.Context, root *os.Root, manifest *Manifest) error {
	files := map[string][]File{}
	for _, f := range manifest.Files {
		if dir := path.Dir(f.Path); dir != "." {
			if err := root.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
		if f.Link == "" {
			files[f.SHA256] = append(files[f.SHA256], f)
		}
	}
	var err error
	for batch := range slices.Chunk(manifest.Blobs(), MaxGrants) {
		if err = a.control.Wants(ctx, batch); err == nil {
			err = eachAtOnce(ctx, batch, func(ctx context.Context, blob Object) error {
				return a.fetchBlob(ctx, root, blob, files[blob.SHA256])
			})
		}
		if err != nil {
			break
		}
	}
	for _, f := range manifest.Files {
		if err == nil && f.Link != "" {
			err = replaceWith(root, f.Path, func() error { return root.Symlink(f.Link, f.Path) })
		}
	}
	return err
}

// fetchBlob writes the bytes of a blob to every file that has them.
func (a *attempt) fetchBlob(ctx context.Context, root *os.Root, blob Object, files []File) error {
	for _, f := range files {
		body, err := a.control.Download(ctx, blob)
		if err != nil {
			return err
		}
		err = replaceWith(root, f.Path, func() error { return writeBlob(root, f, body) })
		if err = errors.Join(err, body.Close()); err != nil {
			return fmt.Errorf("%s: %w", f.Path, err)
		}
	}
	return nil
}

func writeBlob(root *os.Root, f File, body io.Reader) error {
	mode := os.FileMode(0o644)
	if f.X {
		mode = 0o755
	}
	file, err := root.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(file, sum), io.LimitReader(body, f.Size+1))
	if err == nil && size != f.Size {
		err = fmt.Errorf("it arrived with %d bytes, not %d", size, f.Size)
	}
	if err == nil {
		err = checkSum(f.blob(), sum)
	}
	return errors.Join(err, file.Close())
}

// replaceWith makes room for what write makes at a path: a fetch wins over what
// the source has there.
func replaceWith(root *os.Root, name string, write func() error) error {
	if err := root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return write()
}
