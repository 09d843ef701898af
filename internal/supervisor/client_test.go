package supervisor

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/system"
	"github.com/buildit-dev/buildit/internal/problem"
)

const ticket = "ticket-of-the-task"

// server is a platform of one attempt behind real HTTP: /runner/v1 by Serve, and a
// store with signed URLs.
type server struct {
	*home
	*httptest.Server
	fault func(w http.ResponseWriter, r *http.Request) bool // answers instead, if it says so

	mu     sync.Mutex
	token  int
	valid  string // the bearer that opens all but hello
	lapsed string // the one that opens beat alone
}

func serveHTTP(t testing.TB, h *home) *server {
	s := &server{home: h}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /runner/v1/", s.runner)
	mux.HandleFunc("/store/{sha}", s.store)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.fault == nil || !s.fault(w, r) {
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) runner(w http.ResponseWriter, r *http.Request) {
	log := slog.New(slog.DiscardHandler)
	if !s.admit(r) {
		problem.Write(w, r, log, problem.New(problem.Unauthorized, "no"))
		return
	}
	answer, err := Serve(r, Side{Control: s.home, Grant: s.grant, Renew: s.renew})
	if err != nil {
		problem.Write(w, r, log, err)
		return
	}
	writeJSON(w, answer)
}

func (s *server) admit(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch r.URL.Path {
	case PathHello:
		return bearer == ticket
	case PathBeat:
		return bearer == s.valid || bearer == s.lapsed
	}
	return bearer == s.valid
}

func (s *server) renew(_ context.Context, hello bool) (Renewal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if hello || s.valid == "" {
		s.token++
		s.valid, s.lapsed = fmt.Sprintf("token-%d-secret", s.token), ""
		return Renewal{Token: s.valid, Expires: time.Now().Add(15 * time.Minute)}, nil
	}
	return Renewal{}, nil
}

// expire lets the token open nothing but beat.
func (s *server) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.valid, s.lapsed = "", s.valid
}

func (s *server) grant(_ context.Context, requests []GrantRequest) ([]Grant, error) {
	s.home.mu.Lock()
	defer s.home.mu.Unlock()
	var grants []Grant
	for _, r := range requests {
		_, have := s.objects[r.Object.SHA256]
		signed := &platform.SignedRequest{
			Method: r.Method, URL: s.URL + "/store/" + r.Object.SHA256,
			Header: http.Header{"X-Signed": {r.Method}}, Expires: time.Now().Add(time.Minute),
		}
		switch {
		case r.Object.Name == "forbidden":
			grants = append(grants, Grant{Refused: "the stage declares no such object"})
		case r.Method == http.MethodPut && have:
			grants = append(grants, Grant{Have: true})
		case r.Method == http.MethodGet && !have:
			grants = append(grants, Grant{Missing: true})
		default:
			grants = append(grants, Grant{Request: signed})
		}
	}
	return grants, nil
}

func (s *server) store(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Signed") != r.Method {
		http.Error(w, "not signed", http.StatusForbidden)
		return
	}
	sha := r.PathValue("sha")
	if r.Method == http.MethodGet {
		s.home.mu.Lock()
		text := s.objects[sha]
		s.home.mu.Unlock()
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
		return
	}
	text, err := io.ReadAll(r.Body)
	if sum := sha256.Sum256(text); err != nil || hex.EncodeToString(sum[:]) != sha {
		http.Error(w, "other bytes", http.StatusBadRequest)
		return
	}
	s.home.mu.Lock()
	defer s.home.mu.Unlock()
	if s.objects[sha] != nil {
		http.Error(w, "exists", http.StatusPreconditionFailed)
		return
	}
	s.put(text)
}

