package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/report"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// The report of an attempt is one object, and a row that says where it is and what it
// sums up to, written in the transaction that stores the attempt's result. Cases stay in
// the object, failed ones first: a stage may have 100,000, and people read the first.

// addReports puts into a job what its stage reports, and its share of the files.
func (g *Graph) addReports(job *supervisor.Job, node int) {
	n, spec := g.Nodes[node], g.spec(node)
	for _, r := range spec.Reports {
		job.Reports = append(job.Reports, supervisor.ReportUse{Kind: r.Kind, Path: r.Path, Required: r.Required})
	}
	if p := spec.Parallel; p != nil && p.Files != "" {
		job.Split = &supervisor.SplitUse{Mode: p.Split, Files: p.Files, Index: n.Index, Total: n.Total}
		if p.Split == "timing" {
			job.Split.Timings = g.Timings
		}
	}
}

// stageReport is the row of an attempt's report.
type stageReport struct {
	Key         StageKey
	Stage       string // name of the cell
	Attempt     int
	SHA256      string
	Tests       report.Totals
	Coverage    *report.Coverage
	Annotations int
	Summary     bool
}

// reportPut is the row of an attempt's report, due for the history of its cases; nothing
// where the attempt has no report. What the result says is the word of the machine that
// ran the commands: of the object only the digest counts, and it may be gone.
func (s *Service) reportPut(r ref, st Stage, result supervisor.Result) []platform.Action {
	told := result.Report
	if told == nil || !isDigest(told.Object.SHA256) {
		return nil
	}
	item := platform.Item{
		"key": platform.Text(st.Key), "stage": platform.Text(st.Name), "attempt": platform.Int(st.Attempt),
		"sha256": platform.Text(told.Object.SHA256), "tests": totalsMap(told.Tests),
		"annotations": platform.Int(told.Annotations), "summary": platform.Bool(told.Summary),
	}
	if told.Coverage != nil {
		total := *told.Coverage
		total.Files = nil
		if text, err := json.Marshal(total); err == nil { // a percentage that is no number has no form
			item["coverage"] = platform.Bytes(text)
		}
	}
	if told.Tests.Cases > 0 && r.graph.Trigger.Trust == "trusted" { // strangers do not write the history
		item.DueAt(casesDueKey(r.run, s.home.Clock.Now()))
	}
	return []platform.Action{platform.Put{Key: reportRow(r.org, r.run, st.Key, st.Attempt), Item: item}}
}

func reportOf(item platform.Item) stageReport {
	told := stageReport{
		Key: StageKey(item.Text("key")), Stage: item.Text("stage"), Attempt: int(item.Int("attempt")), SHA256: item.Text("sha256"),
		Annotations: int(item.Int("annotations")), Summary: item.Bool("summary"),
	}
	if tests := totalsOf(item); tests != nil {
		told.Tests = *tests
	}
	if text := item.Bytes("coverage"); text != nil {
		told.Coverage = new(report.Coverage)
		if err := json.Unmarshal(text, told.Coverage); err != nil {
			told.Coverage = nil
		}
	}
	return told
}

// totalsMap is counts as a row keeps them; the seconds as milliseconds.
func totalsMap(t report.Totals) platform.Map {
	return platform.Map{
		"cases": platform.Int(t.Cases), "succeeded": platform.Int(t.Succeeded), "failed": platform.Int(t.Failed),
		"skipped": platform.Int(t.Skipped), "flaky": platform.Int(t.Flaky), "ms": platform.Int(int64(1000 * t.Seconds)),
	}
}

func totalsOf(item platform.Item) *report.Totals {
	stored, has := item["tests"].(platform.Map)
	if !has {
		return nil
	}
	t := platform.Item(stored)
	return &report.Totals{
		Cases: int(t.Int("cases")), Succeeded: int(t.Int("succeeded")), Failed: int(t.Int("failed")),
		Skipped: int(t.Int("skipped")), Flaky: int(t.Int("flaky")), Seconds: float64(t.Int("ms")) / 1000,
	}
}

// testsOf are the counts of all stages together.
func testsOf(stages []Stage) *report.Totals {
	var all *report.Totals
	for _, st := range stages {
		if st.Tests == nil {
			continue
		}
		if all == nil {
			all = new(report.Totals)
		}
		*all = all.Plus(*st.Tests)
	}
	return all
}

// reports are the reports of a run's attempts: by stage in the order of the file, the
// attempts in theirs.
func (s *Service) reports(ctx context.Context, org platform.Org, id RunID) (ref, Run, []stageReport, error) {
	r, run, err := s.openRun(ctx, org, id)
	if err != nil {
		return r, run, nil, asNotFound(err, id)
	}
	rows, err := s.rows(ctx, org, id, "report")
	if err != nil {
		return r, run, nil, err
	}
	list := make([]stageReport, 0, len(rows))
	for _, row := range rows {
		list = append(list, reportOf(row.Item))
	}
	if r.graph != nil {
		slices.SortStableFunc(list, func(a, b stageReport) int { return r.graph.byKey[a.Key] - r.graph.byKey[b.Key] })
	}
	return r, run, list, nil
}

