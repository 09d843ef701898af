package local

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/etag"
)

// An upload is a folder: the key in one file, and a file of the store for each
// part, named by its number. It outlives the process.
const uploadKey = "key"

// staleUpload is after how long an upload that nobody completes is aborted, as a
// lifecycle rule does on S3.
const staleUpload = 24 * time.Hour

// Upload implements platform.Blobs.
func (b *Blobs) Upload(_ context.Context, key platform.BlobKey) (string, error) {
	if err := key.Check(); err != nil {
		return "", err
	}
	id := rand.Text()
	dir := b.upload(id)
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = writeFile(filepath.Join(dir, uploadKey), []byte(key.String()))
	}
	if err := errors.Join(err, syncPath(b.path("uploads"))); err != nil {
		return "", fmt.Errorf("upload %s: %w", key, fileError(err))
	}
	return id, nil
}

// SendPart implements platform.Blobs.
func (b *Blobs) SendPart(_ context.Context, key platform.BlobKey, id string, number int, body io.ReadSeeker) (platform.Part, error) {
	if err := platform.CheckPartNumber(number); err != nil {
		return platform.Part{}, err
	}
	if err := b.checkUpload(key, id); err != nil {
		return platform.Part{}, err
	}
	d, err := newDraft(b.path("tmp"), body)
	if err != nil {
		return platform.Part{}, fmt.Errorf("part %d of %s: %w", number, key, fileError(err))
	}
	err = b.placePart(d, id, number)
	if errors.Is(err, os.ErrNotExist) {
		err = errors.Join(platform.ErrGone, err) // aborted meanwhile
	}
	if err := errors.Join(err, d.discard()); err != nil {
		return platform.Part{}, fmt.Errorf("part %d of %s: %w", number, key, fileError(err))
	}
	return platform.Part{Number: number, ETag: d.tag}, nil
}

func (b *Blobs) placePart(d *draft, id string, number int) error {
	if _, err := d.finish(uint64(number), b.clock.Now()); err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		return err
	}
	if err := overwrite(d.Name(), b.part(id, number)); err != nil {
		return err
	}
	return syncPath(b.upload(id))
}

// Complete implements platform.Blobs.
func (b *Blobs) Complete(ctx context.Context, key platform.BlobKey, id string, parts []platform.Part) (platform.ETag, error) {
	tag := etag.OfParts(parts)
	if err := b.checkUpload(key, id); err != nil {
		return b.completed(key, tag, err)
	}
	err := platform.CheckParts(parts, func(p platform.Part) (int64, bool) {
		f, size, err := statStored(b.part(id, p.Number))
		return size, err == nil && f.etag() == p.ETag
	})
	if err != nil {
		return "", err
	}
	d, err := b.join(id, parts, tag)
	if err != nil {
		return "", fmt.Errorf("complete %s: %w", key, fileError(err))
	}
	err = b.placeNew(ctx, key, d)
	if err := errors.Join(err, d.discard()); err != nil {
		return b.completed(key, tag, fmt.Errorf("complete %s: %w", key, fileError(err)))
	}
	return tag, b.Abort(ctx, key, id)
}

// completed answers an upload that cannot be completed, unless it was before: then
// the answer was lost, and the object is what these parts make.
func (b *Blobs) completed(key platform.BlobKey, tag platform.ETag, err error) (platform.ETag, error) {
	if f, _, statErr := statStored(b.object(key)); statErr == nil && f.etag() == tag {
		return tag, nil
	}
	return "", err
}

// join makes one draft of the parts.
func (b *Blobs) join(id string, parts []platform.Part, tag platform.ETag) (d *draft, err error) {
	d = &draft{tag: tag}
	if d.File, err = os.CreateTemp(b.path("tmp"), "join-"); err != nil {
		return nil, err
	}
	for _, p := range parts {
		if err := d.append(b.part(id, p.Number)); err != nil {
			return nil, errors.Join(err, d.discard())
		}
	}
	return d, nil
}

// append copies a part to the end. Between two files the kernel does the work.
func (d *draft) append(path string) error {
	part, err := openStored(path)
	if err != nil {
		return err
	}
	n, err := io.CopyN(d.File, part.File, part.size)
	d.size += n
	return errors.Join(err, part.Close())
}

// Abort implements platform.Blobs.
func (b *Blobs) Abort(_ context.Context, key platform.BlobKey, id string) error {
	if err := b.checkUpload(key, id); err != nil {
		if errors.Is(err, platform.ErrGone) {
			return nil
		}
		return err
	}
	// Without its key an upload is none, whatever else is still there.
	dir := b.upload(id)
	err := os.Remove(filepath.Join(dir, uploadKey))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err := errors.Join(err, os.RemoveAll(dir), syncPath(b.path("uploads"))); err != nil {
		return fmt.Errorf("abort the upload of %s: %w", key, fileError(err))
	}
	return nil
}

// checkUpload answers ErrGone unless there is such an upload of that key.
func (b *Blobs) checkUpload(key platform.BlobKey, id string) error {
	path, err := os.ReadFile(filepath.Join(b.upload(filepath.Base(id)), uploadKey))
	switch {
	case errors.Is(err, os.ErrNotExist), err == nil && (string(path) != key.String() || filepath.Base(id) != id):
		return fmt.Errorf("upload %q of %s: ended or aborted: %w", id, key, platform.ErrGone)
	case err != nil:
		return fmt.Errorf("upload %q of %s: %w", id, key, fileError(err))
	}
	return nil
}

func (b *Blobs) upload(id string) string { return filepath.Join(b.dir, "uploads", id) }

func (b *Blobs) part(id string, number int) string {
	return filepath.Join(b.upload(id), strconv.Itoa(number))
}

// sweepUploads removes uploads that nobody has touched for staleUpload.
func (b *Blobs) sweepUploads() error {
	uploads, err := os.ReadDir(b.path("uploads"))
	if err != nil {
		return err
	}
	for _, upload := range uploads {
		info, err := upload.Info()
		if err != nil {
			return err
		}
		if b.clock.Now().Sub(info.ModTime()) > staleUpload {
			if err := os.RemoveAll(b.upload(upload.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
