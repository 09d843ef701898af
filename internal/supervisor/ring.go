package supervisor

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// ring is a queue of bytes on disk, of a fixed size. Its file is made at the first
// write and has no name, so that no command finds it and nothing is left behind.
type ring struct {
	path string // of the folder
	size int64

	file        *os.File
	first, used int64 // offset of the oldest byte, and how many there are
}

// write stores all of p, or answers false if there is no room for it now.
func (r *ring) write(p []byte) (stored bool, err error) {
	n := int64(len(p))
	if n > r.size-r.used {
		return false, nil
	}
	if r.file == nil {
		if r.file, err = unnamedFile(r.path); err != nil {
			return false, err
		}
	}
	at := (r.first + r.used) % r.size
	head := min(n, r.size-at)
	if _, err := r.file.WriteAt(p[:head], at); err != nil {
		return false, err
	}
	if _, err := r.file.WriteAt(p[head:], 0); err != nil {
		return false, err
	}
	r.used += n
	return true, nil
}

// read takes the oldest n bytes.
func (r *ring) read(n int) ([]byte, error) {
	if int64(n) > r.used {
		return nil, fmt.Errorf("the spool holds %d bytes, %d were asked for", r.used, n)
	}
	p := make([]byte, n)
	head := min(int64(n), r.size-r.first)
	if _, err := r.file.ReadAt(p[:head], r.first); err != nil {
		return nil, err
	}
	if _, err := r.file.ReadAt(p[head:], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	r.first = (r.first + int64(n)) % r.size
	r.used -= int64(n)
	return p, nil
}

func (r *ring) close() error {
	if r.file == nil {
		return nil
	}
	err := r.file.Close()
	r.file = nil
	return err
}

// unnamedFile is a file that is gone when it is closed.
func unnamedFile(dir string) (*os.File, error) {
	file, err := os.CreateTemp(dir, ".spool-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
