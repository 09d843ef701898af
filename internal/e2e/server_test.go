package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

// serve starts a second platform, which must refuse, and answers what it said.
func serve(t *testing.T, data string) string {
	t.Helper()
	said, err := exec.Command(filepath.Join(bin, "buildit-server"), "--data", data, "--listen", "127.0.0.1:0").CombinedOutput()
	if err == nil {
		t.Errorf("it started: %s", said)
	}
	return string(said)
}

// One process owns a data folder; a folder of a newer version is not touched.
func TestDataFolderIsRefused(t *testing.T) {
	t.Parallel()
	s := up(t)
	if said := serve(t, s.data); !strings.Contains(said, "another buildit-server (pid ") || strings.Count(said, "\n") != 1 {
		t.Errorf("%s", said)
	}
	newer := t.TempDir()
	if err := os.WriteFile(filepath.Join(newer, "format"), []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := serve(t, newer); !strings.Contains(said, "written by a newer BuildIt") || strings.Count(said, "\n") != 1 {
		t.Errorf("%s", said)
	}
	if entries, err := os.ReadDir(newer); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

// A push that nobody heard of, the server being down, is found by the reconciler
// when it is back, and the run says so.
func TestPushWhileTheServerIsDown(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree, h := s.connectHook(server, "github", "acme/shop")
	s.stop()
	tree.Commit("nobody hears", "a", "1")
	tree.Push()
	s.start()
	// Another event of the repository has the reconciler look at once.
	h.deliver("repository", object{"action": "edited", "repository": object{"id": 42, "full_name": "acme/shop"}})
	r := s.ended("shop", 1)[0]
	if r.Status != "succeeded" || !strings.Contains(r.Why, "found by reconciliation") {
		t.Errorf("%v %s", r, r.Why)
	}
}

// A repository that vanishes takes no run that has begun with it, and says on its
// page that it is gone; back again, it goes on.
func TestRepositoryGoneMidRun(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree := s.connect(server, "shop")
	gate := filepath.Join(s.dir, "gate")
	tree.Commit("waits", ".buildit.kdl", "pipeline \"p\"\nstage \"a\" {\n    run \"while ! test -e "+gate+"; do sleep 0.05; done\"\n}\nstage \"b\" needs=\"a\" {\n    run \"test -e .buildit.kdl\"\n}\n")
	tree.Push()
	s.ok("repo", "sync", "shop")
	if err := os.Rename(tree.Bare, tree.Bare+".away"); err != nil {
		t.Fatal(err)
	}
	if said := s.ok("repo", "sync", "shop"); !strings.Contains(said, "There is no git repository") {
		t.Errorf("%s", said)
	}
	if shown := s.ok("repo", "show", "shop"); !strings.Contains(shown, "gone") {
		t.Errorf("%s", shown)
	}
	s.refuses(1, "There is no git repository", "start", "shop")
	s.write("gate", "")
	if r := s.ended("shop", 1)[0]; r.Status != "succeeded" {
		t.Errorf("%v %s", r, r.Why)
	}
	if err := os.Rename(tree.Bare+".away", tree.Bare); err != nil {
		t.Fatal(err)
	}
	tree.Commit("back", ".buildit.kdl", hello)
	tree.Push()
	s.ok("repo", "sync", "shop")
	s.ended("shop", 2)
	if shown := s.ok("repo", "show", "shop"); !strings.Contains(shown, "active") {
		t.Errorf("%s", shown)
	}
	s.ok("repo", "disconnect", "shop")
	s.refuses(1, `No repository "shop" is connected`, "repo", "show", "shop")
	if list := s.ok("runs"); strings.Count(list, "succeeded") != 2 {
		t.Errorf("the runs of a repository that was disconnected:\n%s", list)
	}
}
