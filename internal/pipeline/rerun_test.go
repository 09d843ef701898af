package pipeline_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// again reruns a run and waits for its end.
func (w *world) again(run pipeline.RunID, in pipeline.RerunRequest) pipeline.View {
	w.t.Helper()
	next, err := w.service.Rerun(w.t.Context(), w.org, run, in, "", "bob")
	if err != nil {
		w.t.Fatal(err)
	}
	return w.end(next)
}

// ran counts how often each stage began, over all runs.
func (w *world) ran(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, seen := range w.order {
		if seen == name+" running" {
			n++
		}
	}
	return n
}

// What passed is not done again: outputs, artifacts and log of it are there, and what
// failed sees them.
func TestRerunFailedKeepsPassed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	first := w.run(`pipeline "p"
stage "make" { output "VERSION"; artifact "bin" path="out/x"; run "echo making; mkdir out; date +%N > out/x; echo VERSION=7 >> $BUILDIT_OUTPUT"; }
stage "lint" { allow-failure; run "exit 3"; }
stage "never" { when branch="other"; run "true"; }
stage "test" needs="make" { fetch "bin"; run "test -s out/x && test $OUTPUT_MAKE_VERSION = 7 && test -e ` + dir + `/fixed"; }
stage "ship" needs="test" { run "echo $OUTPUT_MAKE_VERSION"; }
stage "tell" { needs "test" on="failed"; run "true"; }
`)
	expect(t, first, pipeline.Failed, "make succeeded, lint allowed, never skipped condition, test failed, ship skipped need-failed, tell succeeded")
	touch(t, dir+"/fixed")
	second := w.again(first.ID, pipeline.RerunRequest{What: "failed"})
	expect(t, second, pipeline.Succeeded, "make succeeded, lint allowed, never skipped condition, test succeeded, ship succeeded, tell skipped nothing-failed")
	if second.ID == first.ID || second.Number != first.Number || second.Attempt != 2 || second.RerunOf != first.ID || second.Actor != "bob" {
		t.Errorf("run = %+v", second.Run)
	}
	if w.ran("make") != 1 || w.ran("lint") != 1 || w.ran("test") != 2 {
		t.Errorf("make ran %d times, lint %d, test %d", w.ran("make"), w.ran("lint"), w.ran("test"))
	}
	made := second.Stages[0]
	if made.From != first.ID || made.Outputs["VERSION"] != "7" || second.Stages[3].From != "" {
		t.Errorf("make = %+v", made)
	}
	if len(second.Artifacts) != 1 || second.Artifacts[0].SHA256 != first.Artifacts[0].SHA256 {
		t.Errorf("artifacts = %v, were %v", second.Artifacts, first.Artifacts)
	}
	if log := w.fetchLog(second.ID, made.Key); !strings.HasPrefix(log, "making\n") {
		t.Errorf("the log of make is %q", log)
	}
	if _, err := w.service.Download(t.Context(), w.org, second.ID, "bin", ""); err != nil {
		t.Errorf("download: %v", err)
	}
	third := w.again(second.ID, pipeline.RerunRequest{Stage: "ship"})
	expect(t, third, pipeline.Succeeded, statuses(second))
	if third.Stages[0].From != first.ID || third.Stages[3].From != second.ID || third.Attempt != 3 {
		t.Errorf("make is from %s, test from %s", third.Stages[0].From, third.Stages[3].From)
	}
	if log := w.fetchLog(third.ID, third.Stages[4].Key); log != "7\n" {
		t.Errorf("the log of ship is %q", log)
	}
	if left := w.outbox(second.ID); len(left) > 0 {
		t.Errorf("outbox rows are left: %v", left)
	}
}

// fetchLog reads a log as the API answers it.
func (w *world) fetchLog(run pipeline.RunID, key pipeline.StageKey) string {
	w.t.Helper()
	for _, route := range w.service.Routes() {
		if !strings.HasSuffix(route.Pattern, "/{stage}/log") {
			continue
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil).WithContext(w.t.Context())
		r.SetPathValue("run", string(run))
		r.SetPathValue("stage", string(key))
		answer, err := route.Handle(r, access.Caller{Org: w.org})
		if err != nil {
			w.t.Fatal(err)
		}
		got := httptest.NewRecorder()
		answer.(http.Handler).ServeHTTP(got, r)
		return got.Body.String()
	}
	w.t.Fatal("there is no route for logs")
	return ""
}

