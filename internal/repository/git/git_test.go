package git_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/outbound"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/repository/git"
	"github.com/buildit-dev/buildit/internal/repository/gittest"
	"github.com/buildit-dev/buildit/internal/repository/scan"
)

func client(t testing.TB, limits git.Limits) *git.Client {
	policy := outbound.Policy{Schemes: []string{"http", "https"}, AnyPort: true, Loopback: true}
	out := outbound.New(policy, nil)
	t.Cleanup(out.Close)
	return git.NewClient(git.Options{HTTP: out.HTTP(), LocalPaths: true, Limits: limits, TempDir: t.TempDir()})
}

func ask(t testing.TB, c *git.Client, url string) *git.Remote {
	t.Helper()
	at, err := git.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	remote, err := c.Ask(t.Context(), at, git.Credential{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remote.Close(); err != nil {
			t.Error(err)
		}
	})
	return remote
}

func fetch(t testing.TB, remote *git.Remote, want git.Want) *git.Clone {
	t.Helper()
	clone, err := remote.Fetch(t.Context(), want)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := clone.Close(); err != nil {
			t.Error(err)
		}
	})
	return clone
}

func bundle(t testing.TB, clone *git.Clone, commit git.CommitSHA, depth int) []byte {
	t.Helper()
	tree, err := clone.Tree(t.Context(), commit)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := tree.Bundle(t.Context(), &out, depth); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// unpack extracts a bundle under a root that nothing can leave.
func unpack(t testing.TB, data []byte) string {
	t.Helper()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for in := tar.NewReader(zip); ; {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := extract(root, in, head); err != nil {
			t.Fatalf("%s: %v", head.Name, err)
		}
	}
}

func extract(root *os.Root, in io.Reader, head *tar.Header) error {
	if err := root.MkdirAll(filepath.Dir(strings.TrimSuffix(head.Name, "/")), 0o755); err != nil {
		return err
	}
	switch head.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(strings.TrimSuffix(head.Name, "/"), 0o755)
	case tar.TypeSymlink:
		return root.Symlink(head.Linkname, head.Name)
	}
	f, err := root.OpenFile(head.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, os.FileMode(head.Mode))
	if err != nil {
		return err
	}
	_, err = io.Copy(f, in)
	return errors.Join(err, f.Close())
}