// carriedReports are the rows of what stages have reported that a rerun carries over. The
// history has their cases already.
func (s *Service) carriedReports(ctx context.Context, r ref) ([]platform.Action, error) {
	rows, err := s.rows(ctx, r.org, r.graph.From, "report")
	if err != nil {
		return nil, err
	}
	var puts []platform.Action
	for _, row := range rows {
		told := reportOf(row.Item)
		if node, known := r.graph.byKey[told.Key]; !known || !r.graph.Nodes[node].Carried {
			continue
		}
		item := row.Item.Clone()
		delete(item, platform.DuePartition)
		delete(item, platform.DueSort)
		puts = append(puts, platform.Put{Key: reportRow(r.org, r.run, told.Key, told.Attempt), Item: item, If: platform.NoRow})
	}
	return puts, nil
}

// latest are the reports of each stage's last attempt that has one.
func latest(list []stageReport) []stageReport {
	var last []stageReport
	for i, told := range list {
		if i+1 == len(list) || list[i+1].Key != told.Key {
			last = append(last, told)
		}
	}
	return last
}

// readReport visits a report. One whose object is gone, or is none, is an error that
// people can read.
func (s *Service) readReport(ctx context.Context, org platform.Org, sha256 string, visit report.Visit) error {
	body, _, err := s.home.Blobs.Open(ctx, objectBlob(org, supervisor.KindReport, sha256), 0)
	if errors.Is(err, platform.ErrNotFound) {
		return problem.New(problem.Expired, "The report was deleted when its time was over.")
	}
	if err != nil {
		return fmt.Errorf("report %s: %w", sha256, err)
	}
	err = report.Decode(body, visit)
	return errors.Join(err, body.Close())
}

// Annotation is a word about a line, with the stage that said it.
type Annotation struct {
	Stage    string   `json:"stage"`
	StageKey StageKey `json:"stage_key"`
	report.Annotation
}

// maxRunAnnotations is how many annotations of a run are read.
const maxRunAnnotations = 10_000

// Annotations are those of the last attempts of a run's stages, in the order of the
// stages. A report that cannot be read any more has none.
func (s *Service) Annotations(ctx context.Context, org platform.Org, id RunID) ([]Annotation, error) {
	_, _, list, err := s.reports(ctx, org, id)
	if err != nil {
		return nil, err
	}
	all := []Annotation{}
	for _, told := range latest(list) {
		if told.Annotations == 0 || len(all) >= maxRunAnnotations {
			continue
		}
		err := s.readReport(ctx, org, told.SHA256, report.Visit{
			Annotation: func(a report.Annotation) error {
				all = append(all, Annotation{told.Stage, told.Key, a})
				return nil
			},
			Case: func(report.Case) error { return report.ErrEnough },
		})
		if err := s.leftOut(ctx, told, err); err != nil {
			return nil, err
		}
	}
	return all[:min(len(all), maxRunAnnotations)], nil
}

// leftOut passes over a report that is gone or damaged, and tells the log.
func (s *Service) leftOut(ctx context.Context, told stageReport, err error) error {
	if err == nil || ctx.Err() != nil {
		return err
	}
	s.Log.WarnContext(ctx, "report left out", "stage", told.Stage, "report", told.SHA256, "err", err)
	return nil
}

// Summary is the Markdown of a stage. It holds no HTML and no link that runs code.
type Summary struct {
	Stage    string           `json:"stage"`
	StageKey StageKey         `json:"stage_key"`
	Text     string           `json:"text,omitempty"`
	Tests    *report.Totals   `json:"tests,omitempty"`
	Coverage *report.Coverage `json:"coverage,omitempty"`
}

// Summaries are what the last attempts of a run's stages have written for people, with
// the totals of their tests and their coverage, in the order of the stages.
func (s *Service) Summaries(ctx context.Context, org platform.Org, id RunID) ([]Summary, error) {
	_, _, list, err := s.reports(ctx, org, id)
	if err != nil {
		return nil, err
	}
	all := []Summary{}
	for _, told := range latest(list) {
		one := Summary{Stage: told.Stage, StageKey: told.Key, Coverage: told.Coverage}
		if told.Tests.Cases > 0 {
			one.Tests = &told.Tests
		}
		if told.Summary {
			err := s.readReport(ctx, org, told.SHA256, report.Visit{
				Summary:    func(text string) error { one.Text = text; return report.ErrEnough },
				Annotation: func(report.Annotation) error { return report.ErrEnough },
				Case:       func(report.Case) error { return report.ErrEnough },
			})
			if err := s.leftOut(ctx, told, err); err != nil {
				return nil, err
			}
		}
		if one.Text != "" || one.Tests != nil || one.Coverage != nil {
			all = append(all, one)
		}
	}
	return all, nil
}

// sameStage is the key by which results of a case are compared over runs: a cell of a
// matrix is a place of its own, those of `parallel` are one, since files move among them.
func (g *Graph) sameStage(key StageKey) StageKey {
	node, known := g.byKey[key]
	if known && g.Nodes[node].Kind == Cell && g.spec(node).Parallel != nil {
		return StageKey(language.StageKey(g.spec(node).Name, nil))
	}
	return key
}
