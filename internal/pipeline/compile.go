package pipeline

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Options narrow what a run does. The zero value runs the whole file.
type Options struct {
	Only    []string // names of stages; they and what they need run
	Alone   bool     // of Only: what they need does not run, its results come from earlier runs
	Local   bool     // `buildit run`: stages that deploy are shown and skipped
	Approve bool     // approvals count as given
	// Given are the ends of stages in the run that this one repeats. Where all that a
	// stage needs is given too, it does not run again.
	Given map[StageKey]Given
}

// compile makes the graph of a run. What this version cannot run yet is refused
// with kind NotAvailable, with every position.
func compile(p *language.Pipeline, t Trigger, number int, opt Options) (*Graph, error) {
	stages, err := selectStages(p, opt.Only)
	if err != nil {
		return nil, err
	}
	params, err := parameters(p, t)
	if err != nil {
		return nil, err
	}
	g := &Graph{
		V: graphVersion, Run: NewRunID(t), Number: number, Trigger: t,
		Name: p.Name, Env: p.Env, Params: params, Timeout: p.Timeout, Stages: stages,
		Concurrency: p.Concurrency, Open: opt.Local,
	}
	if err := g.addNodes(); err != nil {
		return nil, err
	}
	g.link()
	g.addReads()
	g.leaveOut(opt)
	if err := available(p, g.running(), opt); err != nil {
		return nil, err
	}
	return g, g.decide(p, opt)
}

// addNodes makes the cells, joins and the end, and the edges between them.
func (g *Graph) addNodes() error {
	stands := make(map[string]int, len(g.Stages)) // the node that stands for a stage
	var cells int
	for i, stage := range g.Stages {
		made := stage.Cells()
		cells += len(made)
		if cells > maxStages {
			return limit(stage, "this stage is number %d; a run has at most %d", cells, maxStages)
		}
		for j, c := range made {
			stands[stage.Name] = len(g.Nodes)
			g.Nodes = append(g.Nodes, Node{
				Kind: Cell, Key: StageKey(c.Key), Name: c.Name, Stage: i, Pairs: c.Pairs, Index: j, Total: len(made),
			})
		}
		if len(made) > 1 {
			stands[stage.Name] = len(g.Nodes)
			g.Nodes = append(g.Nodes, Node{
				Kind: Join, Key: StageKey(language.StageKey(stage.Name, nil)), Name: stage.Name, Stage: i, Waits: len(made),
			})
		}
	}
	edges := 0
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if n.Kind != Cell {
			continue
		}
		distinct := make(map[int]bool)
		for _, need := range g.Stages[n.Stage].Needs {
			from, ok := stands[need.Stage]
			if !ok {
				return fmt.Errorf("stage %q needs %q, which is not in the run", n.Name, need.Stage)
			}
			on := need.On
			if on == "" {
				on = "succeeded"
			}
			n.Needs = append(n.Needs, Edge{From: from, On: on, Group: need.Group})
			distinct[from] = true
		}
		n.Waits = len(distinct)
		if edges += len(distinct); edges > maxEdges {
			return limit(g.Stages[n.Stage], "this run has more than %d needs", maxEdges)
		}
	}
	g.Nodes = append(g.Nodes, Node{Kind: End, Key: endKey, Name: "end", Stage: -1, Waits: cells})
	return nil
}

func limit(s *language.Stage, format string, args ...any) error {
	return &problem.Error{
		Kind: problem.BadConfig, Detail: fmt.Sprintf(format, args...),
		At: []problem.Place{{File: s.Pos.File, Line: s.Pos.Line, Column: s.Pos.Column, Code: "limit", Detail: fmt.Sprintf(format, args...)}},
	}
}

// addReads notes for each cell the direct needs, and the stages further up that
// leave outputs or artifacts behind.
func (g *Graph) addReads() {
	up := make([]map[int]bool, len(g.Stages)) // stages above each stage
	var above func(stage int) map[int]bool
	byName := make(map[string]int, len(g.Stages))
	for i, s := range g.Stages {
		byName[s.Name] = i
	}
	above = func(stage int) map[int]bool {
		if up[stage] == nil {
			set := make(map[int]bool)
			for _, need := range g.Stages[stage].Needs {
				i := byName[need.Stage]
				set[i] = true
				maps.Copy(set, above(i))
			}
			up[stage] = set
		}
		return up[stage]
	}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if n.Kind != Cell {
			continue
		}
		for _, s := range slices.Sorted(maps.Keys(above(n.Stage))) {
			if spec := g.Stages[s]; len(spec.Outputs)+len(spec.Artifacts) > 0 || asks(g.Stages[n.Stage]) {
				n.Reads = append(n.Reads, g.cells[spec.Name]...)
			}
		}
		for _, e := range n.Needs {
			for _, cell := range g.cells[g.spec(e.From).Name] {
				if !slices.Contains(n.Reads, cell) {
					n.Reads = append(n.Reads, cell)
				}
			}
		}
	}
}

