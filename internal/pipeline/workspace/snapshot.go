package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
)

// Snapshot is the tree as it was, in a folder of its own.
type Snapshot struct {
	dir   string
	names []string // of its files and links, relative
}

// Take copies the tree into dir, which must not exist.
func Take(ctx context.Context, root string, git bool, dir string) (*Snapshot, error) {
	names, err := List(ctx, root, git)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := copyAll(ctx, root, dir, names); err != nil {
		return nil, err
	}
	if git {
		more, err := borrowGit(root, dir)
		if err != nil {
			return nil, fmt.Errorf("git directory of the snapshot: %w", err)
		}
		names = append(names, more...)
	}
	return &Snapshot{dir, names}, nil
}

// Fill makes dir a copy of the snapshot. dir must not exist; its parent must.
func (s *Snapshot) Fill(ctx context.Context, dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return copyAll(ctx, s.dir, dir, s.names)
}

// fewFiles are copied by one goroutine: to start more costs more.
const fewFiles = 64

// copyAll copies files and links, in parallel where there are many.
func copyAll(ctx context.Context, from, to string, names []string) error {
	if err := makeFolders(to, names); err != nil {
		return err
	}
	workers := 1
	if len(names) > fewFiles {
		workers = min(runtime.GOMAXPROCS(0), 8)
	}
	errs := make([]error, workers)
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := w; i < len(names); i += workers {
				if errs[w] = errors.Join(ctx.Err(), copyOne(filepath.Join(from, names[i]), filepath.Join(to, names[i]))); errs[w] != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func makeFolders(to string, names []string) error {
	made := map[string]bool{".": true}
	for _, name := range names {
		dir := filepath.Dir(name)
		if made[dir] {
			continue
		}
		if err := os.MkdirAll(filepath.Join(to, dir), 0o755); err != nil {
			return err
		}
		made[dir] = true
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
	err = errors.Join(err, out.Close(), in.Close())
	if err != nil {
		return fmt.Errorf("copy %s: %w", from, err)
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
