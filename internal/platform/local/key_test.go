package local_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func TestKeys(t *testing.T) {
	platformtest.Keys(t, func(t *testing.T) platformtest.KeyStore {
		keys, err := local.OpenKeys(newKeyFile(t))
		if err != nil {
			t.Fatal(err)
		}
		return platformtest.KeyStore{Keys: keys, Disable: keys.Disable}
	})
}

// newKeyFile is the key file of a new data folder, which nobody owns any more.
func newKeyFile(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	folder, err := local.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := folder.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "key")
}

// TestKeyFileMode is key/file-mode: a key file that others can read is refused, with
// the command that repairs it.
func TestKeyFileMode(t *testing.T) {
	t.Parallel()
	path := newKeyFile(t)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("a new key file has mode %04o, want 0600", mode)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o602, 0o644} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := local.OpenKeys(path)
		if !errors.Is(err, platform.ErrDenied) || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %04o: err = %v, want a refusal with the command", mode, err)
		}
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := local.OpenKeys(path); err != nil {
		t.Errorf("after the command: %v", err)
	}
}

// TestKeyFileLasts: what one process has wrapped another one opens.
func TestKeyFileLasts(t *testing.T) {
	t.Parallel()
	path := newKeyFile(t)
	one, err := local.OpenKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := one.Wrap(t.Context(), []byte("kept"), nil)
	if err != nil {
		t.Fatal(err)
	}
	two, err := local.OpenKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := two.Unwrap(t.Context(), wrapped, nil); err != nil || string(got) != "kept" {
		t.Errorf("opened %q, %v", got, err)
	}
}

func TestKeyFileDamaged(t *testing.T) {
	t.Parallel()
	path := newKeyFile(t)
	for _, content := range []string{"", "x", "BuildIt key 1\nAAAA\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := local.OpenKeys(path); err == nil {
			t.Errorf("a key file of %q was opened", content)
		}
	}
}
