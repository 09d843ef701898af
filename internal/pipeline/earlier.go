package pipeline

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// Earlier finds what an earlier run has made of a job, where that stands for running
// it again. given says that the job does not run here in any case.
type Earlier func(ctx context.Context, job supervisor.Job, given bool) (Made, bool)

// Made is how a stage ended in an earlier run, succeeded or allowed, and what it
// left behind.
type Made struct {
	Status StageStatus
	Reason string
	Why    string
	Result supervisor.Result
}

// Given is how a stage ended in the run that this one repeats.
type Given struct {
	Status StageStatus
	Reason string
	Why    string
}

// reasonNeedMissing ends a stage that was asked for alone and uses what is not there.
const reasonNeedMissing = "need-missing"

func (s *Service) earlier(ctx context.Context, job supervisor.Job, given bool) (Made, bool) {
	if s.Earlier == nil {
		return Made{}, false
	}
	return s.Earlier(ctx, job, given)
}

// asMade ends a stage as it ended in an earlier run.
func (s *Service) asMade(r ref, node int, made Made) change {
	var notices []Notice
	for _, n := range made.Result.Notices {
		notices = append(notices, Notice(n))
	}
	c := s.remains(r, node, notices, made.Result)
	c.reason, c.why, c.made = made.Reason, made.Why, true
	return c
}

// leaveOut marks the nodes that do not run here: those that nobody asked for, and
// those whose end is given together with the ends of all that they need.
func (g *Graph) leaveOut(opt Options) {
	if opt.Alone {
		for i := range g.Nodes {
			n := &g.Nodes[i]
			n.Elsewhere = n.Kind == Cell && !slices.Contains(opt.Only, g.Stages[n.Stage].Name)
		}
		g.freeOfNeeds()
		return
	}
	for i := range g.Nodes {
		_, g.Nodes[i].Elsewhere = opt.Given[g.Nodes[i].Key]
	}
	for changed := true; changed; { // at most once for each node
		changed = false
		for i := range g.Nodes {
			if n := &g.Nodes[i]; n.Elsewhere && !g.needsGiven(n) {
				n.Elsewhere, changed = false, true
			}
		}
	}
}

// onFree is the `on` of a need that nobody asked for: the stage that was asked for
// runs with or without a result of it, unless it was ruled out by one that ran.
const onFree = "free"

// freeOfNeeds frees the stages that were asked for of those that were not.
func (g *Graph) freeOfNeeds() {
	for i := range g.Nodes {
		for j, e := range g.Nodes[i].Needs {
			if g.elsewhere(g.spec(e.From).Name) {
				g.Nodes[i].Needs[j].On = onFree
			}
		}
	}
}

// elsewhere tells whether all cells of a stage do not run here.
func (g *Graph) elsewhere(stage string) bool {
	return !slices.ContainsFunc(g.cells[stage], func(cell int) bool { return !g.Nodes[cell].Elsewhere })
}

func (g *Graph) needsGiven(n *Node) bool {
	return !slices.ContainsFunc(n.Needs, func(e Edge) bool { return !g.elsewhere(g.spec(e.From).Name) })
}

// running are the stages of which a cell may run here.
func (g *Graph) running() []*language.Stage {
	var stages []*language.Stage
	for _, s := range g.Stages {
		if !g.elsewhere(s.Name) {
			stages = append(stages, s)
		}
	}
	return stages
}

// lacks names a stage above that has no result here though the cell uses what it
// leaves behind, "" if there is none.
func (g *Graph) lacks(node int, above upstream) string {
	for _, i := range g.Nodes[node].Reads {
		if above.ends[i].Reason == reasonNotAsked && g.uses(g.spec(node), g.spec(i)) {
			return g.Nodes[i].Name
		}
	}
	return ""
}

// uses tells whether a stage takes something that a stage above leaves behind: a
// fetch, or a name of it anywhere in its definition.
func (g *Graph) uses(s, above *language.Stage) bool {
	if len(above.Artifacts)+len(above.Outputs) == 0 {
		return false
	}
	text, err := json.Marshal(struct {
		Stage *language.Stage
		Env   map[string]string
	}{s, g.Env})
	if err != nil {
		return true
	}
	names := []string{"OUTPUT_" + variable(above.Name) + "_", "outputs." + above.Name + "."}
	for _, a := range above.Artifacts {
		if slices.ContainsFunc(s.Fetches, func(f language.Fetch) bool {
			return f.Name == a.Name && !f.Optional && (f.From == "" || f.From == above.Name)
		}) {
			return true
		}
		names = append(names, "ARTIFACT_"+variable(a.Name), "artifact."+a.Name)
	}
	return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(string(text), name) })
}
