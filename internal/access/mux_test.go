package access_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/golden"
	"github.com/buildit-dev/buildit/internal/problem"
)

// echo answers with what the handler was given.
func echo(r *http.Request, caller access.Caller) (any, error) {
	return map[string]string{"org": caller.Org.ID(), "name": caller.Name, "run": r.PathValue("run")}, nil
}

func showRun() access.Route {
	return access.Route{
		Pattern: "GET /api/v1/orgs/{org}/runs/{run}", Action: access.RunRead,
		Resource: access.InPath("run"), Summary: "One run", Handle: echo,
	}
}

// cancelRun decodes a body and counts how often it has run.
func cancelRun(times *int) access.Route {
	return access.Route{
		Pattern: "POST /api/v1/orgs/{org}/runs/{run}/cancel", Action: access.RunCancel,
		Resource: access.InPath("run"), Summary: "Cancel a run",
		Handle: func(r *http.Request, _ access.Caller) (any, error) {
			in, err := access.Decode[struct {
				Reason string `json:"reason"`
			}](r)
			if err != nil {
				return nil, err
			}
			*times++
			return map[string]any{"reason": in.Reason, "times": *times, "operation": access.OperationID(r.Context())}, nil
		},
	}
}

func TestRouteWithoutActionOrResourceDoesNotStart(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*access.Route){
		"no action":                    func(r *access.Route) { r.Action = "" },
		"an unknown action":            func(r *access.Route) { r.Action = "run:fly" },
		"no resource":                  func(r *access.Route) { r.Resource = access.Resource{} },
		"a wildcard that is not there": func(r *access.Route) { r.Resource = access.InPath("stage") },
		"no organization":              func(r *access.Route) { r.Pattern = "GET /api/v1/runs/{run}" },
		"no method":                    func(r *access.Route) { r.Pattern = "/api/v1/orgs/{org}/runs/{run}" },
		"a pattern of two meanings":    func(r *access.Route) { r.Pattern = "GET /api/v1/orgs/{org}/{any}/x{run}" },
		"public for an action of a role": func(r *access.Route) {
			r.Resource = access.Public("because")
		},
		"public without a reason": func(r *access.Route) {
			r.Action, r.Resource = access.WebhookDeliver, access.Public("")
		},
		"no handler": func(r *access.Route) { r.Handle = nil },
		"no summary": func(r *access.Route) { r.Summary = "" },
	} {
		t.Run(name, func(t *testing.T) {
			route := showRun()
			spoil(&route)
			if err := open(t).mux.Register(route); err == nil {
				t.Error("it was registered")
			}
		})
	}
	if err := open(t, showRun()).mux.Register(showRun()); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("the same pattern again: %v", err)
	}
}

func TestUnknownRoutesAreProblems(t *testing.T) {
	t.Parallel()
	h := open(t, showRun())
	for request, want := range map[string]problem.Kind{
		"GET /nowhere":                         problem.NotFound,
		"GET /api/v1/orgs/acme/runs/1/2":       problem.NotFound,
		"DELETE /api/v1/orgs/acme/runs/1":      problem.NoMethod,
		"BREW /api/v1/orgs/acme/runs/1":        problem.NoMethod,
		"GET /api/v1/orgs/acme/../../v1/x/y/z": problem.NotFound,
	} {
		got := h.call(request, "", "")
		if doc := got.problem(t); got.status != want.Status || doc.Type != want.TypeURI() || doc.Request != got.header.Get("X-Request-Id") {
			t.Errorf("%s: %d %+v, want %s", request, got.status, doc, want.Type)
		}
		if want == problem.NoMethod && got.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: Allow %q", request, got.header.Get("Allow"))
		}
	}
}

