package workspace

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Ours is the folder in a tree in which BuildIt keeps what it writes.
const Ours = ".buildit"

// Root is the top folder of the working tree that dir lies in, and whether git
// knows it; without git it is dir itself.
func Root(dir string) (root string, git bool) {
	for at := dir; ; {
		if _, err := os.Stat(filepath.Join(at, ".git")); err == nil {
			return at, true
		}
		up := filepath.Dir(at)
		if up == at {
			return dir, false
		}
		at = up
	}
}

// List names the files of the tree, relative to root: what git tracks or would add.
// Without git it is every file that is not ours.
func List(ctx context.Context, root string, git bool) ([]string, error) {
	if !git {
		return walk(root)
	}
	cmd := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files in %s: %w: %s", root, err, strings.TrimSpace(complaint.String()))
	}
	names := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	kept := names[:0]
	last := ""
	for _, name := range names { // a file in conflict is listed once for each side
		if name != "" && name != last && !written(name) {
			kept = append(kept, name)
		}
		last = name
	}
	return kept, nil
}

// written tells whether a path is of what BuildIt writes itself.
func written(name string) bool {
	return strings.HasPrefix(name, Ours+"/run/") || strings.HasPrefix(name, Ours+"/data/")
}

func walk(root string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && written(name+"/"):
			return filepath.SkipDir
		case !entry.IsDir():
			names = append(names, name)
		}
		return nil
	})
	return names, err
}