func TestRerunHasItsOwnId(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.run("pipeline \"p\"\nstage \"a\" { run \"true\"; }\n")
	ask := func(id pipeline.RunID, request string) (pipeline.Run, error) {
		return w.service.Rerun(t.Context(), w.org, id, pipeline.RerunRequest{}, request, "bob")
	}
	second, err := ask(first.ID, "op1")
	if err != nil {
		t.Fatal(err)
	}
	again, err := ask(first.ID, "op1") // the answer was lost
	if err != nil || again.ID != second.ID {
		t.Errorf("the same request made %s, %v", again.ID, err)
	}
	if _, err := ask(first.ID, "op2"); !problem.Is(err, problem.Conflict) || !strings.Contains(err.Error(), string(second.ID)) {
		t.Errorf("a second rerun: %v", err)
	}
	expect(t, w.end(second), pipeline.Succeeded, "a succeeded")
	before, err := w.service.View(t.Context(), w.org, first.ID)
	if err != nil || before.Status != pipeline.Succeeded || !before.Ended.Equal(first.Ended) {
		t.Errorf("the run before has changed: %+v, %v", before.Run, err)
	}
	third, err := ask(second.ID, "op3")
	if err != nil || third.Attempt != 3 || third.ID == second.ID {
		t.Errorf("third = %+v, %v", third, err)
	}
	w.end(third)
	if _, err := ask("aaaaaaaaaaaaaaaaaaaaaaaaaa", ""); !problem.Is(err, problem.NotFound) {
		t.Errorf("a run that is not there: %v", err)
	}
}

// A branch that was forced to elsewhere and back has other runs of the same commit; a
// rerun of the first is an attempt of that one, at its commit.
func TestRerunAfterForcePush(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := load(t, "pipeline \"p\"\nstage \"a\" { run \"echo $BUILDIT_SHA $BUILDIT_RUN_ATTEMPT\"; }\n")
	seen := map[pipeline.RunID]bool{}
	var runs []pipeline.Run
	for generation, commit := range []string{strings.Repeat("a", 40), strings.Repeat("b", 40), strings.Repeat("a", 40)} {
		trigger := push("main")
		trigger.Commit, trigger.Generation = commit, int64(generation+1)
		run, err := w.service.StartFile(t.Context(), w.org, trigger, file, pipeline.Options{})
		if err != nil {
			t.Fatal(err)
		}
		w.end(run)
		seen[run.ID] = true
		runs = append(runs, run)
	}
	view := w.again(runs[0].ID, pipeline.RerunRequest{})
	if seen[view.ID] || view.Number != runs[0].Number || view.Commit != runs[0].Commit {
		t.Errorf("rerun = %+v", view.Run)
	}
	if log := w.log(view.ID, view.Stages[0].Key); log != strings.Repeat("a", 40)+" 2\n" {
		t.Errorf("log = %q", log)
	}
}

func TestRerunIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.begin("pipeline \"p\"\nstage \"long\" { run \"sleep 60\"; }\nstage \"next\" needs=\"long\" { run \"true\"; }\n")
	w.await("long running")
	refused := func(in pipeline.RerunRequest, kind problem.Kind, words string) {
		t.Helper()
		_, err := w.service.Rerun(t.Context(), w.org, run.ID, in, "", "bob")
		if !problem.Is(err, kind) || !strings.Contains(err.Error(), words) {
			t.Errorf("%+v: %v", in, err)
		}
	}
	refused(pipeline.RerunRequest{}, problem.Conflict, "when it has ended")
	if _, err := w.service.Cancel(t.Context(), w.org, run.ID, "user", ""); err != nil {
		t.Fatal(err)
	}
	w.end(run)
	refused(pipeline.RerunRequest{What: "some"}, problem.Invalid, "all, failed or stage")
	refused(pipeline.RerunRequest{What: "stage"}, problem.Invalid, "Name the stage")
	refused(pipeline.RerunRequest{What: "failed", Stage: "long"}, problem.Invalid, "leave one")
	refused(pipeline.RerunRequest{Stage: "lonk"}, problem.Invalid, `did you mean "long"?`)
	refused(pipeline.RerunRequest{Stage: "next"}, problem.Conflict, `"long" was canceled`)
	other := push("main")
	other.Subject, other.Trust = "7", "untrusted"
	run, err := w.service.StartFile(t.Context(), w.org, other, load(t, "pipeline \"p\"\nstage \"a\" { run \"true\"; }\n"), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.end(run)
	refused(pipeline.RerunRequest{What: "failed"}, problem.Conflict, "Nothing of this run failed")
	w.service.AllowUntrusted = false
	refused(pipeline.RerunRequest{}, problem.Forbidden, "a stranger's commit")
}

