package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/report"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// script is a server whose answers a test script writes: the real Mux and streams,
// with one repository, one run and its logs, as the API of the domains has them.
type script struct {
	http   *httptest.Server
	tokens map[string]string // by role

	mu       sync.Mutex
	run      map[string]any
	stages   []access.StageView
	logs     map[string][]access.Segment // by log id
	secrets  []secretInfo
	commands map[string][]commandGroup // by stage key
	final    bool
	changed  chan struct{}
	watched  *sync.Cond // a log was asked for
	asked    int
	open     []net.Conn // WebSockets
	blobs    map[string][]byte
	cutBlobs int      // so many downloads are cut
	ranges   []string // that were asked for
}

const (
	theRun    = "aaaaaaaaaaaaaaaaaaaaaaaaaa"
	theCommit = "0123456789abcdef0123456789abcdef01234567"
)

func newScript(t testing.TB) *script {
	s := &script{
		tokens: map[string]string{}, logs: map[string][]access.Segment{}, changed: make(chan struct{}), blobs: map[string][]byte{}, commands: map[string][]commandGroup{},
		run: map[string]any{
			"id": theRun, "number": 7, "pipeline": "shop", "repository": "r1", "commit": theCommit, "branch": "main",
			"tests": report.Totals{Cases: 12, Failed: 1, Succeeded: 11, Seconds: 85.5}, "message": "Sell \x1b[31mtea\nand more", "status": "running", "event": "push", "stage_count": 2,
		},
		stages: []access.StageView{{Key: "k1", Name: "test", Status: "running", Attempt: 1}, {Key: "k2", Name: "deploy", Status: "blocked"}},
	}
	s.watched = sync.NewCond(&s.mu)
	clock, ids, table := memory.NewClock(), memory.NewIDs(), memory.NewTable(nil)
	creds := access.NewCredentials(table, memory.NewKeys(), clock, ids)
	log := slog.New(slog.DiscardHandler)
	mux, err := access.New(access.Options{Table: table, Clock: clock, IDs: ids, Credentials: creds, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	streams := &access.Streams{Credentials: creds, Clock: clock, Log: log, Logs: s, Runs: s}
	if err := mux.Register(append(s.routes(), streams.Routes()...)...); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{access.Owner, access.Viewer} {
		secret, _, err := creds.Issue(context.Background(), platform.System("default", "test"), access.Token{Name: role, Role: role})
		if err != nil {
			t.Fatal(err)
		}
		s.tokens[role] = secret
	}
	s.serve(t, mux)
	return s
}

// cutAfter hangs up after some bytes of an answer.
type cutAfter struct {
	http.ResponseWriter
	left int
}

func (c *cutAfter) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(c.left, len(p))])
	if c.left -= n; c.left == 0 && err == nil {
		err = http.NewResponseController(c.ResponseWriter).Flush()
	}
	if err == nil && n < len(p) {
		panic(http.ErrAbortHandler)
	}
	return n, err
}

func (s *script) serve(t testing.TB, mux http.Handler) {
	top := http.NewServeMux()
	top.Handle("/", mux)
	top.HandleFunc("GET /blobs/{sha}", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("our token went to the address of a grant")
		}
		s.mu.Lock()
		text, cut := s.blobs[r.PathValue("sha")], s.cutBlobs > 0
		s.cutBlobs--
		s.ranges = append(s.ranges, r.Header.Get("Range"))
		s.mu.Unlock()
		if cut { // one byte more than the reader has, and then the connection is gone
			w = &cutAfter{w, 1}
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
	})
	s.http = httptest.NewUnstartedServer(top)
	s.http.Config.ConnState = func(conn net.Conn, state http.ConnState) {
		if state == http.StateHijacked {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.open = append(s.open, conn)
		}
	}
	s.http.Start()
	t.Cleanup(s.http.Close)
}

