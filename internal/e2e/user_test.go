package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

const shop = `pipeline "shop"
stage "test" {
    run "echo testing $BUILDIT_BRANCH"
    run "mkdir -p dist; printf tea > dist/a; printf $PARAM_GREETING > dist/b; ln -s a dist/latest"
    artifact "shop" path="dist/*"
}
stage "smoke" needs="test" {
    fetch "shop"
    run "test \"$(cat dist/latest)\" = tea; echo smoke passed"
}
`

const withParam = "param \"greeting\" default=\"hi\"\n"

// The verbs of the README, one after the other, over file:// and over smart HTTP:
// connect, push, runs, logs, artifacts, start, and all of it as JSON.
func TestPushRunsItsPipeline(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	for name, address := range map[string]func(*gittest.Tree) string{
		"file": func(w *gittest.Tree) string { return "file://" + w.Bare },
		"http": func(w *gittest.Tree) string { return w.URL },
	} {
		tree := server.New(t, name)
		tree.Commit("first", ".buildit.kdl", strings.Replace(shop, "stage \"test\"", withParam+"stage \"test\"", 1))
		tree.Push()
		if said := s.ok("repo", "connect", address(tree)); !strings.Contains(said, "pipeline  .buildit.kdl") || !strings.Contains(said, "from now on") {
			t.Errorf("%s", said)
		}
		if list := s.runs(name); len(list) > 0 {
			t.Errorf("connecting started %v", list)
		}
		commit := tree.Commit("second\n\n$(touch pwned) and `touch pwned`", "a", "1")
		tree.Push()
		said := s.ok("repo", "sync", name)
		id := strings.TrimSpace(strings.TrimPrefix(said, "started "))
		if got := fmt.Sprint(s.ended(name, 1)); got != fmt.Sprintf("[push main %.7s succeeded]", commit) {
			t.Errorf("%s", got)
		}
		whole := s.ok("logs", id)
		if followed := s.ok("logs", "-f", id); !strings.Contains(followed, "smoke passed") || !strings.Contains(whole, "smoke passed") || !strings.Contains(whole, "testing main") {
			t.Errorf("followed:\n%s\nwhole:\n%s", followed, whole)
		}
		if one := s.ok("logs", id, "test"); strings.Contains(one, "smoke passed") || !strings.Contains(one, "testing main") {
			t.Errorf("%s", one)
		}
		s.checkArtifact(id, name)
		s.jsonOfEveryVerb(id, name)
	}
	s.checkMistakes("file://" + server.Root + "/file.git")
}

// checkArtifact downloads what the run left and compares it with its digests.
func (s *site) checkArtifact(id, to string) {
	s.t.Helper()
	if listed := s.ok("artifacts", id); !strings.Contains(listed, "shop") {
		s.t.Errorf("%s", listed)
	}
	to = filepath.Join(s.dir, "out", to)
	s.ok("artifacts", id, "shop", "-o", to)
	text, err := os.ReadFile(filepath.Join(to, "dist", "latest"))
	if err != nil || string(text) != "tea" {
		s.t.Errorf("dist/latest holds %q, %v", text, err)
	}
	var stored struct {
		Manifest struct {
			Files []struct{ Path, SHA256 string }
		}
	}
	s.decode(s.get("/runs/"+id+"/artifacts/shop"), &stored)
	sum := sha256.Sum256([]byte("tea"))
	if len(stored.Manifest.Files) != 3 || stored.Manifest.Files[0].SHA256 != hex.EncodeToString(sum[:]) {
		s.t.Errorf("%+v", stored.Manifest)
	}
}

// jsonOfEveryVerb holds each verb's --json to be JSON and nothing else.
func (s *site) jsonOfEveryVerb(id, repo string) {
	s.t.Helper()
	for _, line := range []string{
		"runs", "runs show " + id, "artifacts " + id, "repo list", "repo show " + repo, "repo scan " + repo,
		"repo sync " + repo, "repo confirm " + repo, "repo deliveries " + repo, "start " + repo + " --param greeting=yo", "version",
	} {
		said := s.ok(append(strings.Fields(line), "--json")...)
		if !json.Valid([]byte(said)) {
			s.t.Errorf("buildit %s --json: %s", line, said)
		}
	}
	for _, verb := range []string{"logs " + id, "logs -f " + id} {
		for line := range strings.Lines(s.ok(append(strings.Fields(verb), "--json")...)) {
			if !json.Valid([]byte(line)) {
				s.t.Errorf("buildit %s --json: %s", verb, line)
			}
		}
	}
}

