package pipeline_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
)

// commit is a push of the n-th commit of a branch.
func commit(branch string, n int) pipeline.Trigger {
	t := push(branch)
	t.Commit = fmt.Sprintf("%040x", n)
	return t
}

// until waits until a view of the run is as it should be.
func (w *world) until(run pipeline.RunID, what string, done func(pipeline.View) bool) pipeline.View {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	defer cancel()
	for {
		w.mu.Lock()
		changed := w.changed
		w.mu.Unlock()
		view, err := w.service.View(w.t.Context(), w.org, run)
		if err != nil {
			w.t.Fatal(err)
		}
		if done(view) {
			return view
		}
		select {
		case <-changed:
		case <-time.After(50 * time.Millisecond): // of a run alone, or of a row in a group
		case <-ctx.Done():
			w.t.Fatalf("%s: %s %s, not %q: %s", view.Status, view.Reason, view.Why, what, statuses(view))
		}
	}
}

func (w *world) ends(run pipeline.RunID) pipeline.View {
	w.t.Helper()
	view := w.until(run, "the end", func(v pipeline.View) bool { return v.Status.Final() })
	if strings.Contains(view.Why, "waits for") {
		w.t.Errorf("run #%d has ended, and still says %q", view.Number, view.Why)
	}
	return view
}

// doored is a file whose stage runs until a file is there.
func doored(t *testing.T, head, stage string) (text string, release func()) {
	t.Helper()
	door := filepath.Join(t.TempDir(), "open")
	text = fmt.Sprintf("pipeline \"p\"\n%s\nstage \"a\" { %s; run \"while ! test -e %s; do sleep 0.02; done\"; }\n", head, stage, door)
	release = func() { touch(t, door) }
	t.Cleanup(release) // whatever fails, nobody waits on
	return text, release
}

func TestGroupOfRunsHoldsTheNext(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text, open := doored(t, `concurrency "deploy-${git.branch}"`, `description "x"`)
	first, second, third := w.startAs(commit("main", 1), text), w.startAs(commit("main", 2), text), w.startAs(commit("main", 3), text)
	other := w.startAs(commit("other", 1), text)
	if first.Status != pipeline.Running || second.Status != pipeline.Queued || third.Status != pipeline.Queued || other.Status != pipeline.Running {
		t.Fatalf("%s, %s, %s, and of another group %s", first.Status, second.Status, third.Status, other.Status)
	}
	view := w.view(third.ID)
	if len(view.Waits) != 1 || view.Waits[0].Kind != "group" || view.Waits[0].Position != 2 || view.Waits[0].Group != "deploy-main" || view.Waits[0].Holder != first.ID {
		t.Errorf("waits: %+v", view.Waits)
	}
	list, _, err := w.service.List(t.Context(), w.org, pipeline.Selection{Status: pipeline.Queued}, 10, "")
	if err != nil || len(list) != 2 || len(list[0].Waits) != 1 {
		t.Errorf("the list says nothing of the queue: %+v, %v", list, err)
	}
	open()
	for _, run := range []pipeline.Run{first, second, third, other} {
		expect(t, w.ends(run.ID), pipeline.Succeeded, "a succeeded")
	}
	one, two := w.ends(second.ID), w.ends(third.ID)
	if two.Started.Before(one.Ended) {
		t.Errorf("the third began at %s, before the second ended at %s", two.Started, one.Ended)
	}
	w.nothingHeld("repository/r1", "deploy-main")
}

func (w *world) view(run pipeline.RunID) pipeline.View {
	w.t.Helper()
	return w.until(run, "a view", func(pipeline.View) bool { return true })
}

