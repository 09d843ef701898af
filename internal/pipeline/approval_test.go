package pipeline_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/problem"
)

// people are tokens of the organization, whose rights the service asks for again.
type people struct {
	t     *testing.T
	w     *world
	creds *access.Credentials
}

func newPeople(t *testing.T, w *world) people {
	creds := access.NewCredentials(w.home.Table, w.home.Keys, w.home.Clock, w.home.IDs)
	w.service.Rights = creds.Again
	return people{t, w, creds}
}

// person makes a token and answers whose it is.
func (p people) person(name, role string) access.Caller {
	p.t.Helper()
	_, token, err := p.creds.Issue(p.t.Context(), p.w.org, access.Token{Name: name, Role: role})
	if err != nil {
		p.t.Fatal(err)
	}
	caller, err := p.creds.Again(p.t.Context(), p.w.org, access.KindToken+"/"+token.ID)
	if err != nil {
		p.t.Fatal(err)
	}
	return caller
}

func (p people) leaves(who access.Caller) {
	p.t.Helper()
	if err := p.creds.Revoke(p.t.Context(), p.w.org, strings.TrimPrefix(who.Principal(), access.KindToken+"/")); err != nil {
		p.t.Fatal(err)
	}
}

func (w *world) gated(run pipeline.RunID, stage int) pipeline.View {
	w.t.Helper()
	return w.until(run, "gated", func(v pipeline.View) bool { return v.Stages[stage].Status == pipeline.StageGated })
}

const approvedFile = `pipeline "p"
param "to" default="staging"
stage "build" { run "true"; }
stage "ship" needs="build" { approval "lead" "deployer" count=2 message="Ship ${git.sha}?"; run "true"; }
stage "after" needs="ship" { run "true"; }
`

func TestApprovalOfTwoPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newPeople(t, w)
	lead, dana, dora, dev := p.person("lead", access.Developer), p.person("dana", access.Deployer), p.person("dora", access.Admin), p.person("dev", access.Developer)
	run := w.startAs(commit("main", 1), approvedFile)
	if a := w.view(run.ID).Stages[1].Approval; a == nil || a.Count != 2 || len(a.Who) != 2 || !strings.HasPrefix(a.Message, "Ship 000") {
		t.Errorf("from the beginning on the stage says: %+v", a)
	}
	view := w.gated(run.ID, 1)
	st := view.Stages[1]
	if st.Reason != "approval" || len(st.Waits) != 1 || st.Waits[0].Kind != "approval" || view.Status != pipeline.Running || st.Approval.Expires.IsZero() {
		t.Errorf("%s, %+v", st.Reason, st.Waits)
	}
	refused := func(who access.Caller, d pipeline.Decision, kind problem.Kind) {
		t.Helper()
		if _, err := w.service.Approve(t.Context(), who, run.ID, "ship", d); !problem.Is(err, kind) {
			t.Errorf("%s approved: %v", who.Name, err)
		}
	}
	refused(dev, pipeline.Decision{}, problem.Forbidden)
	refused(lead, pipeline.Decision{Commit: "ffff"}, problem.Conflict)
	refused(lead, pipeline.Decision{Digest: "ffff"}, problem.Conflict)
	refused(lead, pipeline.Decision{Comment: strings.Repeat("x", 2000)}, problem.Invalid)
	if _, err := w.service.Approve(t.Context(), lead, run.ID, "shop", pipeline.Decision{}); !problem.Is(err, problem.NotFound) || !strings.Contains(err.Error(), `"ship"`) {
		t.Errorf("of a stage that there is not: %v", err)
	}
	for range 2 { // twice is once
		st, err := w.service.Approve(t.Context(), lead, run.ID, "ship", pipeline.Decision{Comment: "fine", Digest: st.Approval.Digest})
		if err != nil || st.Status != pipeline.StageGated || len(st.Approval.Votes) != 1 || !st.Approval.Votes[0].Counts {
			t.Fatalf("%s, %+v, %v", st.Status, st.Approval, err)
		}
	}
	if _, err := w.service.Approve(t.Context(), dora, run.ID, string(st.Key), pipeline.Decision{}); err != nil {
		t.Fatal(err)
	}
	expect(t, w.ends(run.ID), pipeline.Succeeded, "build succeeded, ship succeeded, after succeeded")
	if _, err := w.service.Approve(t.Context(), dana, run.ID, "ship", pipeline.Decision{}); !problem.Is(err, problem.Conflict) {
		t.Errorf("an approval that came too late: %v", err)
	}
}

func TestApprovalByAuthorRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newPeople(t, w)
	file := "pipeline \"p\"\nstage \"ship\" { approval; run \"true\"; }\nstage \"own\" { approval self=true; }\nstage \"any\" manual=true { run \"true\"; }\n"
	trigger := commit("main", 1)
	trigger.Actor, trigger.Author = "ann", "Bob B <bob@example.com>"
	run := w.startAs(trigger, file)
	w.gated(run.ID, 0)
	w.gated(run.ID, 1)
	w.gated(run.ID, 2)
	for _, name := range []string{"Ann", "bob@example.com", "Bob B"} {
		who := p.person(name, access.Owner)
		if _, err := w.service.Approve(t.Context(), who, run.ID, "ship", pipeline.Decision{}); !problem.Is(err, problem.Forbidden) || !strings.Contains(err.Error(), "somebody else") {
			t.Errorf("%s: %v", name, err)
		}
	}
	ann := p.person("ann", access.Developer)
	for _, stage := range []string{"own", "any"} {
		if _, err := w.service.Approve(t.Context(), ann, run.ID, stage, pipeline.Decision{}); err != nil {
			t.Errorf("%s: %v", stage, err)
		}
	}
	if _, err := w.service.Approve(t.Context(), p.person("cleo", access.Developer), run.ID, "ship", pipeline.Decision{}); err != nil {
		t.Error(err)
	}
	view := w.ends(run.ID)
	expect(t, view, pipeline.Succeeded, "ship succeeded, own succeeded, any succeeded")
	if view.Stages[1].Attempt != 0 || view.Stages[1].Why != "it was approved" {
		t.Errorf("a stage that is only an approval: attempt %d, %s", view.Stages[1].Attempt, view.Stages[1].Why)
	}
}

func TestApprovalVoidAfterNewCommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newPeople(t, w)
	file := "pipeline \"p\"\nstage \"ship\" { approval count=2; run \"true\"; }\n"
	cleo, dan := p.person("cleo", access.Developer), p.person("dan", access.Developer)
	old := w.startAs(commit("main", 1), file)
	digest := w.gated(old.ID, 0).Stages[0].Approval.Digest
	if _, err := w.service.Approve(t.Context(), cleo, old.ID, "ship", pipeline.Decision{}); err != nil {
		t.Fatal(err)
	}
	run := w.startAs(commit("main", 2), file)
	st := w.gated(run.ID, 0).Stages[0]
	if len(st.Approval.Votes) != 0 || st.Approval.Digest == digest {
		t.Errorf("the new commit is approved already: %+v", st.Approval)
	}
	if _, err := w.service.Approve(t.Context(), dan, run.ID, "ship", pipeline.Decision{Digest: digest}); !problem.Is(err, problem.Conflict) {
		t.Errorf("what was asked about the old commit counts for the new one: %v", err)
	}
	if _, err := w.service.Approve(t.Context(), dan, run.ID, "ship", pipeline.Decision{}); err != nil {
		t.Fatal(err)
	}
	if st := w.view(run.ID).Stages[0]; st.Status != pipeline.StageGated {
		t.Errorf("one of two approvals was of the old commit, and the stage is %s", st.Status)
	}
}

func TestApproverLostRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newPeople(t, w)
	file := "pipeline \"p\"\nstage \"ship\" { approval count=2; run \"true\"; }\n"
	cleo, dan, eve := p.person("cleo", access.Developer), p.person("dan", access.Developer), p.person("eve", access.Developer)
	run := w.startAs(commit("main", 1), file)
	w.gated(run.ID, 0)
	if _, err := w.service.Approve(t.Context(), cleo, run.ID, "ship", pipeline.Decision{}); err != nil {
		t.Fatal(err)
	}
	p.leaves(cleo)
	st, err := w.service.Approve(t.Context(), dan, run.ID, "ship", pipeline.Decision{})
	if err != nil || st.Status != pipeline.StageGated || len(st.Approval.Votes) != 2 {
		t.Fatalf("%s, %+v, %v", st.Status, st.Approval, err)
	}
	counting := 0
	for _, v := range st.Approval.Votes {
		if v.Counts {
			counting++
		}
	}
	if counting != 1 {
		t.Errorf("%d votes count, want 1", counting)
	}
	if _, err := w.service.Approve(t.Context(), eve, run.ID, "ship", pipeline.Decision{}); err != nil {
		t.Fatal(err)
	}
	expect(t, w.ends(run.ID), pipeline.Succeeded, "ship succeeded")
}

