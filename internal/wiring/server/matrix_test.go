package server_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/golden"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/wiring/server"
)

// house is the whole server on memory, and who may come to it.
type house struct {
	server *server.Server
	home   platform.Home
	creds  *access.Credentials
	data   string
}

func open(t *testing.T) house {
	t.Helper()
	clock := memory.NewClock()
	table := memory.NewTable(clock)
	home := platform.Home{
		Table: table, Feed: table, Blobs: memory.NewBlobs(clock), Queues: memory.NewQueues(clock),
		Keys: memory.NewKeys(), Clock: clock, IDs: memory.NewIDs(),
	}
	data := t.TempDir()
	s, err := server.New(t.Context(), home, server.Options{
		Version: "test", Data: data, Blobs: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return house{s, home, access.NewCredentials(home.Table, home.Keys, home.Clock, home.IDs), data}
}

func (h house) token(t *testing.T, org, role string, actions ...access.Action) string {
	t.Helper()
	secret, _, err := h.creds.Issue(t.Context(), platform.System(org, "test"), access.Token{Name: role, Role: role, Actions: actions})
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

// principals are the columns: who asks, and with what.
func (h house) principals(t *testing.T) (names []string, tokens []string) {
	t.Helper()
	add := func(name, token string) { names, tokens = append(names, name), append(tokens, token) }
	add("anonymous", "")
	for _, role := range []string{access.Viewer, access.Developer, access.Deployer, access.Admin} {
		add(role, h.token(t, "default", role))
	}
	owner, err := os.ReadFile(filepath.Join(h.data, access.TokenFile))
	if err != nil {
		t.Fatal(err)
	}
	add("owner", strings.TrimSpace(string(owner)))
	add("other's owner", h.token(t, "other", access.Owner))
	add("log:read only", h.token(t, "default", access.Owner, access.LogRead))
	job, _, err := h.creds.MintJob(t.Context(), platform.System("default", "test"), access.JobClaims{Run: "r", StageKey: "s", Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	add("job", job)
	return names, tokens
}

// TestAuthorizationMatrix asks every route of the API as every principal (trust.md
// T17). A new route adds a line, and a line that changes is a change of who may do
// what: review it as one.
func TestAuthorizationMatrix(t *testing.T) {
	t.Parallel()
	h := open(t)
	names, tokens := h.principals(t)
	var table strings.Builder
	fmt.Fprintf(&table, "%-78s %-20s", "", "")
	for _, name := range names {
		fmt.Fprintf(&table, " %-13s", name)
	}
	for _, op := range h.server.API.Operations() {
		fmt.Fprintf(&table, "\n%-78s %-20s", op.Method+" "+op.Path, op.Action)
		for i := range names {
			fmt.Fprintf(&table, " %-13s", h.ask(t, op, tokens[i], i))
		}
	}
	golden.Equal(t, "matrix.txt", trailing.ReplaceAllString(table.String(), "")+"\n")
}

var (
	trailing = regexp.MustCompile(`(?m) +$`)
	wildcard = regexp.MustCompile(`\{[^}]+\}`)
)

// ask is "yes" where the handler was reached, whatever it says of what it was sent,
// else the refusal.
func (h house) ask(t *testing.T, op access.Operation, token string, principal int) string {
	t.Helper()
	path := wildcard.ReplaceAllString(strings.ReplaceAll(op.Path, "{org}", access.DefaultOrg), "none")
	r := httptest.NewRequestWithContext(t.Context(), op.Method, path, strings.NewReader("{}"))
	r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1", principal+10*len(op.Path)%200) // nobody meets the limit of addresses
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.server.Handler.ServeHTTP(w, r)
	body := w.Body.String()
	switch {
	case w.Code == http.StatusUnauthorized && !strings.HasPrefix(op.Resource, "public"):
		return "unauthorized"
	case w.Code == http.StatusForbidden && strings.Contains(body, "This needs "):
		return "forbidden"
	case w.Code == http.StatusNotFound && strings.Contains(body, "There is no such thing here"):
		return "not-found"
	case w.Code == http.StatusTooManyRequests:
		t.Errorf("%s %s: the limit of rates was met", op.Method, op.Path)
	case w.Code == http.StatusInternalServerError:
		t.Errorf("%s %s: %s", op.Method, op.Path, body)
	}
	return "yes"
}
