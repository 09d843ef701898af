package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

// A run that failed is run again from there, by its number, after the branch was
// forced elsewhere: at its commit, with what passed carried over.
func TestRerunByItsUser(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	fixed := s.dir + "/fixed"
	tree := server.New(t, "shop")
	tree.Commit("first", ".buildit.kdl", hello)
	tree.Push()
	s.ok("repo", "connect", "file://"+tree.Bare)
	commit := tree.Commit("second", ".buildit.kdl", `pipeline "shop"
stage "make" { artifact "tea" path="tea"; output "KIND"; run "echo making; echo green > tea; echo KIND=green >> $BUILDIT_OUTPUT"; }
stage "test" needs="make" { fetch "tea"; run "grep -q $OUTPUT_MAKE_KIND tea && test -e `+fixed+`"; }
stage "ship" needs="test" { run "echo $BUILDIT_SHA in attempt $BUILDIT_RUN_ATTEMPT"; }
`)
	tree.Push()
	s.ok("repo", "sync", "shop")
	s.ended("shop", 1)
	tree.Git("reset", "--quiet", "--hard", "HEAD~1")
	forced := tree.Commit("other", "a", "1")
	tree.Git("push", "--quiet", "--force", "origin", "main")
	s.ok("repo", "sync", "shop")
	s.ended("shop", 2)
	if err := os.WriteFile(fixed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.ok("rerun", "1", "--failed", "-f")
	list := s.ended("shop", 3)
	if got := fmt.Sprint(list); got != fmt.Sprintf("[push main %.7s failed push main %.7s succeeded push main %.7s succeeded]", commit, forced, commit) {
		t.Errorf("%s", got)
	}
	again := list[2].ID
	if shown := s.ok("runs", "show", "1.2"); !strings.Contains(shown, "#1.2") || !strings.Contains(shown, "carried over from run "+list[0].ID) {
		t.Errorf("%s", shown)
	}
	for _, words := range [][]string{{"logs", again}, {"logs", "-f", again}} {
		if said := s.ok(words...); !strings.Contains(said, "making") || !strings.Contains(said, commit+" in attempt 2") {
			t.Errorf("%v:\n%s", words, said)
		}
	}
	s.ok("artifacts", again, "tea", "-o", s.dir+"/out")
	if text, err := os.ReadFile(s.dir + "/out/tea"); err != nil || string(text) != "green\n" {
		t.Errorf("the artifact holds %q, %v", text, err)
	}
	s.refuses(4, "It was run again already", "rerun", list[0].ID)
	s.refuses(4, "Nothing of this run failed", "rerun", again, "--failed")
	s.refuses(1, `did you mean "ship"?`, "rerun", again, "--stage", "shipp")
	s.ok("rerun", again, "--stage", "ship", "-f")
	if last := s.ended("shop", 4)[3]; last.Status != "succeeded" {
		t.Errorf("%v", last)
	}
}

// The end of a run starts the pipelines that name it: of the same repository at its
// commit, of another one at the head of its default branch; and no circle goes on
// for ever.
func TestUpstreamStartsWhoNamesIt(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	connect := func(name string, files ...string) *gittest.Tree {
		tree := server.New(t, name)
		tree.Commit("first", files...)
		tree.Push()
		s.ok("repo", "connect", "file://"+tree.Bare)
		return tree
	}
	const stage = "\nstage \"a\" { run \"echo $BUILDIT_EVENT $BUILDIT_BRANCH\"; }\n"
	other := connect("site",
		".buildit.kdl", "pipeline \"site\"\non \"upstream\" pipeline=\"shop/base\" branch=\"main\""+stage,
		".buildit/late.kdl", "pipeline \"late\"\non \"upstream\" pipeline=\"shop/base\" status=\"failed\""+stage,
		".buildit/circle.kdl", "pipeline \"circle\"\non \"upstream\" pipeline=\"circle\" status=\"finished\"\non \"upstream\" pipeline=\"site\""+stage)
	tree := connect("shop",
		".buildit.kdl", "pipeline \"base\"\non \"push\""+stage,
		".buildit/after.kdl", "pipeline \"after\"\non \"upstream\" pipeline=\"base\""+stage)
	tree.Git("checkout", "--quiet", "-b", "topic")
	topic := tree.Commit("topic", "a", "1")
	tree.Push("topic")
	s.ok("repo", "sync", "shop")
	// base runs; after runs behind it. (The push itself makes a skipped run of after.)
	list := s.ended("shop", 3)
	if got := named(list, "succeeded"); got != fmt.Sprintf("push topic %.7s; upstream topic %.7s", topic, topic) {
		t.Errorf("%s: %v", got, list)
	}
	if list := s.runs("site"); len(list) != 0 {
		t.Errorf("a branch that nobody asked for started %v", list)
	}
	tree.Git("checkout", "--quiet", "main")
	commit := tree.Commit("second", "a", "2")
	tree.Push()
	s.ok("repo", "sync", "shop")
	if got := named(s.ended("shop", 6), "succeeded"); !strings.HasSuffix(got, fmt.Sprintf("push main %.7s; upstream main %.7s", commit, commit)) {
		t.Errorf("%s", got)
	}
	head := other.Git("rev-parse", "HEAD")
	runs := s.ended("site", 6) // site at depth 1, the circle from 2 to 5, and one that says why it is over
	if last := runs[5]; last.Status != "skipped" || last.Reason != "upstream-circle" || runs[0].Commit != head || runs[0].Event != "upstream" || runs[4].Status != "succeeded" {
		t.Errorf("%v", runs)
	}
}

// named are the runs of a status.
func named(list []run, status string) string {
	var all []string
	for _, r := range list {
		if r.Status == status {
			all = append(all, fmt.Sprintf("%s %s %.7s", r.Event, r.Branch, r.Commit))
		}
	}
	return strings.Join(all, "; ")
}

// Schedules are there as soon as the repository is connected, and go with its head.
func TestSchedulesByTheirUser(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree := server.New(t, "shop")
	tree.Commit("first", ".buildit.kdl", "pipeline \"shop\"\non \"schedule\" cron=\"0 3 * * 1-5\" tz=\"Europe/Paris\"\non \"push\"\nstage \"a\" { run \"true\"; }\n")
	tree.Push()
	s.ok("repo", "connect", "file://"+tree.Bare)
	if said := s.ok("schedules", "shop"); !strings.Contains(said, ".buildit.kdl:2  0 3 * * 1-5  Europe/Paris  main") {
		t.Errorf("%s", said)
	}
	var list struct{ Items []struct{ Next string } }
	s.decode(s.ok("schedules", "shop", "--json"), &list)
	if len(list.Items) != 1 || list.Items[0].Next == "" {
		t.Errorf("%+v", list)
	}
	tree.Commit("second", ".buildit.kdl", hello)
	tree.Push()
	s.ok("repo", "sync", "shop")
	if said := s.ok("schedules", "shop"); !strings.Contains(said, "no schedule") {
		t.Errorf("%s", said)
	}
	s.refuses(1, "", "schedules", "nowhere")
}
