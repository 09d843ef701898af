package repository_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/fault"
	"github.com/buildit-dev/buildit/internal/repository"
	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

const null = "0000000000000000000000000000000000000000"

// Connecting says what there is and starts nothing, whatever comes later for what
// was there before.
func TestConnectingProposes(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.GitHub)
	if c.Scan == nil || len(c.Scan.Findings) != 1 || c.Scan.Findings[0].Path != ".buildit.kdl" || c.Repository.DefaultBranch != "main" {
		t.Errorf("%+v", c)
	}
	head := w.Git("rev-parse", "HEAD")
	h.deliver(c, c.Webhook.Secret, "d1", "push", pushBody("shop", "refs/heads/main", null, head))
	h.settle()
	if _, err := h.svc.Reconcile(t.Context(), acme, "shop", ""); err != nil {
		t.Fatal(err)
	}
	h.want()
	if d := h.deliveries(c)["d1"]; d.Status != repository.Handled || !strings.Contains(d.Note, "before the repository was connected") {
		t.Errorf("%+v", d)
	}
	if _, err := h.svc.Connect(t.Context(), acme, repository.ConnectRequest{URL: w.URL}); err == nil || !strings.Contains(err.Error(), "another name") {
		t.Errorf("a second repository of that name: %v", err)
	}
}

func TestPipelinesRunOnceConfirmed(t *testing.T) {
	h := open(t)
	w := h.server.New(t, "shop")
	w.Commit("first", ".buildit.kdl", onePipeline)
	w.Push()
	if _, err := h.svc.Connect(t.Context(), acme, repository.ConnectRequest{URL: w.URL}); err != nil {
		t.Fatal(err)
	}
	w.Commit("before", "a", "1")
	w.Push()
	h.reconcile("shop")
	h.want()
	if _, err := h.svc.Confirm(t.Context(), acme, "shop", true); err != nil {
		t.Fatal(err)
	}
	h.reconcile("shop")
	h.want()
	after := w.Commit("after", "a", "2")
	w.Push()
	h.reconcile("shop")
	h.want(run("push", "main", after, 3))
}

func (h *house) reconcile(name string) repository.Looked {
	h.t.Helper()
	out, err := h.svc.Reconcile(h.t.Context(), acme, name, "found by reconciliation")
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

// T3: one delivery, any number of times, under any number of ids, is one run, and
// a repeat of an id writes nothing.
func TestDuplicateDelivery(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.GitHub)
	before := w.Git("rev-parse", "HEAD")
	after := w.Commit("two", "a", "1")
	w.Push()
	body := pushBody("shop", "refs/heads/main", before, after)
	h.deliver(c, c.Webhook.Secret, "d0", "push", body)
	writes := h.writes()
	for range 1000 {
		if code := h.deliver(c, c.Webhook.Secret, "d0", "push", body); code != http.StatusAccepted {
			t.Fatal(code)
		}
	}
	if again := h.writes(); again != writes {
		t.Errorf("duplicates wrote %d times", again-writes)
	}
	for i := range 5 {
		h.deliver(c, c.Webhook.Secret, fmt.Sprintf("d%d", i), "push", body)
		h.settle()
	}
	got := h.want(run("push", "main", after, 2))[0]
	if got.Trust != "trusted" || got.Actor != "ann" || !slices.Equal(got.Changed, []string{"a"}) || !got.FilesKnown || got.Message != "two\n" {
		t.Errorf("%+v", got)
	}
}

// F2: pushes whose deliveries come in any order make a run for the head, and for
// each head of the default branch that the move went over, once.
func TestDeliveriesShuffled(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.GitHub)
	last := w.Git("rev-parse", "HEAD")
	var bodies []object
	var commits []string
	for i := range 4 {
		next := w.Commit(fmt.Sprint("n", i), "a", fmt.Sprint(i))
		bodies = append(bodies, pushBody("shop", "refs/heads/main", last, next))
		commits = append(commits, next)
		last = next
	}
	w.Push()
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(bodies), func(i, j int) { bodies[i], bodies[j] = bodies[j], bodies[i] })
	for round := range 3 {
		for i, body := range bodies {
			h.deliver(c, c.Webhook.Secret, fmt.Sprintf("d%d-%d", round, i), "push", body)
			h.settle()
		}
	}
	seen := map[string]int{}
	for _, r := range h.runs.triggers() {
		if r.Generation != 2 {
			t.Errorf("%s has generation %d", r.Commit, r.Generation)
		}
		seen[r.Commit]++
	}
	for _, commit := range commits {
		if seen[commit] != 1 {
			t.Errorf("%s has %d runs", commit, seen[commit])
		}
	}
}

