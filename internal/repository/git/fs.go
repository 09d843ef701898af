package git

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// maxRead is how much of a file the view of a tree hands out.
const maxRead = 1 << 20

// FS is the tree as a file system, to be read by the scanner and by the language.
// Links and submodules are not in it, so that nothing follows one; a file ends
// after 1 MiB.
func (t *Tree) FS() fs.FS {
	v := &view{tree: t, folders: map[string][]fs.DirEntry{".": nil}, files: make(map[string]int, len(t.Files))}
	for i, f := range t.Files {
		if f.Mode == Symlink || f.Mode == Submodule {
			continue
		}
		v.files[f.Path] = i
		v.enter(info{path.Base(f.Path), f.Size, 0o444}, path.Dir(f.Path))
	}
	for _, entries := range v.folders {
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	}
	return v
}

type view struct {
	tree    *Tree
	folders map[string][]fs.DirEntry
	files   map[string]int
}

// enter adds an entry to a folder, and the folder to those above it.
func (v *view) enter(i info, folder string) {
	_, known := v.folders[folder]
	v.folders[folder] = append(v.folders[folder], fs.FileInfoToDirEntry(i))
	if !known {
		v.enter(info{path.Base(folder), 0, fs.ModeDir | 0o555}, path.Dir(folder))
	}
}

func (v *view) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	if entries, ok := v.folders[name]; ok {
		return &folder{info{path.Base(name), 0, fs.ModeDir | 0o555}, entries}, nil
	}
	data, err := v.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return &opened{info{path.Base(name), int64(len(data)), 0o444}, bytes.NewReader(data)}, nil
}

// ReadFile implements fs.ReadFileFS.
func (v *view) ReadFile(name string) ([]byte, error) {
	i, ok := v.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return v.tree.read(v.tree.Files[i], maxRead)
}

// ReadDir implements fs.ReadDirFS.
func (v *view) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, ok := v.folders[name]
	if !ok {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(entries), nil
}

type info struct {
	name string
	size int64
	mode fs.FileMode
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }

type opened struct {
	info
	*bytes.Reader
}

func (o *opened) Stat() (fs.FileInfo, error) { return o.info, nil }
func (o *opened) Size() int64                { return o.info.size }
func (o *opened) Close() error               { return nil }

type folder struct {
	info
	left []fs.DirEntry
}

func (f *folder) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *folder) Close() error               { return nil }
func (f *folder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: f.name, Err: fs.ErrInvalid}
}

// ReadDir implements fs.ReadDirFile.
func (f *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(f.left)
	} else if len(f.left) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(f.left))
	entries := f.left[:n]
	f.left = f.left[n:]
	return entries, nil
}
