package supervisor

import (
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// kept is an unpacked source in a workspace, as it was before the first command. A
// supervisor that serves several attempts puts the workspace back to it in place of
// unpacking the same bundle again: what the commands have added is removed, and a
// file that may have been touched, however, gives the whole workspace up.
type kept struct {
	source  Object
	files   map[string]keptFile // by path in the workspace; "." is itself
	sealed  time.Time
	printed Unpacked
}

// keptFile is what no write, link, rename or change of rights leaves as it was. The
// change time is the kernel's and cannot be set.
type keptFile struct {
	mode     fs.FileMode
	inode    uint64
	size     int64
	changed  syscall.Timespec
	modified syscall.Timespec
	// sum is of the content, if a write could come within the same tick of the
	// kernel's clock as the last one.
	sum *[sha256.Size]byte
}

const (
	// maxKept is how many files and folders a tree that is kept has at most.
	maxKept = 50_000
	// clockTick is longer than file systems let two changes have the same time.
	clockTick = 100 * time.Millisecond
)

// errTouched says that a workspace is not what was unpacked.
var errTouched = errors.New("the source was changed")

// keep notes the tree below dir, where nothing else runs yet. The answer is nil
// for one that is too large to be kept.
func keep(dir string, source Object, printed Unpacked) (*kept, error) {
	if printed.Files > maxKept {
		return nil, nil
	}
	k := &kept{source: source, files: map[string]keptFile{}, sealed: time.Now(), printed: printed}
	err := walk(dir, func(name, path string, info fs.FileInfo) (bool, error) {
		file := keptOf(info)
		if k.fresh(file) && file.mode.IsRegular() {
			sum, err := contentSum(path)
			if err != nil {
				return false, err
			}
			file.sum = sum
		}
		k.files[name] = file
		return true, nil
	})
	return k, err
}

// fresh tells whether a change right after sealing could have a file's time.
func (k *kept) fresh(file keptFile) bool {
	return k.sealed.Sub(time.Unix(file.changed.Unix())) < clockTick
}

func keptOf(info fs.FileInfo) keptFile {
	file := keptFile{mode: info.Mode(), size: info.Size()}
	if info.IsDir() {
		file.size = 0 // it grows with what is added
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		file.inode, file.changed, file.modified = stat.Ino, stat.Ctim, stat.Mtim
	}
	return file
}

// restore puts the workspace back, or fails with errTouched. Nothing else runs in it.
func (k *kept) restore(dir string) error {
	found := 0
	err := walk(dir, func(name, path string, info fs.FileInfo) (bool, error) {
		was, ok := k.files[name]
		if !ok {
			return false, removeAll(path)
		}
		found++
		return true, was.same(path, info)
	})
	if err == nil && found != len(k.files) {
		err = errTouched
	}
	return err
}

// same tells whether a file is what it was.
func (f keptFile) same(path string, info fs.FileInfo) error {
	now := keptOf(info)
	if now.mode != f.mode || now.inode != f.inode || now.size != f.size {
		return errTouched
	}
	if info.IsDir() {
		return sameFolder(path, now.changed == f.changed)
	}
	if now.changed != f.changed || now.modified != f.modified {
		return errTouched
	}
	if f.sum != nil {
		sum, err := contentSum(path)
		if err != nil {
			return err
		}
		if *sum != *f.sum {
			return errTouched
		}
	}
	return nil
}

// sameFolder looks at what a folder can hand on besides its entries, which change
// its time too: default rights are an extended attribute.
func sameFolder(path string, unchanged bool) error {
	if unchanged {
		return nil
	}
	n, err := unix.Llistxattr(path, nil)
	if err == nil && n > 0 {
		err = errTouched
	}
	if errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

// contentSum is the digest of a regular file.
func contentSum(path string) (*[sha256.Size]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	digest := sha256.New()
	_, err = io.Copy(digest, file)
	sum := [sha256.Size]byte(digest.Sum(nil))
	return &sum, errors.Join(err, file.Close())
}

// walk calls see for dir itself, as ".", and for all below it, the folders first.
// see answers whether it goes on below.
func walk(dir string, see func(name, path string, info fs.FileInfo) (bool, error)) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	return walkFrom(".", dir, info, see)
}

func walkFrom(name, path string, info fs.FileInfo, see func(name, path string, info fs.FileInfo) (bool, error)) error {
	below, err := see(name, path, info)
	if err != nil || !below || !info.IsDir() {
		return err
	}
	entries, err := os.ReadDir(path)
	for _, entry := range entries {
		if err != nil {
			return err
		}
		if info, err = entry.Info(); err == nil {
			err = walkFrom(filepath.Join(name, entry.Name()), filepath.Join(path, entry.Name()), info, see)
		}
	}
	return err
}
