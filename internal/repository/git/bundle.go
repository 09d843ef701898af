package git

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// Bundle writes the commit as a tar.gz: its files, and a .git that answers
// rev-parse, log, status, diff and describe for the commit and depth-1 commits
// below it. The same commit, depth and tags give the same bytes. Files carry the
// time of the commit.
func (t *Tree) Bundle(ctx context.Context, w io.Writer, depth int) error {
	zip, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	b := &bundle{ctx: ctx, tree: t, out: tar.NewWriter(zip), when: t.commit.Committer.When.UTC(), left: t.clone.limits.TreeBytes}
	err = b.write(depth)
	return errors.Join(err, b.out.Close(), zip.Close())
}

type bundle struct {
	ctx  context.Context
	tree *Tree
	out  *tar.Writer
	when time.Time
	left int64 // bytes that may still be written
}

func (b *bundle) write(depth int) error {
	for _, f := range b.tree.Files {
		if err := b.file(f); err != nil {
			return err
		}
	}
	return b.dotGit(max(1, depth))
}

func (b *bundle) file(f File) error {
	if err := b.ctx.Err(); err != nil {
		return err
	}
	if b.left -= f.Size; b.left < 0 {
		return tooLarge("The files of the commit have more than %d MB together.", b.tree.clone.limits.TreeBytes>>20)
	}
	switch f.Mode {
	case Submodule:
		return b.out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: f.Path + "/", Mode: 0o755, ModTime: b.when})
	case Symlink:
		target, err := b.tree.read(f, 4096)
		if err != nil {
			return err
		}
		return b.out.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: f.Path, Linkname: string(target), Mode: 0o777, ModTime: b.when})
	}
	mode := int64(0o644)
	if f.Mode == Executable {
		mode = 0o755
	}
	r, err := b.tree.open(f)
	if err != nil {
		return err
	}
	err = b.out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Mode: mode, Size: f.Size, ModTime: b.when})
	if err == nil {
		var n int64
		n, err = io.Copy(b.out, r)
		if err == nil && n != f.Size {
			err = fmt.Errorf("%s has %d bytes instead of %d", f.Path, n, f.Size)
		}
	}
	return errors.Join(err, r.Close())
}

func (b *bundle) bytes(name string, data []byte) error {
	if err := b.out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: b.when}); err != nil {
		return err
	}
	_, err := b.out.Write(data)
	return err
}

func (b *bundle) folder(name string) error {
	return b.out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: b.when})
}