func TestPanicAndErrorAreInternal(t *testing.T) {
	t.Parallel()
	route := showRun()
	for name, handle := range map[string]func() error{
		"panic":       func() error { panic("secret detail") },
		"plain error": func() error { return errors.New("secret detail") },
	} {
		route.Handle = func(*http.Request, access.Caller) (any, error) { return nil, handle() }
		h := open(t, route)
		got := h.call("GET /api/v1/orgs/acme/runs/1", h.token("acme", access.Viewer), "")
		if got.status != 500 || strings.Contains(got.body, "secret") || !strings.Contains(got.body, got.header.Get("X-Request-Id")) {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
}

func TestBodyRules(t *testing.T) {
	t.Parallel()
	times := 0
	reads := access.Route{
		Pattern: "POST /api/v1/orgs/{org}/raw", Action: access.RunCancel, Resource: access.OfOrg(), Summary: "Raw",
		Raw: true, MaxBody: 10,
		Handle: func(r *http.Request, _ access.Caller) (any, error) {
			_, err := io.Copy(io.Discard, r.Body)
			return nil, err
		},
	}
	h := open(t, cancelRun(&times), reads)
	token := h.token("acme", access.Owner)
	const cancel = "POST /api/v1/orgs/acme/runs/1/cancel"
	for name, tt := range map[string]struct {
		request, body, kind string
		want                int
	}{
		"json":                 {cancel, `{}`, "application/json", 200},
		"json with a charset":  {cancel, `{}`, "application/json; charset=utf-8", 200},
		"a form":               {cancel, `reason=x`, "application/x-www-form-urlencoded", 415},
		"text":                 {cancel, `{}`, "text/plain", 415},
		"no type":              {cancel, `{}`, "", 415},
		"over 64 KiB":          {cancel, `{"reason":"` + strings.Repeat("x", access.MaxJSON) + `"}`, "application/json", 413},
		"over 1 MB":            {cancel, `{"reason":"` + strings.Repeat("x", access.MaxBody) + `"}`, "application/json", 413},
		"raw, another type":    {"POST /api/v1/orgs/acme/raw", "0123456789", "text/plain", 204},
		"raw, over its limit":  {"POST /api/v1/orgs/acme/raw", "0123456789a", "text/plain", 413},
		"a write with no body": {cancel, ``, "", 400},
	} {
		got := h.call(tt.request, token, tt.body, "Content-Type", tt.kind)
		if got.status != tt.want {
			t.Errorf("%s: %d %s, want %d", name, got.status, got.body, tt.want)
		}
	}
}

// T12: every write from another site is refused, with or without a token.
func TestCrossOriginWritesAreRefused(t *testing.T) {
	t.Parallel()
	times := 0
	h := open(t, cancelRun(&times))
	token := h.token("acme", access.Owner)
	for _, tt := range []struct {
		header, value string
		want          int
	}{
		{"Sec-Fetch-Site", "cross-site", 403},
		{"Sec-Fetch-Site", "same-site", 403},
		{"Origin", "null", 403},
		{"Origin", "https://evil.example", 403},
		{"Sec-Fetch-Site", "same-origin", 200},
		{"Origin", "http://example.com", 200}, // httptest's own host
		{"X-None", "", 200},                   // no browser
	} {
		got := h.call("POST /api/v1/orgs/acme/runs/1/cancel", token, "{}", tt.header, tt.value)
		if got.status != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.header, tt.value, got.status, tt.want)
		}
	}
}

