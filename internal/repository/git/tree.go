package git

import (
	"context"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Tree is the files of a commit, every path checked.
type Tree struct {
	clone   *Clone
	commit  *object.Commit
	Files   []File // in the order of their paths
	Notices []string
}

// File is one file of a commit.
type File struct {
	Path string
	Mode Mode
	Size int64
	hash plumbing.Hash
}

// Mode is what a file is.
type Mode int

// The modes.
const (
	Regular Mode = iota
	Executable
	Symlink
	Submodule // an empty folder: submodules are not fetched
)

type entry struct {
	name string
	mode filemode.FileMode
}

// Tree lists a commit's files, or says which of them cannot be taken and why.
func (c *Clone) Tree(ctx context.Context, sha CommitSHA) (*Tree, error) {
	commit, err := c.commit(sha)
	if err != nil {
		return nil, err
	}
	t := &Tree{clone: c, commit: commit}
	if err := t.walk(ctx, commit.TreeHash, "", 0); err != nil {
		return nil, err
	}
	slices.SortFunc(t.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return t, nil
}

func (t *Tree) walk(ctx context.Context, hash plumbing.Hash, folder string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if depth > t.clone.limits.PathDepth {
		return hostile("The folder %s lies deeper than %d folders.", clip(folder), t.clone.limits.PathDepth)
	}
	tree, err := object.GetTree(t.clone.storage, hash)
	if err != nil {
		return hostile("The tree of folder %q cannot be read: %v.", clip(folder), err)
	}
	seen := make(map[string]entry, len(tree.Entries))
	for _, e := range tree.Entries {
		file := path.Join(folder, e.Name)
		if fault := nameFault(e.Name); fault != "" {
			return hostile("The commit holds the name %q in folder %q, which is refused: %s.", clip(e.Name), clip(folder), fault)
		}
		this := entry{e.Name, e.Mode}
		if other, twice := seen[strings.ToLower(e.Name)]; twice {
			if fault := clash(this, other); fault != "" {
				return hostile("The commit holds the name %q in folder %q, which is refused: %s.", clip(e.Name), clip(folder), fault)
			}
		}
		seen[strings.ToLower(e.Name)] = this
		if err := t.add(ctx, e, file, depth); err != nil {
			return err
		}
	}
	return nil
}

func (t *Tree) add(ctx context.Context, e object.TreeEntry, file string, depth int) error {
	limits := t.clone.limits
	if len(file) > limits.PathBytes {
		return hostile("The path %s is longer than %d bytes.", clip(file), limits.PathBytes)
	}
	if len(t.Files) >= limits.Files {
		return tooLarge("The commit has more than %d files.", limits.Files)
	}
	f := File{Path: file, hash: e.Hash}
	switch e.Mode {
	case filemode.Dir:
		return t.walk(ctx, e.Hash, file, depth+1)
	case filemode.Submodule:
		f.Mode = Submodule
		t.Files = append(t.Files, f)
		t.Notices = append(t.Notices, file+" is a submodule; its folder is empty")
		return nil
	case filemode.Executable:
		f.Mode = Executable
	case filemode.Symlink:
		f.Mode = Symlink
	}
	size, err := t.clone.storage.EncodedObjectSize(e.Hash)
	if err != nil {
		return hostile("The file %s is not in what the remote sent.", clip(file))
	}
	f.Size = size
	if f.Mode == Symlink {
		target, err := t.read(f, 4096)
		if err != nil {
			return err
		}
		if linkLeaves(file, string(target)) {
			f.Mode = Regular
			t.Notices = append(t.Notices, file+" is a link out of the repository; it is written as a file that holds its target")
		}
	}
	t.Files = append(t.Files, f)
	return nil
}

// open reads a file's bytes.
func (t *Tree) open(f File) (io.ReadCloser, error) {
	blob, err := object.GetBlob(t.clone.storage, f.hash)
	if err != nil {
		return nil, hostile("The file %s cannot be read: %v.", clip(f.Path), err)
	}
	return blob.Reader()
}

// read reads at most limit bytes of a file.
func (t *Tree) read(f File, limit int64) (data []byte, err error) {
	r, err := t.open(f)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closeErr := r.Close(); err == nil {
			err = closeErr
		}
	}()
	return io.ReadAll(io.LimitReader(r, limit))
}
