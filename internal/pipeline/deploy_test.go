package pipeline_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/environment"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/problem"
)

func (w *world) environment(e environment.Environment) {
	w.t.Helper()
	if _, err := w.service.Environments.Create(w.t.Context(), w.org, e); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) releases(name string) []environment.Release {
	w.t.Helper()
	list, _, err := w.service.Environments.Releases(w.t.Context(), w.org, name, 100, "")
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

const deployFile = `pipeline "p"
stage "build" { run "true"; artifact "image" value="shop:$BUILDIT_SHORT_SHA"; }
stage "deploy" needs="build" { environment "production" url="https://shop.example.com/${git.short_sha}"; when branch="main"; }
stage "smoke" needs="deploy" { run "echo $BUILDIT_ENVIRONMENT $BUILDIT_ENVIRONMENT_URL"; }
`

func TestDeployRecordsTheRelease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.environment(environment.Environment{Name: "production", Branches: []string{"main"}})
	view := w.ends(w.startAs(commit("main", 1), deployFile).ID)
	expect(t, view, pipeline.Succeeded, "build succeeded, deploy succeeded, smoke succeeded")
	if st := view.Stages[1]; st.Why != "no application is linked: the release is recorded" || st.Environment != "production" {
		t.Errorf("%q, %q", st.Why, st.Environment)
	}
	if log := w.log(view.ID, view.Stages[2].Key); log != "production https://shop.example.com/000000000000\n" {
		t.Errorf("the stage below knows: %q", log)
	}
	second := w.ends(w.startAs(commit("main", 2), deployFile).ID)
	expect(t, w.ends(w.startAs(commit("feature", 2), deployFile).ID), pipeline.Succeeded, "build succeeded, deploy skipped condition, smoke skipped need-skipped")
	releases := w.releases("production")
	if len(releases) != 2 || releases[0].Run != string(second.ID) || releases[0].Number != 2 || releases[1].Number != 1 {
		t.Fatalf("%+v", releases)
	}
	if pins := releases[0].Artifacts; len(pins) != 1 || pins[0].Name != "image" || pins[0].Value != "shop:000000000000" {
		t.Errorf("pinned: %+v", pins)
	}
	w.nothingHeld("environment", "production")
}

func TestEnvironmentRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.environment(environment.Environment{Name: "production", Branches: []string{"main"}})
	file := func(name string) string {
		return fmt.Sprintf("pipeline \"p\"\non \"push\"\non \"pull-request\"\nstage \"a\" { environment %q; run \"true\"; }\nstage \"b\" { environment %q mode=\"use\"; run \"echo $BUILDIT_ENVIRONMENT\"; }\n", name, name)
	}
	pull := commit("", 1)
	pull.Event, pull.Subject, pull.Branch = "pull-request", "7", ""
	stranger := pull
	stranger.Subject, stranger.Fork, stranger.Trust = "8", true, "untrusted"
	for name, tt := range map[string]struct {
		trigger      pipeline.Trigger
		environment  string
		ends, reason string
	}{
		"as it should be": {commit("main", 1), "production", "a succeeded, b succeeded", "ok"},
		"another branch":  {commit("feature", 1), "production", "a errored, b errored", "environment-branch"},
		"no environment":  {commit("main", 2), "prodution", "a errored, b errored", "environment-missing"},
		"a pull request":  {pull, "production", "a skipped not-deployable, b errored", "not-deployable"},
		"a stranger":      {stranger, "production", "a skipped not-deployable, b errored", "not-deployable"},
	} {
		view := w.ends(w.startAs(tt.trigger, file(tt.environment)).ID)
		if got := statuses(view); got != tt.ends || view.Stages[0].Reason != tt.reason {
			t.Errorf("%s: %s, %s: %s", name, got, view.Stages[0].Reason, view.Stages[0].Why)
		}
		if name == "no environment" && !strings.Contains(view.Stages[0].Why, `did you mean "production"?`) {
			t.Errorf("%s: %s", name, view.Stages[0].Why)
		}
	}
	if list := w.releases("production"); len(list) != 1 {
		t.Errorf("%d releases, want that of the deployment alone", len(list))
	}
}

func TestEnvironmentWantsApproval(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newPeople(t, w)
	w.environment(environment.Environment{Name: "production", Approvers: []string{"deployer"}, Count: 1})
	dev, dana := p.person("dev", access.Developer), p.person("dana", access.Deployer)
	run := w.startAs(commit("main", 1), deployFile)
	st := w.gated(run.ID, 1).Stages[1]
	if len(st.Waits) != 1 || st.Waits[0].Kind != "approval" || !strings.Contains(st.Waits[0].Text, "environment production") {
		t.Errorf("%+v", st.Waits)
	}
	if _, err := w.service.Approve(t.Context(), dev, run.ID, "deploy", pipeline.Decision{}); !problem.Is(err, problem.Forbidden) {
		t.Errorf("whom the environment does not name approves: %v", err)
	}
	if _, err := w.service.Approve(t.Context(), dana, run.ID, "deploy", pipeline.Decision{}); err != nil {
		t.Fatal(err)
	}
	expect(t, w.ends(run.ID), pipeline.Succeeded, "build succeeded, deploy succeeded, smoke succeeded")
}

