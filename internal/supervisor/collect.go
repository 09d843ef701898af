package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
)

// collect finds what the patterns mean below root and hashes it. Links must stay
// inside; devices, sockets, pipes and files with setuid are refused.
func collect(ctx context.Context, root *os.Root, paths, exclude []string) (*Manifest, error) {
	take, err := parseGlobs(paths)
	if err != nil {
		return nil, err
	}
	leave, err := parseGlobs(exclude)
	if err != nil {
		return nil, err
	}
	c := &collector{ctx: ctx, root: root, leave: leave, files: map[string]File{}}
	for _, g := range take {
		c.take = g
		err := fs.WalkDir(root.FS(), g.base(), c.visit)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrInvalid) {
			return nil, err
		}
	}
	m := &Manifest{V: 1, Files: make([]File, 0, len(c.files))}
	for _, f := range c.files {
		m.Files = append(m.Files, f)
	}
	return m, nil
}

type collector struct {
	ctx   context.Context
	root  *os.Root
	take  glob
	leave []glob
	files map[string]File
	bytes int64
}

func (c *collector) visit(name string, d fs.DirEntry, err error) error {
	switch {
	case err != nil:
		return err
	case c.ctx.Err() != nil:
		return context.Cause(c.ctx)
	case d.IsDir():
		if name != "." && matchAny(c.leave, name) {
			return fs.SkipDir
		}
		return nil
	case !c.take.match(name) || matchAny(c.leave, name):
		return nil
	}
	if _, known := c.files[name]; known {
		return nil
	}
	f, err := c.file(name, d)
	if err != nil {
		return err
	}
	c.bytes += f.Size
	if len(c.files) >= MaxArtifactFiles || c.bytes > MaxArtifactBytes {
		return fmt.Errorf("it has more than %d files or %d bytes, the limits of an artifact", MaxArtifactFiles, int64(MaxArtifactBytes))
	}
	c.files[name] = f
	return nil
}

func (c *collector) file(name string, d fs.DirEntry) (File, error) {
	if len(name) > maxArtifactPath {
		return File{}, fmt.Errorf("the path %.60q… has more than %d bytes", name, maxArtifactPath)
	}
	info, err := d.Info()
	if err != nil {
		return File{}, err
	}
	switch mode := info.Mode(); {
	case mode&fs.ModeSymlink != 0:
		target, err := c.root.Readlink(name)
		if err == nil {
			err = CheckLink(name, target)
		}
		return File{Path: name, Link: target}, err
	case !mode.IsRegular():
		return File{}, fmt.Errorf("%s is neither a file nor a link", name)
	case mode&(fs.ModeSetuid|fs.ModeSetgid) != 0:
		return File{}, fmt.Errorf("%s has the setuid or setgid bit; take it off", name)
	}
	size, sum, err := hashFile(c.root, name)
	return File{Path: name, X: info.Mode()&0o111 != 0, Size: size, SHA256: sum}, err
}

// openFile opens a regular file below root without following a link and without
// waiting for the other end of a pipe.
func openFile(root *os.Root, name string) (*os.File, error) {
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file any more", path.Base(name))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func hashFile(root *os.Root, name string) (int64, string, error) {
	file, err := openFile(root, name)
	if err != nil {
		return 0, "", err
	}
	sum := sha256.New()
	size, err := io.Copy(sum, file)
	return size, hex.EncodeToString(sum.Sum(nil)), errors.Join(err, file.Close())
}