// asks tells whether the stage has an expression, which may ask for any status.
func asks(s *language.Stage) bool {
	return slices.ContainsFunc(s.When, func(w language.When) bool { return w.Expression != "" })
}

// decide evaluates each condition with what is known at the start.
func (g *Graph) decide(p *language.Pipeline, opt Options) error {
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if n.Kind != Cell {
			continue
		}
		spec := g.Stages[n.Stage]
		if given, has := opt.Given[n.Key]; has && n.Elsewhere {
			if given.Status == StageSkipped {
				n.Skip, n.Why = given.Reason, given.Why
			}
			continue
		}
		truth, err := g.decideWhen(i)
		if err != nil {
			return err
		}
		switch {
		case truth == language.False:
			n.Skip, n.Why = reasonCondition, conditionFalse
		case !p.ComponentChanged(spec.Component, g.facts):
			n.Skip, n.Why = reasonComponent, fmt.Sprintf("nothing of component %q, or of what it uses, has changed", spec.Component)
		case opt.Local && deploys(spec):
			n.Skip, n.Why = reasonNotHere, fmt.Sprintf("it deploys to %s; buildit run deploys nothing", spec.Environment.NameT)
		}
		n.Decide = truth == language.Unknown
	}
	return nil
}

const conditionFalse = "its condition does not hold for this event"

// decideWhen evaluates the condition of a cell with what is known at the start.
func (g *Graph) decideWhen(node int) (language.Truth, error) {
	spec := g.spec(node)
	truth, err := language.Decide(spec.When, g.cellFacts(node, ""))
	if err != nil {
		return truth, &problem.Error{
			Kind: problem.BadConfig, Detail: fmt.Sprintf("The condition of stage %q: %v.", spec.Name, err), Err: err,
			At: []problem.Place{{File: spec.Pos.File, Line: spec.Pos.Line, Column: spec.Pos.Column, Code: "expression", Detail: err.Error()}},
		}
	}
	return truth, nil
}

func deploys(s *language.Stage) bool { return s.Environment != nil && !s.Environment.Use }

// selectStages takes the named stages and what they need, in file order.
func selectStages(p *language.Pipeline, only []string) ([]*language.Stage, error) {
	if len(only) == 0 {
		return p.Stages, nil
	}
	byName := make(map[string]*language.Stage, len(p.Stages))
	names := make([]string, 0, len(p.Stages))
	for _, s := range p.Stages {
		byName[s.Name] = s
		names = append(names, s.Name)
	}
	wanted := make(map[string]bool)
	var want func(name string)
	want = func(name string) {
		if wanted[name] {
			return
		}
		wanted[name] = true
		for _, need := range byName[name].Needs {
			want(need.Stage)
		}
	}
	for _, name := range only {
		if byName[name] == nil {
			return nil, problem.New(problem.Invalid, "There is no stage %q; stages here: %s.", name, strings.Join(names, ", "))
		}
		want(name)
	}
	var stages []*language.Stage
	for _, s := range p.Stages {
		if wanted[s.Name] {
			stages = append(stages, s)
		}
	}
	return stages, nil
}

// parameters are the values of the file's params: the trigger's, else the default.
func parameters(p *language.Pipeline, t Trigger) (map[string]string, error) {
	values := make(map[string]string, len(p.Params))
	var names []string
	for _, param := range p.Params {
		names = append(names, param.Name)
		value, given := t.Params[param.Name]
		switch {
		case !given && param.Required && t.Event == "manual":
			return nil, problem.New(problem.Invalid, "The pipeline needs a value for param %q.", param.Name).InField("params." + param.Name)
		case !given:
			value = param.Default
		}
		if err := checkParam(param, value, given); err != nil {
			return nil, err
		}
		values[param.Name] = value
	}
	for name := range t.Params {
		if _, known := values[name]; !known {
			return nil, problem.New(problem.Invalid, "The pipeline has no param %q; it has %v.", name, names).InField("params." + name)
		}
	}
	return values, nil
}

func checkParam(param language.Param, value string, given bool) error {
	wrong := ""
	switch param.Type {
	case "choice":
		if !slices.Contains(param.Choices, value) {
			wrong = "one of " + strings.Join(param.Choices, ", ")
		}
	case "bool":
		if value != "true" && value != "false" {
			wrong = "true or false"
		}
	case "int":
		if value == "" || strings.Trim(value, "0123456789") != "" {
			wrong = "a whole number"
		}
	}
	if wrong == "" || !given && !param.HasDefault {
		return nil
	}
	return problem.New(problem.Invalid, "Param %q is %q; it must be %s.", param.Name, value, wrong).InField("params." + param.Name)
}
