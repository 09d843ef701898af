package notify_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/forge/forgetest"
	"github.com/buildit-dev/buildit/internal/notify"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
	"github.com/buildit-dev/buildit/internal/repository"
	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

var acme = platform.System("acme", "test")

const (
	sha   = "0123456789abcdef0123456789abcdef01234567"
	token = "ghp_abcdefgh"
)

// house is the real services on memory beside a real git server and a provider.
type house struct {
	t        *testing.T
	home     platform.Home
	clock    *platformtest.Clock
	provider *forgetest.Server
	runs     *pipeline.Service
	checks   *notify.Service
	repo     repository.Repository
}

func open(t *testing.T) *house {
	t.Helper()
	clock := platformtest.NewClock()
	table := memory.NewTable(clock)
	h := &house{t: t, clock: clock, provider: forgetest.Start(t, "github", token)}
	h.home = platform.Home{
		Table: table, Feed: table, Blobs: memory.NewBlobs(clock), Queues: memory.NewQueues(clock), Keys: memory.NewKeys(), Clock: clock, IDs: memory.NewIDs(),
	}
	log := slog.New(slog.DiscardHandler)
	h.runs = pipeline.New(h.home, pipeline.Parts{Log: log})
	repositories := repository.New(h.home, nil, repository.Options{Loopback: true, TempDir: t.TempDir()})
	w := gittest.Start(t, gittest.Options{}).New(t, "acme/shop")
	w.Commit("first", "README", "shop\n")
	w.Push()
	out, err := repositories.Connect(t.Context(), acme, repository.ConnectRequest{URL: w.URL, Provider: "github"})
	if err == nil {
		h.repo, err = repositories.SetToken(t.Context(), acme, out.Repository.ID, repository.TokenRequest{Token: token, APIURL: h.provider.URL})
	}
	if err != nil {
		t.Fatal(err)
	}
	h.checks = notify.New(h.home, h.runs, repositories, "https://ci.example.com", log)
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// run is a change of the row of a run, as the feed brings it.
func (h *house) run(number, version int, status pipeline.Status, more ...string) platform.Change {
	h.t.Helper()
	id := fmt.Sprintf("run%d", number)
	item := platform.Item{
		"id": platform.Text(id), "number": platform.Int(number), "pipeline": platform.Text("ci"), "repository": platform.Text(h.repo.ID),
		"commit": platform.Text(sha), "status": platform.Text(status), "version": platform.Int(version),
	}
	for i := 0; i+1 < len(more); i += 2 {
		item[more[i]] = platform.Text(more[i+1])
	}
	key := acme.Partition("run", id).Row("run")
	_, err := h.home.Table.Write(h.t.Context(), platform.Put{Key: key, Item: item})
	h.must(err)
	return platform.Change{Key: key, New: item}
}

func (h *house) stage(number, version int, status pipeline.StageStatus) platform.Change {
	return platform.Change{Key: acme.Partition("run", fmt.Sprintf("run%d", number)).Row("stage", "k1"), New: platform.Item{
		"key": platform.Text("k1"), "name": platform.Text("test"), "kind": platform.Text("cell"), "status": platform.Text(status),
		"attempt": platform.Int(1), "version": platform.Int(version),
	}}
}

func (h *house) hear(changes ...platform.Change) {
	h.t.Helper()
	done, err := h.checks.HandleChanges(h.t.Context(), changes)
	if h.must(err); done != len(changes) {
		h.t.Fatalf("done with %d of %d", done, len(changes))
	}
}

func (h *house) send(after time.Duration) {
	h.t.Helper()
	h.clock.Advance(after)
	h.must(h.checks.SendDue(h.t.Context()))
}

// told is what the provider was told, in order.
func (h *house) told() string {
	var list []string
	for _, s := range h.provider.Told() {
		list = append(list, s.Name+" "+s.State+" ("+s.Description+")")
	}
	return strings.Join(list, "\n")
}

func (h *house) expect(lines ...string) {
	h.t.Helper()
	if got, want := h.told(), strings.Join(lines, "\n"); got != want {
		h.t.Errorf("told\n%s\nwant\n%s", got, want)
	}
}

func TestShortStageIsOneCall(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.hear(h.run(1, 2, pipeline.Running), h.stage(1, 1, pipeline.StageBlocked), h.stage(1, 2, pipeline.StageQueued), h.stage(1, 4, pipeline.StageRunning))
	h.send(0)
	h.expect()
	h.hear(h.stage(1, 6, pipeline.StageAllowed), h.run(1, 3, pipeline.Succeeded))
	h.send(0)
	h.send(time.Minute)
	h.hear(h.stage(1, 6, pipeline.StageAllowed)) // the feed may repeat itself
	h.send(time.Minute)
	got := h.provider.Told()
	if len(got) != 2 || h.provider.Calls() != 2 || got[0].URL != "https://ci.example.com/runs/run1" || got[0].Commit != sha {
		t.Errorf("%d calls: %+v", h.provider.Calls(), got)
	}
	for _, want := range []string{"buildit/ci success (run #1 succeeded)", "buildit/ci/test success (failed, which is allowed)"} {
		if !strings.Contains(h.told(), want) {
			t.Errorf("told %s, and not %s", h.told(), want)
		}
	}
}

func TestSkippedSupersededAndForks(t *testing.T) {
	t.Parallel()
	h := open(t)
	for i, more := range [][]string{{"why", "no path of it has changed"}, {"reason", "not-forks"}} {
		h.hear(h.run(i+1, 2, pipeline.Skipped, more...))
		h.send(0)
	}
	h.hear(h.run(3, 2, pipeline.Canceled, "reason", "superseded"))
	h.send(0)
	h.expect("buildit/ci success (skipped: no path of it has changed)", "buildit/ci success (not run for forks)", "buildit/ci success (superseded)")
}

func TestOldStatusNeverOverwritesNewer(t *testing.T) {
	t.Parallel()
	h := open(t)
	first := h.run(1, 2, pipeline.Running)
	h.hear(h.run(1, 3, pipeline.Failed))
	h.send(0)
	h.hear(first) // late
	h.send(time.Minute)
	h.hear(h.run(2, 2, pipeline.Running)) // a rerun
	h.send(time.Minute)
	h.hear(h.run(1, 4, pipeline.Failed)) // later still, of the attempt before
	h.send(time.Minute)
	h.hear(h.run(2, 3, pipeline.Succeeded))
	h.send(0)
	h.expect("buildit/ci failure (failed)", "buildit/ci pending (run #2 goes on)", "buildit/ci success (run #2 succeeded)")
}

func TestProviderThatIsTroubledIsTriedAgain(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.provider.Fail(forgetest.Answer(502), forgetest.Answer(403, "Retry-After", "300"), forgetest.Answer(429, "Retry-After", "1"))
	h.hear(h.run(1, 3, pipeline.Failed))
	h.send(0)
	h.send(10 * time.Second) // the second fault
	h.send(4 * time.Minute)  // it wants five minutes
	if got := h.provider.Calls(); got != 2 {
		t.Errorf("%d calls, want 2: the provider's own pause was not kept", got)
	}
	h.send(2 * time.Minute)
	h.expect()
	h.hear(h.run(2, 3, pipeline.Succeeded)) // what is told in the end is the newest
	h.send(2 * time.Second)
	h.send(time.Minute)
	h.expect("buildit/ci success (run #2 succeeded)")
	if got := h.provider.Calls(); got != 4 {
		t.Errorf("%d calls, want 4", got)
	}
}

func TestRefusalIsSeenOnTheRunAndNotRepeated(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.provider.Fail(forgetest.Answer(401))
	h.hear(h.run(1, 3, pipeline.Succeeded))
	h.send(0)
	for range 3 {
		h.send(time.Hour)
	}
	if got := h.provider.Calls(); got != 1 {
		t.Errorf("%d calls, want 1", got)
	}
	notice, err := h.home.Table.Get(t.Context(), acme.Partition("run", "run1").Row("notice", "check-refused"))
	h.must(err)
	if text := notice.Text("text"); !strings.Contains(text, "buildit/ci: 401") || !strings.Contains(text, "buildit repo token") || strings.Contains(text, token) {
		t.Errorf("the notice is %q", text)
	}
}
