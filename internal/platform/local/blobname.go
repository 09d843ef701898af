package local

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/buildit-dev/buildit/internal/platform"
)

// How keys become file names. Every segment of a key but the last is a folder,
// whose name ends in folderMark, so that the objects `a` and `a/b` live side by
// side. A byte that some file system would fold, normalise or resolve is written as
// ! and two hex digits. A name too long for a file system is cut: what ends in
// cutMark goes on in that folder.
const (
	folderMark = "+"
	cutMark    = "~"
	maxFile    = 200 // bytes of a name before its mark; file systems take 255
)

// objectPath is the file of an object, below the folder of all objects.
func objectPath(key platform.BlobKey) string {
	segments := strings.Split(key.String(), "/")
	last := len(segments) - 1
	var names []string
	for _, segment := range segments[:last] {
		names = append(names, fileNames(segment, folderMark)...)
	}
	return filepath.Join(append(names, fileNames(segments[last], "")...)...)
}

// versionsPath is the folder of a key's versions, below the folder of them all.
func versionsPath(key platform.BlobKey) string {
	var names []string
	for segment := range strings.SplitSeq(key.String(), "/") {
		names = append(names, fileNames(segment, folderMark)...)
	}
	return filepath.Join(names...)
}

// fileNames is a segment as one name, or as several where one would be too long.
func fileNames(segment, mark string) (names []string) {
	name := escapeName(segment)
	for len(name) > maxFile {
		names = append(names, name[:maxFile]+cutMark)
		name = name[maxFile:]
	}
	return append(names, name+mark)
}

func escapeName(segment string) string {
	var b strings.Builder
	for i := range len(segment) {
		c := segment[i]
		plain := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '%' || c == '.' && i > 0
		if plain {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "!%02x", c)
		}
	}
	return b.String()
}

// unescapeName is the segment of a name, or false if escapeName did not make it.
func unescapeName(name string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] != '!' {
			b.WriteByte(name[i])
			continue
		}
		if i+3 > len(name) {
			return "", false
		}
		c, err := strconv.ParseUint(name[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(c))
		i += 2
	}
	return b.String(), escapeName(b.String()) == name
}