func TestReject(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newPeople(t, w)
	file := "pipeline \"p\"\nstage \"ship\" { approval \"lead\"; run \"true\"; }\nstage \"other\" { approval \"lead\"; run \"true\"; }\nstage \"after\" needs=\"ship\" { run \"true\"; }\n"
	lead, dev := p.person("lead", access.Developer), p.person("dev", access.Developer)
	run := w.startAs(commit("main", 1), file)
	w.gated(run.ID, 0)
	w.gated(run.ID, 1)
	if _, err := w.service.Reject(t.Context(), dev, run.ID, "ship", pipeline.Decision{}); !problem.Is(err, problem.Forbidden) {
		t.Errorf("anybody rejects: %v", err)
	}
	if _, err := w.service.Reject(t.Context(), lead, run.ID, "ship", pipeline.Decision{Comment: "not today"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.service.Reject(t.Context(), lead, run.ID, "other", pipeline.Decision{Skip: true}); err != nil {
		t.Fatal(err)
	}
	view := w.ends(run.ID)
	expect(t, view, pipeline.Failed, "ship failed, other skipped approval-rejected, after skipped need-failed")
	if st := view.Stages[0]; st.Reason != "approval-rejected" || st.Why != "rejected by lead: not today" {
		t.Errorf("%s: %s", st.Reason, st.Why)
	}
}

// A gate that nobody opens in time closes the stage; the time is the file's.
func TestApprovalExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		run := w.startAs(commit("main", 1), "pipeline \"p\"\nstage \"ship\" { approval timeout=\"2h\"; run \"true\"; }\n")
		w.gated(run.ID, 0)
		time.Sleep(2*time.Hour - time.Minute)
		if err := w.service.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		if st := w.view(run.ID).Stages[0]; st.Status != pipeline.StageGated {
			t.Errorf("before its time the stage is %s", st.Status)
		}
		time.Sleep(2 * time.Minute)
		if err := w.service.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		view := w.ends(run.ID)
		if st := view.Stages[0]; st.Status != pipeline.StageTimedOut || st.Reason != "approval-expired" {
			t.Errorf("%s, %s: %s", st.Status, st.Reason, st.Why)
		}
	})
}

// A stranger's run is held as a whole, until somebody approves exactly its commit.
func TestHeldRunWaitsForAPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := newPeople(t, w)
	dev, deployer := p.person("dev", access.Developer), p.person("dana", access.Deployer)
	fork := func(n int) pipeline.Trigger {
		fork := commit("main", n)
		fork.Event, fork.Subject, fork.Fork, fork.Trust, fork.Hold = "pull-request", "7", true, "untrusted", pipeline.HoldFork
		return fork
	}
	file := "pipeline \"p\"\non \"pull-request\"\nstage \"a\" { run \"true\"; }\n"
	run, other := w.startAs(fork(1), file), w.startAs(fork(2), file)
	if view := w.view(run.ID); view.Status != pipeline.Queued || len(view.Waits) != 1 || view.Waits[0].Kind != "fork-approval" {
		t.Fatalf("%s, %+v", view.Status, view.Waits)
	}
	if _, err := w.service.ApproveRun(t.Context(), dev, run.ID, pipeline.Decision{}); !problem.Is(err, problem.Forbidden) {
		t.Errorf("a developer lets a stranger's commit run: %v", err)
	}
	if _, err := w.service.ApproveRun(t.Context(), deployer, run.ID, pipeline.Decision{Commit: other.Commit}); !problem.Is(err, problem.Conflict) {
		t.Errorf("an approval of another commit: %v", err)
	}
	if _, err := w.service.ApproveRun(t.Context(), deployer, run.ID, pipeline.Decision{Commit: run.Commit}); err != nil {
		t.Fatal(err)
	}
	expect(t, w.ends(run.ID), pipeline.Succeeded, "a succeeded")
	if _, err := w.service.RejectRun(t.Context(), deployer, other.ID, pipeline.Decision{}); err != nil {
		t.Fatal(err)
	}
	expect(t, w.ends(other.ID), pipeline.Canceled, "a canceled")
}