// Cells of a matrix are carried one by one, and the join counts only those that run.
func TestRerunOneCell(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	first := w.run(`pipeline "p"
stage "test" { matrix fail-fast=false { n "1" "2" "3"; }; run "test $MATRIX_N != 2 || test -e ` + dir + `/fixed"; }
stage "ship" needs="test" { run "true"; }
`)
	expect(t, first, pipeline.Failed, "test (1) succeeded, test (2) failed, test (3) succeeded, ship skipped need-failed")
	touch(t, dir+"/fixed")
	second := w.again(first.ID, pipeline.RerunRequest{What: "failed"})
	expect(t, second, pipeline.Succeeded, "test (1) succeeded, test (2) succeeded, test (3) succeeded, ship succeeded")
	if w.ran("test (1)") != 1 || w.ran("test (2)") != 2 {
		t.Errorf("cells ran %d and %d times", w.ran("test (1)"), w.ran("test (2)"))
	}
}

// later is a clock that can be moved on.
type later struct {
	platform.Clock
	by *atomic.Int64
}

func (l later) Now() time.Time { return l.Clock.Now().Add(time.Duration(l.by.Load())) }

// The files of an artifact that have been deleted are made again, by its maker and
// all that waits for it; what nobody fetches stays as it is.
func TestArtifactExpiredOnRerun(t *testing.T) {
	t.Parallel()
	var by atomic.Int64
	w := newWorld(t, func(_ *world, home *platform.Home) { home.Clock = later{home.Clock, &by} })
	file := `pipeline "p"
stage "make" { artifact "bin" path="x" expire="1d"; run "echo x > x"; }
stage "doc" { artifact "page" path="y" expire="1d"; run "echo y > y"; }
stage "test" needs="make" { run "true"; }
stage "use" needs="test" { fetch "bin"; run "cat x"; }
`
	first := w.run(file)
	second := w.again(first.ID, pipeline.RerunRequest{Stage: "use"})
	if w.ran("make") != 1 || w.ran("use") != 2 {
		t.Errorf("make ran %d times, use %d", w.ran("make"), w.ran("use"))
	}
	by.Store(int64(25 * time.Hour))
	third := w.again(second.ID, pipeline.RerunRequest{Stage: "use"})
	expect(t, third, pipeline.Succeeded, "make succeeded, doc succeeded, test succeeded, use succeeded")
	if w.ran("make") != 2 || w.ran("doc") != 1 || w.ran("test") != 2 || w.ran("use") != 3 {
		t.Errorf("make ran %d times, doc %d, test %d, use %d", w.ran("make"), w.ran("doc"), w.ran("test"), w.ran("use"))
	}
}

// A rerun that was cut off after its row was written begins by its outbox row.
func TestRerunBeginsAfterACrash(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.run("pipeline \"p\"\nstage \"a\" { run \"true\"; }\nstage \"b\" needs=\"a\" { run \"true\"; }\n")
	cut := w.home
	cut.Table = &stopsAfter{Table: cut.Table, left: 1} // the transaction that creates it
	broken := pipeline.New(cut, pipeline.Parts{Log: w.service.Log, Logs: w.store})
	run, err := broken.Rerun(t.Context(), w.org, first.ID, pipeline.RerunRequest{Stage: "b"}, "op", "bob")
	if err != nil || run.Status != pipeline.Created {
		t.Fatalf("run = %+v, %v", run, err)
	}
	id := run.ID
	rows := w.outbox(id)
	if len(rows) != 1 {
		t.Fatalf("outbox rows: %v", rows)
	}
	changes := []platform.Change{{Key: rows[0].Key, New: rows[0].Item, At: w.home.Clock.Now().Add(-time.Hour)}}
	if _, err := w.service.Outbox(t.Context(), changes); err != nil {
		t.Fatal(err)
	}
	expect(t, w.end(run), pipeline.Succeeded, "a succeeded, b succeeded")
	if w.ran("a") != 1 || w.ran("b") != 2 {
		t.Errorf("a ran %d times, b %d", w.ran("a"), w.ran("b"))
	}
}

// stopsAfter is a table whose writes end after some, as those of a process that was
// killed.
type stopsAfter struct {
	platform.Table
	left int
}

func (s *stopsAfter) take() error {
	if s.left--; s.left < 0 {
		return platform.ErrThrottled
	}
	return nil
}

func (s *stopsAfter) Write(ctx context.Context, action platform.Action) (platform.Item, error) {
	if err := s.take(); err != nil {
		return nil, err
	}
	return s.Table.Write(ctx, action)
}

func (s *stopsAfter) Transact(ctx context.Context, token string, actions ...platform.Action) error {
	if err := s.take(); err != nil {
		return err
	}
	return s.Table.Transact(ctx, token, actions...)
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
