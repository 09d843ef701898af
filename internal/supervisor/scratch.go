package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Scratch is the folders of many attempts in one process. Those that an attempt
// leaves empty serve the next one: making and removing three folders can take
// longer than a quick command does.
type Scratch struct {
	dir string

	mu   sync.Mutex
	made int
	free []string
}

// NewScratch makes folders below dir, once they are wanted.
func NewScratch(dir string) *Scratch { return &Scratch{dir: dir} }

// Close removes all folders.
func (s *Scratch) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = nil
	return removeAll(s.dir)
}

// take is a folder that no attempt uses.
func (s *Scratch) take() (dir string, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		dir = s.free[n-1]
		s.free = s.free[:n-1]
		return dir, false
	}
	s.made++
	return filepath.Join(s.dir, strconv.Itoa(s.made)), true
}

// give takes a folder back: what the attempt has left in it goes away.
func (s *Scratch) give(f *folders) error {
	err := errors.Join(empty(f.home, nil), empty(f.tmp, nil), empty(f.dir, []string{f.home, f.tmp}))
	if err != nil { // made unusable by a command: start afresh
		return removeAll(f.dir)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, f.dir)
	return nil
}

// empty removes all that is in a folder but keep. The folder must still be one.
func empty(dir string, keep []string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if info.Mode() != os.ModeDir|0o700 {
		return &os.PathError{Op: "empty", Path: dir, Err: os.ErrInvalid}
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	names, err := folder.Readdirnames(-1)
	err = errors.Join(err, folder.Close())
	for _, name := range names {
		if path := filepath.Join(dir, name); len(keep) == 0 || (path != keep[0] && path != keep[1]) {
			err = errors.Join(err, removeAll(path))
		}
	}
	return err
}

// removeAll removes a tree, also one whose folders forbid it.
func removeAll(path string) error {
	err := os.RemoveAll(path)
	if errors.Is(err, os.ErrPermission) {
		if err = openUp(path); err == nil {
			err = os.RemoveAll(path)
		}
	}
	return err
}
