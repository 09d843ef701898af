package repository_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/repository"
	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

func scheduled(lines ...string) string {
	return "pipeline \"x\"\n" + strings.Join(lines, "\n") + "\nstage \"a\" {\n    run \"true\"\n}\n"
}

// at sets the clock of a house that has nothing to wait for.
func (h *house) at(when string) {
	h.t.Helper()
	t, err := time.Parse(time.RFC3339, when)
	if err != nil {
		h.t.Fatal(err)
	}
	h.clock.Advance(t.Sub(h.clock.Now()))
}

// heardQueues tells of every message that was sent, since timers send when they like.
type heardQueues struct {
	platform.Queues
	sent chan string // the queue
}

func (q *heardQueues) Send(ctx context.Context, queue string, body []byte, after time.Duration) error {
	err := q.Queues.Send(ctx, queue, body, after)
	q.sent <- queue
	return err
}

// openTicking is a house whose timers can be waited for.
func openTicking(t *testing.T) (*house, *heardQueues) {
	h := open(t)
	heard := &heardQueues{h.home.Queues, make(chan string, 100)}
	h.home.Queues, h.home.Timers = heard, memory.NewTimers(h.clock, heard)
	h.serve(h.home)
	return h, heard
}

// await returns when so many ticks have been sent.
func (q *heardQueues) await(t *testing.T, ticks int) {
	t.Helper()
	for ticks > 0 {
		select {
		case queue := <-q.sent:
			if queue == repository.Ticks {
				ticks--
			}
		case <-time.After(10 * time.Second):
			t.Fatal("no tick came")
		}
	}
}

// scheduleRepo connects a repository whose head has these schedules, at an instant.
func (h *house) scheduleRepo(now string, lines ...string) *gittest.Tree {
	h.t.Helper()
	h.at(now)
	w := h.server.New(h.t, "shop")
	w.Commit("first", ".buildit.kdl", scheduled(lines...))
	w.Push()
	if _, err := h.svc.Connect(h.t.Context(), acme, repository.ConnectRequest{URL: w.URL, RunPipelines: true}); err != nil {
		h.t.Fatal(err)
	}
	return w
}

// ticks handles what timers have sent, and says how many messages that were.
func (h *house) ticks() int {
	h.t.Helper()
	handled := 0
	for {
		messages, err := h.home.Queues.Receive(h.t.Context(), repository.Ticks, 10, 0, time.Minute)
		if err != nil {
			h.t.Fatal(err)
		}
		if len(messages) == 0 {
			return handled
		}
		for _, m := range messages {
			for range 2 { // a message may come twice
				if err := h.svc.HandleTick(h.t.Context(), m.Body); err != nil {
					h.t.Fatal(err)
				}
			}
			if err := h.home.Queues.Delete(h.t.Context(), repository.Ticks, m.Receipt); err != nil {
				h.t.Fatal(err)
			}
			handled++
		}
	}
}

// wantTicks checks the subjects of the runs that schedules have made.
func (h *house) wantTicks(want ...string) []pipeline.Trigger {
	h.t.Helper()
	var got []string
	all := h.runs.triggers()
	for _, r := range all {
		if r.Event == "schedule" {
			got = append(got, r.Subject)
		}
	}
	if !slices.Equal(got, want) {
		h.t.Fatalf("ticks\n  %q\nwant\n  %q", got, want)
	}
	return all
}

func (h *house) schedules() []repository.Schedule {
	h.t.Helper()
	list, err := h.svc.Schedules(h.t.Context(), acme, "shop")
	if err != nil {
		h.t.Fatal(err)
	}
	return list.Items
}

func TestScheduleInMissingHour(t *testing.T) {
	h, q := openTicking(t)
	h.scheduleRepo("2026-03-28T12:00:00Z", `on "schedule" cron="30 2 * * *" tz="Europe/Paris"`)
	h.at("2026-03-29T00:59:59Z") // 01:59:59 there, and then it is 03:00
	h.ticks()
	h.wantTicks()
	h.at("2026-03-29T01:00:00Z")
	q.await(t, 1)
	h.ticks()
	got := h.wantTicks("2026-03-29T01:00:00Z main")[0]
	if got.Trust != "trusted" || got.Branch != "main" || got.Generation != 0 || got.FilesKnown || !strings.Contains(got.Why, "30 2 * * *, Europe/Paris") {
		t.Errorf("%+v", got)
	}
	h.at("2026-03-30T00:30:00Z")
	q.await(t, 1)
	h.ticks()
	h.wantTicks("2026-03-29T01:00:00Z main", "2026-03-30T00:30:00Z main")
}

