// Package etag names the bytes of objects in the homes that have no S3: equal bytes
// have equal tags, so that storing them again is no change.
package etag

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/buildit-dev/buildit/internal/platform"
)

// size is the length of a tag in bytes, before it is hex: enough that nobody finds
// two contents with one tag by chance.
const size = 16

// Of is the tag of the bytes with this SHA-256.
func Of(sum [sha256.Size]byte) platform.ETag {
	return platform.ETag(hex.EncodeToString(sum[:size]))
}

// OfParts is the tag of an object that was uploaded in parts. It ends in their
// number, as that of S3 does, and is not the tag of the same bytes in one piece.
func OfParts(parts []platform.Part) platform.ETag {
	sum := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(sum, "%d %s\n", part.Number, part.ETag) // a hash never fails
	}
	return platform.ETag(fmt.Sprintf("%s-%d", hex.EncodeToString(sum.Sum(nil)[:size]), len(parts)))
}
