package platform

import "strings"

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

var blobEscape = strings.NewReplacer("%", "%25", "/", "%2F")

func segment(part string) string {
	switch part {
	case "":
		return "%"
	case ".", "..":
		return strings.ReplaceAll(part, ".", "%2E")
	}
	return blobEscape.Replace(part)
}