// overHTTP runs the home's job through the protocol.
func (s *server) overHTTP(t *testing.T) Result {
	t.Helper()
	client := NewClient(s.URL, ticket)
	client.clock = hasty{}
	result, err := Run(t.Context(), client, options(t))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// hasty is a clock whose pauses are short, for tests of repeated calls.
type hasty struct{ system.Clock }

func (h hasty) Sleep(ctx context.Context, d time.Duration) error { return h.Clock.Sleep(ctx, d/50) }

// A whole attempt: source, artifacts, secrets, log, beats and the result.
func TestAttemptOverHTTP(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, `cat a; echo "$TOKEN"; sleep 0.2; seq 1 1000 > out; : > empty; cp out same`), secrets: map[string]string{"token": "hunter2-4711"}}
	h.job.Workspace, h.job.Beat = "", 20*time.Millisecond
	h.job.Source = h.put(archive(t, map[string]string{"a": "from the source\n"}, tar.Header{Name: "a", Typeflag: tar.TypeReg}))
	h.job.Source.Kind, h.job.Source.Name = "source", "source/1"
	h.job.Secrets = []SecretUse{{Name: "token", As: "TOKEN"}}
	h.job.Artifacts = []ArtifactUse{{Name: "out", Paths: []string{"out", "empty", "same"}}}
	s := serveHTTP(t, h)
	result := s.overHTTP(t)
	want(t, h, result, ReasonOK)
	if !strings.Contains(h.text(), "from the source\n***\n") || len(h.beats) == 0 || h.ended().Reason == "" {
		t.Errorf("log %q, %d beats", h.text(), len(h.beats))
	}
	if m := result.Artifacts[0]; m.Files != 3 || h.objects[m.Manifest.SHA256] == nil {
		t.Errorf("artifact %+v", m)
	}
}

// The connection breaks, the server answers errors, garbage and "later": nothing is
// lost, no line comes twice, and the commands never notice.
func TestFaultsOfTheConnection(t *testing.T) {
	t.Parallel()
	var calls sync.Map // path -> count
	h := &home{job: jobOf(t, "for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.03; done; echo x > out")}
	h.job.Beat, h.job.Artifacts = 20*time.Millisecond, []ArtifactUse{{Name: "out", Paths: []string{"out"}}}
	s := serveHTTP(t, h)
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		count, _ := calls.LoadOrStore(r.Method+r.URL.Path, new(int))
		n := count.(*int)
		*n++
		switch *n {
		case 1:
			w.WriteHeader(http.StatusInternalServerError)
		case 2:
			panic(http.ErrAbortHandler) // the connection breaks
		case 3:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		case 4:
			if strings.HasPrefix(r.URL.Path, "/store") {
				w.WriteHeader(http.StatusForbidden) // the grant has expired
				return true
			}
			_, err := io.WriteString(w, "<html>garbage")
			return err == nil
		case 5: // done, but the answer is lost: the call comes twice
			if !strings.HasPrefix(r.URL.Path, "/store") {
				s.runner(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
			return false
		default:
			return false
		}
		return true
	}
	result := s.overHTTP(t)
	want(t, h, result, ReasonOK)
	if got := h.text(); !strings.HasPrefix(got, "line 1\nline 2\nline 3\nline 4\nline 5\nline 6\nline 7\nline 8\n") || strings.Count(got, "line 4") != 1 {
		t.Errorf("log %q", got)
	}
}

// TokenExpiredDuringOutage: the first beat afterwards renews it, and the attempt goes on.
func TestTokenExpiredDuringOutage(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "echo begun; sleep 0.3; echo on")}
	s := serveHTTP(t, h)
	go func() {
		h.awaitText(t, "begun")
		s.expire()
	}()
	result := s.overHTTP(t)
	want(t, h, result, ReasonOK)
	if !strings.Contains(h.text(), "on\n") || s.token != 2 {
		t.Errorf("log %q, %d tokens", h.text(), s.token)
	}
}

// An attempt that is over is told so at every call, and no token opens it again.
func TestSettledOverHTTP(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "trap '' TERM; echo begun; sleep 300")}
	h.job.Beat = 20 * time.Millisecond
	h.refuse = func(call string) error {
		if call == "beat" || call == "finish" {
			return ErrSettled
		}
		return nil
	}
	s := serveHTTP(t, h)
	_, err := Run(t.Context(), NewClient(s.URL, ticket), options(t))
	if !errors.Is(err, ErrSettled) {
		t.Errorf("err = %v", err)
	}
}

// What the platform refuses for good is not asked again, and has its reason.
func TestSecretsRefused(t *testing.T) {
	t.Parallel()
	for reason, err := range map[string]error{ReasonSecretMissing: platform.ErrNotFound, ReasonSecretUntrusted: platform.ErrDenied} {
		h := &home{job: jobOf(t, "echo unreached")}
		h.job.Secrets = []SecretUse{{Name: "token", As: "TOKEN"}}
		h.refuse = func(call string) error {
			if call == "secrets" {
				return fmt.Errorf("secret token: %w", err)
			}
			return nil
		}
		want(t, h, serveHTTP(t, h).overHTTP(t), reason)
		want(t, h, h.run(t), reason)
	}
}