func run(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// A bundle is a working tree that git itself takes for whole, at every depth, over
// both ways to a repository.
func TestBundleIsAWorkingTree(t *testing.T) {
	server := gittest.Start(t, gittest.Options{})
	w := server.New(t, "shop")
	w.Commit("one", "a.txt", "a", "dir/deep/b.sh", "echo b")
	w.Commit("two", "a.txt", "aa")
	w.Git("tag", "-a", "v1", "-m", "first")
	if err := os.Symlink("a.txt", filepath.Join(w.Dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(w.Dir, "dir/deep/b.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	head := git.CommitSHA(w.Commit("three", strings.Repeat("long/", 30)+"name.txt", "x", "big.bin", strings.Repeat("big", 1<<20)))
	w.Git("tag", "light")
	w.Push("main", "v1", "light")
	c := client(t, git.Limits{})
	for _, url := range []string{w.URL, "file://" + w.Bare} {
		for depth, describe := range map[int]string{1: "light", 2: "light", 3: "light", 9: "light"} {
			remote := ask(t, c, url)
			if remote.DefaultBranch() != "main" || remote.Head("refs/heads/main") != head {
				t.Fatalf("%s: default branch %q at %s", url, remote.DefaultBranch(), remote.Head("refs/heads/main"))
			}
			dir := unpack(t, bundle(t, fetch(t, remote, git.Want{Commit: head, Depth: depth}), head, depth))
			for _, check := range []struct{ want, args string }{
				{string(head), "rev-parse HEAD"},
				{"three", "log -1 --format=%s"},
				{describe, "describe --tags"},
				{"", "status --porcelain"},
				{"", "diff HEAD"},
				{"", "fsck --no-dangling --no-progress"},
				{strings.Join([]string{"three", "two", "one"}[:min(3, depth)], "\n"), "log --format=%s"},
			} {
				if got := run(t, dir, strings.Fields(check.args)...); got != check.want {
					t.Errorf("%s, depth %d: git %s: %q, want %q", url, depth, check.args, got, check.want)
				}
			}
			if depth > 1 {
				if got := run(t, dir, "describe"); !strings.HasPrefix(got, "v1-1-g") {
					t.Errorf("%s, depth %d: describe: %q", url, depth, got)
				}
			}
		}
	}
}

func TestBundleIsDeterministic(t *testing.T) {
	w := gittest.Start(t, gittest.Options{}).New(t, "shop")
	var files []string
	for i := range 200 {
		files = append(files, "f/"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+"/"+strings.Repeat("y", i+1), strings.Repeat("line\n", i))
	}
	head := git.CommitSHA(w.Commit("one", files...))
	w.Push()
	c := client(t, git.Limits{})
	var first []byte
	for range 3 {
		again := bundle(t, fetch(t, ask(t, c, w.URL), git.Want{Commit: head, Depth: 1}), head, 1)
		if first != nil && !bytes.Equal(first, again) {
			t.Fatal("two bundles of one commit differ")
		}
		first = again
		w.Git("-C", w.Bare, "gc", "--quiet", "--aggressive") // the server packs anew
	}
}

// A plain server hands out tips alone: a commit below is found from its branch,
// one that a force push removed is not, and the problem says so.
func TestCommitBelowTheTip(t *testing.T) {
	w := gittest.Start(t, gittest.Options{}).New(t, "shop")
	gone := git.CommitSHA(w.Commit("gone", "a", "0"))
	w.Push()
	w.Git("checkout", "--quiet", "--orphan", "fresh")
	below := git.CommitSHA(w.Commit("below", "a", "1"))
	w.Commit("tip", "a", "2")
	w.Git("branch", "-M", "main")
	w.Push()
	c := client(t, git.Limits{})
	dir := unpack(t, bundle(t, fetch(t, ask(t, c, w.URL), git.Want{Commit: below, Branch: "main", Depth: 1}), below, 1))
	if got := run(t, dir, "log", "--format=%s"); got != "below" {
		t.Errorf("log %q", got)
	}
	if _, err := ask(t, c, w.URL).Fetch(t.Context(), git.Want{Commit: gone, Branch: "main", Depth: 1}); !errors.Is(err, git.ErrNoCommit) {
		t.Errorf("a commit that is gone: %v", err)
	}
	w.Git("-C", w.Bare, "config", "uploadpack.allowAnySHA1InWant", "true")
	if clone := fetch(t, ask(t, c, w.URL), git.Want{Commit: gone, Branch: "main", Depth: 1}); !clone.Has(gone) {
		t.Error("a server that hands out anything hands out this")
	}
}

func TestTokenOpensAPrivateRepository(t *testing.T) {
	w := gittest.Start(t, gittest.Options{Token: "tok"}).New(t, "shop")
	head := w.Commit("one", "a", "1")
	w.Push()
	c := client(t, git.Limits{})
	at, err := git.ParseURL(w.URL)
	if err != nil {
		t.Fatal(err)
	}
	for token, ok := range map[string]bool{"tok": true, "": false, "wrong": false} {
		remote, err := c.Ask(t.Context(), at, git.Credential{Token: token})
		if ok != (err == nil) {
			t.Fatalf("token %q: %v", token, err)
		}
		if !ok {
			if !errors.Is(err, git.ErrGone) || strings.Contains(err.Error(), "wrong") {
				t.Errorf("token %q: %v", token, err)
			}
			continue
		}
		fetch(t, remote, git.Want{Commit: git.CommitSHA(head), Depth: 1})
	}
}

func TestWhatCannotBeAsked(t *testing.T) {
	server := gittest.Start(t, gittest.Options{})
	out := outbound.New(outbound.Policy{Schemes: []string{"http", "https"}, AnyPort: true}, nil)
	careful := git.NewClient(git.Options{HTTP: out.HTTP()})
	for _, tt := range []struct {
		client *git.Client
		url    string
		kind   problem.Kind
		says   string
	}{
		{client(t, git.Limits{}), server.URL + "/none.git", problem.Upstream, "There is no git repository at"},
		{client(t, git.Limits{}), "file:///nowhere/at/all.git", problem.Upstream, "There is no git repository at"},
		{careful, "file:///etc", problem.Forbidden, "--allow-local"},
		{careful, server.URL + "/none.git", problem.Invalid, "is no public address"},
		{careful, "http://169.254.169.254/latest/x.git", problem.Invalid, "cloud's own services"},
	} {
		at, err := git.ParseURL(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		_, err = tt.client.Ask(t.Context(), at, git.Credential{})
		if !problem.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.url, err)
		}
	}
}

func TestEmptyRepository(t *testing.T) {
	w := gittest.Start(t, gittest.Options{}).New(t, "shop")
	remote := ask(t, client(t, git.Limits{}), w.URL)
	if len(remote.Refs()) != 0 || remote.DefaultBranch() != "" {
		t.Errorf("refs %v, default branch %q", remote.Refs(), remote.DefaultBranch())
	}
	if _, err := remote.Fetch(t.Context(), git.Want{Commit: git.CommitSHA(strings.Repeat("a", 40))}); !errors.Is(err, git.ErrNoCommit) {
		t.Error(err)
	}
}

// Changed files come from git alone: a rename counts under both names, a branch is
// compared with where it left the default branch, and too short a history is said.
func TestChangedFiles(t *testing.T) {
	w := gittest.Start(t, gittest.Options{}).New(t, "shop")
	base := git.CommitSHA(w.Commit("base", "keep", "k", "old/name", strings.Repeat("same\n", 50), "x", "1"))
	w.Git("checkout", "--quiet", "-b", "topic")
	w.Git("mv", "old/name", "new-name")
	first := git.CommitSHA(w.Commit("topic 1"))
	topic := git.CommitSHA(w.Commit("topic 2", "added", "1"))
	w.Git("checkout", "--quiet", "main")
	main := git.CommitSHA(w.Commit("main 2", "x", "2"))
	w.Push("main", "topic")
	clone := fetch(t, ask(t, client(t, git.Limits{}), w.URL), git.Want{Commit: topic, Also: []git.CommitSHA{main}, Depth: 20})
	if got := clone.MergeBase(main, topic); got != base {
		t.Errorf("merge base %s, want %s", got, base)
	}
	for _, tt := range []struct {
		base, head git.CommitSHA
		want       []string
	}{
		{base, topic, []string{"added", "new-name", "old/name"}},
		{first, topic, []string{"added"}},
		{base, main, []string{"x"}},
		{topic, topic, nil},
	} {
		got, unknown, err := clone.Changed(t.Context(), tt.base, tt.head)
		if err != nil || unknown != "" || !slices.Equal(got, tt.want) {
			t.Errorf("%s..%s: %v %q %v, want %v", tt.base.Short(), tt.head.Short(), got, unknown, err, tt.want)
		}
	}
	if _, unknown, err := clone.Changed(t.Context(), git.CommitSHA(strings.Repeat("1", 40)), topic); err != nil || !strings.Contains(unknown, "not at hand") {
		t.Errorf("%q %v", unknown, err)
	}
	for _, tt := range []struct {
		commit, old, head git.CommitSHA
		passed            bool
	}{{first, base, topic, true}, {base, base, topic, false}, {topic, base, topic, false}, {base, first, topic, false}, {main, base, topic, false}} {
		if passed, known := clone.Passed(tt.commit, tt.old, tt.head); passed != tt.passed || !known {
			t.Errorf("%s passed by %s..%s: %v (known %v)", tt.commit.Short(), tt.old.Short(), tt.head.Short(), passed, known)
		}
	}
	shallow := fetch(t, ask(t, client(t, git.Limits{}), w.URL), git.Want{Commit: topic, Also: []git.CommitSHA{main}, Depth: 1})
	if got := shallow.MergeBase(main, topic); got != "" {
		t.Errorf("merge base of two lone commits: %s", got)
	}
}

// The remote's redirect to another host is not followed, and no token goes there.
func TestRedirectToAnotherHostIsRefused(t *testing.T) {
	private := gittest.Start(t, gittest.Options{})
	private.New(t, "shop").Commit("one")
	away := redirect(t, private.URL)
	for _, token := range []string{"", "tok"} {
		at, err := git.ParseURL(away + "/shop.git")
		if err != nil {
			t.Fatal(err)
		}
		_, err = client(t, git.Limits{}).Ask(t.Context(), at, git.Credential{Token: token})
		if err == nil || strings.Contains(err.Error(), private.URL) {
			t.Errorf("token %q: %v", token, err)
		}
	}
}

// A scan of a monorepo reads the tree of the commit, never a checkout.
func BenchmarkScanOf5000Files(b *testing.B) {
	w := gittest.Start(b, gittest.Options{}).New(b, "mono")
	for i := range 500 {
		dir := fmt.Sprintf("services/s%03d/", i)
		w.Write(dir+"infra/main.tf", strings.Repeat("resource \"x\" \"y\" {\n  a = \"b\"\n}\n", 50)+dir)
		w.Write(dir+"deploy/app.yaml", "apiVersion: apps/v1\nkind: Deployment\n"+strings.Repeat("# "+dir+"\n", 100))
		for j := range 8 {
			w.Write(fmt.Sprintf("%ssrc/f%d.go", dir, j), dir)
		}
	}
	head := git.CommitSHA(w.Commit("one"))
	w.Push()
	clone := fetch(b, ask(b, client(b, git.Limits{}), w.URL), git.Want{Commit: head, Depth: 1})
	for b.Loop() {
		tree, err := clone.Tree(b.Context(), head)
		if err != nil {
			b.Fatal(err)
		}
		result, err := scan.Scan(b.Context(), tree.FS())
		if err != nil || result.Files != 5000 || len(result.Findings) != 1000 {
			b.Fatal(result.Files, len(result.Findings), err)
		}
	}
}

func BenchmarkSmallRepositoryToBundle(b *testing.B) {
	w := gittest.Start(b, gittest.Options{}).New(b, "shop")
	head := git.CommitSHA(w.Commit("one", "a.txt", "a", ".buildit.kdl", "pipeline \"x\"\n", "src/b.sh", "echo b"))
	w.Push()
	c := client(b, git.Limits{})
	for b.Loop() {
		bundle(b, fetch(b, ask(b, c, w.URL), git.Want{Commit: head, Depth: 20}), head, 1)
	}
}
