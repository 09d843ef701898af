package access_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/golden"
	"github.com/buildit-dev/buildit/internal/platform"
)

// everyKind declares one route for each kind of resource and each role's first
// action. Domains bring their own rows: wiring's test has the whole API.
func everyKind() []access.Route {
	route := func(pattern string, action access.Action, resource access.Resource) access.Route {
		return access.Route{Pattern: pattern, Action: action, Resource: resource, Summary: "x", Handle: echo}
	}
	return []access.Route{
		route("GET /api/v1/orgs/{org}/runs/{run}", access.RunRead, access.InPath("run")),
		route("GET /api/v1/orgs/{org}/log/{run}", access.LogRead, access.InPath("run")),
		route("POST /api/v1/orgs/{org}/runs", access.PipelineRun, access.OfOrg()),
		route("POST /api/v1/orgs/{org}/repositories", access.RepositoryConnect, access.OfOrg()),
		route("POST /runner/v1/hello", access.JobWork, access.RunnerHello()),
		route("POST /runner/v1/beat", access.JobWork, access.RunnerRenews()),
		route("POST /runner/v1/finish", access.JobWork, access.Runner()),
		route("POST /webhooks/{provider}/{repository}", access.WebhookDeliver, access.Public("the provider's own proof")),
	}
}

type principal struct {
	name  string
	token func(*house) string
}

func principals() []principal {
	list := []principal{{"anonymous", func(*house) string { return "" }}}
	for _, role := range []string{access.Viewer, access.Developer, access.Deployer, access.Admin, access.Owner} {
		list = append(list, principal{role, func(h *house) string { return h.token("acme", role) }})
	}
	return append(list,
		principal{"owner of other", func(h *house) string { return h.token("other", access.Owner) }},
		principal{"revoked", revoked},
		principal{"log:read only", func(h *house) string { return h.token("acme", access.Owner, access.LogRead) }},
		principal{"job", func(h *house) string { return h.jobToken("acme") }},
		principal{"job, expired", func(h *house) string {
			token := h.jobToken("acme")
			h.clock.Advance(access.JobLife)
			return token
		}},
		principal{"hello ticket", func(h *house) string {
			ticket, err := h.creds.HelloTicket(h.t.Context(), platform.System("acme", "test"), job)
			if err != nil {
				h.t.Fatal(err)
			}
			return ticket
		}},
	)
}

func revoked(h *house) string {
	secret, token, err := h.creds.Issue(h.t.Context(), platform.System("acme", "test"), access.Token{Name: "gone", Role: access.Owner})
	if err == nil {
		err = h.creds.Revoke(h.t.Context(), platform.System("acme", "test"), token.ID)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return secret
}

// T17, T19: every route for every principal. A new route adds a line here, which
// is reviewed as what it is: a change of who may do what.
func TestAuthorizationMatrix(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	names := make([]string, 0, len(principals()))
	for _, p := range principals() {
		names = append(names, fmt.Sprintf("%-14s", p.name))
	}
	fmt.Fprintf(&table, "%-48s %-22s %s\n", "", "", strings.TrimSpace(strings.Join(names, " ")))
	for _, op := range open(t, everyKind()...).mux.Operations() {
		var cells []string
		for _, p := range principals() {
			h := open(t, everyKind()...)
			cells = append(cells, fmt.Sprintf("%-14s", outcome(h, op, p.token(h))))
		}
		fmt.Fprintf(&table, "%-48s %-22s %s\n", op.Method+" "+op.Path, op.Action, strings.TrimSpace(strings.Join(cells, " ")))
	}
	golden.Equal(t, "matrix.txt", table.String())
}

// outcome is "yes" for a handler that was reached, whatever it said of the input,
// else the problem.
func outcome(h *house, op access.Operation, token string) string {
	path := strings.NewReplacer("{org}", "acme", "{run}", "1", "{token}", "none", "{provider}", "github", "{repository}", "r").Replace(op.Path)
	body := ""
	if op.Method == http.MethodPost {
		body = "{}"
	}
	got := h.call(op.Method+" "+path, token, body)
	switch got.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return strings.TrimPrefix(got.problem(h.t).Type, "/problems/")
	case http.StatusNotFound:
		if strings.Contains(got.body, "no such token") {
			return "yes"
		}
		return "not-found"
	}
	return "yes"
}
