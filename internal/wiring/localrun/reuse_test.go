package localrun

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// emptyFolder is the folder of a run that is alone in a tree.
func emptyFolder(t *testing.T) *supervisors {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	data, err := openFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := data.close(); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(makeDir(filepath.Join(dir, "reuse")), makeDir(filepath.Join(dir, "objects"))); err != nil {
		t.Fatal(err)
	}
	return newSupervisors(Config{Log: slog.New(slog.DiscardHandler)}, data)
}

// success writes a record with an artifact of one file, last used at a time.
func (s *supervisors) success(t *testing.T, name string, used time.Time) (path string, objects []string) {
	t.Helper()
	text := []byte("bytes of " + name)
	sum := sha256.Sum256(text)
	blob := hex.EncodeToString(sum[:])
	manifest := supervisor.Manifest{V: 1, Files: []supervisor.File{{Path: "f", Size: int64(len(text)), SHA256: blob}}}
	object, form, err := manifest.Encode(name)
	if err != nil {
		t.Fatal(err)
	}
	head, err := json.Marshal(record{
		Run: pipeline.RunID(strings.Repeat("a", 26)), At: used,
		Result: supervisor.Result{Artifacts: []supervisor.ArtifactResult{{Name: name, Manifest: object}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	body := append(head, "\nlog of "+name...)
	sum = sha256.Sum256(body)
	sumOfName := sha256.Sum256([]byte(name))
	path = filepath.Join(s.data.dir, "reuse", fmt.Sprintf("%x-%x", sumOfName[:8], sumOfName))
	objects = []string{s.objectPath(blob), s.objectPath(object.SHA256)}
	err = errors.Join(
		writeWhole(objects[0], 0o644, text), writeWhole(objects[1], 0o644, form),
		writeWhole(path, 0o644, []byte(hex.EncodeToString(sum[:])+"\n"), body),
		os.Chtimes(path, used, used), os.Chtimes(objects[0], used, used), os.Chtimes(objects[1], used, used))
	if err != nil {
		t.Fatal(err)
	}
	return path, objects
}

// What was used lately stays with its artifacts; what was not, what is damaged, what a
// killed run began, and artifacts of nobody go.
func TestSweepKeepsWhatIsOfUse(t *testing.T) {
	s, now := emptyFolder(t), time.Now()
	fresh, kept := s.success(t, "fresh", now.Add(-keptFor+time.Hour))
	old, gone := s.success(t, "old", now.Add(-keptFor-time.Hour))
	damaged, lost := s.success(t, "damaged", now.Add(-2*sweepEvery))
	begun, lately := filepath.Join(s.data.dir, "reuse", "x"+partial), s.objectPath("lately")
	if err := errors.Join(os.WriteFile(damaged, []byte("x"), 0o644), os.WriteFile(begun, nil, 0o644), os.WriteFile(lately, nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(s.data.dir, "reuse")
	if err := s.sweep(dir, now); err != nil {
		t.Fatal(err)
	}
	for _, path := range append(kept, fresh, lately) {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("%v", err)
		}
	}
	for _, path := range append(append(gone, lost...), old, damaged, begun) {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
	stale, _ := s.success(t, "stale", now.Add(-2*keptFor))
	if err := s.sweep(dir, now.Add(sweepEvery/2)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(stale); err != nil {
		t.Errorf("it was swept twice within %s: %v", sweepEvery, err)
	}
}

// FuzzReadRecord: whatever lies in the store, it is a whole success or an error; a
// record that one byte is changed of is never taken.
func FuzzReadRecord(f *testing.F) {
	f.Add([]byte(""), 0, byte(0))
	f.Add([]byte("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n"), 3, byte('x'))
	f.Fuzz(func(t *testing.T, text []byte, at int, other byte) {
		path := filepath.Join(t.TempDir(), "record")
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		if r, _, err := readRecord(path); err == nil && len(r.Run) != 26 {
			t.Errorf("%q is a record", text)
		}
		head := []byte(`{"run":"` + strings.Repeat("a", 26) + `"}`)
		body := append(append(bytes.Clone(head), '\n'), text...)
		sum := sha256.Sum256(body)
		whole := append([]byte(hex.EncodeToString(sum[:])+"\n"), body...)
		if err := os.WriteFile(path, whole, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, log, err := readRecord(path); err != nil || !bytes.Equal(log, text) {
			t.Errorf("%q, %v", log, err)
		}
		if at = int(uint(at) % uint(len(whole))); whole[at] != other {
			whole[at] = other
			if err := os.WriteFile(path, whole, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, _, err := readRecord(path); err == nil {
				t.Errorf("byte %d is another one, and nobody noticed", at)
			}
		}
	})
}
