package access_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/access/openapi"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
	"github.com/buildit-dev/buildit/internal/platform/system"
	"github.com/buildit-dev/buildit/internal/problem"
)

// house is a Mux on the memory home, under a clock that stands still.
type house struct {
	t     *testing.T
	clock *platformtest.Clock
	table platform.Table
	creds *access.Credentials
	mux   *access.Mux
}

func open(t *testing.T, routes ...access.Route) *house {
	t.Helper()
	clock := platformtest.NewClock()
	table := memory.NewTable(clock)
	creds := access.NewCredentials(table, memory.NewKeys(), clock, system.IDs{})
	mux, err := access.New(access.Options{
		Table: table, Clock: clock, IDs: system.IDs{}, Credentials: creds,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Describe: openapi.New("test"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := mux.Register(routes...); err != nil {
		t.Fatal(err)
	}
	return &house{t, clock, table, creds, mux}
}

// token makes an API token in an organization.
func (h *house) token(org, role string, actions ...access.Action) string {
	h.t.Helper()
	secret, _, err := h.creds.Issue(h.t.Context(), platform.System(org, "test"), access.Token{Name: role, Role: role, Actions: actions})
	if err != nil {
		h.t.Fatal(err)
	}
	return secret
}

var job = access.JobClaims{Run: "run1", StageKey: "00112233445566aa", Attempt: 1, Epoch: 3}

// jobToken makes the token of an attempt.
func (h *house) jobToken(org string) string {
	h.t.Helper()
	token, _, err := h.creds.MintJob(h.t.Context(), platform.System(org, "test"), job)
	if err != nil {
		h.t.Fatal(err)
	}
	return token
}

type given struct {
	status int
	header http.Header
	body   string
}

// problem is the answer's problem document.
func (g given) problem(t *testing.T) problem.Document {
	t.Helper()
	var doc problem.Document
	if err := json.Unmarshal([]byte(g.body), &doc); err != nil {
		t.Fatalf("no problem document: %v\n%s", err, g.body)
	}
	return doc
}

// call asks the Mux: request is "METHOD /path", headers are in pairs.
func (h *house) call(request, token, body string, headers ...string) given {
	h.t.Helper()
	method, path, _ := strings.Cut(request, " ")
	r := httptest.NewRequestWithContext(h.t.Context(), method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, r)
	answer, err := io.ReadAll(w.Result().Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return given{w.Code, w.Header(), string(answer)}
}

// rested lets every rate limit fill up again.
func (h *house) rested() *house { h.clock.Advance(time.Minute); return h }