func TestWrongTicket(t *testing.T) {
	t.Parallel()
	s := serveHTTP(t, &home{job: jobOf(t, "true")})
	if _, err := Run(t.Context(), NewClient(s.URL, "another"), options(t)); err == nil || errors.Is(err, ErrSettled) {
		t.Errorf("err = %v", err)
	}
}

func TestGrantRefused(t *testing.T) {
	t.Parallel()
	s := serveHTTP(t, &home{job: jobOf(t, "true")})
	c := NewClient(s.URL, ticket)
	if _, err := c.Hello(t.Context(), Hello{}); err != nil {
		t.Fatal(err)
	}
	object := Object{Kind: "blob", Name: "forbidden", SHA256: "00", Size: 1}
	if err := c.Upload(t.Context(), object, strings.NewReader("x")); !errors.Is(err, errGrant) {
		t.Errorf("upload: %v", err)
	}
	if _, err := c.Download(t.Context(), object); !errors.Is(err, errGrant) {
		t.Errorf("download: %v", err)
	}
	if _, err := c.Download(t.Context(), Object{Name: "x", SHA256: "11"}); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("missing: %v", err)
	}
}

// A download that breaks on the way is taken up where it broke.
func TestDownloadResumes(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "true")}
	text := []byte(strings.Repeat("0123456789", 30_000))
	object := h.put(text)
	s := serveHTTP(t, h)
	var ranges []string
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/store") {
			return false
		}
		ranges = append(ranges, r.Header.Get("Range"))
		if len(ranges) > 2 {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		if len(ranges) == 2 {
			w.Header().Set("Content-Length", fmt.Sprint(len(text)-100_000))
			w.WriteHeader(http.StatusPartialContent)
		}
		if _, err := w.Write(text[(len(ranges)-1)*100_000:][:100_000]); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	}
	c := NewClient(s.URL, ticket)
	if _, err := c.Hello(t.Context(), Hello{}); err != nil {
		t.Fatal(err)
	}
	body, err := c.Download(t.Context(), object)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(body)
	if err = errors.Join(err, body.Close()); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%d bytes of %d, %v", len(got), len(text), err)
	}
	if len(ranges) != 3 || ranges[2] == "" {
		t.Errorf("ranges %q", ranges)
	}
}

// A pool's supervisor asks until there is a job.
func TestHelloWaitsForAJob(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "echo done")}
	s := serveHTTP(t, h)
	asked := 0
	s.fault = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != PathHello || asked > 2 {
			return false
		}
		asked++
		writeJSON(w, HelloAnswer{Nothing: true})
		return true
	}
	want(t, h, s.overHTTP(t), ReasonOK)
}

func TestProtocolVersions(t *testing.T) {
	t.Parallel()
	for version, ok := range map[string]bool{"0": true, "1": true, "2": true, "3": false, "": false, "x": false} {
		r := httptest.NewRequest(http.MethodPost, PathBeat, strings.NewReader("{}"))
		r.Header.Set(ProtocolHeader, version)
		_, err := Serve(r, Side{Control: &home{}, Renew: func(context.Context, bool) (Renewal, error) { return Renewal{}, nil }})
		if (err == nil) != ok {
			t.Errorf("version %q: %v", version, err)
		}
	}
}

// FuzzServe: no body makes anything but an answer or a problem.
func FuzzServe(f *testing.F) {
	f.Add("log", []byte(`{"parts":[{"segment":0,"line":1,"lines":1,"text":"YQo="}]}`))
	f.Add("log", []byte(`{"parts":[{}]}`))
	f.Add("finish", []byte(`{"v":1,"reason":"ok"}`))
	f.Fuzz(func(t *testing.T, call string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, PathLog, bytes.NewReader(body))
		r.URL.Path = "/runner/v1/" + call
		r.Header.Set(ProtocolHeader, "1")
		h := &home{}
		side := Side{
			Control: h,
			Grant:   func(context.Context, []GrantRequest) ([]Grant, error) { return nil, nil },
			Renew:   func(context.Context, bool) (Renewal, error) { return Renewal{}, nil },
		}
		answer, err := Serve(r, side)
		if (answer == nil) == (err == nil) {
			t.Errorf("answer %v, err %v", answer, err)
		}
	})
}

// A supervisor that has not begun does not wait for ever for a platform that is gone.
func TestHelloGivesUp(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	c := NewClient(gone.URL, "ticket")
	c.patience = 50 * time.Millisecond
	if _, err := c.Hello(t.Context(), Hello{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err = %v, want that the patience ended", err)
	}
}
