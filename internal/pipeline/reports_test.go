package pipeline_test

import (
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/report"
)

// tests lists all tests of a run, page by page.
func (w *world) tests(run pipeline.RunID, status string) []pipeline.Test {
	w.t.Helper()
	var all []pipeline.Test
	for cursor := ""; ; {
		page, next, err := w.service.Tests(w.t.Context(), w.org, run, pipeline.TestSelection{Status: status}, 2, cursor)
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, page...)
		if cursor = next; cursor == "" {
			return all
		}
	}
}

// brief are tests in few words: name, status, flaky.
func brief(list []pipeline.Test) string {
	var words []string
	for _, t := range list {
		text := t.Name + " " + string(t.Status)
		if t.Flaky {
			text += " flaky"
		}
		words = append(words, text)
	}
	return strings.Join(words, ", ")
}

func (w *world) keepCases() {
	w.t.Helper()
	if err := w.service.KeepCases(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// at starts a run of a commit: subject makes it another run of the same one.
func (w *world) at(commit, subject, text string) pipeline.View {
	w.t.Helper()
	trigger := push("main")
	trigger.Subject, trigger.Commit = subject, commit
	run, err := w.service.StartFile(w.t.Context(), w.org, trigger, load(w.t, text), pipeline.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.end(run)
}

// suiteOf is a stage that writes these cases: name=status:seconds.
func suiteOf(cases string, more string) string {
	var xml strings.Builder
	for _, word := range strings.Fields(cases) {
		name, rest, _ := strings.Cut(word, "=")
		status, seconds, _ := strings.Cut(rest, ":")
		body := map[string]string{"failed": "<failure message='no'>in " + name + "</failure>", "skipped": `<skipped/>`}[status]
		fmt.Fprintf(&xml, `<testcase name='%s' file='%s.py' line='3' time='%s'>%s</testcase>`, name, name, seconds, body)
	}
	return fmt.Sprintf("pipeline \"p\"\nstage \"test\" {\n run r#\"echo \"<testsuite name='s'>%s</testsuite>\" >r.xml\"#\n report \"junit\" path=\"r.xml\"\n%s\n}\n", xml.String(), more)
}

const commitA, commitB = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

// Failed tests stand first, then flaky ones, then the slowest, over pages too; the run
// carries the counts, and failed ones are annotations.
func TestTestsOfARun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	view := w.at(commitA, "1", suiteOf("quick=succeeded:1 slow=succeeded:9 off=skipped:0 bad=failed:2 worse=failed:3", `run "exit 1"`))
	expect(t, view, pipeline.Failed, "test failed")
	if want := (report.Totals{Cases: 5, Succeeded: 2, Failed: 2, Skipped: 1, Seconds: 15}); view.Tests == nil || *view.Tests != want || *view.Stages[0].Tests != want {
		t.Errorf("%+v, want %+v", view.Tests, want)
	}
	if got := brief(w.tests(view.ID, "")); got != "worse failed, bad failed, slow succeeded, quick succeeded, off skipped" {
		t.Error(got)
	}
	if got := brief(w.tests(view.ID, "failed")); got != "worse failed, bad failed" {
		t.Error(got)
	}
	page, _, err := w.service.Tests(t.Context(), w.org, view.ID, pipeline.TestSelection{Output: true}, 2, "")
	if err != nil || len(page) != 2 || page[0].Output != "in worse" || page[1].Output != "in bad" {
		t.Errorf("%+v, %v", page, err)
	}
	list, err := w.service.Annotations(t.Context(), w.org, view.ID)
	if err != nil || len(list) != 2 || list[0].Stage != "test" || list[0].File != "worse.py" || list[0].Line != 3 {
		t.Errorf("%+v, %v", list, err)
	}
}

// The cells of a matrix are merged by name, and shown.
func TestCellsAreMerged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	view := w.run(`pipeline "p"
stage "test" {
    matrix fail-fast=false { v "1" "2"; }
    run r#"printf "<testsuite><testcase name='x' time='$MATRIX_V'>%s</testcase><testcase name='only$MATRIX_V'/></testsuite>" "$([ $MATRIX_V = 1 ] || echo "<failure message='in $MATRIX_V'/>")" >r.xml"#
    report "junit" path="r.xml"
}
`)
	list := w.tests(view.ID, "")
	if got := brief(list); got != "x failed, only1 succeeded, only2 succeeded" {
		t.Fatal(got)
	}
	if list[0].Message != "in 2" || list[0].Seconds != 2 || len(list[0].Cells) != 2 || list[0].Cells[1].Stage != "test (2)" || list[0].Cells[0].Status != report.Succeeded {
		t.Errorf("%+v", list[0])
	}
	if view.Tests.Cases != 4 || view.Tests.Failed != 1 {
		t.Errorf("%+v", view.Tests)
	}
}

// A test that fails and then passes on a retry of its stage is flaky, at once, and in
// the history for other runs.
func TestFlakyByRetry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	file := `pipeline "p"
stage "test" {
    retry 1 backoff="1s"
    run r#"[ $BUILDIT_STAGE_ATTEMPT = 2 ] || bad="<failure message='no'/>"; echo "<testsuite><testcase name='wobbly'>$bad</testcase><testcase name='good' time='5'/></testsuite>" >r.xml; [ -z "$bad" ]"#
    report "junit" path="r.xml"
}
`
	view := w.at(commitA, "1", file)
	expect(t, view, pipeline.Succeeded, "test succeeded")
	if got := brief(w.tests(view.ID, "")); got != "wobbly succeeded flaky, good succeeded" {
		t.Error(got)
	}
	w.keepCases()
	list := w.tests(view.ID, "flaky")
	if len(list) != 1 || list[0].History == nil || list[0].History.FlakyCommits != 1 || len(list[0].History.Recent) != 2 || list[0].History.Recent[0].Attempt != 2 {
		t.Errorf("%+v", list)
	}
}