func TestScheduleInDoubledHour(t *testing.T) {
	h, q := openTicking(t)
	h.scheduleRepo("2026-10-24T12:00:00Z", `on "schedule" cron="30 2 * * *" tz="Europe/Paris"`)
	h.at("2026-10-25T00:30:00Z")
	q.await(t, 1)
	for _, now := range []string{"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"} {
		h.at(now)
		h.ticks()
		h.wantTicks("2026-10-25T00:30:00Z main")
	}
	h.at("2026-10-26T01:30:00Z")
	q.await(t, 1)
	h.ticks()
	h.wantTicks("2026-10-25T00:30:00Z main", "2026-10-26T01:30:00Z main")
}

// Whatever an outage has cost, each schedule runs once after it, late.
func TestScheduleAfterOutageRunsOnce(t *testing.T) {
	h, q := openTicking(t)
	h.scheduleRepo("2026-05-01T00:01:00Z", `on "schedule" cron="*/10 * * * *"`, `on "schedule" cron="0 0 1 1 *"`)
	h.at("2026-05-01T05:03:00Z") // nobody has listened for five hours
	q.await(t, 1)
	if n := h.ticks(); n != 1 {
		t.Errorf("%d ticks came", n)
	}
	late := h.wantTicks("2026-05-01T00:10:00Z main")[0]
	if !strings.Contains(late.Why, "late: it was due at 2026-05-01T00:10:00Z") {
		t.Errorf("why = %q", late.Why)
	}
	h.at("2026-05-01T05:10:30Z")
	q.await(t, 1)
	h.ticks()
	all := h.wantTicks("2026-05-01T00:10:00Z main", "2026-05-01T05:10:00Z main")
	if strings.Contains(all[1].Why, "late") {
		t.Errorf("why = %q", all[1].Why)
	}
	list := h.schedules()
	if len(list) != 2 || list[0].Line != 2 || list[0].Late || list[0].LastRun == "" || list[0].Next.Format(time.RFC3339) != "2026-05-01T05:20:00Z" || !list[1].LastTick.IsZero() {
		t.Errorf("%+v", list)
	}
}

// The head of the default branch alone says what is scheduled, and a schedule runs the
// file of the branch that it names.
func TestSchedulesAreThoseOfTheDefaultBranch(t *testing.T) {
	h, q := openTicking(t)
	h.at("2026-05-01T00:01:00Z")
	w, c := h.connect("shop", repository.GitHub)
	before := w.Git("rev-parse", "HEAD")
	w.Git("checkout", "--quiet", "-b", "release")
	release := w.Commit("release", ".buildit.kdl", scheduled(`on "schedule" cron="*/5 * * * *"`))
	w.Push("release")
	w.Git("checkout", "--quiet", "main")
	after := w.Commit("two", ".buildit.kdl", scheduled(`on "schedule" cron="0 * * * *" branch="release"`, `on "schedule" cron="0 * * * *" branch="gone"`))
	w.Push()
	h.deliver(c, c.Webhook.Secret, "d1", "push", pushBody("shop", "refs/heads/main", before, after))
	h.settle()
	h.at("2026-05-01T01:00:00Z")
	q.await(t, 2)
	h.ticks()
	got := h.wantTicks("2026-05-01T01:00:00Z release")
	if last := got[len(got)-1]; last.Commit != release || last.Branch != "release" || last.Ref != "refs/heads/release" {
		t.Errorf("%+v", last)
	}
	list := h.schedules()
	if len(list) != 2 || list[1].Branch != "gone" || list[1].Note != "there is no branch gone" || list[1].Next.Format(time.RFC3339) != "2026-05-01T02:00:00Z" {
		t.Errorf("%+v", list)
	}
	w.Commit("three", ".buildit.kdl", onePipeline)
	w.Push()
	h.reconcile("shop")
	if list := h.schedules(); len(list) != 0 {
		t.Errorf("%+v", list)
	}
	h.at("2026-05-01T02:00:00Z")
	if n := h.ticks(); n != 0 {
		t.Errorf("%d ticks of schedules that were removed", n)
	}
}

