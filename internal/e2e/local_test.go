package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

// here is a user with a repository and no platform.
func here(t *testing.T, file string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), log: &output{}}
	s.git("init", "-q", "-b", "main")
	s.write(".buildit.kdl", file)
	return s
}

func (s *site) git(args ...string) string {
	s.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=Ada", "-c", "user.email=ada@example.com"}, args...)...)
	cmd.Dir, cmd.Env = s.dir, s.environment()
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Workspace, HOME and temporary folder of a stage, and git's folder in it, are its
// own: what one leaves there no other finds, and what it fetches it does find.
func TestStagesShareNothingButFetch(t *testing.T) {
	t.Parallel()
	s := here(t, `pipeline "p"
stage "leave" {
    run "echo made > made; echo changed > tracked; rm gone; echo x > $HOME/home; echo x > $TMPDIR/tmp; echo x > $BUILDIT_TMP/own"
    run "git -c user.name=a -c user.email=a@b commit -qam inside"
    artifact "made" path="made"
}
stage "look" needs="leave" {
    run "test ! -e made; test \"$(cat tracked)\" = tracked; test -e gone; test ! -e $HOME/home; test ! -e $TMPDIR/tmp; test ! -e $BUILDIT_TMP/own"
    run "test \"$(git log --format=%s)\" = first; test -z \"$(git status --porcelain)\""
}
stage "fetch" needs="leave" { fetch "made" to="in"; run "test \"$(cat in/made)\" = made; test ! -e made"; }
`)
	s.write("tracked", "tracked")
	s.write("gone", "")
	s.git("add", ".")
	s.git("commit", "-q", "-m", "first")
	for range 2 { // the second run uses the folders of the first
		if said := s.ok("run"); !strings.Contains(said, "succeeded (3 stages, ") {
			t.Errorf("%s", said)
		}
	}
	if left := s.git("status", "--porcelain") + s.git("log", "--format=%s"); left != "first\n" {
		t.Errorf("the runs changed the tree: %q", left)
	}
}

// A platform whose data lies in the tree, and whose run is under way, holds up no
// run of the tree.
func TestRunBesideUp(t *testing.T) {
	t.Parallel()
	server := gittest.Start(t, gittest.Options{})
	s := here(t, hello)
	s.data = filepath.Join(s.dir, ".buildit", "data")
	s.start()
	t.Cleanup(s.stop)
	tree := server.New(t, "shop")
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	tree.Commit("first", ".buildit.kdl", "pipeline \"shop\"\nstage \"wait\" { run \"cat "+pipe+"\"; }\n")
	tree.Push()
	s.ok("repo", "connect", tree.URL)
	s.ok("start", "shop")
	release, err := os.OpenFile(pipe, os.O_WRONLY, 0) // returns when the stage reads
	if err != nil {
		t.Fatal(err)
	}
	if said := s.ok("run"); !strings.Contains(said, "hello from main") {
		t.Errorf("%s", said)
	}
	if list := s.runs("shop"); len(list) != 1 || list[0].Status != "running" {
		t.Errorf("%v", list)
	}
	if err := release.Close(); err != nil {
		t.Fatal(err)
	}
	if list := s.ended("shop", 1); list[0].Status != "succeeded" {
		t.Errorf("%v", list)
	}
}

// What run and up write into a tree no commit takes, and no stage sees; pipelines
// beside it are committed as ever.
func TestGitAddTakesNothingOfOurs(t *testing.T) {
	t.Parallel()
	s := here(t, "pipeline \"p\"\nstage \"a\" { secret \"TOKEN\"; run \"ls -A .buildit; echo x > x\"; artifact \"x\" path=\"x\"; }\n")
	s.data = filepath.Join(s.dir, ".buildit", "data")
	s.start()
	t.Cleanup(s.stop)
	s.write(".buildit/other.kdl", "pipeline \"o\"\nstage \"a\" { run \"true\"; }\n")
	for range 2 {
		said := s.with([]string{"TOKEN=a-secret-of-mine"}, "run", "--secret", "TOKEN")
		if said.code != 0 || !strings.Contains(said.out, "a | other.kdl\n") || strings.Contains(said.out, "| data") || strings.Contains(said.out, "| run") {
			t.Errorf("%s%s", said.out, said.err)
		}
	}
	s.git("add", ".")
	if got := s.git("diff", "--cached", "--name-only"); got != ".buildit.kdl\n.buildit/other.kdl\n" {
		t.Errorf("git add takes %q", got)
	}
	if got := s.git("status", "--porcelain", "--ignored"); !strings.Contains(got, ".buildit/run/") || !strings.Contains(got, ".buildit/data/") {
		t.Errorf("%s", got) // they are there, and ignored
	}
}

// A stage that names an image runs on the host in class process, and says so: at the
// terminal, as JSON, and on the page of a run.
func TestImageOnProcessClassIsNoticed(t *testing.T) {
	t.Parallel()
	const file = "pipeline \"shop\"\nstage \"a\" { image \"node:24\"; run \"true\"; }\nstage \"b\" { run \"true\"; }\n"
	const notice = "commands run on this machine, not in the image node:24"
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree := server.New(t, "shop")
	tree.Commit("first", ".buildit.kdl", file)
	tree.Push()
	s.ok("repo", "connect", tree.URL)
	id := strings.TrimSpace(strings.TrimPrefix(s.ok("start", "shop", "--json"), "started "))
	list := s.ended("shop", 1)
	if list[0].Status != "succeeded" {
		t.Fatalf("%s: %v", id, list)
	}
	for _, said := range []string{s.ok("runs", "show", list[0].ID, "--json"), s.ok("runs", "show", list[0].ID)} {
		if strings.Count(said, notice) != 1 {
			t.Errorf("%s", said)
		}
	}
	s.git("init", "-q")
	s.write(".buildit.kdl", file)
	if said := s.ok("run"); strings.Count(said, notice) != 1 || !strings.Contains(said, "a -- notice: "+notice+" [image-not-used]\n") {
		t.Errorf("%s", said)
	}
	if said := s.ok("run", "--json"); !strings.Contains(said, `"code":"image-not-used"`) {
		t.Errorf("%s", said)
	}
}

// A run that failed on the server is repeated here: what passed is not run again, its
// artifacts and outputs come from the server, and the event is the same.
func TestFailedRunIsRepeatedHere(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree := server.New(t, "shop")
	commit := tree.Commit("first", ".buildit.kdl", `pipeline "shop"
param "tea" default="green"
stage "make" {
    run "echo never here >&2; echo $PARAM_TEA > tea; echo \"KIND=$PARAM_TEA\" >> $BUILDIT_OUTPUT"
    artifact "tea" path="tea"
    output "KIND"
}
stage "lint" { run "echo lint"; }
stage "off" { when branch="other"; run "true"; }
stage "use" {
    needs "make" "lint"
    fetch "tea"
    run "echo $(cat tea) $OUTPUT_MAKE_KIND $BUILDIT_EVENT $BUILDIT_BRANCH; cat fixed"
}
stage "after" needs="use" { run "echo after"; }
`)
	tree.Push()
	s.ok("repo", "connect", tree.URL)
	s.ok("start", "shop", "--param", "tea=black")
	id := s.ended("shop", 1)[0].ID
	s.dir = filepath.Join(s.dir, "clone")
	cmd := exec.Command("git", "clone", "-q", tree.Bare, s.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	again := s.buildit("run", "--from", id)
	if again.code != 1 || strings.Contains(again.out, "never here") || strings.Contains(again.out, "lint |") || again.err != "" {
		t.Errorf("exit code %d\n%s%s", again.code, again.out, again.err)
	}
	for _, want := range []string{"make  -- unchanged: as in run #1 of http://", "off   -- skipped", "use   | black black manual main\n", "use   -- failed", "after -- skipped"} {
		if !strings.Contains(again.out, want) {
			t.Errorf("no %q in\n%s", want, again.out)
		}
	}
	s.write("fixed", "it is fixed\n")
	fixed := s.buildit("run", "--from", "1")
	if fixed.code != 0 || !strings.Contains(fixed.out, "after | after\n") || !strings.Contains(fixed.err, "note: the files here are not those of commit "+commit[:7]) || !strings.Contains(fixed.err, "fixed") {
		t.Errorf("exit code %d\n%s%s", fixed.code, fixed.out, fixed.err)
	}
	s.refuses(2, "name no stage", "run", "--from", "1", "use")
	s.refuses(1, "no run is called", "run", "--from", "77")
	s.refuses(2, "go with --from", "run", "--server", s.url)
}

// --watch runs again what a change concerns, cancels what is under way, looks at no
// file that git ignores, and ends with 130 at Ctrl-C.
func TestWatchRunsWhatChanged(t *testing.T) {
	t.Parallel()
	s := here(t, `pipeline "p"
stage "tree" { run "cat sub/file; test ! -e hang || { echo hanging; sleep 1000; }"; }
stage "none" { checkout "none"; run "echo once"; }
`)
	s.write("sub/file", "one\n")
	s.write(".gitignore", "ignored\n")
	cmd := exec.Command(filepath.Join(bin, "buildit"), "run", "--watch")
	var log output
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.environment(), &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			t.Errorf("%v\n%s", cmd.Process.Kill(), log.String())
		}
	})
	says := func(count int, words string) {
		t.Helper()
		s.await(words, func() bool { return strings.Count(log.String(), words) >= count })
	}
	says(1, "watching 3 files")
	s.write("ignored", "x")
	s.write("sub/file", "two\n")
	says(1, "changed: sub/file\n")
	says(1, "tree | two\n")
	says(2, "watching 3 files")
	s.write("new/deep/file", "x")
	says(1, "changed: new/deep/file\n")
	says(1, "watching 4 files")
	s.write("hang", "")
	says(1, "tree | hanging")
	if err := os.Remove(filepath.Join(s.dir, "hang")); err != nil {
		t.Fatal(err)
	}
	says(2, "changed: hang\n")
	says(1, "canceled")
	says(2, "watching 4 files")
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("%v\n%s", err, log.String())
	}
	said := log.String()
	if strings.Count(said, "none | once") != 1 || !strings.Contains(said, "none -- unchanged") || strings.Contains(said, "ignored") {
		t.Errorf("%s", said)
	}
}

