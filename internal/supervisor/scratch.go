package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
)

// Scratch is the folders of many attempts in one process. Those that an attempt
// leaves empty serve the next one: making and removing three folders can take
// longer than a quick command does. So does a workspace with the source that the
// next attempt has too.
type Scratch struct {
	dir string
	// keep has workspaces kept. All attempts must then be of one repository and trust.
	keep bool

	mu   sync.Mutex
	made int
	free []place
}

// place is a folder that no attempt uses, and the source in its workspace.
type place struct {
	dir  string
	kept *kept // nil for none
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
func (s *Scratch) take() (place place, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		place = s.free[n-1]
		s.free = s.free[:n-1]
		return place, false
	}
	s.made++
	place.dir = filepath.Join(s.dir, strconv.Itoa(s.made))
	return place, true
}

// give takes a folder back: what the attempt has left in it goes away.
func (s *Scratch) give(f *folders) error {
	stay := []string{f.home, f.tmp}
	if f.kept != nil && f.kept.restore(f.workspace) == nil {
		stay = append(stay, f.workspace)
	} else {
		f.kept = nil
	}
	err := errors.Join(empty(f.home, nil), empty(f.tmp, nil), empty(f.dir, stay))
	if err != nil { // made unusable by a command: start afresh
		return removeAll(f.dir)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, place{f.dir, f.kept})
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
		if path := filepath.Join(dir, name); !slices.Contains(keep, path) {
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
