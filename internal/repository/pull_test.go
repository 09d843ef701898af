package repository_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/repository"
)

// What a pull request's event says of its action and of drafts reaches the pipeline
// file. One that becomes ready, or goes to another branch, at the same commit is run
// again, once: its file may have skipped it before.
func TestReadyPullRequestRunsAgain(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.GitHub)
	w.Git("checkout", "--quiet", "-b", "topic")
	head := w.Commit("one", "a", "1")
	w.Push("topic:refs/pull/7/head")
	send := func(id, action, base string, draft bool) {
		body := pullBody(action, 7, head, "topic", true)
		pull := body["pull_request"].(object)
		pull["draft"], pull["base"].(object)["ref"] = draft, base
		body["changes"] = object{"base": object{"ref": "main"}}
		h.deliver(c, c.Webhook.Secret, id, "pull_request", body)
		h.settle()
	}
	send("d1", "opened", "main", true)
	send("d2", "ready_for_review", "main", false)
	send("d3", "ready_for_review", "main", false)
	h.reconcile("shop")
	send("d4", "edited", "release", false)
	send("d5", "edited", "release", false)
	all := h.want(run("pull-request", "7", head, 1), run("pull-request", "7", head, 2), run("pull-request", "7", head, 3))
	var got []string
	for _, r := range all {
		got = append(got, fmt.Sprintf("%s draft=%v base=%s", r.Action, r.Draft, r.Base))
	}
	if want := []string{"opened draft=true base=main", "ready draft=false base=main", "updated draft=false base=release"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Closing a pull request runs the pipelines that ask for it, once, at its head; what
// comes after it starts nothing.
func TestClosedPullRequestRunsWhereItIsWanted(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.GitHub)
	w.Git("checkout", "--quiet", "-b", "topic")
	head := w.Commit("one", "clean.buildit.kdl", onePipeline, ".buildit/clean.kdl", "pipeline \"clean\"\non \"pull-request\" { types \"closed\"; }\nstage \"a\" { run \"true\"; }\n", ".buildit/broken.kdl", "pipeline")
	w.Push("topic:refs/pull/7/head")
	send := func(id, action string) {
		h.deliver(c, c.Webhook.Secret, id, "pull_request", pullBody(action, 7, head, "topic", true))
		h.settle()
	}
	send("d1", "opened")
	opened := len(h.runs.triggers())
	send("d2", "closed")
	send("d3", "closed")
	send("d4", "synchronize")
	h.reconcile("shop")
	all := h.runs.triggers()[opened:]
	if len(all) != 1 || all[0].File != ".buildit/clean.kdl" || all[0].Subject != "7 closed" || all[0].Action != "closed" || all[0].PullRequest != 7 || all[0].Commit != head {
		t.Errorf("%d runs: %+v", len(all), all)
	}
	if all[0].Trust != "untrusted" || !all[0].Fork {
		t.Errorf("a fork's is %s", all[0].Trust)
	}
	if d := h.deliveries(c)["d2"]; len(d.Runs) != 1 {
		t.Errorf("%+v", d)
	}
}

// What nobody said whose it is counts as a fork's: a head that was found without an
// event, and one whose event names a branch that is not there.
func TestUnknownPullRequestIsAFork(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.GitHub)
	w.Git("checkout", "--quiet", "-b", "topic")
	head := w.Commit("one", "a", "1")
	w.Push("topic:refs/pull/7/head", "topic:refs/pull/8/head", "topic:refs/pull/9/head")
	h.deliver(c, c.Webhook.Secret, "d1", "pull_request", pullBody("opened", 8, head, "topic", false))
	h.settle()
	w.Push("topic")
	h.deliver(c, c.Webhook.Secret, "d2", "pull_request", pullBody("opened", 9, head, "topic", false))
	h.settle()
	h.reconcile("shop")
	seen := map[int]string{}
	for _, r := range h.runs.triggers() {
		if r.Event == "pull-request" {
			seen[r.PullRequest] = fmt.Sprintf("%s fork=%v", r.Trust, r.Fork)
		}
	}
	want := map[int]string{7: "untrusted fork=true", 8: "untrusted fork=true", 9: "trusted fork=false"}
	if !maps.Equal(seen, want) {
		t.Errorf("%v, want %v", seen, want)
	}
}

// A delivery that cannot be acted on shows in the health of the hook.
func TestHealthKeepsTheLastFailure(t *testing.T) {
	h := open(t)
	w, c := h.connect("shop", repository.GitHub)
	head := w.Commit("two", "a", "2")
	if err := os.Rename(w.Bare, w.Bare+".away"); err != nil {
		t.Fatal(err)
	}
	h.deliver(c, c.Webhook.Secret, "d1", "push", pushBody("shop", "refs/heads/main", null, head))
	if err := h.trySettle(); err == nil {
		t.Fatal("the remote is away, and the delivery was settled")
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.SetPathValue("repository", "shop")
	for _, route := range h.svc.Routes() {
		if route.Pattern != "GET /api/v1/orgs/{org}/repositories/{repository}" {
			continue
		}
		answer, err := route.Handle(r, access.Caller{Org: acme})
		if err != nil {
			t.Fatal(err)
		}
		hook := answer.(repository.Repository).Hook
		if hook.LastFailure.IsZero() || !strings.Contains(hook.Failure, "There is no git repository") {
			t.Errorf("%+v", hook)
		}
	}
}