// checkMistakes makes those that people make, and reads what they are told.
func (s *site) checkMistakes(taken string) {
	s.t.Helper()
	s.refuses(1, `did you mean "http"?`, "repo", "show", "htp")
	s.refuses(1, `did you mean "http"?`, "start", "htp")
	s.refuses(1, `no run is called "9999"`, "runs", "show", "9999")
	s.refuses(1, "no branch nope", "start", "http", "--branch", "nope")
	s.refuses(1, "no pipeline file other.kdl", "start", "http", "--file", "other.kdl")
	s.refuses(1, `no param "greting"`, "start", "http", "--param", "greting=x")
	s.refuses(1, "they are canceled", "runs", "--status", "what")
	s.refuses(2, `did you mean "scan"?`, "repo", "scna", "http")
	s.refuses(2, "one word", "repo", "show")
	s.refuses(2, `did you mean "runs"?`, "rnus")
	s.refuses(4, "is connected already", "repo", "connect", taken, "--name", "http")
	list := s.runs("http")
	s.refuses(4, "has ended already", "cancel", list[0].ID)
	if r := s.with([]string{"BUILDIT_TOKEN=bt_wrong"}, "runs"); r.code != 1 || !strings.Contains(r.err, "unknown, expired or revoked") {
		s.t.Errorf("%+v", r)
	}
	if r := s.with([]string{"BUILDIT_URL=http://127.0.0.1:1"}, "runs"); r.code != 1 || !strings.Contains(r.err, "buildit up") {
		s.t.Errorf("%+v", r)
	}
}

// A run that is canceled stops what it has begun, and its filters find it.
func TestCancelAndFilters(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree := s.connect(server, "shop")
	tree.Commit("long", ".buildit.kdl", "pipeline \"p\"\nstage \"long\" {\n    run \"echo begun; sleep 300\"\n}\n")
	tree.Push()
	s.ok("repo", "sync", "shop")
	id := s.runs("shop")[0].ID
	s.await("the stage has begun", func() bool { return strings.Contains(s.buildit("logs", id).out, "begun") })
	if r := s.buildit("cancel", id, "--reason", "wrong branch"); r.code != 0 || !strings.Contains(r.out, "canceling") {
		t.Errorf("%+v", r)
	}
	if r := s.ended("shop", 1)[0]; r.Status != "canceled" || !strings.Contains(r.Why, "wrong branch") {
		t.Errorf("%+v", r)
	}
	if r := s.buildit("logs", "-f", id); r.code != 1 {
		t.Errorf("following a canceled run: %+v", r)
	}
	for flags, want := range map[string]int{"--status canceled": 1, "--status failed": 0, "--branch main": 1, "--branch topic": 0, "--repo shop --limit 1": 1} {
		var list []run
		s.decode(s.ok(append(strings.Fields("runs --json "+flags), "--org", "default")...), &list)
		if len(list) != want {
			t.Errorf("runs %s: %v", flags, list)
		}
	}
}

// A pipeline file that is wrong makes a run that says where; one that asks for what
// is not built is refused; one that the commit's message asks to skip is skipped.
func TestRunsThatDoNotBegin(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree := s.connect(server, "shop")
	for i, c := range []struct{ message, file, status, reason, where string }{
		{"typo", "pipeline \"p\"\nstage \"a\" {\n    rum \"true\"\n}\n", "errored", "config-invalid", ".buildit.kdl:3:5"},
		{"later", "pipeline \"p\"\nstage \"a\" {\n    service \"postgres:16\" as=\"db\"\n    run \"true\"\n}\n", "errored", "not-available", ".buildit.kdl:3:5"},
		{"typo fixed [skip ci]", hello, "skipped", "skip-ci", "[skip ci]"},
		{"only tags", "pipeline \"p\"\non \"tag\"\nstage \"a\" {\n    run \"true\"\n}\n", "skipped", "no-match", "push"},
	} {
		tree.Commit(c.message, ".buildit.kdl", c.file)
		tree.Push()
		s.ok("repo", "sync", "shop")
		r := s.ended("shop", i+1)[i]
		if r.Status != c.status || r.Reason != c.reason {
			t.Errorf("%s: %s, %s: %s", c.message, r.Status, r.Reason, r.Why)
		}
		for _, verb := range [][]string{{"runs", "show", r.ID}, {"logs", r.ID}} {
			if said := s.buildit(verb...); !strings.Contains(said.out+said.err, c.where) {
				t.Errorf("%s: buildit %v does not say %s: %+v", c.message, verb[0], c.where, said)
			}
		}
	}
}

// Whenever a person cancels, also before the first command has begun, the run ends
// within seconds and not at the end of some heartbeat.
func TestCancelAtOnce(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	s.connect(server, "shop")
	const runs = 12
	for range runs {
		var started run
		s.decode(s.ok("start", "shop", "--json"), &started)
		if r := s.buildit("cancel", started.ID); r.code != 0 && r.code != 4 { // 4: it has ended already
			t.Errorf("%+v", r)
		}
	}
	begun := time.Now()
	for _, r := range s.ended("shop", runs) {
		if r.Status != "canceled" && r.Status != "succeeded" {
			t.Errorf("%v %s", r, r.Why)
		}
	}
	if took := time.Since(begun); took > 40*time.Second {
		t.Errorf("the last run ended after %s", took)
	}
}
