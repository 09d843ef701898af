package workspace

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// folder is a copy of another one, with the knowledge of how it was left.
type folder struct {
	dir   string
	state state
}

// state is what is known of a folder, kept beside it between runs.
type state struct {
	Files   map[string]entry `json:"files"`
	Folders map[string]entry `json:"folders"`
	Words   string           `json:"words,omitempty"` // that Seen of the files speaks of
}

// entry is a file as it was left, and its original then. Young ones may have
// changed unseen: their bytes are compared.
type entry struct {
	Own   stamp `json:"own"`
	From  stamp `json:"from"`
	Young bool  `json:"young,omitempty"`
	// Seen is what the content was found to be, "" while nobody has asked (Sum).
	Seen string `json:"seen,omitempty"`
}

// loadFolder finds what is known of dir. What cannot be read is not known, and dir
// is made anew.
func loadFolder(dir string) (*folder, error) {
	f := &folder{dir: dir}
	text, err := os.ReadFile(dir + ".json")
	if err == nil && json.Unmarshal(text, &f.state) == nil && f.state.Files != nil {
		return f, nil
	}
	f.state = state{Files: map[string]entry{}, Folders: map[string]entry{}}
	return f, errors.Join(removeAll(dir), os.MkdirAll(dir, 0o755))
}

// save keeps what is known of the folder.
func (f *folder) save() error {
	text, err := json.Marshal(f.state)
	if err != nil {
		return err
	}
	path := f.dir + ".json"
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	return os.WriteFile(path, text, 0o644)
}

// fewFiles are looked at by one goroutine: to start more costs more.
const fewFiles = 256

// sync makes the folder equal to the named files of from. keep are further files
// of the folder, which others look after.
func (f *folder) sync(ctx context.Context, from string, names, keep []string) error {
	wanted := make(map[string]bool, len(names)+len(keep))
	for _, list := range [][]string{names, keep} {
		for _, name := range list {
			wanted[name] = true
		}
	}
	if err := f.clear(wanted); err != nil {
		return err
	}
	workers := 1
	if len(names) > fewFiles {
		workers = min(runtime.GOMAXPROCS(0), 8)
	}
	made := make([]entry, len(names))
	exists := make([]bool, len(names))
	errs := make([]error, workers)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := w; i < len(names) && errs[w] == nil; i += workers {
				if errs[w] = ctx.Err(); errs[w] == nil {
					made[i], exists[i], errs[w] = f.bring(from, names[i])
				}
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	f.state.Files = make(map[string]entry, len(names))
	for i, name := range names {
		if exists[i] {
			f.state.Files[name] = made[i]
		}
	}
	return f.noteFolders(wanted)
}

// bring makes one file equal to its original. Where that is gone, so is the file.
func (f *folder) bring(from, name string) (entry, bool, error) {
	source, path := filepath.Join(from, name), filepath.Join(f.dir, name)
	origin, exists, err := look(source)
	if err != nil {
		return entry{}, false, err
	}
	own, present, err := look(path)
	if err != nil {
		return entry{}, false, err
	}
	old, known := f.state.Files[name]
	switch {
	case !exists && !present:
		return entry{}, false, nil
	case !exists:
		return entry{}, false, removeAll(path)
	case present && known && old.Own == own && old.From == origin:
		same := !old.Young
		if old.Young {
			if same, err = equal(source, path, own); err != nil {
				return entry{}, false, err
			}
		}
		if same {
			now := time.Now()
			return entry{own, origin, own.young(now) || origin.young(now), old.Seen}, true, nil
		}
	}
	if present {
		if err := removeAll(path); err != nil {
			return entry{}, false, err
		}
	}
	if err := copyOne(source, path); err != nil {
		return entry{}, false, err
	}
	own, present, err = look(path)
	now := time.Now()
	return entry{own, origin, own.young(now) || origin.young(now), ""}, present, err
}

// equal compares the bytes of two regular files; of others it says that they differ.
func equal(a, b string, s stamp) (bool, error) {
	if !s.Mode.IsRegular() {
		return false, nil
	}
	one, err := os.ReadFile(a)
	if err != nil {
		return false, err
	}
	two, err := os.ReadFile(b)
	return bytes.Equal(one, two), err
}

// clear removes what is not wanted. A folder that has not changed holds what it
// held.
func (f *folder) clear(wanted map[string]bool) error {
	for name := range f.state.Files {
		if !wanted[name] {
			if err := removeAll(filepath.Join(f.dir, name)); err != nil {
				return err
			}
		}
	}
	folders := parents(wanted)
	return f.clearFolder(".", wanted, folders)
}

// clearFolder looks into one folder and those below it.
func (f *folder) clearFolder(name string, wanted, folders map[string]bool) error {
	path := filepath.Join(f.dir, name)
	own, present, err := look(path)
	if err != nil {
		return err
	}
	if present && !own.Mode.IsDir() {
		present, err = false, os.Remove(path)
	}
	if !present {
		err = errors.Join(err, os.MkdirAll(path, 0o755))
	}
	if err != nil {
		return err
	}
	old, known := f.state.Folders[name]
	if present && (!known || old.Young || old.Own != own) {
		if own.Mode.Perm()&0o700 != 0o700 {
			if err := os.Chmod(path, 0o755); err != nil {
				return err
			}
		}
		entries, err := os.ReadDir(path)
		if err != nil {
			return err
		}
		for _, e := range entries {
			child := filepath.Join(name, e.Name())
			if !wanted[child] && !folders[child] {
				if err := removeAll(filepath.Join(f.dir, child)); err != nil {
					return err
				}
			}
		}
	}
	for child := range folders {
		if child != "." && filepath.Dir(child) == name {
			if err := f.clearFolder(child, wanted, folders); err != nil {
				return err
			}
		}
	}
	return nil
}

// parents are the folders that files stand in.
func parents(files map[string]bool) map[string]bool {
	folders := map[string]bool{".": true}
	for name := range files {
		for dir := filepath.Dir(name); !folders[dir]; dir = filepath.Dir(dir) {
			folders[dir] = true
		}
	}
	return folders
}

func (f *folder) noteFolders(wanted map[string]bool) error {
	f.state.Folders = make(map[string]entry)
	for name := range parents(wanted) {
		own, present, err := look(filepath.Join(f.dir, name))
		if err != nil {
			return err
		}
		if present {
			f.state.Folders[name] = entry{Own: own, Young: own.young(time.Now())}
		}
	}
	return nil
}

// copyOne copies a file with mode and time, or a link as it is. What has gone
// meanwhile was deleted and is not committed; pipes, sockets and devices are left
// out, as git does.
func copyOne(from, to string) error {
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	switch {
	case info.Mode().IsRegular():
		return copyFile(from, to, info)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case info.IsDir(): // a submodule: git names its folder
		return copySubmodule(from, to)
	}
	return nil
}

// copyFile lets the kernel copy, so that blocks are shared where they can be.
func copyFile(from, to string, info fs.FileInfo) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm())
	if err != nil {
		return errors.Join(err, in.Close())
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Close(), in.Close()); err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime()) // make(1) asks for them
}

func copySubmodule(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case entry.Name() == ".git" && entry.IsDir():
			return filepath.SkipDir
		case entry.Name() == ".git":
			return nil
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		return copyOne(path, filepath.Join(to, name))
	})
}

// removeAll is os.RemoveAll that also removes what a command made read-only, as
// Go's module cache is.
func removeAll(path string) error {
	if err := os.RemoveAll(path); err == nil {
		return nil
	}
	err := filepath.WalkDir(path, func(path string, entry os.DirEntry, err error) error {
		if entry != nil && entry.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(path))
}
