package repository_test

import (
	"fmt"
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
