package local

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/platform"
)

// listing collects objects in the order of the bytes of their keys.
type listing struct {
	under, after string
	limit        int
	found        []platform.BlobInfo
}

// entry is one segment of keys: an object, or a folder of them, whose order is that
// of its name with the separator that its keys go on with.
type entry struct {
	order  string
	path   string
	folder bool
}

// walk lists the objects of a folder, whose keys begin with prefix.
func (l *listing) walk(dir, prefix string) error {
	entries, err := readEntries(dir, "")
	if err != nil {
		return err
	}
	for _, e := range entries {
		key := prefix + e.order
		switch {
		case len(l.found) == l.limit:
			return nil
		case e.folder && l.below(key):
			err = l.walk(e.path, key)
		case !e.folder && strings.HasPrefix(key, l.under) && key > l.after:
			err = l.add(key, e.path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// below tells whether a folder may hold keys that are asked for.
func (l *listing) below(folder string) bool {
	if !strings.HasPrefix(folder, l.under) && !strings.HasPrefix(l.under, folder) {
		return false
	}
	return folder > l.after || strings.HasPrefix(l.after, folder)
}

func (l *listing) add(key, path string) error {
	f, size, err := statStored(path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, errTorn) {
		return nil // deleted meanwhile
	}
	if err != nil {
		return err
	}
	l.found = append(l.found, describeBlob(platform.StoredBlobKey(key), f, size))
	return nil
}

// readEntries reads a folder in the order of keys. Names that were cut go on in a
// folder of their own and belong here; begun is what they begin with.
func readEntries(dir, begun string) ([]entry, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, file := range files {
		name, path := file.Name(), filepath.Join(dir, file.Name())
		if cut, ok := strings.CutSuffix(name, cutMark); ok {
			rest, err := readEntries(path, begun+cut)
			if err != nil {
				return nil, err
			}
			entries = append(entries, rest...)
			continue
		}
		name, folder := strings.CutSuffix(name, folderMark)
		segment, ok := unescapeName(begun + name)
		if !ok {
			continue // not ours
		}
		if folder {
			segment += "/"
		}
		entries = append(entries, entry{segment, path, folder})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.order, b.order) })
	return entries, nil
}
