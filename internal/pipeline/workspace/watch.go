package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Watch tells when the files of a tree change: those that git tracks or would add,
// and no other.
type Watch struct {
	root  string
	git   bool
	file  *os.File // of inotify
	dirs  map[int]string
	known map[string]stamp
}

// settle is how long the tree must be quiet before it is looked at: an editor
// writes a file in several steps, a checkout many files.
const settle = 100 * time.Millisecond

// NewWatch begins to watch the tree at root.
//
// Source: inotify(7).
func NewWatch(ctx context.Context, root string, git bool) (*Watch, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	w := &Watch{root: root, git: git, file: os.NewFile(uintptr(fd), "inotify"), dirs: make(map[int]string)}
	names, err := w.look(ctx)
	if err == nil {
		w.known = names
		err = w.follow(names)
	}
	if err != nil {
		return nil, errors.Join(err, w.file.Close())
	}
	return w, nil
}

// Close ends the watch.
func (w *Watch) Close() error { return w.file.Close() }

// Files is how many files are watched.
func (w *Watch) Files() int { return len(w.known) }

// Next waits until files have changed, since the last call or since NewWatch, and
// names them.
func (w *Watch) Next(ctx context.Context) ([]string, error) {
	stop := context.AfterFunc(ctx, func() { w.file.SetReadDeadline(time.Now()) })
	defer stop()
	for { // it looks before it waits: what changed before a folder was watched tells of itself no more
		now, err := w.look(ctx)
		if err != nil {
			return nil, err
		}
		changed := differences(w.known, now)
		w.known = now
		if err := w.follow(now); err != nil {
			return nil, err
		}
		if len(changed) > 0 {
			return changed, nil
		}
		if err := w.await(ctx); err != nil {
			return nil, err
		}
	}
}

// await returns when something has happened in a folder and then nothing for a while.
func (w *Watch) await(ctx context.Context) error {
	if err := w.file.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	var made []string
	buffer := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buffer)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return w.followNew(ctx, made)
		case err != nil:
			return fmt.Errorf("inotify: %w", err)
		}
		made = append(made, w.newFolders(buffer[:n])...)
		if err := w.file.SetReadDeadline(time.Now().Add(settle)); err != nil {
			return err
		}
		if ctx.Err() != nil { // its deadline came before this one
			return ctx.Err()
		}
	}
}

// newFolders reads events: the folders that were made.
func (w *Watch) newFolders(events []byte) []string {
	var made []string
	for len(events) >= unix.SizeofInotifyEvent {
		event := (*unix.InotifyEvent)(unsafe.Pointer(&events[0]))
		end := unix.SizeofInotifyEvent + int(event.Len)
		name := string(bytes.TrimRight(events[unix.SizeofInotifyEvent:end], "\x00"))
		events = events[end:]
		dir, known := w.dirs[int(event.Wd)]
		if event.Mask&unix.IN_IGNORED != 0 {
			delete(w.dirs, int(event.Wd))
		}
		if known && event.Mask&unix.IN_ISDIR != 0 && event.Mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0 {
			made = append(made, filepath.Join(dir, name))
		}
	}
	return made
}

// look stamps the files of the tree.
func (w *Watch) look(ctx context.Context) (map[string]stamp, error) {
	names, err := List(ctx, w.root, w.git)
	if err != nil {
		return nil, err
	}
	files := make(map[string]stamp, len(names))
	for _, name := range names {
		s, exists, err := look(filepath.Join(w.root, name))
		if err != nil {
			return nil, err
		}
		if exists && !s.Mode.IsDir() {
			files[name] = s
		}
	}
	return files, nil
}

// differences names what is in one of two looks alone, or has another stamp.
func differences(before, now map[string]stamp) []string {
	var names []string
	for name, s := range now {
		if old, was := before[name]; !was || old != s {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, is := now[name]; !is {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// follow watches the folders that files stand in.
func (w *Watch) follow(files map[string]stamp) error {
	all := make(map[string]bool, len(files))
	for name := range files {
		all[name] = true
	}
	for dir := range parents(all) {
		if err := w.add(dir); err != nil {
			return err
		}
	}
	return nil
}

// followNew watches folders that were made, before there is a file in them. What
// git ignores is left alone.
func (w *Watch) followNew(ctx context.Context, dirs []string) error {
	for _, dir := range dirs {
		if written(dir+"/") || dir == ".git" || w.git && w.ignored(ctx, dir) {
			continue
		}
		err := filepath.WalkDir(filepath.Join(w.root, dir), func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || !entry.IsDir() {
				return err
			}
			name, err := filepath.Rel(w.root, path)
			if err != nil {
				return err
			}
			return w.add(name)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *Watch) ignored(ctx context.Context, dir string) bool {
	cmd := exec.CommandContext(ctx, "git", "check-ignore", "-q", "--", dir)
	cmd.Dir = w.root
	return cmd.Run() == nil
}

// watchMask are the events that tell of a change of what a folder holds.
const watchMask = unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_CLOSE_WRITE |
	unix.IN_MODIFY | unix.IN_ATTRIB | unix.IN_ONLYDIR

// add watches one folder; the kernel answers the same number for one that is
// watched already.
func (w *Watch) add(dir string) error {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	var number int
	controlErr := raw.Control(func(fd uintptr) {
		number, err = unix.InotifyAddWatch(int(fd), filepath.Join(w.root, dir), watchMask)
	})
	switch {
	case controlErr != nil:
		return controlErr
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return nil // it has gone meanwhile
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("this tree has more folders than may be watched: raise fs.inotify.max_user_watches (sysctl)")
	case err != nil:
		return fmt.Errorf("watch %s: %w", strings.TrimPrefix(dir, "./"), err)
	}
	w.dirs[number] = dir
	return nil
}