// A test that passes in one run of a commit and fails in another one is flaky, in
// whichever order; one that fails on a new commit is not. A cell of a matrix is a place
// of its own. Doing it twice changes nothing.
func TestFlakyOverRunsOfACommit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good, bad := suiteOf("wobbly=succeeded:1 broken=succeeded:1", ""), suiteOf("wobbly=failed:1 broken=succeeded:1", `allow-failure`)
	first := w.at(commitA, "1", good)
	w.keepCases()
	w.at(commitB, "2", suiteOf("wobbly=succeeded:1 broken=failed:1", "")) // broken by another commit: not flaky
	w.keepCases()
	if got := brief(w.tests(first.ID, "flaky")); got != "" {
		t.Error(got)
	}
	w.at(commitA, "3", bad)
	for range 2 {
		w.keepCases()
		if got := brief(w.tests(first.ID, "flaky")); got != "wobbly succeeded flaky" {
			t.Error(got)
		}
	}
	list := w.tests(first.ID, "")
	for _, one := range list {
		if one.History == nil || len(one.History.Recent) != 3 {
			t.Errorf("%s: %+v", one.Name, one.History)
		}
	}
	if h := list[0].History; h.FlakyCommits != 1 || h.Seconds != 1 || h.Recent[0].Status != report.Failed || h.Recent[0].Commit != commitA {
		t.Errorf("%+v", h)
	}
}

// A rerun of what failed shows the tests of what it carried over too, counts them once in
// the history, and knows a test that passes now on the same commit as flaky.
func TestRerunCarriesReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fixed := filepath.Join(t.TempDir(), "fixed")
	first := w.at(commitA, "1", fmt.Sprintf(`pipeline "p"
stage "kept" { run r#"echo "<testsuite><testcase name='kept' time='9'/></testsuite>" >r.xml"#; report "junit" path="r.xml"; }
stage "again" { run r#"[ -e %s ] || bad="<failure/>"; echo "<testsuite><testcase name='wobbly'>$bad</testcase></testsuite>" >r.xml; [ -z "$bad" ]"#; report "junit" path="r.xml"; }
`, fixed))
	w.keepCases()
	touch(t, fixed)
	second := w.rerun(first.ID, pipeline.RerunRequest{What: "failed"})
	w.keepCases()
	list := w.tests(second.ID, "")
	if got := brief(list); got != "wobbly succeeded flaky, kept succeeded" || second.Tests.Cases != 2 {
		t.Errorf("%s, %+v", got, second.Tests)
	}
	if kept := list[1].History; kept == nil || len(kept.Recent) != 1 {
		t.Errorf("%+v", kept)
	}
}

// The history of a pipeline is bounded: what only ever passed, and was not seen for
// longest, makes room; what has failed stays.
func TestTestHistoryMakesRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	partition := w.org.Partition("cases", "r1", ".buildit.kdl")
	row := func(i int, status string) platform.Row {
		return platform.Row{Key: partition.Row("case", fmt.Sprint(i)), Item: platform.Item{
			"name": platform.Text(fmt.Sprint(i)), "seen": platform.Stamp(time.Unix(int64(i), 0)), "version": platform.Int(1),
			"recent": platform.TextList([]string{"run " + commitA + " key 1 " + status + " - 5 " + fmt.Sprint(i)}),
		}}
	}
	rows := []platform.Row{row(0, "failed"), {Key: partition.Row("count"), Item: platform.Item{"rows": platform.Int(20_001)}}}
	for i := range 20_000 {
		rows = append(rows, row(i+1, "succeeded"))
	}
	if err := w.home.Table.PutMany(t.Context(), rows); err != nil {
		t.Fatal(err)
	}
	w.at(commitA, "1", suiteOf("new=succeeded:1", ""))
	w.keepCases()
	count, err := w.home.Table.Get(t.Context(), partition.Row("count"))
	if err != nil || count.Int("rows") != 18_000 {
		t.Errorf("%v, %v", count, err)
	}
	for key, kept := range map[string]bool{"0": true, "1": false, "2002": false, "2003": true, "20000": true} {
		if _, err := w.home.Table.Get(t.Context(), partition.Row("case", key)); (err == nil) != kept {
			t.Errorf("case %s: %v, want kept %v", key, err, kept)
		}
	}
}

