package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/platform/system"
	"github.com/buildit-dev/buildit/internal/repository/gittest"
	"github.com/buildit-dev/buildit/internal/wiring/server"
	"github.com/buildit-dev/buildit/statemachines"
)

// movable is the machine's clock, which may be put forward while it runs.
type movable struct {
	system.Clock
	by atomic.Int64
}

func (m *movable) Now() time.Time { return m.Clock.Now().Add(time.Duration(m.by.Load())) }

// A schedule is taken over when its repository is connected, its timer is kept on the
// disk, and its tick makes a run: through everything that a server is made of.
func TestScheduleTicksInAServer(t *testing.T) {
	t.Parallel()
	tree := gittest.Start(t, gittest.Options{}).New(t, "shop")
	tree.Commit("first", ".buildit.kdl", "pipeline \"shop\"\non \"schedule\" cron=\"0 * * * *\"\nstage \"a\" { when branch=\"none\"; run \"true\"; }\n")
	tree.Push()
	data, clock := filepath.Join(t.TempDir(), "data"), new(movable)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	home, err := local.Open(ctx, data, local.Options{Machines: statemachines.All(), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	home.Tasks = memory.NewTasks(clock, func(context.Context, platform.TaskSpec) int { return 1 })
	srv, err := server.New(ctx, home.Home, server.Options{Data: data, Local: true, Blobs: http.NotFoundHandler(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	home.SetFunctions(srv.Functions)
	var work sync.WaitGroup
	for _, run := range []func(context.Context) error{home.Run, srv.Run} {
		work.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		work.Wait()
		if err := home.Close(); err != nil {
			t.Error(err)
		}
	})
	api := caller{t: t, handler: srv.Handler, data: data}
	api.call(http.MethodPost, "repositories", map[string]any{"url": "file://" + tree.Bare}, nil)
	clock.by.Store(int64(time.Hour))
	// The waits of timers last as long as they would have, half a minute at most; one
	// that is set has them look.
	if err := home.Timers.Set(ctx, platform.Timer{Name: "look", At: clock.Now(), Queue: "nobody", Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	var runs struct {
		Items []struct{ Event, Subject, Status, Why string }
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for until := time.Now().Add(30 * time.Second); len(runs.Items) == 0; <-look.C {
		if time.Now().After(until) {
			t.Fatal("the tick made no run within 30 s")
		}
		api.call(http.MethodGet, "runs", nil, &runs)
	}
	if run := runs.Items[0]; run.Event != "schedule" || !strings.HasSuffix(run.Subject, ":00:00Z main") || !strings.Contains(run.Why, "scheduled by .buildit.kdl:2") {
		t.Errorf("%+v", run)
	}
}

// caller is the owner at the API of a server.
type caller struct {
	t       *testing.T
	handler http.Handler
	data    string
}

func (c caller) call(method, path string, in, out any) {
	c.t.Helper()
	token, err := os.ReadFile(filepath.Join(c.data, access.TokenFile))
	body, badIn := json.Marshal(in)
	if err := errors.Join(err, badIn); err != nil {
		c.t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(c.t.Context(), method, "/api/v1/orgs/default/"+path, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	if w.Code >= 300 {
		c.t.Fatalf("%s %s: %d: %s", method, path, w.Code, w.Body)
	}
	if out != nil {
		if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
			c.t.Fatal(err)
		}
	}
}