// T16, T18: nobody can tell another organization from one that does not exist.
func TestForeignAndAbsentAreTheSame(t *testing.T) {
	t.Parallel()
	h := open(t, showRun())
	token := h.token("acme", access.Owner)
	h.token("other", access.Owner)
	foreign := h.call("GET /api/v1/orgs/other/runs/1", token, "")
	absent := h.call("GET /api/v1/orgs/nobody/runs/1", token, "")
	same := func(g given) string { return strings.ReplaceAll(g.body, g.header.Get("X-Request-Id"), "ID") }
	if foreign.status != 404 || same(foreign) != same(absent) {
		t.Errorf("another organization's: %d %s\nabsent: %d %s", foreign.status, foreign.body, absent.status, absent.body)
	}
	if got := h.call("GET /api/v1/orgs/acme/runs/a%2Fb", token, ""); !strings.Contains(got.body, `"run":"a/b"`) {
		t.Errorf("an escaped name: %s", got.body)
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	const cancel = "POST /api/v1/orgs/acme/runs/1/cancel"
	times := 0
	h := open(t, cancelRun(&times))
	owner, other := h.token("acme", access.Owner), h.token("acme", access.Owner)
	key := func(token, body, key string) given { return h.call(cancel, token, body, "Idempotency-Key", key) }

	first := key(owner, `{"reason":"a"}`, "k1")
	again := key(owner, `{"reason":"a"}`, "k1")
	if first.status != 200 || again.body != first.body || times != 1 {
		t.Errorf("a repeat: %d %s, ran %d times; first %s", again.status, again.body, times, first.body)
	}
	if again.header.Get("Idempotency-Replayed") != "true" || first.header.Get("Idempotency-Replayed") != "" {
		t.Error("a replay says so, and nothing else does")
	}
	if got := key(owner, `{"reason":"b"}`, "k1"); got.problem(t).Type != problem.Mismatch.TypeURI() {
		t.Errorf("another body: %s", got.body)
	}
	if key(other, `{"reason":"a"}`, "k1"); times != 2 {
		t.Error("a key is its principal's own")
	}
	if key(owner, `{"reasn":"a"}`, "k2"); key(owner, `{"reason":"a"}`, "k2").status != 200 {
		t.Error("an error is not kept")
	}
	h.clock.Advance(25 * time.Hour)
	if got := key(owner, `{"reason":"b"}`, "k1"); got.status != 200 {
		t.Errorf("after a day the key is free: %s", got.body)
	}
	if got := key(owner, `{}`, strings.Repeat("k", 129)); got.status != 400 {
		t.Errorf("a long key: %d", got.status)
	}
}

// A server that died between the effect and its answer is repeated under the same
// operation id, so that what derives its ids from it makes nothing twice.
func TestIdempotencyKeyAfterACrash(t *testing.T) {
	t.Parallel()
	crash, times := true, 0
	route := cancelRun(&times)
	inner := route.Handle
	operations := map[string]bool{}
	route.Handle = func(r *http.Request, caller access.Caller) (any, error) {
		operations[access.OperationID(r.Context())] = true
		if crash {
			panic(http.ErrAbortHandler)
		}
		return inner(r, caller)
	}
	h := open(t, route)
	token := h.token("acme", access.Owner)
	try := func() (got given) {
		defer func() {
			if cause := recover(); cause != nil && cause != http.ErrAbortHandler {
				panic(cause)
			}
		}()
		return h.call("POST /api/v1/orgs/acme/runs/1/cancel", token, "{}", "Idempotency-Key", "k")
	}
	try()
	crash = false
	if got := try(); got.problem(t).Type != problem.Unavailable.TypeURI() || got.header.Get("Retry-After") != "1" {
		t.Errorf("while the first may still run: %s", got.body)
	}
	h.rested()
	h.clock.Advance(time.Second)
	if got := try(); got.status != 200 || len(operations) != 1 {
		t.Errorf("after the lease: %d %s, operations %v", got.status, got.body, operations)
	}
}

func TestRateLimits(t *testing.T) {
	t.Parallel()
	h := open(t, showRun())
	viewer, other := h.token("acme", access.Viewer), h.token("acme", access.Viewer)
	until := func(token string) (n int, last given) {
		for n = range 1000 {
			if last = h.call("GET /api/v1/orgs/acme/runs/1", token, ""); last.status == 429 {
				return n, last
			}
		}
		return n, last
	}
	n, last := until(viewer)
	if n != 200 || last.header.Get("Retry-After") != "1" || last.problem(t).Type != problem.TooMany.TypeURI() {
		t.Errorf("a principal was stopped after %d calls: %d %s", n, last.status, last.body)
	}
	if got := h.call("GET /api/v1/orgs/acme/runs/1", other, ""); got.status != 200 {
		t.Errorf("another principal: %d", got.status)
	}
	if n, _ := until("bt_guess"); n != 40 {
		t.Errorf("an address without a good token was stopped after %d calls", n)
	}
	h.clock.Advance(time.Second)
	if n, _ := until(viewer); n != 100 {
		t.Errorf("a second later there were %d calls", n)
	}
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	times := 0
	cancel := cancelRun(&times)
	cancel.In = struct {
		Reason string `json:"reason"`
	}{}
	cancel.Query = map[string]string{"force": "Whether to wait."}
	h := open(t, showRun(), cancel)
	got := h.call("GET /api/openapi.json", "", "")
	var doc map[string]any
	if err := json.Unmarshal([]byte(got.body), &doc); err != nil || got.status != 200 {
		t.Fatalf("%d %v", got.status, err)
	}
	pretty, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden.Equal(t, "openapi.json", string(pretty)+"\n")
}
