// Package forgetest is a server that speaks what the three git providers document of
// commit statuses, check runs and webhooks, for tests. It refuses what they refuse: another
// token, unknown states, texts that are too long.
package forgetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"
)

// Status is what a commit was told, in the provider's words.
type Status struct {
	Commit, Name, State, Description, URL string
	ID                                    string // of a check run
}

// Server is a provider. Its addresses are those of the provider's API.
type Server struct {
	*httptest.Server
	ProjectID       int // of acme/shop, in GitLab's tests of webhooks
	provider, token string

	mu       sync.Mutex
	told     []Status
	calls    int
	faults   []http.HandlerFunc
	hooks    []Hook
	made     int // webhooks
	attempts []attempt
}

// Start starts a provider that takes one token.
func Start(t testing.TB, provider, token string) *Server {
	t.Helper()
	s := &Server{provider: provider, token: token}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

// Fail has the next calls be answered by these, one each.
func (s *Server) Fail(faults ...http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, faults...)
}

// Answer is a fault: a status with headers, in pairs of name and value.
func Answer(status int, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"message":"told to answer %d"}`, status)
	}
}

// Told are the statuses that were taken, in their order.
func (s *Server) Told() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.told)
}

// Calls is how many calls there were, refused ones too.
func (s *Server) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if len(s.faults) > 0 {
		fault := s.faults[0]
		s.faults = s.faults[1:]
		fault(w, r)
		return
	}
	if user, password, basic := r.BasicAuth(); r.Header.Get("Authorization") != "Bearer "+s.token && (!basic || user+":"+password != s.token) {
		refuse(w, http.StatusUnauthorized, "Bad credentials")
		return
	}
	if s.serveHooks(w, r) {
		return
	}
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		refuse(w, http.StatusBadRequest, "Problems parsing JSON")
		return
	}
	status, why := s.take(r, body)
	if why != "" {
		refuse(w, http.StatusUnprocessableEntity, why)
		return
	}
	s.told = append(s.told, status)
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, `{"id":%d}`, len(s.told))
}

func refuse(w http.ResponseWriter, status int, why string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"message":%q}`, why)
}

// take reads a status as the provider documents it.
func (s *Server) take(r *http.Request, body map[string]any) (Status, string) {
	text := func(name string) string { v, _ := body[name].(string); return v }
	parts := strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
	for i := range parts {
		parts[i], _ = url.PathUnescape(parts[i])
	}
	last := parts[len(parts)-1]
	got := Status{Commit: last, Description: text("description"), URL: text("target_url"), State: text("state")}
	var states []string
	most := 255
	switch {
	case s.provider == "github" && strings.Contains(r.URL.Path, "/check-runs"):
		got = Status{Commit: text("head_sha"), Name: text("name"), State: text("status"), URL: text("details_url")}
		if output, is := body["output"].(map[string]any); is {
			got.Description, _ = output["title"].(string)
		}
		if r.Method == http.MethodPatch {
			got.ID = last
		} else if got.Commit == "" {
			return got, "head_sha is missing"
		}
		if got.State == "completed" {
			got.State = text("conclusion")
		}
		states = []string{"queued", "in_progress", "success", "failure", "neutral", "cancelled", "skipped", "timed_out", "action_required"}
	case s.provider == "github" && len(parts) >= 5 && parts[len(parts)-2] == "statuses":
		got.Name, most, states = text("context"), 140, []string{"error", "failure", "pending", "success"}
	case s.provider == "gitlab" && len(parts) >= 4 && parts[len(parts)-4] == "projects":
		got.Name, states = text("name"), []string{"pending", "running", "success", "failed", "canceled"}
	case s.provider == "bitbucket" && len(parts) >= 7 && last == "build":
		got.Commit, got.Name, got.URL = parts[len(parts)-3], text("name"), text("url")
		states = []string{"SUCCESSFUL", "FAILED", "INPROGRESS", "STOPPED"}
		if key := text("key"); key == "" || len(key) > 40 {
			return got, "key: 1 to 40 characters"
		}
		if got.URL == "" {
			return got, "url: required key not provided"
		}
	default:
		return got, "no such address: " + r.Method + " " + r.URL.Path
	}
	if !slices.Contains(states, got.State) {
		return got, "state is not one of " + strings.Join(states, ", ")
	}
	if utf8.RuneCountInString(got.Description) > most {
		return got, fmt.Sprintf("description is too long (maximum is %d characters)", most)
	}
	return got, ""
}
