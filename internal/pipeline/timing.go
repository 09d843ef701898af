package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/buildit-dev/buildit/internal/cost"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Timing is where the time of a run went, in seconds.
type Timing struct {
	Queue   float64 `json:"queue_seconds"`   // from its creation to its start
	Seconds float64 `json:"seconds"`         // from its start to its end
	Compute float64 `json:"compute_seconds"` // of all its stages together
	Cost    Cost    `json:"cost"`
	// Critical are the stages that the run's end waited for, first to last: a run is
	// shorter only if one of them is.
	Critical []Step `json:"critical_path"`
}

// Cost is what compute costs, in US dollars.
type Cost struct {
	USD float64 `json:"usd"` // of the class that was used; compute of one's own has no fee
	// Fargate is what it would cost, or costs, on AWS Fargate by list prices: modelled.
	Fargate float64 `json:"fargate_usd_modelled"`
}

// Step is one stage of a critical path.
type Step struct {
	Stage   string  `json:"stage"`
	Wait    float64 `json:"wait_seconds"` // from the end of its last need to its first command
	Seconds float64 `json:"seconds"`
}

// sample is what statistics keep of a run that has ended, long after its rows.
type sample struct {
	V       int           `json:"v"`
	Run     RunID         `json:"run"`
	File    string        `json:"file"`
	Name    string        `json:"name"`
	Branch  string        `json:"branch,omitempty"`
	Status  Status        `json:"status"`
	Ended   time.Time     `json:"ended"`
	Queue   int64         `json:"queue_ms"`
	Took    int64         `json:"took_ms"`
	Stages  []stageSample `json:"stages"`
	Fargate float64       `json:"fargate_usd"`
}

type stageSample struct {
	Name     string      `json:"n"`
	Status   StageStatus `json:"s"`
	Queue    int64       `json:"q,omitempty"` // milliseconds
	Took     int64       `json:"t,omitempty"`
	Flaky    bool        `json:"f,omitempty"`
	Critical bool        `json:"c,omitempty"`
	Fargate  float64     `json:"usd,omitempty"`
}

// samplesKept is how long statistics remember a run.
const samplesKept = 400 * 24 * time.Hour

// maxSampled is how many stages of a run a sample has; beyond them a row would
// become large, and the first ones tell enough.
const maxSampled = 1000

// timing works out where the time went, of the stages of a run as they are now.
func (g *Graph) timing(run Run, stages map[int]Stage) Timing {
	stages = ranHere(stages)
	t := Timing{Critical: []Step{}, Queue: between(run.Created, run.Started), Seconds: between(run.Started, run.Ended)}
	for node, st := range stages {
		if ran := took(st); ran > 0 {
			t.Compute += ran.Seconds()
			t.Cost.Fargate += g.fargate(node, ran)
		}
	}
	for _, node := range g.criticalPath(stages) {
		st := stages[node]
		t.Critical = append(t.Critical, Step{st.Name, between(st.Ready, st.Started), took(st).Seconds()})
	}
	return t
}

func between(from, to time.Time) float64 {
	if from.IsZero() || to.Before(from) {
		return 0
	}
	return to.Sub(from).Seconds()
}

// took is how long a stage's last attempt ran; 0 if it had none.
func took(st Stage) time.Duration {
	if st.Started.IsZero() || st.Ended.Before(st.Started) {
		return 0
	}
	return st.Ended.Sub(st.Started)
}

func (g *Graph) fargate(node int, ran time.Duration) float64 {
	if len(g.spec(node).Run) == 0 { // the control plane's own: it has no task
		return 0
	}
	r := g.spec(node).Runner
	return cost.Fargate(cost.ParseSize(r.Size), r.Arch, r.Spot, ran)
}

// criticalPath is the chain of stages that the end of the run waited for: from the
// stage that ended last, each time the need that ended last. Stages that did not run
// are passed over.
func (g *Graph) criticalPath(stages map[int]Stage) []int {
	last := -1
	for node := range g.Nodes {
		if st, has := stages[node]; has && took(st) > 0 && (last < 0 || st.Ended.After(stages[last].Ended)) {
			last = node
		}
	}
	var path []int
	for seen := map[int]bool{}; last >= 0 && !seen[last]; {
		seen[last] = true
		if took(stages[last]) > 0 {
			path = append(path, last)
		}
		next := -1
		for _, need := range g.Nodes[last].Needs {
			for _, cell := range g.cells[g.spec(need.From).Name] {
				if st := stages[cell]; !st.Ended.IsZero() && (next < 0 || st.Ended.After(stages[next].Ended)) {
					next = cell
				}
			}
		}
		last = next
	}
	slices.Reverse(path)
	return path
}

// sampled is the row that remembers a run, in the transaction that ends it.
func (r ref) sampled(run Run, stages map[int]Stage) (platform.Put, error) {
	stages = ranHere(stages)
	t := r.graph.timing(run, stages)
	s := sample{
		V: 1, Run: run.ID, File: run.File, Name: r.graph.Name, Branch: run.Branch, Status: run.Status, Ended: run.Ended,
		Queue: int64(t.Queue * 1000), Took: int64(t.Seconds * 1000), Fargate: t.Cost.Fargate,
	}
	critical := make(map[int]bool)
	for _, node := range r.graph.criticalPath(stages) {
		critical[node] = true
	}
	for node := range r.graph.Nodes {
		st, has := stages[node]
		if !has || len(s.Stages) == maxSampled {
			continue
		}
		ran := took(st)
		s.Stages = append(s.Stages, stageSample{
			Name: r.graph.spec(node).Name, Status: st.Status, Queue: int64(between(st.Ready, st.Started) * 1000),
			Took: ran.Milliseconds(), Flaky: st.Flaky, Critical: critical[node], Fargate: r.graph.fargate(node, ran),
		})
	}
	body, err := json.Marshal(s)
	if err != nil {
		return platform.Put{}, fmt.Errorf("sample of run %s: %w", run.ID, err)
	}
	return platform.Put{
		Key:  sampleRow(r.org, run.Repository, run.Ended, run.ID),
		Item: platform.Item{"sample": platform.Bytes(body), platform.ExpiresAttribute: platform.Int(run.Ended.Add(samplesKept).Unix())},
	}, nil
}

// Timing answers where the time of a run went. Of one that is under way, so far.
func (s *Service) Timing(ctx context.Context, org platform.Org, id RunID) (Timing, error) {
	r, run, err := s.openRun(ctx, org, id)
	if err != nil {
		return Timing{}, asNotFound(err, id)
	}
	if r.graph == nil {
		return Timing{}, problem.New(problem.NotFound, "Run %s has no stages.", id)
	}
	if run.Ended.IsZero() {
		run.Ended = s.home.Clock.Now()
	}
	rows, err := s.rows(ctx, org, id, "stage")
	if err != nil {
		return Timing{}, err
	}
	return r.graph.timing(run, r.graph.cellsOf(rows)), nil
}

// ranHere leaves out the stages that a rerun has carried over: they took their time
// in the run before.
func ranHere(stages map[int]Stage) map[int]Stage {
	ran := make(map[int]Stage, len(stages))
	for node, st := range stages {
		if st.From == "" {
			ran[node] = st
		}
	}
	return ran
}

// cellsOf are the stages among rows, by their nodes.
func (g *Graph) cellsOf(rows []platform.Row) map[int]Stage {
	stages := make(map[int]Stage, len(rows))
	for _, row := range rows {
		if st := stageOf(row.Item); st.kind == Cell {
			stages[g.byKey[st.Key]] = st
		}
	}
	return stages
}