// main at A, then B, then forced back to A makes three runs, and a delivery of the
// past that is replayed then makes none.
func TestGenerationAfterForcePushBack(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.GitHub)
	first := w.Git("rev-parse", "HEAD")
	a := w.Commit("a", "a", "1")
	w.Push()
	h.deliver(c, c.Webhook.Secret, "d1", "push", pushBody("shop", "refs/heads/main", first, a))
	h.settle()
	b := w.Commit("b", "a", "2")
	w.Push()
	h.deliver(c, c.Webhook.Secret, "d2", "push", pushBody("shop", "refs/heads/main", a, b))
	h.settle()
	w.Git("reset", "--quiet", "--hard", a)
	w.Push()
	h.deliver(c, c.Webhook.Secret, "d3", "push", pushBody("shop", "refs/heads/main", b, a))
	h.settle()
	want := []string{run("push", "main", a, 2), run("push", "main", b, 3), run("push", "main", a, 4)}
	forced := h.want(want...)[2]
	if forced.FilesKnown || !strings.Contains(forced.Why, "forced push") {
		t.Errorf("changed files after a forced push: %v, %q", forced.Changed, forced.Why)
	}
	for i, old := range []object{pushBody("shop", "refs/heads/main", first, a), pushBody("shop", "refs/heads/main", a, b), pushBody("shop", "refs/heads/main", b, a)} {
		h.deliver(c, c.Webhook.Secret, fmt.Sprint("replay", i), "push", old)
		h.settle()
	}
	h.want(want...)
}

func TestTwoFindersOfOneHead(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.GitHub)
	after := w.Commit("two", "a", "1")
	w.Push()
	for i := range 8 {
		h.deliver(c, c.Webhook.Secret, fmt.Sprint("d", i), "push", pushBody("shop", "refs/heads/main", null, after))
	}
	h.feed()
	messages, err := h.home.Queues.Receive(t.Context(), repository.Queue, 10, 0, time.Minute)
	if err != nil || len(messages) != 8 {
		t.Fatal(len(messages), err)
	}
	var group sync.WaitGroup
	for _, m := range messages {
		group.Go(func() {
			if err := h.svc.HandleMessage(t.Context(), m.Body); err != nil {
				t.Error(err)
			}
		})
		group.Go(func() { h.reconcile("shop") })
	}
	group.Wait()
	h.want(run("push", "main", after, 2))
}

// What was acknowledged reaches the queue though nobody fed it at the time, and
// what the feed brings twice is done once.
func TestDeliveryStoredButNotQueued(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.GitHub)
	after := w.Commit("two", "a", "1")
	w.Push()
	h.deliver(c, c.Webhook.Secret, "d1", "push", pushBody("shop", "refs/heads/main", null, after))
	h.serve(h.home) // the process that took it is gone
	h.settle()
	h.want(run("push", "main", after, 2))
	if d := h.deliveries(c)["d1"]; d.Status != repository.Handled || len(d.Runs) != 1 {
		t.Errorf("%+v", d)
	}
}

func pullBody(action string, number int, head, branch string, fork bool) object {
	from := 1004
	if fork {
		from = 2
	}
	return object{
		"action": action, "number": number, "repository": object{"id": 1004, "full_name": "shop"}, "sender": object{"login": "bob"},
		"pull_request": object{"head": object{"sha": head, "ref": branch, "repo": object{"id": from}}, "base": object{"sha": null, "ref": "main", "repo": object{"id": 1004}}},
	}
}

// synchronize that comes after closed starts nothing; reopened does.
func TestSynchronizeAfterClosed(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.GitHub)
	w.Git("checkout", "--quiet", "-b", "topic")
	one := w.Commit("one", "a", "1")
	w.Push("topic:refs/pull/7/head")
	send := func(id, action, head string) {
		h.deliver(c, c.Webhook.Secret, id, "pull_request", pullBody(action, 7, head, "topic", true))
		h.settle()
	}
	send("d1", "opened", one)
	h.want(run("pull-request", "7", one, 1))
	two := w.Commit("two", "a", "2")
	w.Push("topic:refs/pull/7/head")
	send("d2", "closed", two)
	send("d3", "synchronize", two)
	h.reconcile("shop")
	h.want(run("pull-request", "7", one, 1))
	if d := h.deliveries(c)["d3"]; !strings.Contains(d.Note, "closed") {
		t.Errorf("%+v", d)
	}
	send("d4", "reopened", two)
	h.want(run("pull-request", "7", one, 1), run("pull-request", "7", two, 2))
}

