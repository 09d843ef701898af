package pipeline_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/pipeline"
)

func TestDiamond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	view := w.run(`pipeline "p"
stage "a" { run "echo from a"; }
stage "b" needs="a" { run "true"; }
stage "c" needs="a" { run "true"; }
stage "d" { needs "b" "c"; run "true"; }
`)
	expect(t, view, pipeline.Succeeded, "a succeeded, b succeeded, c succeeded, d succeeded")
	if log := w.log(view.ID, view.Stages[0].Key); log != "from a\n" {
		t.Errorf("log = %q", log)
	}
	if left := w.outbox(view.ID); len(left) > 0 {
		t.Errorf("outbox rows are left: %v", left)
	}
	if view.Stages[3].Started.Before(view.Stages[1].Ended) || view.Stages[3].Started.Before(view.Stages[2].Ended) {
		t.Error("d started before its needs ended")
	}
}

func TestNeeds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		file   string
		status pipeline.Status
		stages string
	}{
		"NeedOfSkippedStage": {
			`stage "a" { when branch="dev"; run "true"; }
stage "b" needs="a" { run "true"; }
stage "c" { needs "a" on="succeeded-or-skipped"; run "true"; }
stage "d" { needs "b" on="succeeded-or-skipped"; run "true"; }`,
			pipeline.Succeeded, "a skipped condition, b skipped need-skipped, c succeeded, d skipped need-skipped",
		},
		"NeedOfAllowedFailure": {
			`stage "a" { allow-failure; run "exit 1"; }
stage "b" needs="a" { run "true"; }`,
			pipeline.Succeeded, "a allowed, b succeeded",
		},
		"AllowedByCode": {
			`stage "a" { allow-failure exit=2; run "exit 1"; }
stage "b" { allow-failure exit=2; run "exit 2"; }`,
			pipeline.Failed, "a failed, b allowed",
		},
		"FinishedRunsAfterFailure": {
			`stage "a" { run "exit 1"; }
stage "b" { needs "a" on="finished"; run "true"; }
stage "c" needs="a" { run "true"; }`,
			pipeline.Failed, "a failed, b succeeded, c skipped need-failed",
		},
		"FailedRunsOnlyAfterFailure": {
			`stage "a" { run "exit 1"; }
stage "b" { run "true"; }
stage "alarm" { needs "a" "b" on="failed"; run "true"; }
stage "calm" { needs "b" on="failed"; run "true"; }`,
			pipeline.Failed, "a failed, b succeeded, alarm succeeded, calm skipped nothing-failed",
		},
		"AllSkippedIsGreen": {
			`stage "a" { when branch="dev"; run "true"; }
stage "b" needs="a" { run "true"; }`,
			pipeline.Skipped, "a skipped condition, b skipped need-skipped",
		},
		"UnknownOutputIsDecidedLater": {
			`stage "a" { output "GO"; run "echo GO=yes >> $BUILDIT_OUTPUT"; }
stage "b" needs="a" { when "outputs.a.GO == 'yes'"; run "true"; }
stage "c" needs="a" { when "outputs.a.GO == 'no'"; run "true"; }`,
			pipeline.Succeeded, "a succeeded, b succeeded, c skipped condition",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			expect(t, newWorld(t).run("pipeline \"p\"\n"+tt.file+"\n"), tt.status, tt.stages)
		})
	}
}

func TestDependentIsSkippedAtFirstFailedNeed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := w.begin(`pipeline "p"
stage "bad" { run "exit 1"; }
stage "slow" { run "while ! test -e ` + t.TempDir() + `/never; do sleep 0.05; done"; }
stage "after" { needs "bad" "slow"; run "true"; }
`)
	w.await("after skipped") // while slow still runs
	if _, err := w.service.Cancel(t.Context(), w.org, run.ID, "user", ""); err != nil {
		t.Fatal(err)
	}
	expect(t, w.end(run), pipeline.Canceled, "bad failed, slow canceled, after skipped need-failed")
}

func TestStageStartsBeforeItsSiblingsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gate := t.TempDir() + "/gate"
	view := w.run(`pipeline "p"
stage "fast" { run "true"; }
stage "slow" { run "while ! test -e ` + gate + `; do sleep 0.02; done"; }
stage "next" needs="fast" { run "touch ` + gate + `"; }
`) // slow ends only if next has run beside it
	expect(t, view, pipeline.Succeeded, "fast succeeded, slow succeeded, next succeeded")
}

func TestFortyEightStagesEndTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var file, names, want strings.Builder
	file.WriteString("pipeline \"p\"\n")
	for i := range 48 {
		fmt.Fprintf(&file, "stage \"s%d\" { run \"true\"; }\n", i)
		fmt.Fprintf(&names, " \"s%d\"", i)
		fmt.Fprintf(&want, "s%d succeeded, ", i)
	}
	fmt.Fprintf(&file, "stage \"z\" { needs%s; run \"true\"; }\n", names.String())
	expect(t, w.run(file.String()), pipeline.Succeeded, want.String()+"z succeeded")
	z := 0
	for _, seen := range w.order {
		if seen == "z queued" {
			z++
		}
	}
	if z != 1 {
		t.Errorf("z was queued %d times", z) // LastTwoNeedsEndTogether
	}
}

func TestMatrixJoinsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	view := w.run(`pipeline "p"
stage "m" { matrix { a "1" "2"; b "x" "y"; }; run "echo $MATRIX_A$MATRIX_B"; }
stage "z" needs="m" { run "echo $BUILDIT_NEED_M_STATUS"; }
`)
	expect(t, view, pipeline.Succeeded, "m (1, x) succeeded, m (1, y) succeeded, m (2, x) succeeded, m (2, y) succeeded, z succeeded")
	if log := w.log(view.ID, view.Stages[4].Key); log != "succeeded\n" {
		t.Errorf("z saw %q", log)
	}
}

func TestMaxParallelHolds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	dir := t.TempDir()
	view := w.run(`pipeline "p"
stage "m" {
    matrix max-parallel=2 { a "1" "2" "3" "4" "5" "6"; }
    run "mkdir ` + dir + `/$MATRIX_A; test $(ls ` + dir + ` | wc -l) -le 2; sleep 0.05; rmdir ` + dir + `/$MATRIX_A"
}
`)
	if view.Status != pipeline.Succeeded || len(view.Stages) != 6 {
		t.Errorf("%s: %s", view.Status, statuses(view))
	}
}

func TestFailFastCancelsOnlyOpenCells(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	view := w.run(`pipeline "p"
stage "m" { matrix { a "ok" "bad" "long"; }; run "case $MATRIX_A in bad) sleep 0.3; exit 1;; long) sleep 60;; esac"; }
stage "z" needs="m" { run "true"; }
`)
	expect(t, view, pipeline.Failed, "m (ok) succeeded, m (bad) failed, m (long) canceled, z skipped need-failed")
}

func TestEventsOfTwoStagesNeverConflict(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	view := w.run(`pipeline "p"
stage "a" { run "true"; }
stage "b" { run "true"; }
`)
	versions := map[string]int64{}
	for _, row := range w.events(view.ID) {
		entity := row.Item.Text("entity") + row.Item.Text("key")
		if got, want := row.Item.Int("version"), versions[entity]+1; got != want && versions[entity] != 0 {
			t.Errorf("%s: version %d behind %d", entity, got, versions[entity])
		}
		versions[entity] = row.Item.Int("version")
	}
	if len(versions) != 4 { // run, a, b, end
		t.Errorf("entities = %v", versions)
	}
}

// TestTransitionsAreFew counts what Step Functions would charge for.
func TestTransitionsAreFew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	view := w.run("pipeline \"p\"\nstage \"a\" { run \"true\"; }\n")
	name := fmt.Sprintf("%s-%s-01", view.ID, view.Stages[0].Key)
	events, err := w.flow.History(t.Context(), pipeline.StageMachine, name)
	if err != nil {
		t.Fatal(err)
	}
	entered := 0
	for _, e := range events {
		if strings.HasSuffix(e.Type, "StateEntered") {
			entered++
		}
	}
	if entered > 12 || len(events) > 40 || entered == 0 {
		t.Errorf("%d transitions, %d events of history", entered, len(events))
	}
	t.Logf("%d transitions, %d events", entered, len(events))
}

func TestThousandStages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stages := func(n int) string {
		var file strings.Builder
		file.WriteString("pipeline \"p\"\nstage \"s0\" { when branch=\"never\"; run \"true\"; }\n")
		for i := 1; i < n; i++ {
			fmt.Fprintf(&file, "stage \"s%d\" needs=\"s%d\" { run \"true\"; }\n", i, i-1)
		}
		return file.String()
	}
	view := w.run(stages(1000))
	if view.Status != pipeline.Skipped || len(view.Stages) != 1000 {
		t.Errorf("%s with %d stages", view.Status, len(view.Stages))
	}
}
