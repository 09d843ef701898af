package forge_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/forge"
	"github.com/buildit-dev/buildit/internal/forge/forgetest"
)

const (
	hookURL    = "https://ci.example.com/below/webhooks/github/r1"
	hookSecret = "the-secret-of-the-webhook"
)

// TestEnsureHook is what becomes of each webhook that may be there.
func TestEnsureHook(t *testing.T) {
	t.Parallel()
	all := forge.HookEvents
	for _, c := range []struct {
		name, provider, secret string
		there                  []forgetest.Hook
		told                   bool
		did                    string
		want                   []forgetest.Hook
	}{
		{
			"none", "github", hookSecret, nil, true, "created",
			[]forgetest.Hook{{ID: "1", URL: hookURL, Secret: hookSecret, Events: all["github"], Insecure: "0"}},
		},
		{
			"somebody else's", "gitlab", hookSecret,
			[]forgetest.Hook{{ID: "7", URL: "https://else.example.com/hook", Off: true}},
			true, "created",
			[]forgetest.Hook{{ID: "7", URL: "https://else.example.com/hook", Off: true}, {ID: "1", URL: hookURL, Secret: hookSecret, Events: all["gitlab"]}},
		},
		{
			"as it should be", "bitbucket", hookSecret,
			[]forgetest.Hook{{ID: "{7}", URL: hookURL, Secret: hookSecret, Events: all["bitbucket"]}},
			true, "",
			[]forgetest.Hook{{ID: "{7}", URL: hookURL, Secret: hookSecret, Events: all["bitbucket"]}},
		},
		{
			"all events", "github", hookSecret,
			[]forgetest.Hook{{ID: "7", URL: hookURL, Secret: hookSecret, Events: []string{"*"}}},
			true, "",
			[]forgetest.Hook{{ID: "7", URL: hookURL, Secret: hookSecret, Events: []string{"*"}}},
		},
		{
			"more events, certificate not checked, of our old address", "github", hookSecret,
			[]forgetest.Hook{{ID: "7", URL: "http://old.example.com/webhooks/github/r1", Secret: hookSecret, Events: []string{"push", "issues"}, Insecure: "1"}},
			true,
			"repaired: it pointed to another address, it lacked pull_request, it lacked merge_group, it lacked repository",
			[]forgetest.Hook{{ID: "7", URL: hookURL, Secret: hookSecret, Events: []string{"push", "issues", "pull_request", "merge_group", "repository"}, Insecure: "1"}},
		},
		{
			"another repository of ours", "github", hookSecret,
			[]forgetest.Hook{{ID: "7", URL: hookURL + "1", Events: all["github"]}},
			true, "created",
			[]forgetest.Hook{{ID: "7", URL: hookURL + "1", Events: all["github"]}, {ID: "1", URL: hookURL, Secret: hookSecret, Events: all["github"], Insecure: "0"}},
		},
		{
			"a secret that signs", "gitlab", "whsec_" + strings.Repeat("A", 44),
			[]forgetest.Hook{{ID: "7", URL: hookURL, Secret: "whsec_old", Events: all["gitlab"]}},
			false,
			"repaired: it was given the secret",
			[]forgetest.Hook{{ID: "7", URL: hookURL, Secret: "whsec_" + strings.Repeat("A", 44), Events: all["gitlab"]}},
		},
	} {
		server := forgetest.Start(t, c.provider, "token")
		for _, h := range c.there {
			server.PutHook(h)
		}
		_, did, err := apiOf(server, c.provider, "token").EnsureHook(t.Context(), forge.WantedHook{URL: hookURL, Secret: c.secret, Told: c.told})
		same := func(a, b forgetest.Hook) bool {
			return a.ID == b.ID && a.URL == b.URL && a.Secret == b.Secret && slices.Equal(a.Events, b.Events) && a.Off == b.Off && a.Insecure == b.Insecure
		}
		if c.provider == "gitlab" { // whose events are switches, in no order
			plain := same
			same = func(a, b forgetest.Hook) bool {
				a.Events, b.Events = slices.Sorted(slices.Values(a.Events)), slices.Sorted(slices.Values(b.Events))
				return plain(a, b)
			}
		}
		if got := server.Hooks(); err != nil || did != c.did || !slices.EqualFunc(got, c.want, same) {
			t.Errorf("%s: %v, %q\n  %+v\nwant %q\n  %+v", c.name, err, did, got, c.did, c.want)
		}
	}
}

// TestNoSecretInARefusal: a provider that says back what it was told tells nobody.
func TestNoSecretInARefusal(t *testing.T) {
	t.Parallel()
	server := forgetest.Start(t, "github", "token")
	server.Fail(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("[]"))
	}, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = w.Write([]byte(`{"message":"` + strings.Repeat("no ", 96) + hookSecret + ` is too plain"}`))
	})
	_, _, err := apiOf(server, "github", "token").EnsureHook(t.Context(), forge.WantedHook{URL: hookURL, Secret: hookSecret})
	if err == nil || strings.Contains(err.Error(), hookSecret[:8]) || !strings.Contains(err.Error(), "422: (what it says repeats the secret") {
		t.Errorf("%v", err)
	}
}

// TestHookStaysOff: GitLab switches a webhook on only if its test is taken; where it
// is not, that is an error.
func TestHookStaysOff(t *testing.T) {
	t.Parallel()
	server := forgetest.Start(t, "gitlab", "token")
	nobody := "http://127.0.0.1:1/webhooks/gitlab/r1"
	server.PutHook(forgetest.Hook{ID: "7", URL: nobody, Secret: hookSecret, Events: forge.HookEvents["gitlab"], Off: true})
	_, _, err := apiOf(server, "gitlab", "token").EnsureHook(t.Context(), forge.WantedHook{URL: nobody, Secret: hookSecret, Told: true})
	if err == nil || !forge.ForGood(err) || !server.Hooks()[0].Off {
		t.Errorf("%v, %+v", err, server.Hooks())
	}
}

// TestFailedDeliveries reads GitHub's list, in which each attempt is an entry and the
// newest is the first.
func TestFailedDeliveries(t *testing.T) {
	t.Parallel()
	server := forgetest.Start(t, "github", "token")
	server.Fail(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`[
			{"id":9007199254740993,"guid":"a","delivered_at":"2026-03-01T12:00:00Z","status_code":502},
			{"id":8,"guid":"b","delivered_at":"2026-03-01T11:00:00Z","status_code":202,"redelivery":true},
			{"id":7,"guid":"b","delivered_at":"2026-03-01T10:00:00Z","status_code":0},
			{"id":6,"guid":"c","delivered_at":"2026-03-01T09:00:00Z","status_code":0},
			{"id":5,"guid":"a","delivered_at":"2026-03-01T08:00:00Z","status_code":401},
			{"id":4,"guid":"old","delivered_at":"2026-02-01T08:00:00Z","status_code":500}
		]`))
	})
	got, err := apiOf(server, "github", "token").FailedDeliveries(t.Context(), "1", time.Date(2026, 2, 28, 0, 0, 0, 0, time.UTC))
	if want := []forge.FailedDelivery{{ID: "6", GUID: "c"}, {ID: "9007199254740993", GUID: "a"}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
}
