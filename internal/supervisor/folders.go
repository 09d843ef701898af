package supervisor

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// folders are the places of an attempt. They are made with few system calls, since
// a stage of one quick command pays for every one of them.
type folders struct {
	dir       string // all below is in it, except a workspace that the job brought
	workspace string
	home      string
	tmp       string
	secretDir string // "" until a secret wants a file
	scratch   *Scratch
	kept      *kept // the source that is in the workspace, nil for none
	made      bool  // dir is ours to remove, or to give back
}

// make creates the folders. The workspace is only named if the job brought one.
func (f *folders) make(opt Options, workspace string) (err error) {
	dir, fresh := opt.Dir, true
	switch {
	case opt.Scratch != nil:
		var place place
		place, fresh = opt.Scratch.take()
		dir, f.kept, f.scratch = place.dir, place.kept, opt.Scratch
	case dir == "":
		dir, err = os.MkdirTemp("", "buildit-")
	}
	if err == nil {
		dir, err = filepath.Abs(dir)
	}
	if err != nil {
		return err
	}
	f.dir, f.home, f.tmp, f.made = dir, dir+"/home", dir+"/tmp", true
	if fresh {
		if err := errors.Join(makeDir(dir), makeDir(f.home), makeDir(f.tmp)); err != nil {
			return err
		}
	}
	if workspace == "" {
		f.workspace = dir + "/workspace"
		return makeDir(f.workspace)
	}
	f.workspace, err = filepath.Abs(workspace)
	return err
}

// dropKept empties a workspace that has another source in it.
func (f *folders) dropKept() error {
	if f.kept == nil {
		return nil
	}
	f.kept = nil
	return errors.Join(removeAll(f.workspace), makeDir(f.workspace))
}

// makeDir makes one folder, and the ones above it only where they are missing.
func makeDir(path string) error {
	err := os.Mkdir(path, 0o700)
	switch {
	case err == nil || errors.Is(err, os.ErrExist):
		return nil
	case errors.Is(err, os.ErrNotExist):
		return os.MkdirAll(path, 0o700)
	}
	return err
}

// The files by which commands talk to the platform. They come to be when a command
// writes them.
func (f *folders) output() string      { return f.dir + "/output" }
func (f *folders) envFile() string     { return f.dir + "/env" }
func (f *folders) annotations() string { return f.dir + "/annotations" }
func (f *folders) summary() string     { return f.dir + "/summary" }

// split is the file that names a cell's share of the files of its stage.
func (f *folders) split() string { return f.dir + "/split" }

// memoryFolder is a file system in memory, where Linux has one.
const memoryFolder = "/dev/shm"

// makeSecrets makes the folder of secret files.
func (f *folders) makeSecrets() (err error) {
	if f.secretDir, err = os.MkdirTemp(memoryFolder, "buildit-"); err == nil {
		return nil
	}
	f.secretDir = f.dir + "/secrets"
	return makeDir(f.secretDir)
}

// remove takes away what make made. Commands may have left folders that forbid
// their own removal.
func (f *folders) remove() error {
	if !f.made {
		return nil
	}
	var err error
	if f.secretDir != "" {
		err = os.RemoveAll(f.secretDir)
	}
	if f.scratch != nil {
		return errors.Join(err, f.scratch.give(f))
	}
	return errors.Join(err, removeAll(f.dir))
}

// openUp gives the owner every right on the folders below dir (a Go module cache
// is read-only).
func openUp(dir string) error {
	return filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return err
	})
}

// isDiskFull tells whether a write failed for want of space.
func isDiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// fullBelow is the free space in bytes under which a failed command is said to
// have failed of it.
const fullBelow = 1 << 20

// freeSpace is what the file system of dir has left for us, in bytes, or -1 where
// nobody can tell.
func freeSpace(dir string) int64 {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return -1
	}
	return int64(s.Bavail) * s.Bsize
}
