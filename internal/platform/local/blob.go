package local

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/presign"
)

// Blobs keeps objects as files. What a reader may see is always whole: a file is
// written under a temporary name and then linked, which no second writer can do, or
// renamed over the version before it.
//
//	objects/    the version that readers see, one file a key (blobname.go)
//	versions/   the versions before, one folder a key (blobversion.go)
//	uploads/    parts of uploads that are not complete (multipart.go)
//	tmp/        what is being written; swept when the store is opened
//
// One process owns the folder.
type Blobs struct {
	dir    string
	clock  platform.Clock
	signer *presign.Signer
	disk   durable
	seed   maphash.Seed
	locks  [256]sync.Mutex // of keys: who changes what readers see
}

// BlobOptions are what a store needs besides its folder.
type BlobOptions struct {
	Clock  platform.Clock // dates objects, ends signed URLs and locks
	URL    string         // what signed URLs begin with: the server that mounts Handler
	Secret []byte         // signs URLs
}

// OpenBlobs opens the store in dir, or makes it, and removes what a killed process
// left half written.
func OpenBlobs(dir string, options BlobOptions) (*Blobs, error) {
	b := &Blobs{
		dir:    dir,
		clock:  options.Clock,
		signer: presign.NewSigner(options.URL, options.Secret, options.Clock),
		seed:   maphash.MakeSeed(),
	}
	if err := os.RemoveAll(b.path("tmp")); err != nil {
		return nil, fmt.Errorf("sweep the objects' folder: %w", fileError(err))
	}
	for _, name := range []string{"objects", "versions", "uploads", "tmp"} {
		if err := b.disk.folder(filepath.Dir(dir), b.path(name)); err != nil {
			return nil, fmt.Errorf("make the objects' folder: %w", fileError(err))
		}
	}
	if err := b.sweepUploads(); err != nil {
		return nil, fmt.Errorf("sweep uploads: %w", fileError(err))
	}
	return b, nil
}

// Create implements platform.Blobs.
func (b *Blobs) Create(ctx context.Context, key platform.BlobKey, body io.ReadSeeker) (platform.ETag, error) {
	if err := key.Check(); err != nil {
		return "", err
	}
	// The link decides; looking first spares the copy of a body.
	if _, _, err := statStored(b.object(key)); err == nil {
		return "", fmt.Errorf("create %s: %w", key, platform.ErrExists)
	}
	d, err := newDraft(b.path("tmp"), body)
	if err != nil {
		return "", fmt.Errorf("create %s: %w", key, fileError(err))
	}
	err = b.placeNew(ctx, key, d)
	if err := errors.Join(err, d.discard()); err != nil {
		return "", fmt.Errorf("create %s: %w", key, fileError(err))
	}
	return d.tag, nil
}

// Replace implements platform.Blobs.
func (b *Blobs) Replace(ctx context.Context, key platform.BlobKey, old platform.ETag, body io.ReadSeeker) (platform.ETag, error) {
	if err := key.Check(); err != nil {
		return "", err
	}
	d, err := newDraft(b.path("tmp"), body)
	if err != nil {
		return "", fmt.Errorf("replace %s: %w", key, fileError(err))
	}
	err = b.placeOver(ctx, key, old, d)
	if err := errors.Join(err, d.discard()); err != nil {
		return "", fmt.Errorf("replace %s: %w", key, fileError(err))
	}
	return d.tag, nil
}

// Open implements platform.Blobs.
func (b *Blobs) Open(_ context.Context, key platform.BlobKey, offset int64) (io.ReadCloser, platform.BlobInfo, error) {
	file, err := openStored(b.object(key))
	if err != nil {
		return nil, platform.BlobInfo{}, missing("open", key, err)
	}
	info := file.info(key)
	start, err := platform.RangeStart(info, offset)
	if err != nil {
		return nil, platform.BlobInfo{}, errors.Join(err, file.Close())
	}
	return file.reader(start), info, nil
}

// Stat implements platform.Blobs.
func (b *Blobs) Stat(_ context.Context, key platform.BlobKey) (platform.BlobInfo, error) {
	f, size, err := statStored(b.object(key))
	if err != nil {
		return platform.BlobInfo{}, missing("stat", key, err)
	}
	return describeBlob(key, f, size), nil
}

// Delete implements platform.Blobs.
func (b *Blobs) Delete(ctx context.Context, key platform.BlobKey) error {
	if err := key.Check(); err != nil {
		return err
	}
	if err := b.hide(ctx, key); err != nil {
		return fmt.Errorf("delete %s: %w", key, fileError(err))
	}
	return nil
}