func TestScheduleIsKeptWhileItIsTheSame(t *testing.T) {
	h, q := openTicking(t)
	w := h.scheduleRepo("2026-05-01T00:01:00Z", `on "schedule" cron="0 * * * *"`)
	h.at("2026-05-01T01:00:00Z")
	q.await(t, 1)
	h.ticks()
	w.Commit("two", ".buildit.kdl", scheduled(``, `on "schedule" cron="0 * * * *"`, `on "schedule" cron="30 * * * *"`))
	w.Push()
	h.reconcile("shop")
	list := h.schedules()
	if len(list) != 2 || list[0].Line != 3 || list[0].LastTick.IsZero() || !list[1].LastTick.IsZero() {
		t.Errorf("%+v", list)
	}
	if _, err := h.svc.Confirm(t.Context(), acme, "shop", false); err != nil {
		t.Fatal(err)
	}
	h.reconcile("shop")
	if list := h.schedules(); len(list) != 0 {
		t.Errorf("not confirmed, but %+v", list)
	}
	if _, err := h.svc.Confirm(t.Context(), acme, "shop", true); err != nil {
		t.Fatal(err)
	}
	h.reconcile("shop")
	if list := h.schedules(); len(list) != 2 {
		t.Errorf("confirmed again: %+v", list)
	}
	if err := h.svc.Disconnect(t.Context(), acme, "shop"); err != nil {
		t.Fatal(err)
	}
	h.at("2026-05-01T02:00:00Z")
	if n := h.ticks(); n != 0 {
		t.Errorf("%d ticks of a repository that is gone", n)
	}
}

func TestFiftySchedulesOfARepository(t *testing.T) {
	h := open(t)
	h.at("2026-05-01T00:01:00Z")
	w := h.server.New(t, "shop")
	var files []string
	for i := range 3 {
		var lines []string
		for n := range 20 {
			lines = append(lines, fmt.Sprintf(`on "schedule" cron="%d %d * * *"`, n, i))
		}
		files = append(files, fmt.Sprintf(".buildit/p%d.kdl", i), scheduled(lines...))
	}
	w.Commit("first", files...)
	w.Push()
	if _, err := h.svc.Connect(t.Context(), acme, repository.ConnectRequest{URL: w.URL, RunPipelines: true}); err != nil {
		t.Fatal(err)
	}
	list, err := h.svc.Schedules(t.Context(), acme, "shop")
	if err != nil || len(list.Items) != 50 || !strings.Contains(list.Note, "at most 50 schedules; those from .buildit/p2.kdl:12 on") {
		t.Errorf("%d schedules, %q, %v", len(list.Items), list.Note, err)
	}
}

// A tick that could not be acted on is, when the remote is back: its branch may have
// moved meanwhile, and it has one run all the same.
func TestTickOutlastsTheRemote(t *testing.T) {
	h, q := openTicking(t)
	w := h.scheduleRepo("2026-05-01T00:01:00Z", `on "schedule" cron="0 * * * *"`)
	if err := os.Rename(w.Bare, w.Bare+".away"); err != nil {
		t.Fatal(err)
	}
	h.at("2026-05-01T01:00:00Z")
	q.await(t, 1)
	messages, err := h.home.Queues.Receive(t.Context(), repository.Ticks, 10, 0, time.Minute)
	if err != nil || len(messages) != 1 {
		t.Fatal(len(messages), err)
	}
	if err := h.svc.HandleTick(t.Context(), messages[0].Body); err == nil {
		t.Fatal("the remote is away, and the tick was acted on")
	}
	if err := h.home.Queues.Delete(t.Context(), repository.Ticks, messages[0].Receipt); err != nil { // as the dead letters take it
		t.Fatal(err)
	}
	if err := os.Rename(w.Bare+".away", w.Bare); err != nil {
		t.Fatal(err)
	}
	h.at("2026-05-01T01:30:00Z")
	h.reconcile("shop")
	q.await(t, 1)
	failing := h.home
	failing.Table = &unwritable{Table: h.home.Table, fails: "last_tick"}
	messages, err = h.home.Queues.Receive(t.Context(), repository.Ticks, 10, 0, time.Minute)
	if err != nil || len(messages) != 1 {
		t.Fatal(len(messages), err)
	}
	h.serve(failing)
	if err := h.svc.HandleTick(t.Context(), messages[0].Body); err == nil {
		t.Fatal("the row was not written, and the tick is done")
	}
	h.serve(h.home)
	w.Commit("two", "a", "1")
	w.Push()
	if err := h.svc.HandleTick(t.Context(), messages[0].Body); err != nil {
		t.Fatal(err)
	}
	h.wantTicks("2026-05-01T01:00:00Z main")
	if list := h.schedules(); list[0].Next.Format(time.RFC3339) != "2026-05-01T02:00:00Z" || !list[0].Late {
		t.Errorf("%+v", list)
	}
}

// unwritable is a table that refuses the writes that set an attribute.
type unwritable struct {
	platform.Table
	fails string
}

func (u *unwritable) Write(ctx context.Context, action platform.Action) (platform.Item, error) {
	if update, is := action.(platform.Update); is && update.Set[u.fails] != nil {
		return nil, errors.New("the disk is full")
	}
	return u.Table.Write(ctx, action)
}
