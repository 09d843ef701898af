package pipeline_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// api asks the service's routes as an owner of its organization.
type api struct {
	t     *testing.T
	mux   *access.Mux
	token string
}

func newAPI(w *world) api {
	w.t.Helper()
	credentials := access.NewCredentials(w.home.Table, w.home.Keys, w.home.Clock, w.home.IDs)
	mux, err := access.New(access.Options{
		Table: w.home.Table, Clock: w.home.Clock, IDs: w.home.IDs, Credentials: credentials, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := mux.Register(w.service.Routes()...); err != nil {
		w.t.Fatal(err)
	}
	token, _, err := credentials.Issue(w.t.Context(), w.org, access.Token{Name: "test", Role: access.Owner})
	if err != nil {
		w.t.Fatal(err)
	}
	return api{w.t, mux, token}
}

// call answers status and body of "METHOD path below the organization".
func (a api) call(request, body string) (int, string) {
	a.t.Helper()
	method, path, _ := strings.Cut(request, " ")
	r := httptest.NewRequestWithContext(a.t.Context(), method, "/api/v1/orgs/acme"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+a.token)
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	a.mux.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func answer[T any](a api, path string) T {
	a.t.Helper()
	var out T
	status, body := a.call("GET "+path, "")
	if status != http.StatusOK {
		a.t.Fatalf("%s: %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), &out); err != nil {
		a.t.Fatalf("%s: %v", path, err)
	}
	return out
}

func TestRoutesShowARunThatHasEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	view := w.run(`pipeline "shop"
stage "make" {
    run "echo one; echo two; echo tea > shop"
    artifact "shop" path="shop"
}
stage "sell" needs="make" {
    run "echo sold"
}`)
	a, run := newAPI(w), "/runs/"+string(view.ID)

	list := answer[access.Page[pipeline.Run]](a, "/runs?status="+string(view.Status))
	if len(list.Items) != 1 || list.Items[0].ID != view.ID {
		t.Errorf("runs: %+v", list)
	}
	if none := answer[access.Page[pipeline.Run]](a, "/runs?branch=nobody"); none.Items == nil || len(none.Items) != 0 {
		t.Errorf("runs of no branch: %+v", none)
	}
	if got := answer[pipeline.View](a, run); len(got.Stages) != 2 || got.Stages[0].Name != "make" || len(got.Artifacts) != 1 {
		t.Errorf("the run: %+v", got)
	}
	if events := answer[access.Page[pipeline.Event]](a, run+"/events?limit=200"); len(events.Items) < 8 {
		t.Errorf("only %d events", len(events.Items))
	}

	log := run + "/stages/" + string(view.Stages[0].Key) + "/log"
	if status, text := a.call("GET "+log, ""); status != http.StatusOK || !strings.Contains(text, "one\ntwo\n") {
		t.Errorf("log: %d %q", status, text)
	}
	page := answer[pipeline.LogPage](a, log+"?from=0&wait=20s")
	if !page.End || page.Status != "succeeded" || page.Next != len(page.Segments) || len(page.Segments) == 0 {
		t.Errorf("log as JSON: %+v", page)
	}

	got := answer[pipeline.Download](a, run+"/artifacts/shop")
	manifest, err := supervisor.ParseManifest(got.Manifest)
	if err != nil || len(manifest.Files) != 1 || got.Blobs[manifest.Files[0].SHA256].URL == "" {
		t.Errorf("artifact: %+v %v", got, err)
	}
	if object, _, err := manifest.Encode("shop"); err != nil || object.SHA256 != got.Artifact.SHA256 {
		t.Errorf("the manifest is not that of the artifact (%v)", err)
	}
}

func TestRoutesRefuseInWords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	view := w.run(`pipeline "shop"
stage "one" {
    run "true"
}`)
	a, run := newAPI(w), "/runs/"+string(view.ID)
	log := run + "/stages/" + string(view.Stages[0].Key) + "/log"
	for request, want := range map[string]int{
		"GET /runs?status=asleep":                   http.StatusBadRequest,
		"GET /runs/none":                            http.StatusNotFound,
		"GET /runs/" + strings.Repeat("a", 26):      http.StatusNotFound,
		"GET " + run + "/artifacts/none":            http.StatusNotFound,
		"GET " + run + "/stages/none/log":           http.StatusNotFound,
		"GET " + log + "?attempt=2":                 http.StatusBadRequest,
		"GET " + log + "?from=-1":                   http.StatusBadRequest,
		"GET " + log + "?from=0&wait=1h":            http.StatusBadRequest,
		"POST " + run + "/cancel":                   http.StatusConflict, // it has ended
		"GET " + run + "/events?cursor=bm9uc2Vuc2U": http.StatusBadRequest,
	} {
		body := ""
		if strings.HasPrefix(request, "POST") {
			body = "{}"
		}
		if status, text := a.call(request, body); status != want || !strings.Contains(text, `"detail"`) {
			t.Errorf("%s: %d %s, want %d", request, status, text, want)
		}
	}
}
