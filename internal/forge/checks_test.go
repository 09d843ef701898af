package forge_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/forge"
	"github.com/buildit-dev/buildit/internal/forge/forgetest"
	"github.com/buildit-dev/buildit/internal/outbound"
)

const sha = "0123456789abcdef0123456789abcdef01234567"

func apiOf(s *forgetest.Server, provider, token string) forge.API {
	policy := outbound.Policy{Schemes: []string{"http"}, AnyPort: true, Loopback: true}
	return forge.API{Provider: provider, Base: s.URL, FullName: "acme/shop", Token: token, HTTP: outbound.New(policy, nil).HTTP()}
}

// TestChecksInEachDialect sets every state at a server that takes what the provider
// documents, and nothing else.
func TestChecksInEachDialect(t *testing.T) {
	t.Parallel()
	all := []forge.CheckState{forge.CheckPending, forge.CheckRunning, forge.CheckSuccess, forge.CheckFailure, forge.CheckError, forge.CheckCanceled, forge.CheckNeutral}
	for _, c := range []struct{ provider, token, states string }{
		{"github", "ghp_x", "pending pending success failure error error success"},
		{"github", "ghs_x", "queued in_progress success failure failure cancelled neutral"},
		{"gitlab", "glpat-x", "pending running success failed failed canceled success"},
		{"bitbucket", "x", "INPROGRESS INPROGRESS SUCCESSFUL FAILED FAILED STOPPED SUCCESSFUL"},
		{"bitbucket", "ada:app-password", "INPROGRESS INPROGRESS SUCCESSFUL FAILED FAILED STOPPED SUCCESSFUL"},
	} {
		server := forgetest.Start(t, c.provider, c.token)
		api := apiOf(server, c.provider, c.token)
		remote := ""
		for _, state := range all {
			got, err := api.SetCheck(t.Context(), forge.Check{
				Commit: sha, Name: "buildit/ci/" + strings.Repeat("long ", 20), State: state, Description: strings.Repeat("é", 400), URL: "https://ci.example.com/runs/1", Run: "run1", Remote: remote,
			})
			if err != nil {
				t.Errorf("%s %s: %v", c.provider, state, err)
			}
			remote = got
		}
		var states []string
		for i, told := range server.Told() {
			states = append(states, told.State)
			if told.ID == "" && (told.Commit != sha || told.Name == "") || told.URL == "" {
				t.Errorf("%s: %+v", c.provider, told)
			}
			if c.token == "ghs_x" && i > 0 && told.ID == "" {
				t.Errorf("the check run is made a second time: %+v", told)
			}
		}
		if got := strings.Join(states, " "); got != c.states {
			t.Errorf("%s: %s, want %s", c.provider, got, c.states)
		}
	}
}

func TestWhatProvidersRefuse(t *testing.T) {
	t.Parallel()
	elsewhere := forgetest.Start(t, "github", "ghp_x")
	for _, c := range []struct {
		name    string
		fault   http.HandlerFunc
		forGood bool
		after   time.Duration
	}{
		{"server error", forgetest.Answer(502), false, 0},
		{"too many", forgetest.Answer(429, "Retry-After", "60"), false, time.Minute},
		{"secondary limit", forgetest.Answer(403, "Retry-After", "30"), false, 30 * time.Second},
		{"hour is spent", forgetest.Answer(403, "X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "1767225660", "Date", "Thu, 01 Jan 2026 00:00:00 GMT"), false, time.Minute},
		{"not allowed", forgetest.Answer(403), true, 0},
		{"not found", forgetest.Answer(404), true, 0},
		{"not valid", forgetest.Answer(422), true, 0},
		{"redirect elsewhere", forgetest.Answer(307, "Location", elsewhere.URL+"/repos/acme/shop/statuses/"+sha), true, 0},
	} {
		server := forgetest.Start(t, "github", "ghp_x")
		server.Fail(c.fault)
		_, err := apiOf(server, "github", "ghp_x").SetCheck(t.Context(), forge.Check{Commit: sha, Name: "buildit/ci", State: forge.CheckSuccess})
		var refused *forge.Refusal
		after := time.Duration(0)
		if errors.As(err, &refused) {
			after = refused.After
		}
		if err == nil || forge.ForGood(err) != c.forGood || after != c.after || strings.Contains(err.Error(), "ghp_x") {
			t.Errorf("%s: %v, for good %v, after %v", c.name, err, forge.ForGood(err), after)
		}
	}
	if elsewhere.Calls() != 0 {
		t.Error("the credential went to another host")
	}
}

// TestGitLabIsThereAlready: a server that is asked twice for one state may say that it
// cannot get there; from another state that is an error.
func TestGitLabIsThereAlready(t *testing.T) {
	t.Parallel()
	for message, fine := range map[string]bool{
		`Cannot transition status via :enqueue from :pending (Reason(s): Status cannot transition via \"enqueue\")`: true,
		`Cannot transition status via :enqueue from :success`:                                                       false,
	} {
		server := forgetest.Start(t, "gitlab", "glpat-x")
		server.Fail(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"message":"` + message + `"}`))
		})
		_, err := apiOf(server, "gitlab", "glpat-x").SetCheck(t.Context(), forge.Check{Commit: sha, Name: "buildit/ci", State: forge.CheckPending})
		if (err == nil) != fine {
			t.Errorf("%s: %v", message, err)
		}
	}
}

func TestBaseOf(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"github", "https://github.com/acme/shop.git", "https://api.github.com"},
		{"github", "https://git.example.com/acme/shop", "https://git.example.com/api/v3"},
		{"gitlab", "https://gitlab.com/acme/shop", "https://gitlab.com/api/v4"},
		{"gitlab", "https://git.example.com:8443/a/b/shop", "https://git.example.com:8443/api/v4"},
		{"bitbucket", "https://bitbucket.org/acme/shop", "https://api.bitbucket.org/2.0"},
		{"plain", "https://git.example.com/shop", ""},
		{"github", "file:///srv/shop", ""},
	} {
		if got := forge.BaseOf(c[0], c[1]); got != c[2] {
			t.Errorf("%s %s: %q, want %q", c[0], c[1], got, c[2])
		}
	}
}
