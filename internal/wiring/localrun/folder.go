package localrun

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// ErrBusy says that another run uses the tree.
var ErrBusy = errors.New("another `buildit run` is under way in this tree; wait for it, or stop it")

// folder is .buildit/run, locked.
type folder struct {
	dir  string
	work string // of this run alone, removed at its end
	lock *os.File
}

// openFolder makes and locks the folder. Its .gitignore keeps all of it out of
// commits, and so out of snapshots.
func openFolder(dir string) (*folder, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(dir, 0o755); err == nil {
			lock, err = os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = fmt.Errorf("lock %s: %w", lock.Name(), err)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrBusy
		}
		return nil, errors.Join(err, lock.Close())
	}
	f := &folder{dir: dir, work: filepath.Join(dir, "work"), lock: lock}
	return f, errors.Join(ignoreAll(dir), f.clean())
}

func ignoreAll(dir string) error {
	path := filepath.Join(dir, ".gitignore")
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	return os.WriteFile(path, []byte("*\n"), 0o644)
}

// clean removes what a run before has left in the work folder, and makes it new.
func (f *folder) clean() error {
	err := os.Mkdir(f.work, 0o755)
	if errors.Is(err, os.ErrExist) { // a run was killed
		return errors.Join(removeAll(f.work), os.Mkdir(f.work, 0o755))
	}
	return err
}

// close removes the work folder and lets go of the lock.
func (f *folder) close() error { return errors.Join(removeAll(f.work), f.lock.Close()) }

// removeAll is os.RemoveAll that also removes what a command made read-only, as
// Go's module cache is.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if entry != nil && entry.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(dir))
}
