package repository_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/access/openapi"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
	"github.com/buildit-dev/buildit/internal/repository"
	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

var acme = platform.System("acme", "test")

// ledger keeps triggers as the engine does: what says the same is one run.
type ledger struct {
	mu       sync.Mutex
	runs     map[string]pipeline.Trigger
	order    []string
	starts   int
	canceled []string
}

func (l *ledger) Start(_ context.Context, _ platform.Org, t pipeline.Trigger) (string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starts++
	id := fmt.Sprintf("%s|%s|%s|%s|%.7s|%d", t.Repository, t.File, t.Event, t.Subject, t.Commit, t.Generation)
	if _, there := l.runs[id]; !there {
		l.runs[id] = t
		l.order = append(l.order, id)
	}
	return id, nil
}

func (l *ledger) Check(context.Context, platform.Org, pipeline.Trigger) error { return nil }

func (l *ledger) CancelQueued(_ context.Context, _ platform.Org, _, ref, _ string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.canceled, ref) {
		l.canceled = append(l.canceled, ref)
	}
	return nil
}

// triggers are the runs there are, in the order of their first start.
func (l *ledger) triggers() []pipeline.Trigger {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []pipeline.Trigger
	for _, id := range l.order {
		all = append(all, l.runs[id])
	}
	return all
}

// house is the service on a memory home, with a real git server beside it.
type house struct {
	t      testing.TB
	home   platform.Home
	clock  *platformtest.Clock
	runs   *ledger
	svc    *repository.Service
	mux    *access.Mux
	server *gittest.Server
	public string // where providers reach the service

	written int
}

func newHome() (platform.Home, *platformtest.Clock) {
	clock := platformtest.NewClock()
	table, queues := memory.NewTable(clock), memory.NewQueues(clock)
	return platform.Home{
		Table: table, Feed: table, Blobs: memory.NewBlobs(clock), Queues: queues, Keys: memory.NewKeys(),
		Timers: memory.NewTimers(clock, queues), Clock: clock, IDs: memory.NewIDs(),
	}, clock
}

func open(t testing.TB) *house {
	t.Helper()
	return openOn(t, gittest.Start(t, gittest.Options{}))
}

// openOn is a new house beside a git server that is there.
func openOn(t testing.TB, server *gittest.Server) *house {
	t.Helper()
	home, clock := newHome()
	h := &house{t: t, home: home, clock: clock, runs: &ledger{runs: map[string]pipeline.Trigger{}}, server: server}
	h.serve(home)
	return h
}