// nothingHeld wants a group that nobody holds a place of, and nobody waits for.
func (w *world) nothingHeld(scope, name string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	for {
		left := groupRows(w.t, w.sure, w.org, scope, name)
		if len(left) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			w.t.Fatalf("group %s: %v", name, left)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// groupRows are the places that are held and those who wait.
func groupRows(t testing.TB, table platform.Table, org platform.Org, scope, name string) []string {
	t.Helper()
	page, err := table.Query(t.Context(), platform.Query{Partition: org.Partition("group", scope, name)})
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, row := range page.Rows {
		if row.Item.Text("run") != "" {
			rows = append(rows, row.Key.Parts()[0]+" "+row.Item.Text("run")+" "+row.Item.Text("key"))
		}
	}
	return rows
}

func TestGroupOfStages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text, open := doored(t, "", `concurrency "db" limit=2`)
	var runs []pipeline.Run
	for i := range 4 {
		run := w.startAs(commit("main", i+1), text)
		runs = append(runs, run)
		want := pipeline.StageRunning
		if i >= 2 {
			want = pipeline.StageGated
		}
		view := w.until(run.ID, string(want), func(v pipeline.View) bool { return v.Stages[0].Status == want })
		if i == 3 && (len(view.Stages[0].Waits) != 1 || view.Stages[0].Waits[0].Position != 2 || view.Stages[0].Reason != "group") {
			t.Errorf("%s: %+v", view.Stages[0].Reason, view.Stages[0].Waits)
		}
	}
	if _, err := w.service.Cancel(t.Context(), w.org, runs[2].ID, "user", ""); err != nil {
		t.Fatal(err)
	}
	expect(t, w.ends(runs[2].ID), pipeline.Canceled, "a canceled")
	open()
	for _, i := range []int{0, 1, 3} {
		expect(t, w.ends(runs[i].ID), pipeline.Succeeded, "a succeeded")
	}
	w.nothingHeld("repository/r1", "db")
}

func TestQueueOf100ThenRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text, open := doored(t, `concurrency "org:one"`, `description "x"`)
	holder := w.startAs(commit("main", 0), text)
	for i := range 100 {
		if run := w.startAs(commit("main", i+1), text); run.Status != pipeline.Queued {
			t.Fatalf("run %d is %s: %s", i, run.Status, run.Why)
		}
	}
	refused := w.startAs(commit("main", 200), text)
	if refused.Status != pipeline.Errored || refused.Reason != "queue-full" {
		t.Errorf("the 101st is %s, %s: %s", refused.Status, refused.Reason, refused.Why)
	}
	expect(t, w.ends(refused.ID), pipeline.Errored, "a canceled")
	runs, _, err := w.service.List(t.Context(), w.org, pipeline.Selection{Status: pipeline.Queued}, 200, "")
	if err != nil || len(runs) != 100 {
		t.Fatalf("%d queued, %v", len(runs), err)
	}
	for _, run := range runs { // newest first, so that none begins
		if _, err := w.service.Cancel(t.Context(), w.org, run.ID, "user", ""); err != nil {
			t.Fatal(err)
		}
	}
	open()
	expect(t, w.ends(holder.ID), pipeline.Succeeded, "a succeeded")
	w.nothingHeld("org", "one")
}

func TestCancelOlder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text, open := doored(t, `concurrency "ci-${git.branch}" mode="cancel-older" except="release"`, `description "x"`)
	first, second, third := w.startAs(commit("main", 1), text), w.startAs(commit("main", 2), text), w.startAs(commit("main", 3), text)
	kept, next := w.startAs(commit("release", 1), text), w.startAs(commit("release", 2), text)
	for _, run := range []pipeline.Run{first, second} {
		view := w.ends(run.ID)
		if view.Status != pipeline.Canceled || view.Reason != "superseded" {
			t.Errorf("an older run is %s, %s", view.Status, view.Reason)
		}
	}
	w.until(third.ID, "running", func(v pipeline.View) bool { return v.Stages[0].Status == pipeline.StageRunning })
	if view := w.view(kept.ID); view.Status != pipeline.Running {
		t.Errorf("a run of a branch under except is %s", view.Status)
	}
	open()
	for _, run := range []pipeline.Run{third, kept, next} {
		expect(t, w.ends(run.ID), pipeline.Succeeded, "a succeeded")
	}
}

func TestSkipWhereTheGroupIsBusy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text, open := doored(t, `concurrency "nightly" mode="skip"`, `description "x"`)
	first, second := w.startAs(commit("main", 1), text), w.startAs(commit("main", 2), text)
	if second.Status != pipeline.Skipped || second.Reason != "group-busy" {
		t.Errorf("the second is %s, %s", second.Status, second.Reason)
	}
	if view := w.ends(second.ID); statuses(view) != "a skipped group-busy" {
		t.Errorf("its stages: %s", statuses(view))
	}
	open()
	expect(t, w.ends(first.ID), pipeline.Succeeded, "a succeeded")
}

// Two runs take the groups of the other's stages, in opposite order: both end.
func TestGroupsInOppositeOrderEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := func(own, stage string) string {
		return fmt.Sprintf("pipeline \"p\"\nconcurrency %q\nstage \"a\" { concurrency %q; run \"sleep 0.1\"; }\nstage \"b\" { concurrency %q; run \"true\"; }\n", own, stage, own)
	}
	var runs []pipeline.Run
	for i := range 3 {
		runs = append(runs, w.startAs(commit("x", i), file("x", "y")), w.startAs(commit("y", i), file("y", "x")))
	}
	for _, run := range runs {
		expect(t, w.ends(run.ID), pipeline.Succeeded, "a succeeded, b succeeded")
	}
	w.nothingHeld("repository/r1", "x")
	w.nothingHeld("repository/r1", "y")
}

