package fault

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

type blobs struct {
	port
	to platform.Blobs
}

// Blobs are blobs whose calls go as planned. Bodies, once open, are read as ever.
func Blobs(to platform.Blobs, plan Plan) platform.Blobs { return blobs{wrap("blobs", plan), to} }

func (b blobs) Create(ctx context.Context, key platform.BlobKey, body io.ReadSeeker) (platform.ETag, error) {
	return call(ctx, b.port, "Create", again(body, func() (platform.ETag, error) { return b.to.Create(ctx, key, body) }))
}

func (b blobs) Replace(ctx context.Context, key platform.BlobKey, old platform.ETag, body io.ReadSeeker) (platform.ETag, error) {
	return call(ctx, b.port, "Replace", again(body, func() (platform.ETag, error) { return b.to.Replace(ctx, key, old, body) }))
}

// again reads the body from its beginning each time, as a retry does.
func again[T any](body io.ReadSeeker, do func() (T, error)) func() (T, error) {
	return func() (T, error) {
		if _, err := body.Seek(0, io.SeekStart); err != nil {
			var none T
			return none, err
		}
		return do()
	}
}

// opened is what opening an object answers.
type opened struct {
	body io.ReadCloser
	info platform.BlobInfo
}

// open does a call that opens a body, and closes a body that nobody will get.
func (b blobs) open(ctx context.Context, method string, do func() (io.ReadCloser, platform.BlobInfo, error)) (io.ReadCloser, platform.BlobInfo, error) {
	var last io.Closer
	answer, err := call(ctx, b.port, method, func() (opened, error) {
		if err := discard(last); err != nil {
			return opened{}, err
		}
		body, info, err := do()
		if err == nil {
			last = body
		}
		return opened{body, info}, err
	})
	if err != nil {
		return nil, platform.BlobInfo{}, errors.Join(err, discard(last))
	}
	return answer.body, answer.info, nil
}

func discard(body io.Closer) error {
	if body == nil {
		return nil
	}
	return body.Close()
}

func (b blobs) Open(ctx context.Context, key platform.BlobKey, offset int64) (io.ReadCloser, platform.BlobInfo, error) {
	return b.open(ctx, "Open", func() (io.ReadCloser, platform.BlobInfo, error) { return b.to.Open(ctx, key, offset) })
}

func (b blobs) OpenVersion(ctx context.Context, key platform.BlobKey, version string) (io.ReadCloser, platform.BlobInfo, error) {
	return b.open(ctx, "OpenVersion", func() (io.ReadCloser, platform.BlobInfo, error) { return b.to.OpenVersion(ctx, key, version) })
}

func (b blobs) Stat(ctx context.Context, key platform.BlobKey) (platform.BlobInfo, error) {
	return call(ctx, b.port, "Stat", func() (platform.BlobInfo, error) { return b.to.Stat(ctx, key) })
}

func (b blobs) Delete(ctx context.Context, key platform.BlobKey) error {
	return try(ctx, b.port, "Delete", func() error { return b.to.Delete(ctx, key) })
}

func (b blobs) List(ctx context.Context, under platform.BlobPrefix, after platform.BlobKey, limit int) ([]platform.BlobInfo, error) {
	return call(ctx, b.port, "List", func() ([]platform.BlobInfo, error) { return b.to.List(ctx, under, after, limit) })
}

func (b blobs) Presign(ctx context.Context, grant platform.Grant) (platform.SignedRequest, error) {
	return call(ctx, b.port, "Presign", func() (platform.SignedRequest, error) { return b.to.Presign(ctx, grant) })
}

func (b blobs) Upload(ctx context.Context, key platform.BlobKey) (string, error) {
	return call(ctx, b.port, "Upload", func() (string, error) { return b.to.Upload(ctx, key) })
}

func (b blobs) SendPart(ctx context.Context, key platform.BlobKey, upload string, number int, body io.ReadSeeker) (platform.Part, error) {
	return call(ctx, b.port, "SendPart", again(body, func() (platform.Part, error) { return b.to.SendPart(ctx, key, upload, number, body) }))
}

func (b blobs) Complete(ctx context.Context, key platform.BlobKey, upload string, parts []platform.Part) (platform.ETag, error) {
	return call(ctx, b.port, "Complete", func() (platform.ETag, error) { return b.to.Complete(ctx, key, upload, parts) })
}

func (b blobs) Abort(ctx context.Context, key platform.BlobKey, upload string) error {
	return try(ctx, b.port, "Abort", func() error { return b.to.Abort(ctx, key, upload) })
}

func (b blobs) Versions(ctx context.Context, key platform.BlobKey) ([]platform.BlobInfo, error) {
	return call(ctx, b.port, "Versions", func() ([]platform.BlobInfo, error) { return b.to.Versions(ctx, key) })
}

func (b blobs) DeleteVersion(ctx context.Context, key platform.BlobKey, version string) error {
	return try(ctx, b.port, "DeleteVersion", func() error { return b.to.DeleteVersion(ctx, key, version) })
}

func (b blobs) Lock(ctx context.Context, key platform.BlobKey, version string, until time.Time) error {
	return try(ctx, b.port, "Lock", func() error { return b.to.Lock(ctx, key, version, until) })
}
