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
	p, err := Open(t.Context(), t.TempDir(), root, true)
	if err != nil {
		t.Fatal(err)
	}
	write(t, root, "tracked.txt", "changed while the run goes on")
	for range 2 {
		dir := take(t, p)
		has(t, dir, "tracked.txt", "changed, not committed")
		if target, err := os.Readlink(filepath.Join(dir, "link")); err != nil || target != "tracked.txt" {
			t.Errorf("link leads to %q, %v", target, err)
		}
		info, err := os.Stat(filepath.Join(dir, "bin/tool.sh"))
		if err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("bin/tool.sh: %v, %v", info, err)
		}
		for _, absent := range []string{"gone.txt", "scratch.tmp", ".buildit"} {
			if _, err := os.Lstat(filepath.Join(dir, absent)); err == nil {
				t.Errorf("%s is there", absent)
			}
		}
		has(t, dir, "new.txt", "not added")
		status := git(t, dir, "status", "--porcelain")
		for _, line := range []string{" M tracked.txt", " D gone.txt", "?? new.txt"} {
			if !strings.Contains(status, line) {
				t.Errorf("git status lacks %q:\n%s", line, status)
			}
		}
	}
}

func take(t *testing.T, p *Pool) string {
	t.Helper()
	dir, err := p.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func give(t *testing.T, p *Pool, dir string) {
	t.Helper()
	if err := p.Give(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, dir, name, want string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil || string(text) != want {
		t.Errorf("%s is %q, %v; want %q", name, text, err, want)
	}
}

func TestStagesShareNothing(t *testing.T) {
	t.Parallel()
	root := repository(t)
	p, err := Open(t.Context(), t.TempDir(), root, true)
	if err != nil {
		t.Fatal(err)
	}
	a := take(t, p)
	write(t, a, "tracked.txt", "by stage a")
	git(t, a, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qam", "by stage a")
	b := take(t, p)
	has(t, b, "tracked.txt", "changed, not committed")
	for _, dir := range []string{root, b} {
		if log := git(t, dir, "log", "--oneline"); strings.Contains(log, "by stage a") {
			t.Errorf("a commit of a stage came into %s", dir)
		}
	}
}

// TestUsedFolderIsAsNew does what a stage may do to a folder, in the very moment
// after it was made, and wants the next stage to see none of it.
func TestUsedFolderIsAsNew(t *testing.T) {
	t.Parallel()
	root := repository(t)
	dirOfPool := t.TempDir()
	p, err := Open(t.Context(), dirOfPool, root, true)
	if err != nil {
		t.Fatal(err)
	}
	harm := map[string]func(t *testing.T, dir string){
		"same size, old time": func(t *testing.T, dir string) {
			info, err := os.Stat(filepath.Join(dir, "new.txt"))
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, "new.txt", "NOT ADDED")
			if err := os.Chtimes(filepath.Join(dir, "new.txt"), info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
		},
		"new files": func(t *testing.T, dir string) {
			write(t, dir, "node_modules/a/b.js", "x")
			write(t, dir, "bin/out", "x")
		},
		"removed": func(t *testing.T, dir string) { remove(t, dir, "bin") },
		"read-only": func(t *testing.T, dir string) {
			write(t, dir, "ro/x", "")
			chmod(t, dir, "ro", 0o500)
			chmod(t, dir, "bin", 0o500)
		},
		"file for dir":  func(t *testing.T, dir string) { remove(t, dir, "bin"); write(t, dir, "bin", "x") },
		"dir for file":  func(t *testing.T, dir string) { remove(t, dir, "new.txt"); write(t, dir, "new.txt/x", "x") },
		"link for file": func(t *testing.T, dir string) { remove(t, dir, "new.txt"); link(t, dir, "new.txt") },
		"mode":          func(t *testing.T, dir string) { chmod(t, dir, "bin/tool.sh", 0o600) },
		"commit": func(t *testing.T, dir string) {
			git(t, dir, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "x")
		},
	}
	for name, harm := range harm {
		dir := take(t, p)
		harm(t, dir)
		give(t, p, dir)
		again := take(t, p)
		if again != dir {
			t.Fatalf("%s: folder %s was not used again", name, dir)
		}
		asNew(t, name, again)
		give(t, p, again)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, root, "new.txt", "another run")
	remove(t, root, "bin")
	p, err = Open(t.Context(), dirOfPool, root, true)
	if err != nil {
		t.Fatal(err)
	}
	dir := take(t, p)
	has(t, dir, "new.txt", "another run")
	if _, err := os.Lstat(filepath.Join(dir, "bin/tool.sh")); err == nil {
		t.Error("the next run still has bin/tool.sh")
	}
}

func asNew(t *testing.T, name, dir string) {
	t.Helper()
	status := strings.Join(strings.Split(strings.TrimRight(git(t, dir, "status", "--porcelain", "-uall"), "\n"), "\n"), ",")
	if status != " D gone.txt, M tracked.txt,?? new.txt" {
		t.Errorf("%s: git status is %q", name, status)
	}
	has(t, dir, "new.txt", "not added")
	if log := git(t, dir, "log", "--format=%s"); log != "one\n" {
		t.Errorf("%s: log is %q", name, log)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, dir, name string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Symlink("tracked.txt", filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
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
