package supervisor

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
	"sort"
	"sync"
	"time"
)

// unpackCache writes what an index says below the roots. fetch brings the bytes of a
// pack, from several goroutines, and has checked them; want is told before which ones. All of it is unpacked beside
// its place first, so that a fault leaves nothing behind; then it is moved, and wins
// over what is there.
func unpackCache(ctx context.Context, roots []cacheRoot, index *cacheIndex, want func(context.Context, []cachePack) error, fetch func(context.Context, cachePack) ([]byte, error)) error {
	u := &cacheUnpacker{index: index, roots: roots, stages: map[string]*staging{}}
	err := u.prepare()
	if err == nil {
		err = u.fill(ctx, want, fetch)
	}
	if err == nil {
		err = u.finish()
	}
	if err == nil {
		err = u.place()
	}
	return errors.Join(err, u.close())
}

type cacheUnpacker struct {
	index  *cacheIndex
	roots  []cacheRoot
	stages map[string]*staging // by the folder of their roots
	starts []int64             // where each file begins in the stream
	packs  []int64             // and each pack
}

// staging is the folder in which everything of one base is unpacked.
type staging struct {
	base *os.Root
	name string
	root *os.Root
}

// prepare makes the folders and finds the places of files and packs in the stream.
func (u *cacheUnpacker) prepare() error {
	for _, root := range u.roots {
		if u.stages[root.dir] != nil {
			continue
		}
		s := &staging{name: stagingPrefix + rand.Text()}
		u.stages[root.dir] = s
		var err error
		if s.base, err = root.open(true); err == nil {
			err = s.base.Mkdir(s.name, 0o700)
		}
		if err == nil {
			s.root, err = s.base.OpenRoot(s.name)
		}
		if err != nil {
			return err
		}
	}
	at := int64(0)
	u.starts = make([]int64, len(u.index.Files))
	for i := range u.index.Files {
		f := &u.index.Files[i]
		u.starts[i] = at
		at += f.Size
		if err := u.prepareFile(f); err != nil {
			return err
		}
	}
	at = 0
	for _, p := range u.index.Packs {
		u.packs = append(u.packs, at)
		at += p.Raw
	}
	return nil
}

// prepareFile makes a folder, or a file that has no bytes.
func (u *cacheUnpacker) prepareFile(f *cacheFile) error {
	root := u.staging(f)
	switch {
	case f.Dir:
		return root.MkdirAll(f.Path, 0o755)
	case f.Path == u.roots[f.Root].rel: // a path that is a file: the folders above it are not in the index
		if err := root.MkdirAll(path.Dir(f.Path), 0o755); err != nil {
			return err
		}
	}
	if f.Link != "" || f.Size > 0 {
		return nil
	}
	file, err := root.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode())
	if err != nil {
		return err
	}
	return file.Close()
}

func (f *cacheFile) mode() os.FileMode {
	if f.X {
		return 0o755
	}
	return 0o644
}

func (u *cacheUnpacker) staging(f *cacheFile) *os.Root { return u.stages[u.roots[f.Root].dir].root }

// fill fetches the packs and writes their bytes, several at once.
func (u *cacheUnpacker) fill(ctx context.Context, want func(context.Context, []cachePack) error, fetch func(context.Context, cachePack) ([]byte, error)) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var workers sync.WaitGroup
	queue := make(chan int)
	for range min(transfers, len(u.index.Packs)) {
		workers.Go(func() {
			if err := u.fillFrom(ctx, queue, fetch); err != nil {
				stop(err)
			}
		})
	}
	for i := range u.index.Packs {
		if i%MaxGrants == 0 {
			if err := want(ctx, u.index.Packs[i:min(i+MaxGrants, len(u.index.Packs))]); err != nil {
				stop(err)
			}
		}
		select {
		case queue <- i:
		case <-ctx.Done():
		}
	}
	close(queue)
	workers.Wait()
	return context.Cause(ctx)
}

func (u *cacheUnpacker) fillFrom(ctx context.Context, queue <-chan int, fetch func(context.Context, cachePack) ([]byte, error)) error {
	decoder, err := newUnpacker(nil, packBytes)
	if err != nil {
		return err
	}
	defer decoder.Close()
	w := pieceWriter{u: u}
	var raw []byte
	for i := range queue {
		form, err := fetch(ctx, u.index.Packs[i])
		if err == nil {
			raw, err = unpackPack(decoder, u.index.Packs[i], form, raw)
		}
		if err == nil {
			err = w.write(u.packs[i], raw)
		}
		if err != nil {
			return errors.Join(err, w.close())
		}
	}
	return w.close()
}

