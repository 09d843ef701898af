package supervisor

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// cacheRoot is where one path of a cache lies: rel below the folder dir, which
// nothing of the cache may leave.
type cacheRoot struct {
	dir string // absolute
	rel string // clean, "." for the folder itself
}

// cacheRoots places the paths of a cache: those that begin with ~ in the stage's
// home, absolute ones where they say, and all others in the workspace.
func cacheRoots(paths []string, workspace, home string) ([]cacheRoot, error) {
	roots := make([]cacheRoot, 0, len(paths))
	for _, text := range paths {
		root := cacheRoot{workspace, path.Clean(text)}
		switch {
		case text == "~" || strings.HasPrefix(text, "~/"):
			root = cacheRoot{home, path.Clean("./" + strings.TrimPrefix(text, "~"))}
		case path.IsAbs(text):
			root = cacheRoot{path.Clean(text), "."}
		}
		if root.dir == "/" || text == "" || !filepath.IsLocal(root.rel) {
			return nil, fmt.Errorf("its path %q is no place for a cache", text)
		}
		roots = append(roots, root)
	}
	return roots, nil
}

// open opens the folder that nothing may leave; missing folders are made if make is
// set.
func (r cacheRoot) open(make bool) (*os.Root, error) {
	if make {
		if err := os.MkdirAll(r.dir, 0o755); err != nil {
			return nil, err
		}
	}
	return os.OpenRoot(r.dir)
}
