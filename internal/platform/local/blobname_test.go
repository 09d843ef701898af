package local

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
)

// FuzzObjectPath: whatever a key holds, its file stays in the folder of objects,
// different keys never have one file, no object's file is another's folder, and no
// name is one that a file system would refuse, fold or normalise.
func FuzzObjectPath(f *testing.F) {
	f.Add("a", "a/b")
	f.Add("A", "a")
	f.Add("..", ".")
	f.Add("a+", "a")
	f.Add("!41", "A")
	f.Add(strings.Repeat("l", 300), strings.Repeat("l", 200)+"~/"+strings.Repeat("l", 100))
	f.Add("é\x00\xff", "e\u0301")
	f.Fuzz(func(t *testing.T, a, b string) {
		org := platform.System("acme", "fuzz")
		one, two := org.Blob("log", strings.Split(a, "/")...), org.Blob("log", strings.Split(b, "/")...)
		x, y := objectPath(one), objectPath(two)
		if (one == two) != (x == y) {
			t.Errorf("%q and %q: same key %v, same file %v", one, two, one == two, x == y)
		}
		if strings.HasPrefix(y+"/", x+"/") && x != y {
			t.Errorf("the file of %q is a folder of %q: %s, %s", one, two, x, y)
		}
		for _, name := range strings.Split(x, string(filepath.Separator)) {
			if len(name) > 255 || name == "" || name == "." || name == ".." || strings.ToLower(name) != name {
				t.Errorf("%q has a file name %q", one, name)
			}
			for _, c := range []byte(name) {
				if c < 0x20 || c > 0x7e {
					t.Errorf("%q has a file name %q", one, name)
				}
			}
		}
		if back, ok := unescapeName(escapeName(a)); !ok || back != a {
			t.Errorf("%q comes back as %q, %v", a, back, ok)
		}
	})
}
