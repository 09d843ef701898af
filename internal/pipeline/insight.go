package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Insight is how the pipelines of a repository have done of late.
type Insight struct {
	From      time.Time         `json:"from"`
	To        time.Time         `json:"to"`
	Pipelines []PipelineInsight `json:"pipelines"`
	// More says that there were more runs than were looked at: From is the end of the
	// oldest that was.
	More bool `json:"more,omitempty"`
}

// PipelineInsight is about the runs of one pipeline file.
type PipelineInsight struct {
	File     string `json:"file"`
	Pipeline string `json:"pipeline"` // its name, as the newest run has it
	Figures
	Stages []StageInsight `json:"stages"` // those that take longest first
}

// StageInsight is about one stage, its cells together.
type StageInsight struct {
	Stage string `json:"stage"`
	Figures
	Flaky    int     `json:"flaky"`          // how often it passed only on a later attempt
	Critical float64 `json:"critical_share"` // of the runs in which it ran: how often their end waited for it
}

// Figures are what pipelines and stages have in common. Canceled and skipped ones
// are counted in Runs alone, since they say nothing about success or duration.
type Figures struct {
	Runs        int      `json:"runs"`
	SuccessRate *float64 `json:"success_rate"` // 0 to 1; null where nothing has succeeded or failed
	P50         float64  `json:"seconds_p50"`
	P95         float64  `json:"seconds_p95"`
	QueueP50    float64  `json:"queue_seconds_p50"`
	QueueP95    float64  `json:"queue_seconds_p95"`
	Compute     float64  `json:"compute_seconds"` // of all of them together
	Cost        Cost     `json:"cost"`
}

// Limits of an insight.
const (
	maxInsightDays = 400
	insightDays    = 30
	maxInsightRuns = 2000
)

// InsightOf narrows an insight. Days is how far back it goes.
type InsightOf struct {
	Repository, File, Branch string
	Days                     int
}

// Insight reads the samples of a repository's runs.
func (s *Service) Insight(ctx context.Context, org platform.Org, which InsightOf) (Insight, error) {
	now := s.home.Clock.Now().UTC()
	in := Insight{From: now.AddDate(0, 0, -which.Days), To: now, Pipelines: []PipelineInsight{}}
	samples, more, err := s.samples(ctx, org, which, in.From)
	if err != nil {
		return in, err
	}
	if in.More = more; more {
		in.From = samples[len(samples)-1].Ended
	}
	byFile := make(map[string][]sample)
	for _, one := range samples {
		byFile[one.File] = append(byFile[one.File], one)
	}
	for file, of := range byFile {
		in.Pipelines = append(in.Pipelines, pipelineInsight(file, of))
	}
	slices.SortFunc(in.Pipelines, func(a, b PipelineInsight) int { return cmp.Compare(a.File, b.File) })
	return in, nil
}

// samples reads, newest first, the samples that ended after since.
func (s *Service) samples(ctx context.Context, org platform.Org, which InsightOf, since time.Time) (all []sample, more bool, err error) {
	q := platform.Query{Partition: samplePartition(org, which.Repository), Reverse: true}
	for {
		page, err := s.home.Table.Query(ctx, q)
		if err != nil {
			return nil, false, fmt.Errorf("samples of %s: %w", which.Repository, err)
		}
		for _, row := range page.Rows {
			var one sample
			if err := json.Unmarshal(row.Item.Bytes("sample"), &one); err != nil {
				return nil, false, fmt.Errorf("sample %s: %w", row.Key.SK(), err)
			}
			switch {
			case one.Ended.Before(since):
				return all, false, nil
			case which.File != "" && one.File != which.File, which.Branch != "" && one.Branch != which.Branch:
			case len(all) == maxInsightRuns:
				return all, true, nil
			default:
				all = append(all, one)
			}
		}
		if q.Cursor = page.Cursor; q.Cursor == "" {
			return all, false, nil
		}
	}
}

// pipelineInsight sums up the runs of a file, newest first.
func pipelineInsight(file string, samples []sample) PipelineInsight {
	p := PipelineInsight{File: file, Pipeline: samples[0].Name, Stages: []StageInsight{}}
	var whole gathered
	stages := make(map[string]*gatheredStage)
	for _, run := range samples {
		compute := int64(0)
		for _, st := range run.Stages {
			compute += st.Took
			one := stages[st.Name]
			if one == nil {
				one = &gatheredStage{ran: make(map[RunID]bool)}
				stages[st.Name] = one
			}
			one.add(run.Run, st)
		}
		whole.add(saysOf(run.Status), run.Queue, run.Took, compute, run.Fargate)
	}
	p.Figures = whole.figures()
	for name, one := range stages {
		p.Stages = append(p.Stages, one.insight(name))
	}
	slices.SortFunc(p.Stages, func(a, b StageInsight) int {
		return cmp.Or(cmp.Compare(b.P50, a.P50), cmp.Compare(a.Stage, b.Stage))
	})
	return p
}