func (s *script) routes() []access.Route {
	route := func(pattern string, action access.Action, handle func(r *http.Request) (any, error)) access.Route {
		resource := access.OfOrg()
		return access.Route{
			Pattern: strings.Replace(pattern, " /", " /api/v1/orgs/{org}/", 1), Action: action, Resource: resource, Summary: "x",
			Handle: func(r *http.Request, _ access.Caller) (any, error) {
				s.mu.Lock()
				defer s.mu.Unlock()
				return handle(r)
			},
		}
	}
	repository := map[string]any{"id": "r1", "name": "shop", "url": "https://git.example.com/acme/shop.git", "provider": "git", "default_branch": "main", "hook": map[string]any{
		"repair": "repaired: it was switched off", "repaired": "2026-01-01T00:00:00Z", "reason": "token-refused", "banner": "Give another token.",
	}}
	found := scanned{Commit: theCommit, Findings: []finding{{"pipeline", ".buildit.kdl", "is a pipeline file"}}}
	list := func(items ...any) func(*http.Request) (any, error) {
		return func(*http.Request) (any, error) { return access.NewPage(items, ""), nil }
	}
	return []access.Route{
		route("GET /repositories", access.RepositoryRead, list(repository)),
		route("POST /repositories", access.RepositoryConnect, func(r *http.Request) (any, error) {
			in, err := access.Decode[struct {
				URL          string `json:"url"`
				Name         string `json:"name"`
				Provider     string `json:"provider"`
				RunPipelines *bool  `json:"run_pipelines"`
			}](r)
			return map[string]any{
				"repository": map[string]any{"id": "r2", "name": in.Name, "url": in.URL, "run_pipelines": in.RunPipelines == nil || *in.RunPipelines},
				"webhook":    map[string]any{"path": "/webhooks/" + in.Provider + "/r2", "secret": "s3cr3t"},
				"scan":       found,
			}, err
		}),
		route("GET /repositories/{repository}", access.RepositoryRead, func(r *http.Request) (any, error) {
			if name := r.PathValue("repository"); name != "shop" && name != "r1" {
				return nil, problem.New(problem.NotFound, "There is no repository %q.", name)
			}
			return repository, nil
		}),
		route("POST /repositories/{repository}/confirm", access.RepositoryConnect, func(r *http.Request) (any, error) {
			in, err := access.Decode[map[string]bool](r)
			return map[string]any{"name": "shop", "run_pipelines": in["run_pipelines"]}, err
		}),
		route("POST /repositories/{repository}/scan", access.RepositoryScan, func(*http.Request) (any, error) { return found, nil }),
		route("POST /repositories/{repository}/sync", access.RepositoryScan, func(*http.Request) (any, error) {
			return map[string]any{"refs": 1, "runs": []string{theRun}}, nil
		}),
		route("GET /repositories/{repository}/caches", access.CacheRead, func(*http.Request) (any, error) {
			return json.RawMessage(`{"items":[{"id":"c1","name":"npm","scope":"trusted/main","key":"npm-1","bytes":2097152,"files":3,"public":true,"used_at":"2026-01-02T03:04:05Z"}]}`), nil
		}),
		route("DELETE /repositories/{repository}/caches/{cache}", access.CacheDelete, func(r *http.Request) (any, error) {
			if r.PathValue("cache") != "c1" {
				return nil, problem.New(problem.NotFound, "The repository has no cache entry %q.", r.PathValue("cache"))
			}
			return map[string]any{}, nil
		}),
		route("POST /repositories/{repository}/caches/{cache}/publish", access.CachePublish, func(r *http.Request) (any, error) {
			in, err := access.Decode[map[string]bool](r)
			return map[string]any{"name": r.PathValue("cache"), "public": in["public"]}, err
		}),
		route("GET /runs", access.RunRead, s.listRuns),
		route("POST /runs", access.PipelineRun, s.startRun),
		route("GET /runs/{run}", access.RunRead, s.showRun),
		route("POST /runs/{run}/cancel", access.RunCancel, s.cancelRun),
		route("POST /runs/{run}/rerun", access.RunRerun, s.rerunRun),
		route("POST /runs/{run}/stages/{stage}/approve", access.GateApprove, decided("starting")),
		route("POST /runs/{run}/stages/{stage}/reject", access.GateApprove, decided("failed")),
		route("POST /runs/{run}/approve", access.RunApprove, decided("running")),
		route("GET /quota", access.QuotaRead, func(*http.Request) (any, error) { return quotaInfo{Stages: 200}, nil }),
		route("PUT /quota", access.QuotaWrite, func(r *http.Request) (any, error) { return access.Decode[quotaInfo](r) }),
		route("POST /environments", access.EnvironmentProtect, func(r *http.Request) (any, error) { return access.Decode[environmentInfo](r) }),
		route("GET /environments", access.EnvironmentRead, list(production())),
		route("GET /environments/{environment}", access.EnvironmentRead, func(r *http.Request) (any, error) {
			if name := r.PathValue("environment"); name != "production" {
				return nil, problem.New(problem.NotFound, "There is no environment %q.", name)
			}
			return production(), nil
		}),
		route("GET /environments/{environment}/releases", access.EnvironmentRead, list(production().Current)),
		route("GET /runs/{run}/stages/{stage}/log", access.LogRead, s.storedLog),
		route("GET /runs/{run}/stages/{stage}/log/search", access.LogRead, s.searchLog),
		route("GET /secrets", access.SecretRead, func(*http.Request) (any, error) {
			return access.NewPage(s.secrets, ""), nil
		}),
		route("PUT /secrets/{secret}", access.SecretWrite, func(r *http.Request) (any, error) {
			in, err := access.Decode[map[string]string](r)
			s.secrets = append(s.secrets, secretInfo{
				Name: r.PathValue("secret"), Repository: in["repository"], Pipeline: in["pipeline"], Environment: in["environment"],
				By: fmt.Sprintf("%d bytes", len(in["value"])),
			})
			return s.secrets[len(s.secrets)-1], err
		}),
		route("DELETE /secrets/{secret}", access.SecretWrite, func(r *http.Request) (any, error) {
			if r.URL.Query().Get("environment") != "production" {
				return nil, problem.New(problem.NotFound, "There is no secret %q in the scope organization.", r.PathValue("secret"))
			}
			return nil, nil
		}),
		route("GET /runs/{run}/timing", access.RunRead, func(*http.Request) (any, error) {
			return json.RawMessage(`{"queue_seconds":0.5,"seconds":75,"compute_seconds":90,"cost":{"usd":0,"fargate_usd_modelled":0.0033},
				"critical_path":[{"stage":"test","wait_seconds":0.1,"seconds":70}]}`), nil
		}),
		route("GET /repositories/{repository}/insight", access.RunRead, func(r *http.Request) (any, error) {
			if r.URL.Query().Get("branch") == "none" {
				return json.RawMessage(`{"pipelines":[]}`), nil
			}
			return json.RawMessage(`{"pipelines":[{"file":".buildit.kdl","pipeline":"shop","runs":3,"success_rate":0.667,"seconds_p50":61,"seconds_p95":80,
				"compute_seconds":240,"cost":{"fargate_usd_modelled":0.01},"stages":[{"stage":"test","runs":3,"success_rate":null,"seconds_p50":60,
				"seconds_p95":70,"flaky":2,"critical_share":1}]}]}`), nil
		}),
		route("GET /runs/{run}/tests", access.RunRead, listTests),
		route("GET /runs/{run}/summary", access.RunRead, list(json.RawMessage(`{"stage":"test","stage_key":"k1","text":"# Done \u001b[31m&lt;b>",
			"tests":{"cases":12,"failed":1},"coverage":{"unit":"lines","covered":1,"total":2,"percent":50}}`))),
		route("GET /runs/{run}/artifacts", access.ArtifactRead, func(*http.Request) (any, error) {
			return access.NewPage([]any{s.artifact().Artifact}, ""), nil
		}),
		route("GET /runs/{run}/artifacts/{name}", access.ArtifactDownload, func(*http.Request) (any, error) { return s.artifact(), nil }),
	}
}