// serve makes the service anew on a home that shares the rows of h's.
func (h *house) serve(home platform.Home) {
	h.t.Helper()
	h.svc = repository.New(home, h.runs, repository.Options{Loopback: true, LocalPaths: true, TempDir: h.t.TempDir(), PublicURL: h.public})
	mux, err := access.New(access.Options{
		Table: home.Table, Clock: home.Clock, IDs: home.IDs, Log: slog.New(slog.DiscardHandler),
		Credentials: access.NewCredentials(home.Table, home.Keys, home.Clock, home.IDs), Describe: openapi.New("test"),
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if err := mux.Register(h.svc.Routes()...); err != nil {
		h.t.Fatal(err)
	}
	h.mux = mux
}

const onePipeline = "pipeline \"x\"\nstage \"a\" {\n    run \"true\"\n}\n"

// connect makes a repository with one commit and connects it.
func (h *house) connect(name, provider string) (*gittest.Tree, repository.Connected) {
	h.t.Helper()
	w := h.server.New(h.t, name)
	w.Commit("first", ".buildit.kdl", onePipeline)
	w.Push()
	out, err := h.svc.Connect(h.t.Context(), acme, repository.ConnectRequest{URL: w.URL, Provider: provider, ProviderID: providerID(name), RunPipelines: true})
	if err != nil {
		h.t.Fatal(err)
	}
	return w, out
}

func providerID(name string) string { return fmt.Sprintf("%d", 1000+len(name)) }

// deliver sends a delivery of GitHub, signed with secret, and returns the status.
func (h *house) deliver(c repository.Connected, secret, id, event string, body any) int {
	h.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		h.t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, c.Webhook.Path, bytes.NewReader(data))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(data)
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	r.Header.Set("X-Hub-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	r.Header.Set("X-GitHub-Delivery", id)
	r.Header.Set("X-Request-UUID", id)
	r.Header.Set("X-GitHub-Event", event)
	r.Header.Set("X-Event-Key", event)
	w := httptest.NewRecorder()
	h.mux.ServeHTTP(w, r)
	return w.Code
}

type object = map[string]any

func pushBody(name, ref, before, after string) object {
	return object{"ref": ref, "before": before, "after": after, "repository": object{"id": 1000 + len(name), "full_name": name, "default_branch": "main"}, "sender": object{"id": 5, "login": "ann"}}
}

// settle brings the feed to the queue, and empties the queue.
func (h *house) settle() {
	h.t.Helper()
	if err := h.trySettle(); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) trySettle() error {
	h.feed()
	for {
		messages, err := h.home.Queues.Receive(h.t.Context(), repository.Queue, 10, 0, time.Minute)
		if err != nil || len(messages) == 0 {
			return err
		}
		for _, m := range messages {
			if err := h.svc.HandleMessage(h.t.Context(), m.Body); err != nil {
				return err
			}
			if err := h.home.Queues.Delete(h.t.Context(), repository.Queue, m.Receipt); err != nil {
				return err
			}
		}
	}
}

// feed hands every change that was not seen yet to the service. A marker row that
// comes back says that it has.
func (h *house) feed() {
	h.t.Helper()
	ctx, stop := context.WithCancel(h.t.Context())
	marker := acme.Partition("marker").Row("marker", h.home.IDs.New())
	if _, err := h.home.Table.Write(ctx, platform.Put{Key: marker, Item: platform.Item{}}); err != nil {
		h.t.Fatal(err)
	}
	failed := false
	err := h.home.Feed.Consume(ctx, "repository", func(ctx context.Context, changes []platform.Change) (int, error) {
		done, err := h.svc.HandleChanges(ctx, changes)
		failed = err != nil
		if failed || slices.ContainsFunc(changes[:done], func(c platform.Change) bool { return c.Key == marker }) {
			stop()
		}
		return done, err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if failed {
		h.feed() // the rest comes again, without the pause that the feed would make
	}
}

// writes counts the changes of the table since the house was opened.
func (h *house) writes() int {
	h.t.Helper()
	ctx, stop := context.WithCancel(h.t.Context())
	marker := acme.Partition("marker").Row("marker", h.home.IDs.New())
	if _, err := h.home.Table.Write(ctx, platform.Put{Key: marker, Item: platform.Item{}}); err != nil {
		h.t.Fatal(err)
	}
	err := h.home.Feed.Consume(ctx, "writes", func(_ context.Context, changes []platform.Change) (int, error) {
		for _, c := range changes {
			if c.Key.Parents()[1] != "marker" {
				h.written++
			}
			if c.Key == marker {
				stop()
			}
		}
		return len(changes), nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return h.written
}

func (h *house) deliveries(c repository.Connected) map[string]repository.Delivery {
	h.t.Helper()
	list, _, err := h.svc.Deliveries(h.t.Context(), acme, c.Repository.ID, 100, "")
	if err != nil {
		h.t.Fatal(err)
	}
	byID := map[string]repository.Delivery{}
	for _, d := range list {
		byID[d.ID] = d
	}
	return byID
}

func (h *house) want(want ...string) []pipeline.Trigger {
	h.t.Helper()
	all := h.runs.triggers()
	var got []string
	for _, t := range all {
		got = append(got, fmt.Sprintf("%s %s %.7s g%d", t.Event, t.Subject, t.Commit, t.Generation))
	}
	if !slices.Equal(got, want) {
		h.t.Fatalf("runs\n  %q\nwant\n  %q", got, want)
	}
	return all
}

func run(event, subject, commit string, generation int) string {
	return fmt.Sprintf("%s %s %.7s g%d", event, subject, commit, generation)
}
