package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

// Nothing that a pusher chose is run by a shell, and every odd name arrives as it is.
func TestBranchNameWithShellCodeIsHarmless(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree := s.connect(server, "shop")
	names := []string{"a;touch${IFS}pwned", "$(touch${IFS}pwned)", "`touch${IFS}pwned`", "ünï/çødé-日本", "fix#42", "100%25", "it's", `"quoted"`, "a&b|c", "v1.0"}
	refs := make([]string, 0, len(names))
	for _, name := range names {
		tree.Git("checkout", "--quiet", "-B", name, "main")
		tree.Commit("on "+name+"\n\n$(touch pwned)\n`touch pwned`", "file", name)
		refs = append(refs, "refs/heads/"+name)
	}
	tree.Push(refs...)
	s.ok("repo", "sync", "shop")
	heard := map[string]bool{}
	for _, r := range s.ended("shop", len(names)) {
		heard[r.Branch] = r.Status == "succeeded" && strings.Contains(s.ok("logs", r.ID, "test"), "hello from "+r.Branch+"\n")
		if list := s.ok("runs", "--branch", r.Branch); !strings.Contains(list, r.ID) {
			t.Errorf("runs --branch %q does not find it:\n%s", r.Branch, list)
		}
	}
	for _, name := range names {
		if !heard[name] {
			t.Errorf("branch %q did not run as it is called", name)
		}
	}
	err := filepath.WalkDir(s.dir, func(path string, _ os.DirEntry, err error) error {
		if filepath.Base(path) == "pwned" {
			t.Errorf("a shell has run what a pusher wrote: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Force-pushed back to a commit that ran before, a branch runs it again; a branch
// that is deleted runs nothing; tags run where the file asks for them.
func TestForcePushBackTagsAndDeletedBranches(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree := s.connect(server, "shop")
	a := tree.Commit("a", ".buildit.kdl", strings.Replace(hello, "\n", "\non \"push\"\non \"tag\"\n", 1))
	push := func(refs ...string) {
		tree.Push(refs...)
		s.ok("repo", "sync", "shop")
	}
	push()
	b := tree.Commit("b", "file", "1")
	push()
	tree.Git("reset", "--quiet", "--hard", a)
	push()
	push("main:refs/tags/v1", "main:topic")
	tree.Git("push", "--quiet", "origin", ":topic")
	s.ok("repo", "sync", "shop")
	list := s.ended("shop", 5)
	got := fmt.Sprintf("%v", list[:3])
	if want := fmt.Sprintf("[push main %.7s succeeded push main %.7s succeeded push main %.7s succeeded]", a, b, a); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if list[0].ID == list[2].ID {
		t.Error("the third push has the id of the first")
	}
	for _, r := range list[3:] {
		if r.Status != "succeeded" || r.Tag != "v1" && r.Branch != "topic" {
			t.Errorf("%v %s", r, r.Why)
		}
	}
}

// Many branches that are pushed at once all run.
func TestManyPushesAtOnce(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree := s.connect(server, "shop")
	const pushes = 120
	refs := make([]string, pushes)
	for i := range refs {
		refs[i] = fmt.Sprintf("main:refs/heads/topic-%d", i)
	}
	tree.Commit("second", "a", "1")
	tree.Push(refs...)
	s.ok("repo", "sync", "shop")
	for _, r := range s.ended("shop", pushes) {
		if r.Status != "succeeded" {
			t.Errorf("%v %s", r, r.Why)
		}
	}
}

// What a tree holds that must not leave its folder, or that no bundle takes, is said
// early and by name: on the run, or in its failure.
func TestTreeThatCannotBeBundledSaysWhy(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree := s.connect(server, "shop")
	file := "pipeline \"p\"\nstage \"a\" {\n    run \"ls; ! cat outside 2>/dev/null; ! cat above 2>/dev/null; cat within\"\n}\n"
	tree.Write("real", "read within")
	for name, target := range map[string]string{"outside": "/etc/passwd", "above": "../../../etc/passwd", "within": "real"} {
		if err := os.Symlink(target, filepath.Join(tree.Dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	tree.Commit("links", ".buildit.kdl", file)
	tree.Push()
	s.ok("repo", "sync", "shop")
	r := s.ended("shop", 1)[0]
	shown := s.buildit("runs", "show", r.ID).out + s.buildit("logs", r.ID).out
	if r.Status != "succeeded" || !strings.Contains(shown, "read within") || strings.Contains(shown, "root:") {
		t.Errorf("%v\n%s", r, shown)
	}
	for _, name := range []string{"outside", "above"} {
		if !strings.Contains(shown, name+" ") && !strings.Contains(shown, name+":") && !strings.Contains(shown, name+"\"") {
			t.Errorf("nothing tells of the link %s:\n%s", name, shown)
		}
	}
}

// An empty repository is connected, and its first push runs.
func TestEmptyRepository(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree := server.New(t, "shop")
	if said := s.ok("repo", "connect", tree.URL); !strings.Contains(said, "no branch yet") {
		t.Errorf("%s", said)
	}
	s.ok("repo", "sync", "shop")
	s.refuses(1, "no branch", "start", "shop")
	s.refuses(4, "push a commit first", "repo", "scan", "shop")
	commit := tree.Commit("first", ".buildit.kdl", hello)
	tree.Push()
	s.ok("repo", "sync", "shop")
	if got := fmt.Sprint(s.ended("shop", 1)); got != fmt.Sprintf("[push main %.7s succeeded]", commit) {
		t.Errorf("%s", got)
	}
}

// A file that is too large is named where the repository is looked at, and in the
// health of its webhook, and holds up no other branch.
func TestHugeFileIsNamed(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree, h := s.connectHook(server, "github", "acme/shop")
	huge, err := os.Create(filepath.Join(tree.Dir, "huge.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(huge.Truncate(101<<20), huge.Close()); err != nil {
		t.Fatal(err)
	}
	commit := tree.Commit("huge")
	tree.Push()
	h.deliver("push", object{"ref": "refs/heads/main", "before": zeros, "after": commit, "repository": object{"id": 42, "full_name": "acme/shop"}})
	h.settled()
	for _, verb := range []string{"show", "deliveries"} {
		if said := s.ok("repo", verb, "shop"); !strings.Contains(said, "is not run: A file of the commit has 101 MB; at most 100 MB") {
			t.Errorf("repo %s: %s", verb, said)
		}
	}
	tree.Git("reset", "--quiet", "--hard", "HEAD^")
	tree.Commit("small", "a", "1")
	tree.Push("main:topic")
	if said := s.ok("repo", "sync", "shop"); !strings.HasPrefix(said, "started ") {
		t.Errorf("%s", said)
	}
	s.ended("shop", 1)
}