// pieceWriter writes pieces of the stream. It keeps the last folder open: the files
// of a pack lie side by side, and every path costs a system call for each of its
// parts.
type pieceWriter struct {
	u      *cacheUnpacker
	folder *os.Root
	in     string // of folder
}

// write writes the bytes that begin at a place of the stream.
func (w *pieceWriter) write(at int64, raw []byte) error {
	files := w.u.index.Files
	i := sort.Search(len(files), func(i int) bool { return w.u.starts[i]+files[i].Size > at })
	for ; len(raw) > 0; i++ {
		f := &files[i]
		if f.Size == 0 {
			continue
		}
		offset := at - w.u.starts[i]
		piece := raw[:min(int64(len(raw)), f.Size-offset)]
		if err := w.piece(f, offset, piece); err != nil {
			return err
		}
		at, raw = at+int64(len(piece)), raw[len(piece):]
	}
	return nil
}

func (w *pieceWriter) piece(f *cacheFile, offset int64, piece []byte) error {
	folder, name, err := w.open(f)
	if err != nil {
		return err
	}
	file, err := folder.OpenFile(name, os.O_WRONLY|os.O_CREATE, f.mode())
	if err != nil {
		return err
	}
	_, err = file.WriteAt(piece, offset)
	return errors.Join(err, file.Close())
}

func (w *pieceWriter) open(f *cacheFile) (*os.Root, string, error) {
	dir, name := path.Split(f.Path)
	root := w.u.staging(f)
	if dir == "" {
		return root, name, nil
	}
	if in := root.Name() + "\x00" + dir; in != w.in {
		if err := w.close(); err != nil {
			return nil, "", err
		}
		folder, err := root.OpenRoot(dir)
		if err != nil {
			return nil, "", err
		}
		w.folder, w.in = folder, in
	}
	return w.folder, name, nil
}

func (w *pieceWriter) close() error {
	if w.folder == nil {
		return nil
	}
	err := w.folder.Close()
	w.folder, w.in = nil, ""
	return err
}

// finish makes the links, after the files, so that nothing is ever written through
// one, and sets the times.
func (u *cacheUnpacker) finish() error {
	w := pieceWriter{u: u}
	for i := range u.index.Files {
		f := &u.index.Files[i]
		if f.Dir {
			continue
		}
		folder, name, err := w.open(f)
		switch {
		case err != nil:
		case f.Link != "":
			err = folder.Symlink(f.Link, name)
		case f.Time != 0:
			changed := time.Unix(0, f.Time)
			err = folder.Chtimes(name, changed, changed)
		}
		if err != nil {
			return errors.Join(err, w.close())
		}
	}
	return w.close()
}

// place moves everything to where it belongs.
func (u *cacheUnpacker) place() error {
	for _, s := range u.stages {
		if err := s.move("."); err != nil {
			return err
		}
	}
	return nil
}

// move moves what is in a folder of the staging folder to the same folder of the
// base. A folder that is not there yet takes one step, whatever it holds.
func (s *staging) move(dir string) error {
	entries, err := fs.ReadDir(s.root.FS(), dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		at := path.Join(dir, entry.Name())
		there, err := s.base.Lstat(at)
		switch {
		case err == nil && there.IsDir() && entry.IsDir():
			err = s.move(at)
		case err == nil && there.IsDir():
			err = s.base.RemoveAll(at)
			if err == nil {
				err = s.base.Rename(path.Join(s.name, at), at)
			}
		case err == nil && entry.IsDir():
			err = s.base.Remove(at)
			if err == nil {
				err = s.base.Rename(path.Join(s.name, at), at)
			}
		case err == nil, errors.Is(err, fs.ErrNotExist):
			err = s.base.Rename(path.Join(s.name, at), at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// close removes the staging folders.
func (u *cacheUnpacker) close() error {
	var errs []error
	for _, s := range u.stages {
		if s.root != nil {
			errs = append(errs, s.root.Close())
		}
		if s.base != nil {
			errs = append(errs, s.base.RemoveAll(s.name), s.base.Close())
		}
	}
	return errors.Join(errs...)
}
