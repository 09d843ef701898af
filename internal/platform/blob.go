package platform

import (
	"context"
	"io"
	"net/http"
	"time"
)

// ETag names one version of an object's bytes, for compare-and-swap. It is opaque.
type ETag string

// BlobInfo describes an object.
type BlobInfo struct {
	Key      BlobKey
	Size     int64 // bytes
	ETag     ETag
	Modified time.Time
	Version  string // names this version for as long as it is kept
}

// Grant is what a presigned URL allows: one method on one object, nothing else.
// Source: Amazon S3 API, presigned URLs.
type Grant struct {
	Key    BlobKey
	Method string // GET or PUT; a PUT creates and never replaces
	Size   int64  // PUT: the exact number of bytes
	SHA256 string // PUT: hex of the bytes' SHA-256; other bytes never become an object
	Expire time.Duration
}

// SignedRequest is a granted request. Whoever sends it must send Header as it is.
type SignedRequest struct {
	Method  string      `json:"method"`
	URL     string      `json:"url"`
	Header  http.Header `json:"header,omitempty"`
	Expires time.Time   `json:"expires"`
}

// Part is one part of a multipart upload. Numbers count from 1.
type Part struct {
	Number int
	ETag   ETag
}

// Blobs keeps objects under keys, as Amazon S3 does. When a write returns it is
// durable and every reader sees it. All methods may be called concurrently.
//
// Errors wrap ErrNotFound, ErrExists or ErrChanged where a method says so. Any
// other error is the store's own; the driver has retried what can be retried.
//
// Source: Amazon S3 User Guide, conditional requests, versioning, object lock.
type Blobs interface {
	// Create stores an object that must not exist yet (If-None-Match: *), or
	// fails with ErrExists. body has at most 5 GiB; a retry reads it again.
	Create(ctx context.Context, key BlobKey, body io.ReadSeeker) (ETag, error)

	// Replace stores over the version that the caller has read (If-Match: old).
	// ErrChanged means that another writer was faster: read again, decide anew.
	// ErrNotFound: there is nothing to replace. Storing equal bytes again is no
	// change, and succeeds.
	Replace(ctx context.Context, key BlobKey, old ETag, body io.ReadSeeker) (ETag, error)

	// Open reads from offset, in bytes, to the end, or fails with ErrNotFound. A
	// negative offset counts from the end; one beyond the end is ErrInvalid,
	// except offset 0 of an empty object. The caller closes the body.
	Open(ctx context.Context, key BlobKey, offset int64) (io.ReadCloser, BlobInfo, error)

	// Stat describes the object, or fails with ErrNotFound.
	Stat(ctx context.Context, key BlobKey) (BlobInfo, error)

	// Delete hides the object; its versions stay. No object is no error.
	Delete(ctx context.Context, key BlobKey) error

	// List describes up to limit objects in the order of the bytes of their keys,
	// after the given key if it is not zero.
	List(ctx context.Context, under BlobPrefix, after BlobKey, limit int) ([]BlobInfo, error)

	// Presign makes a URL for exactly what the grant says. It lives for at most 5
	// minutes and never longer than what signs it.
	Presign(ctx context.Context, grant Grant) (SignedRequest, error)

	// Upload begins an upload in parts; SendPart, Complete and Abort end it. Parts
	// have 5 MiB to 5 GiB, the last one any size (ErrInvalid at Complete). Complete
	// creates, and fails with ErrExists like Create. What was aborted is ErrGone.
	Upload(ctx context.Context, key BlobKey) (upload string, err error)
	SendPart(ctx context.Context, key BlobKey, upload string, number int, body io.ReadSeeker) (Part, error)
	Complete(ctx context.Context, key BlobKey, upload string, parts []Part) (ETag, error)
	Abort(ctx context.Context, key BlobKey, upload string) error

	// Versions lists the versions of one key, newest first, and OpenVersion reads
	// one, though the object was replaced or deleted since. DeleteVersion removes
	// one for good, or fails with ErrDenied while Lock holds it.
	Versions(ctx context.Context, key BlobKey) ([]BlobInfo, error)
	OpenVersion(ctx context.Context, key BlobKey, version string) (io.ReadCloser, BlobInfo, error)
	DeleteVersion(ctx context.Context, key BlobKey, version string) error
	Lock(ctx context.Context, key BlobKey, version string, until time.Time) error
}