// A pull request is trusted only where git shows its head on a branch of the
// repository itself: an event that claims so for a fork gains nothing.
func TestTrustOfPullRequests(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.GitHub)
	base := w.Git("rev-parse", "HEAD")
	w.Git("checkout", "--quiet", "-b", "topic")
	head := w.Commit("one", "a", "1")
	w.Push("topic:refs/pull/7/head", "topic")
	stranger := w.Commit("two", "b", "1")
	w.Push("topic:refs/pull/8/head", "topic:refs/pull/9/head")
	h.deliver(c, c.Webhook.Secret, "d1", "pull_request", pullBody("opened", 7, head, "topic", false))
	h.deliver(c, c.Webhook.Secret, "d2", "pull_request", pullBody("opened", 8, stranger, "topic", false))
	h.deliver(c, c.Webhook.Secret, "d3", "pull_request", pullBody("opened", 9, stranger, "main", true))
	h.settle()
	trust := map[string]string{}
	for _, r := range h.runs.triggers() {
		trust[r.Subject] = r.Trust
		if r.Branch != "" || r.Base != "main" || r.BaseSHA != base {
			t.Errorf("%+v", r)
		}
	}
	if fmt.Sprint(trust) != "map[7:trusted 8:untrusted 9:untrusted]" {
		t.Error(trust)
	}
	for _, r := range h.runs.triggers() {
		if r.Subject == "8" && !slices.Equal(r.Changed, []string{"a", "b"}) {
			t.Errorf("changed %v", r.Changed)
		}
	}
}

func TestBranchDeletedWhileQueued(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.GitHub)
	w.Git("checkout", "--quiet", "-b", "topic")
	head := w.Commit("one", "a", "1")
	w.Push("topic")
	h.deliver(c, c.Webhook.Secret, "d1", "push", pushBody("shop", "refs/heads/topic", null, head))
	h.settle()
	w.Git("push", "--quiet", "origin", ":topic")
	h.deliver(c, c.Webhook.Secret, "d2", "push", pushBody("shop", "refs/heads/topic", head, null))
	h.settle()
	h.want(run("push", "topic", head, 1))
	if !slices.Equal(h.runs.canceled, []string{"refs/heads/topic"}) {
		t.Errorf("canceled %v", h.runs.canceled)
	}
	w.Push("topic") // it comes back at the same commit: another generation
	h.reconcile("shop")
	h.want(run("push", "topic", head, 1), run("push", "topic", head, 3))
}

// GitHub sends nothing for more than three tags in one push: the reconciler finds
// them. Annotated tags run the commit that they name.
func TestFourTagsInOnePush(t *testing.T) {
	h := open(t)
	w, _ := h.connect("shop", repository.GitHub)
	head := w.Git("rev-parse", "HEAD")
	for _, tag := range []string{"v1", "v2", "v3"} {
		w.Git("tag", tag)
	}
	w.Git("tag", "-a", "v4", "-m", "four")
	w.Push("v1", "v2", "v3", "v4")
	out := h.reconcile("shop")
	all := h.want(run("tag", "v1", head, 1), run("tag", "v2", head, 1), run("tag", "v3", head, 1), run("tag", "v4", head, 1))
	if out.Refs != 4 || all[3].Tag != "v4" || all[3].FilesKnown || all[3].Why != "found by reconciliation" {
		t.Errorf("%+v %+v", out, all[3])
	}
	h.reconcile("shop")
	h.want(run("tag", "v1", head, 1), run("tag", "v2", head, 1), run("tag", "v3", head, 1), run("tag", "v4", head, 1))
}

// Bitbucket drops what is above 256 KB: the reconciler finds the push, marked so,
// when its time has come and not before.
func TestPushOf300KBOnBitbucket(t *testing.T) {
	h := open(t)
	w, _ := h.connect("shop", repository.Bitbucket)
	head := w.Commit("large", "a", strings.Repeat("x", 300<<10))
	w.Push()
	if err := h.svc.ReconcileDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.want()
	h.clock.Advance(3 * time.Minute)
	if err := h.svc.ReconcileDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := h.want(run("push", "main", head, 2))[0]; got.Why != "found by reconciliation" {
		t.Errorf("why %q", got.Why)
	}
	if err := h.svc.ReconcileDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.want(run("push", "main", head, 2))
}