// A run that is killed leaves nothing that the next one takes for a result, and two
// runs at once are one run and a refusal.
func TestKilledRunLeavesNoResult(t *testing.T) {
	t.Parallel()
	s := here(t, `pipeline "p"
stage "a" { run "echo a ran"; }
stage "b" needs="a" { run "cat $PIPE"; }
`)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(s.environment(), "PIPE="+pipe)
	cmd := exec.Command(filepath.Join(bin, "buildit"), "run")
	cmd.Dir, cmd.Env = s.dir, env
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(pipe, os.O_WRONLY, 0) // returns when stage b reads
	if err != nil {
		t.Fatal(err)
	}
	if second := s.with([]string{"PIPE=" + pipe}, "run", "--reuse"); second.code != 1 || !strings.Contains(second.err, "another `buildit run` is under way") {
		t.Errorf("%d %s%s", second.code, second.out, second.err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("it was not killed")
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	// A new pipe under the same name: what the killed run has left behind may still read the old one.
	if err := errors.Join(os.Remove(pipe), syscall.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	next := exec.Command(filepath.Join(bin, "buildit"), "run", "--reuse", "--json")
	next.Dir, next.Env, next.Stdout = s.dir, env, &out
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	writer, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := next.Wait(); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var end struct {
		Status string
		Stages []struct{ Name, Status, Reason string }
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &end); err != nil || end.Status != "succeeded" {
		t.Errorf("%v\n%s", err, out.String())
	}
	if slices.ContainsFunc(end.Stages, func(st struct{ Name, Status, Reason string }) bool { return st.Reason == "unchanged" }) {
		t.Errorf("results of a killed run: %s", out.String())
	}
}
