package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/buildit-dev/buildit/internal/platform/softkey"
)

// folderFormat is the version of a data folder as a whole: what lies where in it. A
// folder of a later version is refused before anything in it is touched.
const folderFormat = 1

// Names in a data folder, besides databaseFile and keyFile.
const (
	lockFile      = "lock"
	formatFile    = "format"
	gitignoreFile = ".gitignore"
	blobsFolder   = "blobs"
	tempFolder    = "tmp"
)

// Folder is a data folder that this process owns.
type Folder struct {
	dir  string
	lock *os.File
}

// OpenFolder takes a data folder, or makes it. One process owns it at a time: the
// error tells a second one which, and what to do. A folder that a newer BuildIt has
// written is left as it is.
func OpenFolder(dir string) (*Folder, error) {
	if err := checkFormat(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", fileError(err))
	}
	lock, err := takeLock(dir)
	if err != nil {
		return nil, err
	}
	f := &Folder{dir, lock}
	if err := f.furnish(); err != nil {
		return nil, errors.Join(fmt.Errorf("data folder %s: %w", dir, fileError(err)), f.Close())
	}
	return f, nil
}

// checkFormat looks at a folder without changing it.
func checkFormat(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, formatFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the data folder's format: %w", fileError(err))
	}
	format, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%s does not hold a number: %s is not a data folder of BuildIt, or is damaged", filepath.Join(dir, formatFile), dir)
	}
	if format > folderFormat {
		return fmt.Errorf("the data folder %s has format %d, written by a newer BuildIt; this one knows formats up to %d: "+
			"start the newer one, or choose another data folder (nothing was changed)", dir, format, folderFormat)
	}
	return nil
}

// takeLock locks a folder for as long as the file is open (flock(2)), so that a
// killed process leaves no lock behind.
func takeLock(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", fileError(err))
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, errors.Join(taken(dir), lock.Close())
	}
	if err == nil {
		err = lock.Truncate(0)
	}
	if err == nil {
		_, err = fmt.Fprintf(lock, "%d\n", os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock the data folder: %w", fileError(err)), lock.Close())
	}
	return lock, nil
}

// taken says who owns a folder, and what to do.
func taken(dir string) error {
	pid, err := os.ReadFile(filepath.Join(dir, lockFile))
	who := strings.TrimSpace(string(pid))
	if err != nil || who == "" {
		who = "unknown"
	}
	return fmt.Errorf("another buildit-server (pid %s) owns this data folder, %s: use that one, stop it, or choose another data folder", who, dir)
}

// furnish makes what every data folder has. The format comes last: a folder without
// it is new.
func (f *Folder) furnish() error {
	path := func(name string) string { return filepath.Join(f.dir, name) }
	if err := checkFormat(f.dir); err != nil {
		return err
	}
	_, err := os.Stat(path(formatFile))
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return errors.Join(
		writeFile(path(gitignoreFile), []byte("*\n")),
		createKeys(path(keyFile)),
		writeFile(path(formatFile), []byte(strconv.Itoa(folderFormat)+"\n")),
		syncPath(filepath.Dir(f.dir)),
	)
}

// keys are the folder's keys. They are made with it, and never again: a new key
// would open none of the secrets that the folder holds.
func (f *Folder) keys() (*softkey.Keys, error) {
	path := filepath.Join(f.dir, keyFile)
	keys, err := OpenKeys(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the key file %s is gone: put your copy of it back (mode 0600), without it no secret of this folder can be read", path)
	}
	return keys, err
}

// sweepTemp empties the folder of temporary files, or makes it: what is there when a
// process begins was left by one that was killed.
func (f *Folder) sweepTemp() error {
	path := filepath.Join(f.dir, tempFolder)
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("sweep the temporary files: %w", fileError(err))
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		return fmt.Errorf("make the folder of temporary files: %w", fileError(err))
	}
	return nil
}

// Close lets the folder go.
//
// The lock is let go by its name and not only by closing the file: a child that is being
// started at this moment has the file too, until it has become its program.
func (f *Folder) Close() error {
	return errors.Join(syscall.Flock(int(f.lock.Fd()), syscall.LOCK_UN), f.lock.Close())
}