// List implements platform.Blobs.
func (b *Blobs) List(_ context.Context, under platform.BlobPrefix, after platform.BlobKey, limit int) ([]platform.BlobInfo, error) {
	if err := platform.CheckList(under, limit); err != nil {
		return nil, err
	}
	l := listing{under: under.String(), after: after.String(), limit: limit}
	if err := l.walk(b.path("objects"), ""); err != nil {
		return nil, fmt.Errorf("list %s: %w", under, fileError(err))
	}
	return l.found, nil
}

// Presign implements platform.Blobs.
func (b *Blobs) Presign(_ context.Context, grant platform.Grant) (platform.SignedRequest, error) {
	return b.signer.Sign(grant)
}

// placeNew makes a draft the object of a key that has none.
func (b *Blobs) placeNew(ctx context.Context, key platform.BlobKey, d *draft) error {
	path := b.object(key)
	if err := b.prepare(ctx, d, filepath.Dir(path)); err != nil {
		return err
	}
	defer b.lock(key)()
	number, err := b.lastNumber(key)
	if err != nil {
		return err
	}
	if err := b.finish(ctx, d, number+1); err != nil {
		return err
	}
	err = os.Link(d.Name(), path)
	if errors.Is(err, os.ErrExist) {
		if _, _, err := statStored(path); !errors.Is(err, errTorn) {
			return errors.Join(platform.ErrExists, err)
		}
		err = overwrite(d.Name(), path) // a torn file is no object
	}
	if err != nil {
		return err
	}
	return b.last(ctx, path, filepath.Dir(path))
}

// overwrite gives a file a second name that another file has, in one step.
func overwrite(file, path string) error {
	second := file + "-second"
	if err := os.Link(file, second); err != nil {
		return err
	}
	return os.Rename(second, path)
}

// placeOver makes a draft the object of a key whose object has the tag old.
func (b *Blobs) placeOver(ctx context.Context, key platform.BlobKey, old platform.ETag, d *draft) error {
	path, versions := b.object(key), b.versions(key)
	if err := b.prepare(ctx, d, versions); err != nil {
		return err
	}
	defer b.lock(key)()
	current, _, err := statStored(path)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, errTorn):
		return platform.ErrNotFound
	case err != nil:
		return err
	case current.etag() != old:
		return platform.ErrChanged
	case d.tag == old:
		return nil // equal bytes are no change
	}
	if err := b.finish(ctx, d, current.number+1); err != nil {
		return err
	}
	kept := filepath.Join(versions, versionFile(current.number, false))
	// It is there already if a process was killed between this step and the next.
	if err := os.Link(path, kept); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := b.last(ctx, kept, versions); err != nil {
		return err
	}
	if err := overwrite(d.Name(), path); err != nil {
		return err
	}
	return b.last(ctx, path, filepath.Dir(path))
}

// syncAhead is from how many bytes on a draft is synced before its key is locked.
const syncAhead = 1 << 20

// prepare does what takes long, before the key is locked.
func (b *Blobs) prepare(ctx context.Context, d *draft, dir string) error {
	if err := b.disk.folder(b.dir, dir); err != nil {
		return err
	}
	if d.size < syncAhead || platform.IsRelaxed(ctx) {
		return nil
	}
	return d.Sync()
}

// finish completes a draft, which then lasts.
func (b *Blobs) finish(ctx context.Context, d *draft, number uint64) error {
	if _, err := d.finish(number, b.clock.Now()); err != nil {
		return err
	}
	if platform.IsRelaxed(ctx) {
		return nil
	}
	return errors.Join(b.disk.settle(), d.Sync())
}

// last makes a new name last, or leaves file and folder to the next full write.
func (b *Blobs) last(ctx context.Context, path, dir string) error {
	if platform.IsRelaxed(ctx) {
		return b.disk.later(path, dir)
	}
	return syncPath(dir)
}

// lock holds a key against other changes until the answer is called.
func (b *Blobs) lock(key platform.BlobKey) (unlock func()) {
	mu := &b.locks[maphash.String(b.seed, key.String())%uint64(len(b.locks))]
	mu.Lock()
	return mu.Unlock
}

func (b *Blobs) path(name string) string { return filepath.Join(b.dir, name) }

func (b *Blobs) object(key platform.BlobKey) string {
	return filepath.Join(b.dir, "objects", objectPath(key))
}

func (b *Blobs) versions(key platform.BlobKey) string {
	return filepath.Join(b.dir, "versions", versionsPath(key))
}

// missing turns a file that is not there into an object that is not there.
func missing(verb string, key platform.BlobKey, err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, errTorn) {
		err = platform.ErrNotFound
	}
	return fmt.Errorf("%s %s: %w", verb, key, fileError(err))
}