// Strangers' runs show their tests and leave no trace in the history.
func TestForkWritesNoTestHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	trigger := push("main")
	trigger.Event, trigger.Trust, trigger.Fork = "pull-request", "untrusted", true
	run, err := w.service.StartFile(t.Context(), w.org, trigger, load(t, suiteOf("x=failed:1", "")), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	view := w.end(run)
	w.keepCases()
	if list := w.tests(view.ID, ""); len(list) != 1 || list[0].History != nil {
		t.Errorf("%+v", list)
	}
}

// Three cells share the files out by what they took before, the same in all: together
// they run each file once, and the slow one alone. Their need is met once all have ended.
func TestParallelSharesByTiming(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const maker = `pipeline "p"
stage "make" { run "mkdir t; touch t/slow.py t/a.py t/b.py t/c.py"; artifact "t" path="t"; %s; }
`
	w.at(commitA, "1", fmt.Sprintf(maker, `run r#"echo "<testsuite><testcase name='slow' file='t/slow.py' time='60'/><testcase name='a' file='t/a.py' time='1'/><testcase name='b' file='t/b.py' time='1'/></testsuite>" >r.xml"#; report "junit" path="r.xml"`))
	w.keepCases()
	view := w.at(commitB, "2", fmt.Sprintf(maker, "description \"x\"")+`stage "test" needs="make" {
    parallel 3 files="t/*.py"
    fetch "t"
    run r#"echo "<$(paste -sd, "$BUILDIT_SPLIT_FILES")> of $BUILDIT_JOB_INDEX/$BUILDIT_JOB_TOTAL""#
}
stage "after" needs="test" { run "true"; }
`)
	expect(t, view, pipeline.Succeeded, "make succeeded, test (1/3) succeeded, test (2/3) succeeded, test (3/3) succeeded, after succeeded")
	var shares []string
	for _, st := range view.Stages[1:4] {
		_, share, _ := strings.Cut(w.log(view.ID, st.Key), "<")
		shares = append(shares, strings.TrimSpace(share))
	}
	if want := []string{"t/slow.py> of 0/3", "t/a.py,t/c.py> of 1/3", "t/b.py> of 2/3"}; !slices.Equal(shares, want) {
		t.Errorf("%q, want %q", shares, want)
	}
}

func TestReportRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	view := w.at(commitA, "1", suiteOf("bad=failed:2 good=succeeded:1", "run r#\"echo '# <b>' >\"$BUILDIT_SUMMARY\"\"#"))
	w.keepCases()
	a := newAPI(w)
	at := "/runs/" + string(view.ID)
	page := answer[access.Page[pipeline.Test]](a, at+"/tests?limit=1")
	if brief(page.Items) != "bad failed" || page.Next == "" {
		t.Errorf("%+v", page)
	}
	page = answer[access.Page[pipeline.Test]](a, at+"/tests?limit=1&cursor="+url.QueryEscape(page.Next))
	if brief(page.Items) != "good succeeded" || page.Next != "" {
		t.Errorf("%+v", page)
	}
	if list := answer[access.Page[pipeline.Annotation]](a, at+"/annotations"); len(list.Items) != 1 || list.Items[0].Title != "bad" {
		t.Errorf("%+v", list)
	}
	if list := answer[access.Page[pipeline.Summary]](a, at+"/summary"); len(list.Items) != 1 || list.Items[0].Text != "# &lt;b>" || list.Items[0].Tests.Failed != 1 {
		t.Errorf("%+v", list)
	}
	for request, want := range map[string]string{
		"/tests?status=bad":  `is no status of a test; they are failed, flaky, succeeded, skipped`,
		"/tests?output=1":    "output is true or false",
		"/tests?cursor=e30x": "The cursor is not one of this list",
		"/tests?limit=0":     "limit must be a number from 1 to 200",
		"/../" + strings.Repeat("a", 26) + "/summary": "There is no run",
	} {
		target := at + request
		if strings.HasPrefix(request, "/../") {
			target = strings.TrimSuffix(at, string(view.ID)) + strings.TrimPrefix(request, "/../")
		}
		if status, body := a.call("GET "+target, ""); status < 400 || status > 499 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", request, status, body)
		}
	}
}