// 120 runs of two repositories, of which one comes with 100 at once: all start, never
// more than the quota, and the small repository is not kept out by the large one.
func TestQuotaIsFair(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.service.SetQuota(t.Context(), w.org, pipeline.Quota{Stages: 4}); err != nil {
		t.Fatal(err)
	}
	text, open := doored(t, "", `description "x"`)
	var large, small []pipeline.Run
	for i := range 100 {
		large = append(large, w.startAs(commit("main", i), text))
	}
	for i := range 20 {
		trigger := commit("main", i)
		trigger.Repository = "r2"
		small = append(small, w.startAs(trigger, text))
	}
	for _, run := range slices.Concat(large, small) {
		w.until(run.ID, "ready", func(v pipeline.View) bool { return v.Stages[0].Status != pipeline.StageBlocked })
	}
	wait := w.view(small[19].ID).Stages[0].Waits
	if len(wait) != 1 || wait[0].Kind != "quota" || wait[0].Position < 20 || wait[0].Position > 60 {
		t.Errorf("the last of 20 beside 100 waits so: %+v", wait)
	}
	open()
	var ends []time.Time
	for _, run := range large {
		view := w.ends(run.ID)
		expect(t, view, pipeline.Succeeded, "a succeeded")
		ends = append(ends, view.Stages[0].Started)
	}
	slices.SortFunc(ends, time.Time.Compare)
	for _, run := range small {
		view := w.ends(run.ID)
		if view.Stages[0].Started.After(ends[90]) {
			t.Errorf("a run of the small repository began behind 90 of the large one")
		}
	}
	w.nothingHeld("quota", "stages")
	if most := w.mostAtOnce(); most > 4 {
		t.Errorf("%d stages ran at once under a quota of 4", most)
	}
}

// mostAtOnce is how many stages had a task at the same time, by what was observed.
func (w *world) mostAtOnce() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, most := 0, 0
	for _, step := range w.order {
		switch _, status, _ := strings.Cut(step, " "); pipeline.StageStatus(status) {
		case pipeline.StageQueued:
			now++
		case pipeline.StageSucceeded, pipeline.StageFailed:
			now--
		}
		most = max(most, now)
	}
	return most
}

func TestQuotaOfRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.service.SetQuota(t.Context(), w.org, pipeline.Quota{Runs: 1}); err != nil {
		t.Fatal(err)
	}
	text, open := doored(t, "", `description "x"`)
	first, second, third := w.startAs(commit("main", 1), text), w.startAs(commit("main", 2), text), w.startAs(commit("main", 3), text)
	if second.Status != pipeline.Queued || third.Status != pipeline.Queued {
		t.Fatalf("%s, %s", second.Status, third.Status)
	}
	if _, err := w.service.SetQuota(t.Context(), w.org, pipeline.Quota{}); err != nil { // who waits looks again
		t.Fatal(err)
	}
	w.until(third.ID, "running", func(v pipeline.View) bool { return v.Stages[0].Status == pipeline.StageRunning })
	open()
	for _, run := range []pipeline.Run{first, second, third} {
		expect(t, w.ends(run.ID), pipeline.Succeeded, "a succeeded")
	}
	w.nothingHeld("quota", "runs")
}

// A place whose holder is over, as after a crash, is given back by the sweeper, and
// who waits for it starts.
func TestSweeperFreesAGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := "pipeline \"p\"\nstage \"a\" { concurrency \"db\"; run \"true\"; }\n"
	dead := w.ends(w.startAs(commit("main", 1), text).ID)
	w.nothingHeld("repository/r1", "db")
	place := w.org.Partition("group", "repository/r1", "db").Row("slot", "000")
	past := platform.Global("due", "0").Index(string(platform.Stamp(time.Now().Add(-time.Hour))), string(dead.ID))
	_, err := w.sure.Write(t.Context(), platform.Update{Key: place, Set: platform.Item{
		"run": platform.Text(dead.ID), "key": platform.Text(dead.Stages[0].Key), "number": platform.Int(1), "repository": platform.Text("r1"),
	}.DueAt(past)})
	if err != nil {
		t.Fatal(err)
	}
	waits := w.startAs(commit("main", 2), text)
	w.until(waits.ID, "gated", func(v pipeline.View) bool { return v.Stages[0].Status == pipeline.StageGated })
	if err := w.service.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(t, w.ends(waits.ID), pipeline.Succeeded, "a succeeded")
	w.nothingHeld("repository/r1", "db")
}
