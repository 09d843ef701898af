package pipeline

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Limits of the pipeline files of a commit.
const (
	maxConfig      = 8 << 20 // bytes, unpacked
	maxConfigFiles = 1000
)

// config reads the pipeline files of the commit: a tar.gz of every *.kdl.
func (s *Service) config(ctx context.Context, org platform.Org, t Trigger) (fs.FS, error) {
	if len(t.Config) == 0 {
		return nil, problem.New(problem.Invalid, "The trigger names no pipeline files.")
	}
	tree, err := OpenConfig(ctx, s.home.Blobs, org.Blob(t.Config[0], t.Config[1:]...))
	if err != nil {
		return nil, fmt.Errorf("pipeline files of %s: %w", t.Commit, err)
	}
	return tree, nil
}

// OpenConfig reads the pipeline files of a commit, where a trigger's Config names them.
func OpenConfig(ctx context.Context, blobs platform.Blobs, key platform.BlobKey) (fs.FS, error) {
	body, _, err := blobs.Open(ctx, key, 0)
	if err != nil {
		return nil, err
	}
	packed, err := io.ReadAll(io.LimitReader(body, maxConfig))
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	return UnpackConfig(packed)
}

// UnpackConfig reads the pipeline files of a commit out of a tar.gz.
func UnpackConfig(packed []byte) (fs.FS, error) {
	zip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("pipeline files: %w", err)
	}
	tree, left := files{}, int64(maxConfig)
	for archive := tar.NewReader(zip); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return tree, nil
		}
		if err != nil {
			return nil, fmt.Errorf("pipeline files: %w", err)
		}
		if header.Typeflag != tar.TypeReg || !fs.ValidPath(header.Name) {
			continue
		}
		data, err := io.ReadAll(io.LimitReader(archive, left+1))
		if err != nil {
			return nil, fmt.Errorf("pipeline files: %w", err)
		}
		if left -= int64(len(data)); left < 0 || len(tree) >= maxConfigFiles {
			return nil, problem.New(problem.TooLarge, "The pipeline files of the commit have more than %d bytes, or are more than %d.", maxConfig, maxConfigFiles)
		}
		tree[header.Name] = data
	}
}

// files is a flat fs.FS of what was unpacked, by path.
type files map[string][]byte

// Open implements fs.FS for files; there are no folders to list.
func (f files) Open(name string) (fs.File, error) {
	data, has := f[name]
	if !has || !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &file{Reader: bytes.NewReader(data), name: name}, nil
}

type file struct {
	*bytes.Reader
	name string
}

func (f *file) Stat() (fs.FileInfo, error) { return f, nil }
func (f *file) Close() error               { return nil }
func (f *file) Name() string               { return f.name }
func (f *file) Mode() fs.FileMode          { return 0o444 }
func (f *file) ModTime() time.Time         { return time.Time{} }
func (f *file) IsDir() bool                { return false }
func (f *file) Sys() any                   { return nil }
