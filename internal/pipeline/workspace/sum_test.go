package workspace

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sumOf opens the tree as a run does, digests it, and keeps what it found.
func sumOf(t *testing.T, dir, root string) Sum {
	t.Helper()
	p, err := Open(t.Context(), dir, root, true)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := p.Sum(t.Context(), []string{"ONE", "two words"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	return sum
}

// A sum is of path, mode and bytes, and no memory of an earlier run makes it another
// one: each step is compared with that of a pool which has never seen the tree.
func TestSumIsOfContentAlone(t *testing.T) {
	root, dir := repository(t), t.TempDir()
	last := ""
	for _, step := range []struct {
		what    string
		do      func()
		differs bool
	}{
		{"the beginning", func() { write(t, root, "a", "ONE is here") }, true},
		{"nothing", func() {}, false},
		{"the same bytes", func() { write(t, root, "a", "ONE is here") }, false},
		{"other bytes of one length", func() { write(t, root, "a", "OME is here") }, true},
		{"may be executed", func() { chmod(t, root, "a", 0o755) }, true},
		{"a link", func() { link(t, root, "l") }, true},
		{"moved", func() {
			if err := os.Rename(filepath.Join(root, "a"), filepath.Join(root, "b")); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"removed", func() { remove(t, root, "b") }, true},
		{"a pipeline", func() { write(t, root, "sub/.buildit.kdl", "ONE") }, false},
		{"two words", func() { write(t, root, "c", "these two words") }, true},
	} {
		step.do()
		known, anew := sumOf(t, dir, root), sumOf(t, t.TempDir(), root)
		if known.Files != anew.Files || known.Pipelines != anew.Pipelines {
			t.Errorf("%s: with memory %v, without %v", step.what, known, anew)
		}
		if (known.Files != last) != step.differs {
			t.Errorf("%s: differs %v, want %v", step.what, !step.differs, step.differs)
		}
		text, err := os.ReadFile(filepath.Join(root, "a"))
		if has := err == nil && strings.Contains(string(text), "ONE"); known.Words["ONE"] != has || known.Words["two words"] != (step.what == "two words") {
			t.Errorf("%s: words %v", step.what, known.Words)
		}
		last = known.Files
	}
}

// What git tells is digested apart: a commit without a change of a file changes it alone.
func TestGitSumIsOfHeadAndRefs(t *testing.T) {
	root := repository(t)
	write(t, root, "a", "x")
	git(t, root, "add", "a")
	gits := func() (string, string) {
		t.Helper()
		p, err := Open(t.Context(), t.TempDir(), root, true)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := p.Sum(t.Context(), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		gitSum, err := p.GitSum()
		if err != nil {
			t.Fatal(err)
		}
		return sum.Files, gitSum
	}
	files, before := gits()
	if _, same := gits(); same != before {
		t.Error("nothing was done, and git's part differs")
	}
	git(t, root, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x")
	if f, after := gits(); after == before || f != files {
		t.Errorf("git's part differs %v, the files' %v", after != before, f != files)
	}
}