// Several changes in one delivery of Bitbucket are several triggers.
func TestSeveralChangesInOneDelivery(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.Bitbucket)
	head := w.Commit("one", "a", "1")
	w.Git("tag", "v1")
	w.Push("main", "v1", "main:topic")
	target := object{"hash": head}
	h.deliver(c, c.Webhook.Secret, "d1", "repo:push", object{
		"repository": object{"uuid": "1004", "full_name": "shop"},
		"push": object{"changes": []object{
			{"new": object{"type": "branch", "name": "main", "target": target}},
			{"new": object{"type": "tag", "name": "v1", "target": target}},
			{"new": object{"type": "branch", "name": "topic", "target": target}},
			{"new": object{"type": "branch", "name": "../../x", "target": target}},
		}},
	})
	h.settle()
	h.want(run("push", "main", head, 2), run("tag", "v1", head, 1), run("push", "topic", head, 1))
}

func TestSkipCI(t *testing.T) {
	h := open(t)
	w, _ := h.connect("shop", repository.Plain)
	for _, message := range []string{"docs [skip ci]", "docs [ci skip]", "docs"} {
		w.Commit(message, "a", message)
		w.Push()
		h.reconcile("shop")
	}
	w.Commit("release [skip ci]", "a", "tag")
	w.Git("tag", "v1")
	w.Push("v1")
	h.reconcile("shop")
	var skipped []bool
	for _, r := range h.runs.triggers() {
		skipped = append(skipped, r.Skip != "")
	}
	if !slices.Equal(skipped, []bool{true, true, false, false}) {
		t.Error(skipped)
	}
}

// A new branch is compared with where it left the default branch.
func TestNewBranchDiffsToMergeBase(t *testing.T) {
	h := open(t)
	w, _ := h.connect("shop", repository.Plain)
	w.Git("checkout", "--quiet", "-b", "topic")
	w.Commit("one", "topic/a", "1")
	w.Commit("two", "topic/b", "1")
	w.Git("checkout", "--quiet", "main")
	w.Commit("elsewhere", "main", "1")
	w.Push("main", "topic")
	h.reconcile("shop")
	for _, r := range h.runs.triggers() {
		if want := map[string][]string{"main": {"main"}, "topic": {"topic/a", "topic/b"}}[r.Branch]; !r.FilesKnown || !slices.Equal(r.Changed, want) {
			t.Errorf("%s: %v %q", r.Branch, r.Changed, r.Why)
		}
	}
}

// A repository that is renamed keeps its id, by which deliveries are matched.
func TestRepositoryRenamedMidRun(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.GitHub)
	after := w.Commit("two", "a", "1")
	w.Push()
	body := pushBody("shop", "refs/heads/main", null, after)
	body["repository"] = object{"id": 1004, "full_name": "new-owner/new-name"}
	if code := h.deliver(c, c.Webhook.Secret, "d1", "push", body); code != http.StatusAccepted {
		t.Fatal(code)
	}
	h.settle()
	h.want(run("push", "main", after, 2))
}

// F34: a remote that is gone changes the repository's status and banner, and
// nothing that was fetched; when it is back, what was missed is found.
func TestRepositoryGoneMidRun(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.GitHub)
	one := w.Commit("one", "a", "1")
	w.Push()
	h.reconcile("shop")
	moved := w.Bare + ".away"
	if err := os.Rename(w.Bare, moved); err != nil {
		t.Fatal(err)
	}
	if out := h.reconcile("shop"); out.Status != repository.Gone || !strings.Contains(out.Banner, "There is no git repository") {
		t.Errorf("%+v", out)
	}
	h.deliver(c, c.Webhook.Secret, "d1", "push", pushBody("shop", "refs/heads/main", one, one))
	if err := h.trySettle(); err == nil {
		t.Error("a delivery that cannot be handled now comes again")
	}
	source := h.want(run("push", "main", one, 2))[0].Source
	if _, err := h.home.Blobs.Stat(t.Context(), acme.Blob(source[0], source[1:]...)); err != nil {
		t.Error(err)
	}
	if err := os.Rename(moved, w.Bare); err != nil {
		t.Fatal(err)
	}
	two := w.Commit("two", "a", "2")
	w.Push()
	if out := h.reconcile("shop"); out.Status != repository.Active || out.Banner != "" {
		t.Errorf("%+v", out)
	}
	h.want(run("push", "main", one, 2), run("push", "main", two, 3))
}

