// Package golden compares text with files, for tests, and finds test data. It is
// a leaf: it imports nothing of ours.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "accept what the tests produce as the new golden files")

// Equal compares got with testdata/name; go test -update writes it.
func Equal(t testing.TB, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update accepts):\n--- got\n%s\n--- want\n%s", path, got, want)
	}
}

// Root is the folder of go.mod.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = parent
	}
}

// Folder is test data that does not live in this repository: the folder named by
// an environment variable, or fallback. Relative paths count from the folder of
// go.mod. Where it is absent the test is skipped, and says how to run it.
func Folder(t testing.TB, variable, fallback string) string {
	t.Helper()
	dir := os.Getenv(variable)
	if dir == "" {
		dir = fallback
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(Root(t), dir)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no folder %s: set %s to run this test", dir, variable)
	}
	return dir
}
