package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// durable makes files and names last. A name lasts when its folder has been
// synced after it was made (fsync(2)); a new folder needs the same of its own.
// The zero value is ready.
type durable struct {
	known sync.Map // folders that exist and last

	mu      sync.Mutex
	relaxed []string // files and folders that the next full write makes last
}

// maxRelaxed is how many names may wait for a full write.
const maxRelaxed = 4096

// folder makes a folder and those above it, down from root, which exists. It syncs
// after all of them are made: where the file system commits its names together, as
// ext4 does, one commit takes them all.
func (d *durable) folder(root, dir string) error {
	var fresh []string // the lowest first
	for at := dir; at != root; at = filepath.Dir(at) {
		if _, ok := d.known.Load(at); ok {
			break
		}
		fresh = append(fresh, at)
	}
	for _, at := range slices.Backward(fresh) {
		if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	for _, at := range fresh {
		if err := syncPath(filepath.Dir(at)); err != nil {
			return err
		}
	}
	for _, at := range slices.Backward(fresh) { // one that is known has known ones above
		d.known.Store(at, true)
	}
	return nil
}

// later has the next full write make these last, in place of now.
func (d *durable) later(paths ...string) error {
	d.mu.Lock()
	d.relaxed = append(d.relaxed, paths...)
	full := len(d.relaxed) >= maxRelaxed
	d.mu.Unlock()
	if full {
		return d.settle()
	}
	return nil
}

// settle makes last what was put off.
func (d *durable) settle() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.relaxed) >= syncAll {
		err := syncDisk(d.relaxed[0])
		if err == nil {
			d.relaxed = d.relaxed[:0]
		}
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	done := map[string]bool{}
	for _, path := range d.relaxed {
		if done[path] {
			continue
		}
		done[path] = true
		if err := syncPath(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	d.relaxed = d.relaxed[:0]
	return nil
}

// syncAll is from how many names on the whole disk is synced: one commit of it takes
// them all, where each of them would wait for one of its own.
const syncAll = 64

// syncDisk syncs the file system that path is on.
func syncDisk(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

// writeFile puts a small file in place, whole or not at all, for its owner's eyes
// alone. It lasts when writeFile returns.
func writeFile(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return syncPath(filepath.Dir(path))
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// fileError says in a person's words what the file system says in its own.
func fileError(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("the disk is full: make room and try again, nothing was half written: %w", err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fmt.Errorf("the data folder cannot be written: check its owner and mode: %w", err)
	case errors.Is(err, syscall.EMFILE):
		return fmt.Errorf("too many open files: raise the limit (ulimit -n): %w", err)
	}
	return err
}