// listTests has one test a page: a failed one, a flaky one, two that passed.
func listTests(r *http.Request) (any, error) {
	output := ""
	if r.URL.Query().Get("output") == "true" {
		output = `,"output":"got 3\n\twant 2 \u001b[31m"`
	}
	all := []any{
		json.RawMessage(`{"suite":"s","class":"cart","name":"adds","file":"cart_test.go","line":12,"seconds":0.5,"status":"failed","message":"got 3\nwant 2",
			"cells":[{"stage":"test (1)","status":"failed"},{"stage":"test (2)","status":"failed"},{"stage":"test (3)","status":"succeeded"}]` + output + `}`),
		json.RawMessage(`{"name":"wobbly \u001b[31m","seconds":75,"status":"succeeded","flaky":true,"cells":[{"stage":"test (1)","status":"succeeded"}],
			"history":{"recent":[],"flaky_commits":2,"seconds":75}}`),
		json.RawMessage(`{"name":"slow","seconds":9,"status":"succeeded","cells":[]}`),
		json.RawMessage(`{"name":"quick","seconds":1,"status":"succeeded","cells":[]}`),
	}
	if r.URL.Query().Get("status") == "failed" {
		all = all[:1]
	}
	at := len(r.URL.Query().Get("cursor"))
	next := strings.Repeat("n", at+1)
	if at+1 >= len(all) {
		next = ""
	}
	page := access.Page[any]{Items: all[at : at+1], Next: next}
	return page, nil
}