// Deployments of one environment take turns without being asked to, and an older run
// than the one that is deployed needs a person's word, given when that was known.
func TestOlderRunNeedsAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newPeople(t, w)
	dana := p.person("dana", access.Deployer)
	w.environment(environment.Environment{Name: "production"})
	text, open := doored(t, "", `description "x"`)
	slow := text + "stage \"deploy\" needs=\"a\" { environment \"production\"; run \"true\"; }\n"
	quick := "pipeline \"p\"\nstage \"a\" { run \"true\"; }\nstage \"deploy\" needs=\"a\" { environment \"production\"; run \"true\"; }\n"
	older := w.startAs(commit("main", 1), slow)
	newer := w.startAs(commit("main", 2), quick)
	expect(t, w.ends(newer.ID), pipeline.Succeeded, "a succeeded, deploy succeeded")
	open()
	st := w.gated(older.ID, 1).Stages[1]
	if len(st.Waits) != 1 || st.Waits[0].Kind != "older-commit" || !strings.Contains(st.Waits[0].Text, "older than what runs") {
		t.Fatalf("%+v", st.Waits)
	}
	if _, err := w.service.Approve(t.Context(), dana, older.ID, "deploy", pipeline.Decision{Comment: "roll back"}); err != nil {
		t.Fatal(err)
	}
	expect(t, w.ends(older.ID), pipeline.Succeeded, "a succeeded, deploy succeeded")
	if list := w.releases("production"); len(list) != 2 || list[0].Run != string(older.ID) {
		t.Errorf("%+v", list)
	}
}

// deploying is a file whose deployment takes until open is called.
func deploying(t *testing.T, head string) (text string, open func()) {
	t.Helper()
	return doored(t, head, `environment "production"`)
}

func TestCancelDuringDeployWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.environment(environment.Environment{Name: "production"})
	text, open := deploying(t, "")
	text += "stage \"after\" needs=\"a\" { run \"true\"; }\n"
	run := w.startAs(commit("main", 1), text)
	w.until(run.ID, "running", func(v pipeline.View) bool { return v.Stages[0].Status == pipeline.StageRunning })
	if _, err := w.service.Cancel(t.Context(), w.org, run.ID, "user", ""); err != nil {
		t.Fatal(err)
	}
	view := w.until(run.ID, "after canceled", func(v pipeline.View) bool { return v.Stages[1].Status == pipeline.StageCanceled })
	if view.Status != pipeline.Canceling || view.Stages[0].Status != pipeline.StageRunning {
		t.Errorf("the run is %s, its deployment %s", view.Status, view.Stages[0].Status)
	}
	said := w.until(run.ID, "a notice", func(v pipeline.View) bool { return len(v.Stages[0].Notices) > 0 })
	if said.Stages[0].Notices[0].Code != "cancel-waits" {
		t.Errorf("%+v", said.Stages[0].Notices)
	}
	open()
	expect(t, w.ends(run.ID), pipeline.Canceled, "a succeeded, after canceled")
	if len(w.releases("production")) != 1 {
		t.Error("what was deployed is not on record")
	}
}

func TestForcedCancelStopsADeployment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.environment(environment.Environment{Name: "production"})
	text, _ := deploying(t, "")
	run := w.startAs(commit("main", 1), text)
	w.until(run.ID, "running", func(v pipeline.View) bool { return v.Stages[0].Status == pipeline.StageRunning })
	if _, err := w.service.Cancel(t.Context(), w.org, run.ID, "user", ""); err != nil {
		t.Fatal(err)
	}
	w.until(run.ID, "a notice", func(v pipeline.View) bool { return len(v.Stages[0].Notices) > 0 })
	if _, err := w.service.ForceCancel(t.Context(), w.org, run.ID, "user", ""); err != nil {
		t.Fatal(err)
	}
	expect(t, w.ends(run.ID), pipeline.Canceled, "a canceled")
	w.nothingHeld("environment", "production")
}

func TestNewerRunWaitsForDeploy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.environment(environment.Environment{Name: "production"})
	text, open := deploying(t, `concurrency "main" mode="cancel-older"`)
	first := w.startAs(commit("main", 1), text)
	w.until(first.ID, "running", func(v pipeline.View) bool { return v.Stages[0].Status == pipeline.StageRunning })
	second := w.startAs(commit("main", 2), text)
	third := w.startAs(commit("main", 3), text)
	if view := w.ends(second.ID); view.Status != pipeline.Canceled || view.Reason != "superseded" {
		t.Errorf("an older run that waits is %s", view.Status)
	}
	if view := w.view(first.ID); view.Status != pipeline.Running {
		t.Errorf("a run with a deployment that has begun is %s", view.Status)
	}
	open()
	expect(t, w.ends(first.ID), pipeline.Succeeded, "a succeeded")
	expect(t, w.ends(third.ID), pipeline.Succeeded, "a succeeded")
}

// The seed's file, but for docker, which this machine may lack.
func TestSeedPipelineWithoutDocker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.environment(environment.Environment{Name: "production"})
	text, err := os.ReadFile("testdata/seed-without-docker.kdl")
	if err != nil {
		t.Fatal(err)
	}
	view := w.ends(w.startAs(commit("main", 1), string(text)).ID)
	expect(t, view, pipeline.Succeeded, "test succeeded, build succeeded, deploy succeeded")
	if list := w.releases("production"); len(list) != 1 || len(list[0].Artifacts) != 1 || !strings.HasPrefix(list[0].Artifacts[0].Value, "buildit.local/shop:") {
		t.Errorf("%+v", list)
	}
}
