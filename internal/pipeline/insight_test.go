package pipeline_test

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
)

// commit runs a file for another commit of the branch.
func (w *world) commit(text, branch, commit string) pipeline.View {
	w.t.Helper()
	trigger := push(branch)
	trigger.Commit = strings.Repeat(commit, 40)
	run, err := w.service.StartFile(w.t.Context(), w.org, trigger, load(w.t, text), pipeline.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.end(run)
}

func TestTimingFollowsWhatTheEndWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	view := w.run(`pipeline "p"
stage "a" { run "true"; }
stage "slow" needs="a" { run "sleep 0.3"; }
stage "fast" needs="a" { run "true"; }
stage "last" { needs "slow" "fast"; run "true"; }
stage "never" { when branch="dev"; run "true"; }
`)
	timing := answer[pipeline.Timing](newAPI(w), fmt.Sprintf("/runs/%s/timing", view.ID))
	var path []string
	for _, step := range timing.Critical {
		path = append(path, step.Stage)
	}
	if strings.Join(path, " ") != "a slow last" {
		t.Errorf("the path is %v", path)
	}
	if slow := timing.Critical[1].Seconds; slow < 0.3 || timing.Compute < slow || timing.Seconds < slow {
		t.Errorf("%+v", timing)
	}
	if timing.Cost.USD != 0 || timing.Cost.Fargate <= 0 {
		t.Errorf("cost %+v", timing.Cost)
	}
}

func TestInsightSumsUpByPipelineAndStage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const file = `pipeline "p"
stage "a" { run "true"; }
stage "b" needs="a" { matrix { n 1 2; }; run "test \"$BUILDIT_BRANCH$MATRIX_N\" != bad2"; }
`
	w.commit(file, "main", "a")
	w.commit(file, "main", "b")
	w.commit(file, "bad", "c")
	a := newAPI(w)
	in := answer[pipeline.Insight](a, "/repositories/r1/insight")
	if len(in.Pipelines) != 1 || in.More {
		t.Fatalf("%+v", in)
	}
	p := in.Pipelines[0]
	if p.Pipeline != "p" || p.Runs != 3 || p.SuccessRate == nil || math.Abs(*p.SuccessRate-2.0/3) > 0.001 || p.P95 < p.P50 || p.Compute <= 0 {
		t.Errorf("%+v", p.Figures)
	}
	rates := map[string]float64{}
	for _, st := range p.Stages {
		rates[st.Stage] = *st.SuccessRate
		if st.Critical != 1 { // both are on the way to the end
			t.Errorf("%s: critical in %v of its runs", st.Stage, st.Critical)
		}
	}
	if len(rates) != 2 || rates["a"] != 1 || rates["b"] >= 1 {
		t.Errorf("rates %v", rates)
	}
	if only := answer[pipeline.Insight](a, "/repositories/r1/insight?branch=bad"); only.Pipelines[0].Runs != 1 {
		t.Errorf("of one branch: %+v", only.Pipelines)
	}
	if other := answer[pipeline.Insight](a, "/repositories/r2/insight"); len(other.Pipelines) != 0 {
		t.Errorf("of another repository: %+v", other.Pipelines)
	}
	for _, days := range []string{"0", "401", "x"} {
		if status, text := a.call("GET /repositories/r1/insight?days="+days, ""); status/100 != 4 || !strings.Contains(text, "1 to 400") {
			t.Errorf("%s days: %d %s", days, status, text)
		}
	}
	if status, _ := a.call("GET /runs/"+strings.Repeat("a", 26)+"/timing", ""); status != http.StatusNotFound {
		t.Errorf("a run that there is not: %d", status)
	}
}

// A row that remembers a run goes with its time.
func TestSampleExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	view := w.run("pipeline \"p\"\nstage \"a\" { run \"true\"; }\n")
	page, err := w.sure.Query(t.Context(), platform.Query{Partition: w.org.Partition("sample", "r1")})
	if err != nil || len(page.Rows) != 1 {
		t.Fatalf("%d rows, %v", len(page.Rows), err)
	}
	expires := time.Unix(page.Rows[0].Item.Int(platform.ExpiresAttribute), 0)
	if after := expires.Sub(view.Ended); after < 399*24*time.Hour || after > 401*24*time.Hour {
		t.Errorf("it expires %s after the run", after)
	}
}