// decided answers a decision about a stage: a comment is asked for, so that the test
// sees that it came.
func decided(status string) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		in, err := access.Decode[decision](r)
		if err == nil && in.Comment == "" {
			err = problem.New(problem.Forbidden, "You may not decide about stage %q: somebody else must agree.", r.PathValue("stage"))
		}
		return stageInfo{Name: r.PathValue("stage"), Status: status, Why: in.Comment}, err
	}
}

func production() environmentInfo {
	return environmentInfo{
		Name: "production", Branches: []string{"main"}, Approvers: []string{"deployer"}, Count: 1,
		Current: &releaseInfo{Number: 3, RunNumber: 7, Commit: theCommit, Branch: "main", URL: "https://shop.example.com"},
	}
}

// listRuns has the run on its second page.
func (s *script) listRuns(r *http.Request) (any, error) {
	if r.URL.Query().Get("cursor") == "" {
		return access.NewPage([]any{map[string]any{"id": "b" + theRun[1:], "number": 8, "status": "queued", "file": ".buildit.kdl", "commit": "ff"}}, "2"), nil
	}
	return access.NewPage([]any{s.run}, ""), nil
}

func (s *script) startRun(r *http.Request) (any, error) {
	in, err := access.Decode[startRequest](r)
	if err == nil && in.Branch == "none" {
		err = problem.New(problem.Invalid, "There is no branch %q.", in.Branch).InField("branch")
	}
	return s.run, err
}

func (s *script) showRun(r *http.Request) (any, error) {
	if r.PathValue("run") != theRun {
		return nil, problem.New(problem.NotFound, "There is no run %s.", r.PathValue("run"))
	}
	s.run["stages"] = s.stages
	return s.run, nil
}

func (s *script) cancelRun(*http.Request) (any, error) {
	if s.final {
		return nil, problem.New(problem.Conflict, "The run is %s; nothing is left to cancel.", s.run["status"])
	}
	return map[string]any{"id": theRun, "status": "canceling"}, nil
}

func (s *script) rerunRun(r *http.Request) (any, error) {
	in, err := access.Decode[rerunRequest](r)
	if err == nil && !s.final {
		err = problem.New(problem.Conflict, "The run is %s. It can be run again when it has ended.", s.run["status"])
	}
	return map[string]any{"id": "c" + theRun[1:], "attempt": 2, "number": 7, "what": in.What, "stage": in.Stage, "no_cache": in.NoCache}, err
}

func (s *script) storedLog(r *http.Request) (any, error) {
	query := r.URL.Query()
	if query.Get("format") == "index" {
		return logIndex{Groups: s.commands[r.PathValue("stage")]}, nil
	}
	var text bytes.Buffer
	for _, segment := range s.logs[theRun+"/"+r.PathValue("stage")+"/1"] {
		text.Write(segment.Text)
	}
	lines := bytes.SplitAfter(text.Bytes(), []byte("\n"))
	if first, err := strconv.Atoi(query.Get("line")); err == nil {
		lines = lines[min(first-1, len(lines)):]
	}
	if count, err := strconv.Atoi(query.Get("lines")); err == nil {
		lines = lines[:min(count, len(lines))]
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "log", time.Time{}, bytes.NewReader(bytes.Join(lines, nil)))
	}), nil
}