// says is what an end says about success: yes, no, or nothing at all.
type says int

const (
	neither says = iota
	success
	failure
)

func saysOf(s Status) says {
	switch s {
	case Succeeded:
		return success
	case Failed, Errored, TimedOut:
		return failure
	}
	return neither
}

func saysOfStage(s StageStatus) says {
	switch s {
	case StageSucceeded:
		return success
	case StageFailed, StageErrored, StageTimedOut, StageAllowed:
		return failure
	}
	return neither
}

// gathered is what figures are made of; times are milliseconds.
type gathered struct {
	runs, succeeded, failed int
	took, queue             []int64
	compute                 int64
	fargate                 float64
}

func (g *gathered) add(v says, queue, took, compute int64, fargate float64) {
	g.runs++
	g.compute += compute
	g.fargate += fargate
	switch v {
	case success:
		g.succeeded++
	case failure:
		g.failed++
	case neither:
		return
	}
	g.took, g.queue = append(g.took, took), append(g.queue, queue)
}

func (g *gathered) figures() Figures {
	f := Figures{
		Runs: g.runs, P50: percentile(g.took, 50), P95: percentile(g.took, 95),
		QueueP50: percentile(g.queue, 50), QueueP95: percentile(g.queue, 95),
		Compute: float64(g.compute) / 1000, Cost: Cost{Fargate: g.fargate},
	}
	if decided := g.succeeded + g.failed; decided > 0 {
		rate := float64(g.succeeded) / float64(decided)
		f.SuccessRate = &rate
	}
	return f
}

// percentile is the nearest rank of milliseconds, in seconds.
func percentile(ms []int64, p float64) float64 {
	if len(ms) == 0 {
		return 0
	}
	slices.Sort(ms)
	rank := int(math.Ceil(p / 100 * float64(len(ms))))
	return float64(ms[max(rank, 1)-1]) / 1000
}

type gatheredStage struct {
	gathered
	flaky int
	ran   map[RunID]bool // in which it did, and whether their end waited for it
}

func (g *gatheredStage) add(run RunID, st stageSample) {
	g.gathered.add(saysOfStage(st.Status), st.Queue, st.Took, st.Took, st.Fargate)
	if st.Flaky {
		g.flaky++
	}
	if st.Took > 0 {
		g.ran[run] = g.ran[run] || st.Critical
	}
}

func (g *gatheredStage) insight(name string) StageInsight {
	in := StageInsight{Stage: name, Figures: g.figures(), Flaky: g.flaky}
	for _, waited := range g.ran {
		if waited {
			in.Critical++
		}
	}
	if len(g.ran) > 0 {
		in.Critical /= float64(len(g.ran))
	}
	return in
}

// insightRoutes show where time and money go.
func (s *Service) insightRoutes() []access.Route {
	return []access.Route{
		{
			Pattern: "GET /api/v1/orgs/{org}/runs/{run}/timing", Action: access.RunRead, Resource: access.InPath("run"),
			Summary: "Where the time of a run went: queue, compute, cost, and the stages that its end waited for", Out: Timing{}, Handle: s.getTiming,
		},
		{
			Pattern: "GET /api/v1/orgs/{org}/repositories/{repository}/insight", Action: access.RunRead, Resource: access.InPath("repository"),
			Summary: "How the pipelines of a repository do: durations, success, queue, cost, by pipeline and stage", Out: Insight{}, Handle: s.getInsight,
			Query: map[string]string{
				"file": "Only the pipeline of this file.", "branch": "Only runs of this branch.",
				"days": fmt.Sprintf("How far back, in days: %d if absent, %d at most.", insightDays, maxInsightDays),
			},
		},
	}
}

func (s *Service) getTiming(r *http.Request, caller access.Caller) (any, error) {
	id, err := ParseRunID(r.PathValue("run"))
	if err != nil {
		return nil, err
	}
	return s.Timing(r.Context(), caller.Org, id)
}

func (s *Service) getInsight(r *http.Request, caller access.Caller) (any, error) {
	query := r.URL.Query()
	which := InsightOf{Repository: r.PathValue("repository"), File: query.Get("file"), Branch: query.Get("branch"), Days: insightDays}
	if text := query.Get("days"); text != "" {
		var err error
		if which.Days, err = strconv.Atoi(text); err != nil || which.Days < 1 || which.Days > maxInsightDays {
			return nil, problem.New(problem.Invalid, "days must be a number from 1 to %d.", maxInsightDays).InField("days")
		}
	}
	in, err := s.Insight(r.Context(), caller.Org, which)
	if errors.Is(err, platform.ErrInvalid) { // no id has this form
		return nil, problem.New(problem.NotFound, "There is no repository %.40q.", which.Repository)
	}
	return in, err
}
