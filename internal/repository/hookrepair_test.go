package repository_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/forge/forgetest"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/repository"
	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

const apiToken = "token-of-the-api"

// atProvider is acme/shop, connected with a token, at a provider that can reach us.
type atProvider struct {
	*house
	provider *forgetest.Server
	tree     *gittest.Tree
	out      repository.Connected
	down     bool // nobody reaches us
	mute     bool // nobody hears our answers
}

func openAt(t *testing.T, provider string) *atProvider {
	t.Helper()
	h := &atProvider{house: open(t), provider: forgetest.Start(t, provider, apiToken)}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.down {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		if h.mute {
			h.mux.ServeHTTP(httptest.NewRecorder(), r)
			http.Error(w, "too late", http.StatusGatewayTimeout)
			return
		}
		h.mux.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	h.public = front.URL
	h.serve(h.home)
	h.tree, h.out = h.connect("acme/shop", provider)
	h.provider.ProjectID = 1000 + len("acme/shop")
	if _, err := h.svc.SetToken(t.Context(), acme, h.out.Repository.ID, repository.TokenRequest{Token: apiToken, APIURL: h.provider.URL}); err != nil {
		t.Fatal(err)
	}
	return h
}

// look lets time pass until the webhook is due, and looks.
func (h *atProvider) look() {
	h.t.Helper()
	h.clock.Advance(15 * time.Minute)
	if err := h.svc.ReconcileDue(h.t.Context()); err != nil {
		h.t.Fatal(err)
	}
}

// health is what the page of the repository shows of its webhook.
func (h *atProvider) health() repository.Health {
	h.t.Helper()
	for _, route := range h.svc.Routes() {
		if route.Pattern == "GET /api/v1/orgs/{org}/repositories/{repository}" {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.SetPathValue("repository", h.out.Repository.ID)
			answer, err := route.Handle(r, access.Caller{Org: acme})
			if err != nil {
				h.t.Fatal(err)
			}
			return *answer.(repository.Repository).Hook
		}
	}
	h.t.Fatal("no route")
	return repository.Health{}
}

func (h *atProvider) onlyHook() forgetest.Hook {
	h.t.Helper()
	hooks := h.provider.Hooks()
	if len(hooks) != 1 {
		h.t.Fatalf("webhooks at the provider: %+v; health %+v", hooks, h.health())
	}
	return hooks[0]
}

// pushed pushes a commit and has the provider tell of it.
func (h *atProvider) pushed(provider, guid string) (commit string, took int) {
	h.t.Helper()
	before := h.tree.Git("rev-parse", "HEAD")
	commit = h.tree.Commit(guid, "a", guid)
	h.tree.Push()
	id := 1000 + len("acme/shop")
	target := func(c string) object { return object{"type": "branch", "name": "main", "target": object{"hash": c}} }
	event, body := "push", pushBody("acme/shop", "refs/heads/main", before, commit)
	switch provider {
	case "gitlab":
		event, body = "Push Hook", object{"ref": "refs/heads/main", "before": before, "after": commit, "project": object{"id": id, "path_with_namespace": "acme/shop"}}
	case "bitbucket":
		event = "repo:push"
		body = object{"push": object{"changes": []object{{"old": target(before), "new": target(commit)}}}, "repository": object{"uuid": fmt.Sprint(id), "full_name": "acme/shop"}}
	}
	took = h.provider.Deliver(event, guid, body, h.clock.Now())
	h.settle()
	return commit, took
}

// A webhook that is not there is made, and one that is switched off, moved or lacks
// events is repaired; the pushes of the meantime are found, and the next one comes.
func TestHookDisabledIsRepaired(t *testing.T) {
	for _, provider := range []string{"github", "gitlab", "bitbucket"} {
		t.Run(provider, func(t *testing.T) {
			h := openAt(t, provider)
			h.look()
			made := h.onlyHook()
			if made.URL != h.public+h.out.Webhook.Path || made.Secret != h.out.Webhook.Secret || made.Off {
				t.Fatalf("made: %+v", made)
			}
			if got := h.health(); got.Repair != "created" || got.Reason != "" || got.Looked.IsZero() {
				t.Errorf("health after it was made: %+v", got)
			}
			first, took := h.pushed(provider, "d1")
			if took != 1 {
				t.Fatal("the webhook that was made is of no use")
			}

			broken := made
			broken.Off, broken.Events, broken.URL = true, made.Events[:1], "https://old.example.com"+h.out.Webhook.Path
			h.provider.PutHook(broken)
			missed, took := h.pushed(provider, "d2")
			if took != 0 {
				t.Fatal("a webhook that is off delivers")
			}
			h.look()
			repaired := h.onlyHook()
			if repaired.URL != made.URL || repaired.Off || repaired.Secret != made.Secret || len(repaired.Events) != len(made.Events) {
				t.Errorf("repaired: %+v, want %+v", repaired, made)
			}
			got := h.health()
			for _, word := range []string{"repaired: ", "it was switched off", "it pointed to another address", "it lacked " + made.Events[1]} {
				if !strings.Contains(got.Repair, word) {
					t.Errorf("repair %q does not say %q", got.Repair, word)
				}
			}
			h.settle()
			last, took := h.pushed(provider, "d3")
			if took != 1 || got.Reason != "" {
				t.Errorf("after the repair: taken by %d, health %+v", took, got)
			}
			all := h.want(run("push", "main", first, 2), run("push", "main", missed, 3), run("push", "main", last, 4))
			if !strings.Contains(all[1].Why, "found by reconciliation") {
				t.Errorf("the missed push: %q", all[1].Why)
			}
		})
	}
}

// A webhook that is as it should be is not touched, is asked for every ten minutes
// only, and a new secret is brought to it.
func TestHookIsLeftAlone(t *testing.T) {
	h := openAt(t, "github")
	h.look()
	h.look()
	before := h.provider.Calls()
	for range 3 { // within one interval of the webhook, several of the remote
		h.clock.Advance(150 * time.Second)
		if err := h.svc.ReconcileDue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := h.provider.Calls() - before; n != 0 {
		t.Errorf("%d calls within one interval", n)
	}
	writes := h.events()
	h.look()
	if n := h.provider.Calls() - before; n != 2 { // the webhooks, their deliveries
		t.Errorf("%d calls for one look at what is right", n)
	}
	if h.events() != writes {
		t.Error("a look that found nothing is an event")
	}
	fresh, err := h.svc.RotateSecret(t.Context(), acme, "shop", "")
	if err != nil {
		t.Fatal(err)
	}
	h.clock.Advance(time.Second) // not an interval
	if err := h.svc.ReconcileDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := h.onlyHook().Secret; got != fresh.Secret {
		t.Error("the provider was not told the new secret")
	}
	if got := h.health().Repair; got != "repaired: it was given the secret" || strings.Contains(got, fresh.Secret) {
		t.Errorf("%q", got)
	}
}

// events counts the events of the repository.
func (h *atProvider) events() int {
	h.t.Helper()
	p := acme.Partition("repository", h.out.Repository.ID)
	page, err := h.home.Table.Query(h.t.Context(), platform.Query{Partition: p, Prefix: p.Rows("event")})
	if err != nil {
		h.t.Fatal(err)
	}
	return len(page.Rows)
}

// What keeps the webhook from being checked is shown with a reason and what helps,
// never stops the look at the remote, and goes when it is over.
func TestHookHealthSaysWhatHelps(t *testing.T) {
	for _, c := range []struct {
		reason repository.HookReason
		says   string
		spoil  func(*atProvider)
	}{
		{repository.NoPublicURL, "--public-url", func(h *atProvider) { h.public = ""; h.serve(h.home) }},
		{repository.NoAPI, "buildit repo token shop", func(h *atProvider) {
			_, err := h.svc.SetToken(h.t.Context(), acme, "shop", repository.TokenRequest{})
			if err != nil {
				h.t.Fatal(err)
			}
		}},
		{repository.TokenRefused, "buildit repo token shop", func(h *atProvider) { h.provider.Fail(forgetest.Answer(403)) }},
		{repository.HookRejected, "push, pull_request", func(h *atProvider) { h.provider.Fail(forgetest.Answer(422)) }},
		{repository.ProviderLimit, "asked again later", func(h *atProvider) { h.provider.Fail(forgetest.Answer(429, "Retry-After", "1800")) }},
		{repository.ProviderNoAnswer, "asked again", func(h *atProvider) { h.provider.Fail(forgetest.Answer(502)) }},
		{repository.ProviderNoAnswer, "did not answer", func(h *atProvider) { h.provider.Close() }},
	} {
		h := openAt(t, "github")
		c.spoil(h)
		commit := h.tree.Commit("one", "a", "1")
		h.tree.Push()
		h.look()
		h.want(run("push", "main", commit, 2))
		got := h.health()
		if got.Reason != c.reason || !strings.Contains(got.Banner, c.says) || strings.Contains(got.Banner, apiToken) || strings.Contains(got.Banner, h.out.Webhook.Secret) {
			t.Errorf("%s: health %+v", c.reason, got)
		}
		if hooks := h.provider.Hooks(); len(hooks) != 0 {
			t.Errorf("%s: made %+v all the same", c.reason, hooks)
		}
		if c.reason == repository.ProviderLimit {
			calls := h.provider.Calls()
			if _, err := h.svc.Sync(t.Context(), acme, "shop"); err != nil || h.provider.Calls() != calls {
				t.Errorf("a provider that wants to be left alone is asked (%v)", err)
			}
			for range 3 {
				h.look()
			}
		}
		if c.reason == repository.TokenRefused {
			if _, err := h.svc.Sync(t.Context(), acme, "shop"); err != nil {
				t.Fatal(err)
			}
		}
		if c.reason == repository.ProviderLimit || c.reason == repository.TokenRefused {
			h.onlyHook()
			if got := h.health(); got.Reason != "" || got.Banner != "" || got.Repair != "created" {
				t.Errorf("%s is over: %+v", c.reason, got)
			}
		}
	}
}

// What GitHub could not deliver is asked for again, under its own id: so many at a
// look, each a few times, and not what has come.
func TestFailedDeliveriesAreAskedForAgain(t *testing.T) {
	h := openAt(t, "github")
	h.look()
	h.pushed("github", "fine")
	h.down = true
	for i := range 12 {
		if h.provider.Deliver("push", fmt.Sprint("lost", i), pushBody("acme/shop", "refs/heads/main", null, h.tree.Git("rev-parse", "HEAD")), h.clock.Now()) != 0 {
			t.Fatal("it was to fail")
		}
	}
	h.provider.Deliver("push", "old", pushBody("acme/shop", "refs/heads/main", null, null), h.clock.Now().Add(-96*time.Hour))
	h.down = false
	h.look()
	h.settle()
	came := func() (n int) {
		for id, d := range h.deliveries(h.out) {
			if strings.HasPrefix(id, "lost") && d.Status == repository.Handled {
				n++
			}
		}
		return n
	}
	if n := came(); n != 10 || len(h.provider.Attempts("lost0")) != 2 || len(h.provider.Attempts("lost11")) != 1 {
		t.Errorf("%d came at the first look", n)
	}
	h.look()
	h.settle()
	if n := came(); n != 12 || len(h.provider.Attempts("old")) != 1 || len(h.provider.Attempts("fine")) != 1 {
		t.Errorf("%d came at the second look; old %v, fine %v", n, h.provider.Attempts("old"), h.provider.Attempts("fine"))
	}

	h.mute = true
	h.pushed("github", "unheard")
	h.mute = false
	h.look()
	if got := h.provider.Attempts("unheard"); len(got) != 1 || h.deliveries(h.out)["unheard"].Status != repository.Handled {
		t.Errorf("attempts of what came, though our answer did not: %v", got)
	}

	h.down = true
	h.provider.Deliver("push", "hopeless", pushBody("acme/shop", "refs/heads/main", null, null), h.clock.Now())
	for range 6 {
		h.look()
	}
	if got := h.provider.Attempts("hopeless"); len(got) != 4 {
		t.Errorf("attempts of what always fails: %v", got)
	}
}
