package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// A version that readers no longer see is versions/<key>/<number>. If it was
// deleted and not replaced, its name ends in deletedMark: that is the mark of
// deletion, set by the rename that hides the object. A lock is a file beside it.
const (
	deletedMark = "d"
	lockSuffix  = ".lock"
)

func versionFile(number uint64, deleted bool) string {
	name := fmt.Sprintf("%016d", number)
	if deleted {
		name += deletedMark
	}
	return name
}

// kept is a version among those of its key.
type kept struct {
	number  uint64
	path    string
	deleted bool // the object was deleted after it
	current bool // it is what readers see
}

// all is every version of a key, oldest first.
func (b *Blobs) all(key platform.BlobKey) ([]kept, error) {
	dir := b.versions(key)
	files, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var versions []kept
	for _, file := range files {
		digits, deleted := strings.CutSuffix(file.Name(), deletedMark)
		if number, err := strconv.ParseUint(digits, 10, 64); err == nil {
			versions = append(versions, kept{number, filepath.Join(dir, file.Name()), deleted, false})
		}
	}
	current, _, err := statStored(b.object(key))
	if err == nil {
		versions = append(versions, kept{current.number, b.object(key), false, true})
	} else if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errTorn) {
		return nil, err
	}
	// One version has two names if a process was killed while it was replaced: what
	// readers see, or what tells that it was deleted, comes after the plain name.
	slices.SortStableFunc(versions, func(x, y kept) int { return cmp.Compare(x.number, y.number) })
	var once []kept
	for _, v := range versions {
		if n := len(once); n > 0 && once[n-1].number == v.number {
			once = once[:n-1]
		}
		once = append(once, v)
	}
	return once, nil
}

// lastNumber is the number of the newest version of a key, 0 if there is none.
func (b *Blobs) lastNumber(key platform.BlobKey) (uint64, error) {
	versions, err := b.all(key)
	if err != nil || len(versions) == 0 {
		return 0, err
	}
	return versions[len(versions)-1].number, nil
}

// hide makes what readers see a version of the past, if there is anything.
func (b *Blobs) hide(ctx context.Context, key platform.BlobKey) error {
	path, versions := b.object(key), b.versions(key)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := b.disk.folder(b.dir, versions); err != nil {
		return err
	}
	defer b.lock(key)()
	current, _, err := statStored(path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, errTorn) {
		return nil
	}
	if err != nil {
		return err
	}
	hidden := filepath.Join(versions, versionFile(current.number, true))
	if err := os.Rename(path, hidden); err != nil {
		return err
	}
	return errors.Join(b.last(ctx, hidden, versions), b.last(ctx, hidden, filepath.Dir(path)))
}

// Versions implements platform.Blobs.
func (b *Blobs) Versions(_ context.Context, key platform.BlobKey) ([]platform.BlobInfo, error) {
	defer b.lock(key)()
	versions, err := b.all(key)
	if err != nil {
		return nil, fmt.Errorf("versions of %s: %w", key, fileError(err))
	}
	var infos []platform.BlobInfo
	for _, v := range slices.Backward(versions) {
		f, size, err := statStored(v.path)
		if err != nil {
			return nil, fmt.Errorf("versions of %s: %w", key, fileError(err))
		}
		infos = append(infos, describeBlob(key, f, size))
	}
	return infos, nil
}

// OpenVersion implements platform.Blobs.
func (b *Blobs) OpenVersion(_ context.Context, key platform.BlobKey, version string) (io.ReadCloser, platform.BlobInfo, error) {
	defer b.lock(key)()
	versions, i, err := b.find(key, version)
	if err != nil {
		return nil, platform.BlobInfo{}, err
	}
	file, err := openStored(versions[i].path)
	if err != nil {
		return nil, platform.BlobInfo{}, missing("open a version of", key, err)
	}
	return file.reader(0), file.info(key), nil
}

