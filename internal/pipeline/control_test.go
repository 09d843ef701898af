package pipeline_test

import (
	"testing"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/problem"
)

func TestCancelStopsWhatRunsAndWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.begin(`pipeline "p"
stage "long" { run "sleep 60"; }
stage "next" needs="long" { run "true"; }
`)
	w.await("long running")
	if _, err := w.service.Cancel(t.Context(), w.org, run.ID, "user", "enough"); err != nil {
		t.Fatal(err)
	}
	view := w.end(run)
	expect(t, view, pipeline.Canceled, "long canceled, next canceled")
	if _, err := w.service.Cancel(t.Context(), w.org, run.ID, "user", ""); !problem.Is(err, problem.Conflict) {
		t.Errorf("canceling a run that has ended: %v", err)
	}
}

// A stranger's commit does not run where nothing isolates it, unless the owner says so:
// the run is green, and says why.
func TestForkDoesNotRunUnisolated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.service.AllowUntrusted = false
	fork := push("main")
	fork.Event, fork.Subject, fork.Fork, fork.Trust = "pull-request", "7", true, "untrusted"
	run, err := w.service.StartFile(t.Context(), w.org, fork, load(t, "pipeline \"p\"\nstage \"a\" { run \"true\"; }\n"), pipeline.Options{})
	if err != nil || run.Status != pipeline.Skipped || run.Reason != "untrusted" {
		t.Errorf("%s, %s: %s, %v", run.Status, run.Reason, run.Why, err)
	}
}

// SkipCI: a commit whose message asks for it makes a run that is skipped and says
// so, whatever its file holds.
func TestSkipCI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	trigger := push("main")
	trigger.Skip = "the commit's message asks for it: [skip ci]"
	byFile, err := w.service.StartFile(t.Context(), w.org, trigger, load(t, "pipeline \"p\"\nstage \"a\" { run \"true\"; }\n"), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	trigger.Subject = "other"
	unread, err := w.service.Start(t.Context(), w.org, trigger)
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range []pipeline.Run{byFile, unread} {
		if run.Status != pipeline.Skipped || run.Reason != "skip-ci" || run.Why != trigger.Skip {
			t.Errorf("%s, %s: %s", run.Status, run.Reason, run.Why)
		}
	}
}

func TestStartTwiceMakesOneRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := load(t, "pipeline \"p\"\nstage \"a\" { run \"true\"; }\n")
	first, err := w.service.StartFile(t.Context(), w.org, push("main"), file, pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := w.service.StartFile(t.Context(), w.org, push("main"), file, pipeline.Options{})
	if err != nil || second.ID != first.ID || second.Number != first.Number {
		t.Errorf("second = %s number %d, first %s number %d, %v", second.ID, second.Number, first.ID, first.Number, err)
	}
	expect(t, w.end(first), pipeline.Succeeded, "a succeeded")
}

func TestRetryOnlyListedExitCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	view := w.run(`pipeline "p"
stage "flaky" { retry 2 on="exit:7" backoff="1s"; run "test -e ` + dir + `/once || { touch ` + dir + `/once; exit 7; }"; }
stage "broken" { retry 2 on="exit:7" backoff="1s"; run "exit 8"; }
`)
	expect(t, view, pipeline.Failed, "flaky succeeded, broken failed")
	if view.Stages[0].Attempt != 2 || !view.Stages[0].Flaky || view.Stages[1].Attempt != 1 {
		t.Errorf("attempts: %d and %d", view.Stages[0].Attempt, view.Stages[1].Attempt)
	}
}

func TestNotAvailableIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	view := w.run(`pipeline "p"
stage "a" { service "postgres:16"; run "true"; }
`)
	if view.Status != pipeline.Errored || view.Reason != "not-available" || len(view.Problems) != 1 || view.Problems[0].Line != 2 {
		t.Errorf("%s, %s, %v", view.Status, view.Reason, view.Problems)
	}
	if err := view.Problem(); !problem.Is(err, problem.NotAvailable) {
		t.Errorf("problem = %v", err)
	}
}

func TestArtifactTravelsByFetchOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	view := w.run(`pipeline "p"
stage "make" { artifact "bin" path="out/*"; run "mkdir out && echo made > out/x"; }
stage "use" needs="make" { fetch "bin" to="in"; run "cat in/out/x"; }
stage "blind" needs="make" { run "test ! -e out"; }
`)
	expect(t, view, pipeline.Succeeded, "make succeeded, use succeeded, blind succeeded")
	if log := w.log(view.ID, view.Stages[1].Key); !endsWith(log, "made\n") {
		t.Errorf("use saw %q", log)
	}
	if len(view.Artifacts) != 1 || view.Artifacts[0].Files != 1 {
		t.Errorf("artifacts = %v", view.Artifacts)
	}
}

func endsWith(text, end string) bool {
	return len(text) >= len(end) && text[len(text)-len(end):] == end
}

func TestSecretIsMaskedAndForksGetNone(t *testing.T) {
	t.Parallel()
	file := `pipeline "p"
stage "a" { secret "TOKEN"; run "echo it is $TOKEN"; }
`
	w := newWorld(t)
	w.secrets["TOKEN"] = "hunter2-and-more"
	view := w.run(file)
	if log := w.log(view.ID, view.Stages[0].Key); log != "it is ***\n" {
		t.Errorf("log = %q", log)
	}
	fork := push("main")
	fork.Trust, fork.Subject = "untrusted", "7"
	run, err := w.service.StartFile(t.Context(), w.org, fork, load(t, file), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, w.end(run), pipeline.Errored, "a errored")
}

func TestBranchNameWithShellCodeIsHarmless(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	trigger := push("main; touch " + t.TempDir() + "/pwned; $(false)")
	run, err := w.service.StartFile(t.Context(), w.org, trigger, load(t, `pipeline "p"
stage "a" { env { B "${git.branch}"; }; run "printf %s \"$B\""; }
`), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	view := w.end(run)
	expect(t, view, pipeline.Succeeded, "a succeeded")
	if log := w.log(view.ID, view.Stages[0].Key); log != trigger.Branch {
		t.Errorf("log = %q", log)
	}
}
