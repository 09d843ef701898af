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
	work string // the folders of stages, kept from run to run
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
	if err := errors.Join(ignoreAll(dir), makeDir(f.work)); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return f, nil
}

func ignoreAll(dir string) error {
	path := filepath.Join(dir, ".gitignore")
	if _, err := os.Lstat(path); err == nil {
		return nil
	}
	return os.WriteFile(path, []byte("*\n"), 0o644)
}

// close lets go of the lock, also where a child that is being started has the file too.
func (f *folder) close() error {
	return errors.Join(syscall.Flock(int(f.lock.Fd()), syscall.LOCK_UN), f.lock.Close())
}

func makeDir(dir string) error {
	if err := os.Mkdir(dir, 0o755); !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}
