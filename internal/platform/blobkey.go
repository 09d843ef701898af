package platform

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// BlobKey names one object. Like rows, objects are named tenant first, and no
// part can leave its segment whatever bytes it holds.
type BlobKey struct{ path string }

// Blob names an object of the organization, as acme/<kind>/<part>/<part>.
func (o Org) Blob(kind string, parts ...string) BlobKey {
	if o.id == "" {
		return BlobKey{}
	}
	segments := make([]string, 0, len(parts)+2)
	for _, part := range append([]string{o.id, kind}, parts...) {
		segments = append(segments, segment(part))
	}
	return BlobKey{strings.Join(segments, "/")}
}

// String is the object's key in the bucket.
func (k BlobKey) String() string { return k.path }

// Under selects the objects below k, as a folder would.
func (k BlobKey) Under() BlobPrefix { return BlobPrefix{k.path + "/"} }

// BlobPrefix selects objects by the first bytes of their keys.
type BlobPrefix struct{ path string }

// String is the prefix as bytes of a key.
func (p BlobPrefix) String() string { return p.path }

// StoredBlobKey makes the key of an object that a driver has found in its store.
// Only drivers call it; a test holds them to that.
func StoredBlobKey(path string) BlobKey { return BlobKey{path} }

const maxBlobKey = 1024 // bytes, as in S3

// Check is for drivers: it refuses a key that names nothing, or that is longer than
// every home can keep.
func (k BlobKey) Check() error {
	switch {
	case k.path == "":
		return fmt.Errorf("an object's key without an organization: %w", ErrInvalid)
	case len(k.path) > maxBlobKey:
		return fmt.Errorf("an object's key of %d bytes, at most %d: %w", len(k.path), maxBlobKey, ErrInvalid)
	}
	return nil
}

// Check is for drivers: it refuses a prefix that leaves the organization open.
func (p BlobPrefix) Check() error {
	if p.path == "" || p.path[0] == '/' {
		return fmt.Errorf("a prefix of keys without an organization: %w", ErrInvalid)
	}
	return nil
}

// segment escapes a part so that it stays one part of one key: the separator, what
// a path would resolve, and what S3 cannot list, which is every control character
// and all that is no UTF-8. Different parts make different segments.
func segment(part string) string {
	switch part {
	case "":
		return "%"
	case ".", "..":
		return strings.ReplaceAll(part, ".", "%2E")
	}
	var b strings.Builder
	for i := 0; i < len(part); {
		r, size := utf8.DecodeRuneInString(part[i:])
		if r == '%' || r == '/' || r < ' ' || r == 0x7f || r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, "%%%02X", part[i])
		} else {
			b.WriteString(part[i : i+size])
		}
		i += size
	}
	return b.String()
}
