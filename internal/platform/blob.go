package platform

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// Limits of every store.
const (
	MaxBlob       = 5 << 30 // bytes of an object that is stored in one piece
	MinPart       = 5 << 20 // bytes of a part, but for the last one
	MaxPart       = 5 << 30 // bytes of a part
	MaxPartNumber = 10000
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
	// Relaxed, of a PUT: the object is made durable by the next write that is not (see
	// the function Relaxed). For one among many that an object which follows will name.
	Relaxed bool
	Expire  time.Duration
}

// maxGrant is how long a grant lives at most.
const maxGrant = 5 * time.Minute

// Check is for drivers: it refuses a grant that is not exact (ErrInvalid), and
// answers how long it may live.
func (g Grant) Check() (time.Duration, error) {
	if err := g.Key.Check(); err != nil {
		return 0, err
	}
	digest, err := hex.DecodeString(g.SHA256)
	switch {
	case g.Method != http.MethodGet && g.Method != http.MethodPut:
		return 0, fmt.Errorf("grant of method %q, GET or PUT: %w", g.Method, ErrInvalid)
	case g.Method == http.MethodGet && (g.Size != 0 || g.SHA256 != ""):
		return 0, fmt.Errorf("grant of a GET with a size or a checksum: %w", ErrInvalid)
	case g.Method == http.MethodPut && (g.Size < 0 || g.Size > MaxBlob):
		return 0, fmt.Errorf("grant of %d bytes, 0 to %d: %w", g.Size, int64(MaxBlob), ErrInvalid)
	case g.Method == http.MethodPut && (err != nil || len(digest) != sha256.Size || strings.ToLower(g.SHA256) != g.SHA256):
		return 0, fmt.Errorf("grant of a PUT with SHA-256 %q, 64 lower-case hex digits: %w", g.SHA256, ErrInvalid)
	case g.Expire < time.Second:
		return 0, fmt.Errorf("grant for %s, at least 1s: %w", g.Expire, ErrInvalid)
	}
	return min(g.Expire, maxGrant), nil
}

// SignedRequest is a granted request. Whoever sends it must send Header as it is.
type SignedRequest struct {
	Method  string      `json:"method"`
	URL     string      `json:"url"`
	Header  http.Header `json:"header,omitempty"`
	Expires time.Time   `json:"expires"`
}

// CheckParts is for drivers: it refuses a list that completes no upload. size
// answers the bytes of a part, and whether it was sent under that tag.
func CheckParts(parts []Part, size func(Part) (int64, bool)) error {
	if len(parts) == 0 {
		return fmt.Errorf("an upload has at least one part: %w", ErrInvalid)
	}
	for i, part := range parts {
		bytes, sent := size(part)
		switch {
		case !sent:
			return fmt.Errorf("part %d was not sent, or is another one by now: %w", part.Number, ErrInvalid)
		case i > 0 && part.Number <= parts[i-1].Number:
			return fmt.Errorf("part %d after part %d: numbers must rise: %w", part.Number, parts[i-1].Number, ErrInvalid)
		case i < len(parts)-1 && bytes < MinPart:
			return fmt.Errorf("part %d has %d bytes, at least %d unless it is the last: %w", part.Number, bytes, MinPart, ErrInvalid)
		}
	}
	return nil
}

// CheckPartNumber is for drivers.
func CheckPartNumber(number int) error {
	if number < 1 || number > MaxPartNumber {
		return fmt.Errorf("part number %d, 1 to %d: %w", number, MaxPartNumber, ErrInvalid)
	}
	return nil
}

// CheckList is for drivers: it refuses a list without an organization or a limit.
func CheckList(under BlobPrefix, limit int) error {
	if limit < 1 {
		return fmt.Errorf("list at most %d objects: %w", limit, ErrInvalid)
	}
	return under.Check()
}

// RangeStart is for drivers: where a read of the object begins that Open is asked
// for, ErrInvalid if that is beyond its end.
func RangeStart(info BlobInfo, offset int64) (int64, error) {
	if offset < 0 {
		return max(0, info.Size+offset), nil
	}
	if offset > 0 && offset >= info.Size {
		return 0, fmt.Errorf("read %s from %d, it has %d bytes: %w", info.Key, offset, info.Size, ErrInvalid)
	}
	return offset, nil
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
	// one for good, or fails with ErrDenied while Lock holds it; the version before
	// the one that readers see takes its place. A lock may be made longer and never
	// shorter (ErrDenied). ErrNotFound: there is no such version.
	Versions(ctx context.Context, key BlobKey) ([]BlobInfo, error)
	OpenVersion(ctx context.Context, key BlobKey, version string) (io.ReadCloser, BlobInfo, error)
	DeleteVersion(ctx context.Context, key BlobKey, version string) error
	Lock(ctx context.Context, key BlobKey, version string, until time.Time) error
}
