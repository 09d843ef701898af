package git

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"time"
)

// Limits of the pipeline files of a commit.
const (
	MaxPipelines   = 100       // .buildit.kdl in any folder, .buildit/*.kdl in the root
	maxConfigFile  = 256 << 10 // bytes; one more is kept, so that the language says that it is too large
	maxConfigTotal = 4 << 20   // bytes of all *.kdl that travel
)

// Pipelines are the paths of the pipeline files of the commit, at most MaxPipelines
// of them; more is a notice.
func (t *Tree) Pipelines() (paths []string, more bool) {
	for _, f := range t.Files {
		if f.Mode == Symlink || f.Mode == Submodule || !IsPipeline(f.Path) {
			continue
		}
		if len(paths) == MaxPipelines {
			return paths, true
		}
		paths = append(paths, f.Path)
	}
	return paths, false
}

// IsPipeline says whether a path is that of a pipeline file.
func IsPipeline(file string) bool {
	return path.Base(file) == ".buildit.kdl" || path.Dir(file) == ".buildit" && strings.HasSuffix(file, ".kdl")
}

// Config writes every *.kdl of the commit as a tar.gz: the pipeline files and what
// they may include. The same commit gives the same bytes.
func (t *Tree) Config(ctx context.Context, w io.Writer) error {
	zip := gzip.NewWriter(w)
	out := tar.NewWriter(zip)
	total := int64(0)
	for _, f := range t.Files {
		if f.Mode == Symlink || f.Mode == Submodule || !strings.HasSuffix(f.Path, ".kdl") {
			continue
		}
		data, err := t.read(f, maxConfigFile+1)
		if total += int64(len(data)); err == nil && total > maxConfigTotal {
			err = tooLarge("The *.kdl files of the commit have more than %d MB together.", maxConfigTotal>>20)
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Mode: 0o644, Size: int64(len(data)), ModTime: time.Unix(0, 0)})
		}
		if err == nil {
			_, err = out.Write(data)
		}
		if err != nil {
			return errors.Join(err, out.Close(), zip.Close())
		}
	}
	return errors.Join(out.Close(), zip.Close())
}