// DeleteVersion implements platform.Blobs.
func (b *Blobs) DeleteVersion(ctx context.Context, key platform.BlobKey, version string) error {
	defer b.lock(key)()
	versions, i, err := b.find(key, version)
	if err != nil {
		return err
	}
	until, err := b.lockedUntil(key, versions[i].number)
	if err != nil {
		return err
	}
	if until.After(b.clock.Now()) {
		return fmt.Errorf("delete version %s of %s: locked until %s: %w", version, key, until.Format(time.RFC3339), platform.ErrDenied)
	}
	if err := b.remove(ctx, key, versions, i); err != nil {
		return fmt.Errorf("delete version %s of %s: %w", version, key, fileError(err))
	}
	return nil
}

// remove takes a version away. What was before it follows: it becomes what readers
// see, or what tells that the object was deleted.
func (b *Blobs) remove(ctx context.Context, key platform.BlobKey, versions []kept, i int) error {
	v, dir := versions[i], b.versions(key)
	before := kept{deleted: true}
	if i > 0 {
		before = versions[i-1]
	}
	var err error
	switch {
	case v.current && !before.deleted:
		err = os.Rename(before.path, v.path)
	case v.deleted && !before.deleted:
		err = os.Rename(before.path, filepath.Join(dir, versionFile(before.number, true)))
	}
	if err != nil {
		return err
	}
	// Its other names, if there are any.
	for _, path := range []string{
		filepath.Join(dir, versionFile(v.number, false)),
		filepath.Join(dir, versionFile(v.number, true)),
		b.lockFile(key, v.number),
	} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if v.current && before.deleted {
		if err := os.Remove(v.path); err != nil {
			return err
		}
	}
	folders := []string{filepath.Dir(b.object(key))}
	if _, err := os.Stat(dir); err == nil {
		folders = append(folders, dir)
	}
	if platform.IsRelaxed(ctx) {
		return b.disk.later(folders...)
	}
	for _, folder := range folders {
		if err := syncPath(folder); err != nil {
			return err
		}
	}
	return nil
}

// Lock implements platform.Blobs.
func (b *Blobs) Lock(_ context.Context, key platform.BlobKey, version string, until time.Time) error {
	defer b.lock(key)()
	versions, i, err := b.find(key, version)
	if err != nil {
		return err
	}
	number := versions[i].number
	before, err := b.lockedUntil(key, number)
	if err != nil {
		return err
	}
	if until.Before(before) {
		return fmt.Errorf("lock version %s of %s: it is locked until %s, which cannot be shortened: %w", version, key, before.Format(time.RFC3339), platform.ErrDenied)
	}
	if err := b.disk.folder(b.dir, b.versions(key)); err != nil {
		return fmt.Errorf("lock %s: %w", key, fileError(err))
	}
	if err := writeFile(b.lockFile(key, number), []byte(until.UTC().Format(time.RFC3339Nano))); err != nil {
		return fmt.Errorf("lock %s: %w", key, fileError(err))
	}
	return nil
}

func (b *Blobs) lockFile(key platform.BlobKey, number uint64) string {
	return filepath.Join(b.versions(key), versionFile(number, false)+lockSuffix)
}

// lockedUntil is the end of a version's lock, the zero time if it has none.
func (b *Blobs) lockedUntil(key platform.BlobKey, number uint64) (time.Time, error) {
	text, err := os.ReadFile(b.lockFile(key, number))
	if errors.Is(err, os.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("the lock of %s: %w", key, fileError(err))
	}
	until, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return time.Time{}, fmt.Errorf("the lock of %s: %w", key, err)
	}
	return until, nil
}

// find is the versions of a key, and the place of one among them.
func (b *Blobs) find(key platform.BlobKey, version string) ([]kept, int, error) {
	versions, err := b.all(key)
	if err != nil {
		return nil, 0, fmt.Errorf("versions of %s: %w", key, fileError(err))
	}
	number := versionNumber(version)
	i := slices.IndexFunc(versions, func(v kept) bool { return v.number == number })
	if i >= 0 {
		f, _, err := statStored(versions[i].path)
		if err == nil && f.version() == version {
			return versions, i, nil
		}
	}
	return nil, 0, fmt.Errorf("version %s of %s: %w", version, key, platform.ErrNotFound)
}