// searchLog answers one match a page.
func (s *script) searchLog(r *http.Request) (any, error) {
	var text bytes.Buffer
	for _, segment := range s.logs[theRun+"/"+r.PathValue("stage")+"/1"] {
		text.Write(segment.Text)
	}
	query := r.URL.Query()
	first, err := strconv.Atoi(query.Get("line"))
	for i, line := range strings.Split(text.String(), "\n") {
		if at := strings.Index(line, query.Get("q")); i+1 >= first && at >= 0 {
			match := logMatch{Line: int64(i + 1), Text: line, From: at, To: at + len(query.Get("q"))}
			return map[string]any{"matches": []logMatch{match}, "next": i + 2}, err
		}
	}
	return map[string]any{"matches": []logMatch{}}, err
}

// command says which lines of a stage a command has printed.
func (s *script) command(key, name string, first, last int64) {
	s.change(func() {
		s.commands[key] = append(s.commands[key], commandGroup{Name: name, First: first, Last: last, Seconds: 1.5, ExitCode: len(s.commands[key])})
	})
}

// artifact is what the run has left: a program and a link to it.
func (s *script) artifact() download {
	text := []byte("#!/bin/sh\necho tea\n")
	sum := sha256.Sum256(text)
	digest := hex.EncodeToString(sum[:])
	manifest := &supervisor.Manifest{V: 1, Files: []supervisor.File{
		{Path: "bin/shop", X: true, Size: int64(len(text)), SHA256: digest}, {Path: "latest", Link: "bin/shop"},
	}}
	if s.blobs[digest] == nil {
		s.blobs[digest] = text
	}
	object, form, err := manifest.Encode("shop")
	if err != nil {
		panic(err)
	}
	return download{
		Artifact: artifact{Name: "shop", Stage: "test", StageKey: "k1", Digest: object.SHA256, Files: 2, Bytes: int64(len(text))},
		Manifest: json.RawMessage(form),
		Blobs:    map[string]platform.SignedRequest{digest: {Method: "GET", URL: "/blobs/" + digest}},
	}
}

// Segments and Run make the script the source of the streams.
func (s *script) Segments(_ context.Context, _ access.Caller, log string, from access.From) (access.LogView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	s.watched.Broadcast()
	segments := s.logs[log]
	view := access.LogView{Segments: segments[min(from.Segment, len(segments)):], Next: access.From{Segment: len(segments)}, Changed: s.changed}
	for _, stage := range s.stages {
		if log == fmt.Sprintf("%s/%s/%d", theRun, stage.Key, stage.Attempt) && isFinal(stage.Status) {
			view.Ended, view.Status = true, stage.Status
		}
	}
	return view, nil
}

func (s *script) Run(_ context.Context, _ access.Caller, run string) (access.RunView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if run != theRun {
		return access.RunView{}, problem.New(problem.NotFound, "There is no run %s.", run)
	}
	status, _ := s.run["status"].(string)
	return access.RunView{Status: status, Final: s.final, Stages: slices.Clone(s.stages), Changed: s.changed}, nil
}

// change does f and wakes who waits.
func (s *script) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// say makes a stage print a segment.
func (s *script) say(key, text string) {
	s.change(func() {
		log := theRun + "/" + key + "/1"
		next := access.Segment{N: len(s.logs[log]), Line: 1, Text: []byte(text)}
		if next.N > 0 {
			last := s.logs[log][next.N-1]
			next.Line, next.Offset = last.Line+int64(strings.Count(string(last.Text), "\n")), last.Offset+int64(len(last.Text))
		}
		s.logs[log] = append(s.logs[log], next)
	})
}

// set gives a stage a status.
func (s *script) set(key, status string) {
	s.change(func() {
		for i := range s.stages {
			if s.stages[i].Key == key {
				s.stages[i].Status, s.stages[i].Attempt = status, 1
			}
		}
	})
}

// end ends the run.
func (s *script) end(status string) {
	s.change(func() { s.run["status"], s.final = status, true })
}

// cut breaks every open stream, when a log was asked for n times.
func (s *script) cut(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.asked < n {
		s.watched.Wait()
	}
	for _, conn := range s.open {
		if err := conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			panic(err)
		}
	}
	s.open = nil
}
