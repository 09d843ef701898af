package workspace

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repository makes a git repository with one commit and some changes on top.
func repository(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	git(t, root, "init", "-q", "-b", "main")
	write(t, root, "tracked.txt", "committed")
	write(t, root, "gone.txt", "deleted later")
	write(t, root, ".gitignore", "*.tmp\n")
	write(t, root, "bin/tool.sh", "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(root, "bin/tool.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("tracked.txt", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	git(t, root, "add", ".")
	git(t, root, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "one")
	write(t, root, "tracked.txt", "changed, not committed")
	write(t, root, "new.txt", "not added")
	write(t, root, "scratch.tmp", "ignored")
	if err := os.Remove(filepath.Join(root, "gone.txt")); err != nil {
		t.Fatal(err)
	}
	return root
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestSnapshotHoldsUncommittedAndNotIgnored(t *testing.T) {
	t.Parallel()
	root := repository(t)
	write(t, root, ".buildit/run/objects/secret", "ours")
	work := t.TempDir()
	s, err := Take(t.Context(), root, true, filepath.Join(work, "snapshot"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, root, "tracked.txt", "changed while the run goes on")
	for _, name := range []string{"a", "b"} {
		dir := filepath.Join(work, name)
		if err := s.Fill(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "tracked.txt"))
		if err != nil || string(text) != "changed, not committed" {
			t.Errorf("%s: tracked.txt is %q, %v", name, text, err)
		}
		if target, err := os.Readlink(filepath.Join(dir, "link")); err != nil || target != "tracked.txt" {
			t.Errorf("%s: link leads to %q, %v", name, target, err)
		}
		info, err := os.Stat(filepath.Join(dir, "bin/tool.sh"))
		if err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: bin/tool.sh: %v, %v", name, info, err)
		}
		for _, absent := range []string{"gone.txt", "scratch.tmp", ".buildit"} {
			if _, err := os.Lstat(filepath.Join(dir, absent)); err == nil {
				t.Errorf("%s: %s is there", name, absent)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "new.txt")); err != nil {
			t.Error(err)
		}
		status := git(t, dir, "status", "--porcelain")
		for _, line := range []string{" M tracked.txt", " D gone.txt", "?? new.txt"} {
			if !strings.Contains(status, line) {
				t.Errorf("%s: git status lacks %q:\n%s", name, line, status)
			}
		}
	}
}

func TestStagesShareNothing(t *testing.T) {
	t.Parallel()
	root := repository(t)
	work := t.TempDir()
	s, err := Take(t.Context(), root, true, filepath.Join(work, "snapshot"))
	if err != nil {
		t.Fatal(err)
	}
	a, b := filepath.Join(work, "a"), filepath.Join(work, "b")
	if err := s.Fill(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	write(t, a, "tracked.txt", "by stage a")
	git(t, a, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qam", "by stage a")
	if err := s.Fill(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(b, "tracked.txt"))
	if err != nil || string(text) != "changed, not committed" {
		t.Errorf("stage b sees %q, %v", text, err)
	}
	if log := git(t, root, "log", "--oneline"); strings.Contains(log, "by stage a") {
		t.Error("a commit of a stage came back into the repository")
	}
}

func TestTreeWithoutGit(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, root, "a/b.txt", "x")
	write(t, root, ".buildit/run/lock", "")
	write(t, root, ".buildit/ci.kdl", "")
	names, err := List(t.Context(), root, false)
	if err != nil || strings.Join(names, " ") != ".buildit/ci.kdl a/b.txt" {
		t.Errorf("names = %v, %v", names, err)
	}
}