// F3: all deliveries of half an hour are lost, and every head is found.
func TestEveryDeliveryLost(t *testing.T) {
	h := open(t)
	w, _ := h.connect("shop", repository.GitHub)
	var want []string
	for i := range 3 {
		head := w.Commit(fmt.Sprint(i), "a", fmt.Sprint(i))
		w.Push()
		h.clock.Advance(3 * time.Minute)
		if err := h.svc.ReconcileDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		want = append(want, run("push", "main", head, i+2))
	}
	h.want(want...)
}

// F5: whichever call of a port fails, before or after it was done, the repeat ends
// in the same run, and in one.
func TestNthCallFails(t *testing.T) {
	server := gittest.Start(t, gittest.Options{})
	w := server.New(t, "shop")
	before := w.Commit("first", ".buildit.kdl", onePipeline)
	after := w.Commit("two", "a", "1")
	w.Push()
	for _, phase := range []fault.Phase{fault.Before, fault.After} {
		for n := 1; ; n++ {
			nth := fault.At(n, phase, platform.ErrThrottled)
			failOnce(t, server, w, before, after, nth)
			if !nth.Fired() {
				if n < 10 {
					t.Fatalf("only %d calls were made", n)
				}
				break
			}
		}
	}
}

// failOnce connects at before, pushes after, and handles its delivery on ports of
// which one call fails.
func failOnce(t *testing.T, server *gittest.Server, w *gittest.Tree, before, after string, nth *fault.Nth) {
	h := openOn(t, server)
	w.Git("-C", w.Bare, "update-ref", "refs/heads/main", before)
	c, err := h.svc.Connect(t.Context(), acme, repository.ConnectRequest{URL: w.URL, Provider: repository.GitHub, ProviderID: providerID("shop"), RunPipelines: true})
	if err != nil {
		t.Fatal(err)
	}
	w.Git("-C", w.Bare, "update-ref", "refs/heads/main", after)
	broken := h.home
	broken.Table = fault.Table(h.home.Table, nth.Plan)
	broken.Blobs = fault.Blobs(h.home.Blobs, nth.Plan)
	broken.Queues = fault.Queues(h.home.Queues, nth.Plan)
	h.serve(broken)
	body := pushBody("shop", "refs/heads/main", before, after)
	if code := h.deliver(c, c.Webhook.Secret, "d1", "push", body); code != http.StatusAccepted {
		h.deliver(c, c.Webhook.Secret, "d1", "push", body) // the provider sends it again
	}
	if err := h.trySettle(); err != nil {
		h.clock.Advance(2 * time.Minute) // its visibility is over
		h.settle()
	}
	h.serve(h.home)
	h.want(run("push", "main", after, 2))
	if d := h.deliveries(c)["d1"]; d.Status != repository.Handled {
		t.Fatalf("%+v", d)
	}
}

func TestLocalRepository(t *testing.T) {
	h := open(t)
	w := h.server.New(t, "local")
	w.Commit("one", ".buildit.kdl", onePipeline, ".buildit/nightly.kdl", onePipeline)
	w.Push()
	if _, err := h.svc.Connect(t.Context(), acme, repository.ConnectRequest{URL: "file://" + w.Bare, RunPipelines: true}); err != nil {
		t.Fatal(err)
	}
	head := w.Commit("two", "a", "1")
	w.Push()
	h.reconcile("local")
	all := h.want(run("push", "main", head, 2), run("push", "main", head, 2))
	if all[0].File != ".buildit.kdl" || all[1].File != ".buildit/nightly.kdl" {
		t.Error(all[0].File, all[1].File)
	}
}

// A trigger stays small, whatever the commit holds: it travels through queues.
func TestTriggerIsAReference(t *testing.T) {
	h := open(t)
	w, _ := h.connect("shop", repository.Plain)
	w.Commit(strings.Repeat("long ", 10_000), "a", "1")
	w.Push()
	h.reconcile("shop")
	data, err := json.Marshal(h.runs.triggers()[0])
	if err != nil || len(data) > 8<<10 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

func BenchmarkPushToTrigger(b *testing.B) {
	h := open(b)
	w, _ := h.connect("shop", repository.Plain)
	for b.Loop() {
		b.StopTimer()
		w.Commit("next", "a", h.home.IDs.New())
		w.Push()
		b.StartTimer()
		h.reconcile("shop")
	}
}
