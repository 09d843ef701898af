package supervisor

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/buildit-dev/buildit/internal/supervisor/proctable"
)

// bundle is a source of two files and a link.
func bundle(t *testing.T) []byte {
	t.Helper()
	return archive(t, map[string]string{"a/b.txt": "as committed\n", "run.sh": "echo run\n"},
		tar.Header{Name: "a/b.txt", Mode: 0o644, Typeflag: tar.TypeReg},
		tar.Header{Name: "run.sh", Mode: 0o755, Typeflag: tar.TypeReg},
		tar.Header{Name: "link", Linkname: "a/b.txt", Typeflag: tar.TypeSymlink})
}

// withSource gives a job the bundle.
func withSource(h *home, packed []byte) *home {
	h.job.Source = Object{Kind: "source", Name: "source/1", SHA256: fmt.Sprintf("%x", sha256.Sum256(packed)), Size: int64(len(packed))}
	h.job.Workspace = ""
	h.objects = map[string][]byte{h.job.Source.SHA256: packed, h.job.Source.Name: packed}
	return h
}

const pristine = `test "$(find . | sort | tr '\n' ' ')" = ". ./a ./a/b.txt ./link ./run.sh "
test "$(cat a/b.txt)" = "as committed"; test "$(cat run.sh)" = "echo run"; test -x run.sh; test ! -x a/b.txt
test "$(readlink link)" = a/b.txt; test "$(stat -c %a a)" = 755
test -z "$(ls -A "$HOME")"; test ! -e "$BUILDIT_OUTPUT"; test -z "${TOKEN-}"
`

// A supervisor serves attempt after attempt; whatever one does, the next finds the
// source as it was committed, no process, no variable, no file.
func TestSeriesSharesNothing(t *testing.T) {
	t.Parallel()
	packed := bundle(t)
	c := spawn(t)
	var pids []int
	for i, mischief := range []string{
		"true",
		"mkdir -p out/deep; echo made > out/deep/file; chmod 0 out/deep",
		`printf 'as Committed\n' > a/b.txt`,
		`touch -r a/b.txt keep; printf 'AS committed\n' > a/b.txt; touch -r keep a/b.txt; rm keep`,
		"rm run.sh", "chmod a-x run.sh", "mv a/b.txt a/c.txt; cp a/c.txt a/b.txt; rm a/c.txt",
		"rm link; ln -s run.sh link", "chmod 700 a", `rm -rf a; ln -s "$HOME" a`, `ln a/b.txt "$HOME/b"`,
		`setsid sh -c 'trap "" TERM; sleep 323 >/dev/null 2>&1 & echo pid $!'`,
		`echo stolen > "$HOME/.profile"; echo v=1 >> "$BUILDIT_OUTPUT"; rm -rf "$PWD"`,
		"false", "true",
	} {
		h := withSource(&home{job: jobOf(t, pristine+mischief)}, packed)
		h.secrets = map[string]string{"token": fmt.Sprintf("hunter2-%d", i)}
		if i%2 == 1 {
			h.job.Secrets = []SecretUse{{Name: "token", As: "TOKEN"}}
			h.job.Commands[0].Script = strings.Replace(h.job.Commands[0].Script, `test -z "${TOKEN-}"`, fmt.Sprintf(`test "$TOKEN" = hunter2-%d`, i), 1)
		}
		c.begin(t, serveHTTP(t, h), true)
		if n, err := c.ended.Read(make([]byte, 1)); n != 1 {
			t.Fatalf("%q: the supervisor ended (%v); its attempt %+v, log %q", mischief, err, h.ended(), h.text())
		}
		reason, code := ReasonOK, `"code":0`
		if mischief == "false" {
			reason, code = ReasonExit, `"code":1`
		}
		want(t, h, h.ended(), reason)
		if text, err := os.ReadFile(c.exit); err != nil || !strings.Contains(string(text), code) {
			t.Errorf("%q: recorded %q, %v", mischief, text, err)
		}
		pids = append(pids, pidsIn(t, h.text())...)
	}
	for _, pid := range pids {
		if p, ok := proctable.Read(pid); ok && p.Status != 'Z' && p.Command == "sleep" {
			t.Errorf("%+v still runs", p)
		}
	}
	if len(pids) == 0 {
		t.Error("no process was left behind: nothing was tested")
	}
	if err := c.start.Close(); err != nil {
		t.Fatal(err)
	}
	if code := c.wait(t); code != ExitOK {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Stat(filepath.Join(c.dir, "attempt")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of the attempts: %v", err)
	}
}

// A supervisor ends after its 50th attempt.
func TestSeriesEnds(t *testing.T) {
	t.Parallel()
	c := spawn(t)
	for n := 1; ; n++ {
		h := &home{job: jobOf(t, "true")}
		c.begin(t, serveHTTP(t, h), true)
		if _, err := c.ended.Read(make([]byte, 1)); err == nil {
			continue
		}
		if code := c.wait(t); code != ExitOK || n != maxSeries {
			t.Errorf("exit code %d after %d attempts", code, n)
		}
		want(t, h, h.ended(), ReasonOK)
		break
	}
	if err := c.start.Close(); err != nil {
		t.Fatal(err)
	}
}

// A tree that nobody touched is kept, also where its files are older than a tick of
// the clock, and is told from one that somebody touched.
func TestKeptTree(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		touch func(dir string) error
		want  error
	}{
		"untouched": {func(string) error { return nil }, nil},
		"more":      {func(dir string) error { return os.WriteFile(dir+"/new", nil, 0o644) }, nil},
		"written":   {func(dir string) error { return os.WriteFile(dir+"/old", []byte("0"), 0o644) }, errTouched},
		"same text": {func(dir string) error { return os.WriteFile(dir+"/old", []byte("1"), 0o644) }, errTouched},
		"removed":   {func(dir string) error { return os.Remove(dir + "/old") }, errTouched},
		"rights":    {func(dir string) error { return os.Chmod(dir, 0o711) }, errTouched},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "tree")
			if err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(dir+"/old", []byte("1"), 0o644)); err != nil {
				t.Fatal(err)
			}
			k, err := keep(dir, Object{}, Unpacked{Files: 1})
			if err != nil {
				t.Fatal(err)
			}
			if k.files["old"].sum == nil {
				t.Error("a file that was just written is told by its times alone")
			}
			old := k.files["old"]
			old.sum = nil // as if it had been older
			k.files["old"] = old
			awaitTick(t, old.changed)
			if err := tt.touch(dir); err != nil {
				t.Fatal(err)
			}
			if err := k.restore(dir); !errors.Is(err, tt.want) {
				t.Errorf("restored: %v, want %v", err, tt.want)
			}
			if _, err := os.Stat(dir + "/new"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("what was added: %v", err)
			}
		})
	}
}

// awaitTick returns when a change to a file has a later time than that.
func awaitTick(t *testing.T, before syscall.Timespec) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tick")
	for {
		if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(file)
		if err != nil {
			t.Fatal(err)
		}
		if keptOf(info).changed != before {
			return
		}
	}
}
