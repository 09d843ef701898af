package presign

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"net/http"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Store is what the handler needs of platform.Blobs. Create reads the body once,
// from where it is, and makes no object of a body that fails.
type Store interface {
	Create(ctx context.Context, key platform.BlobKey, body io.ReadSeeker) (platform.ETag, error)
	Open(ctx context.Context, key platform.BlobKey, offset int64) (io.ReadCloser, platform.BlobInfo, error)
	Stat(ctx context.Context, key platform.BlobKey) (platform.BlobInfo, error)
}

// Handler serves the URLs of a signer, under Path.
func (s *Signer) Handler(store Store, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		grant, err := s.verify(r)
		if err == nil {
			err = serve(w, r, store, grant)
		}
		if err != nil {
			problem.Write(w, r, log, err)
		}
	})
}

func serve(w http.ResponseWriter, r *http.Request, store Store, grant platform.Grant) error {
	if grant.Method == http.MethodPut {
		return put(w, r, store, grant)
	}
	return get(w, r, store, grant)
}

// put makes the object that the grant describes, or none.
func put(w http.ResponseWriter, r *http.Request, store Store, grant platform.Grant) error {
	if r.ContentLength != grant.Size {
		return problem.New(problem.Invalid, "the body has %d bytes (-1: of unknown length), the grant is for %d: send Content-Length, and exactly these bytes", r.ContentLength, grant.Size)
	}
	// Create decides; asking first spares a second upload of a large body.
	if _, err := store.Stat(r.Context(), grant.Key); err == nil {
		return exists(grant.Key)
	}
	ctx := r.Context()
	if grant.Relaxed {
		ctx = platform.Relaxed(ctx)
	}
	etag, err := store.Create(ctx, grant.Key, &checked{body: r.Body, grant: grant, hash: sha256.New()})
	if errors.Is(err, platform.ErrExists) {
		return exists(grant.Key)
	}
	if err != nil {
		return err
	}
	w.Header().Set("ETag", quoted(etag))
	w.WriteHeader(http.StatusCreated)
	return nil
}

func exists(key platform.BlobKey) error {
	return problem.New(problem.Exists, "%s exists already: a grant creates and never replaces", key)
}

// checked is a body that ends with an error unless it is what the grant says.
type checked struct {
	body  io.Reader
	grant platform.Grant
	hash  hash.Hash
	size  int64
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	c.hash.Write(p[:n]) // a hash never fails
	c.size += int64(n)
	if err == nil || !errors.Is(err, io.EOF) {
		return n, err
	}
	if c.size != c.grant.Size {
		return n, problem.New(problem.Invalid, "the body ended after %d bytes, the grant is for %d: nothing was stored", c.size, c.grant.Size)
	}
	if sum := hex.EncodeToString(c.hash.Sum(nil)); sum != c.grant.SHA256 {
		return n, problem.New(problem.Invalid, "the body's SHA-256 is %s, the grant is for %s: nothing was stored", sum, c.grant.SHA256)
	}
	return n, io.EOF
}

// Seek is there for the interface: a body from the wire is read once.
func (c *checked) Seek(int64, int) (int64, error) {
	return 0, fmt.Errorf("a body from the wire: %w", errors.ErrUnsupported)
}

// get answers the object, or the range of it that is asked for.
func get(w http.ResponseWriter, r *http.Request, store Store, grant platform.Grant) error {
	info, err := store.Stat(r.Context(), grant.Key)
	if errors.Is(err, platform.ErrNotFound) {
		return problem.New(problem.NotFound, "there is no object %s: it was deleted, or never made", grant.Key)
	}
	if err != nil {
		return err
	}
	// The bytes are somebody's build output, served from the origin of the dashboard:
	// a browser must neither guess what they are nor run them.
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Security-Policy", "sandbox; default-src 'none'")
	w.Header().Set("Content-Disposition", "attachment")
	w.Header().Set("Cache-Control", "private, no-store")
	w.Header().Set("ETag", quoted(info.ETag))
	body := &object{ctx: r.Context(), store: store, info: info}
	http.ServeContent(w, r, "", info.Modified, body)
	return body.close()
}

func quoted(etag platform.ETag) string { return `"` + string(etag) + `"` }

// object reads an object from wherever http.ServeContent seeks to.
type object struct {
	ctx    context.Context
	store  Store
	info   platform.BlobInfo
	offset int64
	body   io.ReadCloser // from offset, or nil
}

func (o *object) Read(p []byte) (int, error) {
	if o.offset >= o.info.Size {
		return 0, io.EOF
	}
	if o.body == nil {
		body, info, err := o.store.Open(o.ctx, o.info.Key, o.offset)
		if err != nil {
			return 0, err
		}
		if o.body = body; info.ETag != o.info.ETag {
			return 0, fmt.Errorf("%s was replaced while it was read: %w", o.info.Key, platform.ErrChanged)
		}
	}
	n, err := o.body.Read(p)
	o.offset += int64(n)
	return n, err
}

func (o *object) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += o.offset
	case io.SeekEnd:
		offset += o.info.Size
	}
	if offset < 0 {
		return 0, fmt.Errorf("seek to %d: %w", offset, platform.ErrInvalid)
	}
	o.offset = offset
	return offset, o.close()
}

func (o *object) close() error {
	if o.body == nil {
		return nil
	}
	body := o.body
	o.body = nil
	return body.Close()
}
