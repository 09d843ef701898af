package workspace

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// commitAs makes an empty commit by known people at a known time.
func commitAs(t *testing.T, dir, message string) {
	t.Helper()
	cmd := exec.Command("git", "commit", "-q", "--allow-empty", "-m", message)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_AUTHOR_DATE=1700000000 +0100",
		"GIT_COMMITTER_NAME=Bob", "GIT_COMMITTER_EMAIL=bob@example.com", "GIT_COMMITTER_DATE=1700000001 +0100")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git commit: %v\n%s", err, out)
	}
}

// TestReadHead: what git's files say is what git says, wherever it keeps them.
func TestReadHead(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	git(t, root, "init", "-q", "-b", "trunk")
	if got := ReadHead(root); got != (Head{Branch: "trunk", Default: "trunk"}) {
		t.Errorf("without a commit: %+v", got)
	}
	commitAs(t, root, "feat: one\n\nwith 'quotes' and $(shell)")
	want := Head{
		Commit: strings.TrimSpace(git(t, root, "rev-parse", "HEAD")), Branch: "trunk", Default: "trunk", Author: "Ada <ada@example.com>",
		Message: "feat: one\n\nwith 'quotes' and $(shell)", Time: time.Unix(1700000001, 0).UTC(),
	}
	check := func(where, root string, want Head) {
		t.Helper()
		if got := ReadHead(root); got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", where, got, want)
		}
	}
	check("loose", root, want)

	linked := filepath.Join(t.TempDir(), "linked")
	git(t, root, "worktree", "add", "-q", "-b", "side", linked)
	side := want
	side.Branch, side.Default = "side", "side" // neither main nor master is there, and no remote
	check("linked", linked, side)

	git(t, root, "gc", "-q")
	check("packed", root, want)

	git(t, root, "branch", "master")
	want.Default = "master"
	git(t, root, "checkout", "-q", "--detach")
	want.Branch = ""
	check("detached", root, want)
}
