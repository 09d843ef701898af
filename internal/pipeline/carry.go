package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// What a rerun does not do again it carries over: the rows of those stages and of
// what they made are copied into the new run as they are, and a stage's log is read
// where it was written (Stage.From). A node that is carried over is settled from the
// beginning, so nobody counts it down: who waits for it has one need less.

// past is the run before, as its rows were when it had ended.
type past struct {
	ends      map[int]Stage      // by node
	artifacts map[int][]Artifact // by the node that made them
}

func (s *Service) past(ctx context.Context, r ref) (past, error) {
	p := past{ends: make(map[int]Stage), artifacts: make(map[int][]Artifact)}
	rows, err := s.rows(ctx, r.org, r.run, "stage")
	if err != nil {
		return p, err
	}
	for _, row := range rows {
		st := stageOf(row.Item)
		p.ends[r.graph.byKey[st.Key]] = st
	}
	made, err := s.Artifacts(ctx, r.org, r.run)
	for _, a := range made {
		node := r.graph.byKey[a.Key]
		p.artifacts[node] = append(p.artifacts[node], a)
	}
	return p, err
}

// choose is the nodes that run again, of what is asked.
func (g *Graph) choose(in RerunRequest, p past) (map[int]bool, error) {
	again := make(map[int]bool)
	for i, n := range g.Nodes {
		if n.Kind != Cell {
			continue
		}
		switch in.What {
		case RerunAll:
			g.withDescendants(i, again)
		case RerunFailed:
			if end := p.ends[i].ending(); !end.Status.passed() && !end.skippedByItself() {
				g.withDescendants(i, again)
			}
		case RerunStage:
			if n.Name == in.Stage || g.Stages[n.Stage].Name == in.Stage || string(n.Key) == in.Stage {
				g.withDescendants(i, again)
			}
		}
	}
	switch {
	case len(again) > 0:
		return again, g.refuseRuledOut(in, p, again)
	case in.What == RerunStage:
		var names []string
		for _, stage := range g.Stages {
			names = append(names, stage.Name)
		}
		return nil, problem.New(problem.Invalid, "The run has no stage %q%s", in.Stage, meantName(in.Stage, names)).InField("stage")
	}
	return nil, problem.New(problem.Conflict, "Nothing of this run failed. Run all of it again, or one stage.")
}

func meantName(name string, names []string) string {
	if nearest := language.Nearest(name, names); nearest != "" {
		return fmt.Sprintf("; did you mean %q?", nearest)
	}
	return "."
}

// refuseRuledOut refuses a stage that would be skipped at once, because one that it
// needs did not end as it must, and does not run again.
func (g *Graph) refuseRuledOut(in RerunRequest, p past, again map[int]bool) error {
	if in.What != RerunStage {
		return nil
	}
	for node := range again {
		n := g.Nodes[node]
		if n.Kind != Cell || n.Name != in.Stage && g.spec(node).Name != in.Stage && string(n.Key) != in.Stage {
			continue
		}
		verdict, reason, need := judge(n.Needs, func(i int) ending {
			if again[i] {
				return ending{}
			}
			return p.ends[i].ending()
		})
		if verdict == ruledOut {
			return problem.New(problem.Conflict, "Stage %q would be skipped: %s. Run that one again, or what failed.",
				n.Name, because(reason, g.Nodes[need].Name)).InField("stage")
		}
	}
	return nil
}

// skippedByItself tells whether a stage was skipped for a reason of its own.
func (e ending) skippedByItself() bool {
	return e.Status == StageSkipped && (e.Reason == reasonCondition || e.Reason == reasonComponent || e.Reason == reasonNotHere)
}

// withDescendants adds a node and all that wait for it, however far: the join of its
// matrix too, and the end of the run.
func (g *Graph) withDescendants(node int, set map[int]bool) {
	if set[node] {
		return
	}
	set[node] = true
	for _, dependent := range g.out[node] {
		g.withDescendants(dependent, set)
	}
	if join := g.joins[node]; join >= 0 {
		g.withDescendants(join, set)
	}
	set[g.end()] = true
}

// addMakers has the makers of artifacts that are gone run again too, where a stage
// that runs again fetches them, until nothing is missing.
func (s *Service) addMakers(ctx context.Context, r ref, p past, again map[int]bool) error {
	g := r.graph
	for grown := true; grown; {
		grown = false
		for node := range g.Nodes {
			if !again[node] || g.Nodes[node].Kind != Cell {
				continue
			}
			for _, fetch := range g.spec(node).Fetches {
				for _, maker := range g.makers(fetch.Name, fetch.From) {
					if again[maker] {
						continue
					}
					gone, err := s.artifactGone(ctx, r, p.artifacts[maker], fetch.Name)
					if err != nil {
						return err
					}
					if gone {
						g.withDescendants(maker, again)
						grown = true
					}
				}
			}
		}
	}
	return nil
}

// artifactGone tells whether the files of an artifact were deleted, or will be any
// moment, because their time is over.
func (s *Service) artifactGone(ctx context.Context, r ref, made []Artifact, name string) (bool, error) {
	i := slices.IndexFunc(made, func(a Artifact) bool { return a.Name == name })
	if i < 0 || made[i].SHA256 == "" {
		return false, nil
	}
	spec := r.graph.spec(r.graph.byKey[made[i].Key])
	for _, a := range spec.Artifacts {
		if a.Name == name && s.home.Clock.Now().Sub(made[i].Created) >= orDefault(a.Expire, artifactKept) {
			return true, nil
		}
	}
	_, err := s.home.Blobs.Stat(ctx, objectBlob(r.org, "artifact", made[i].SHA256))
	if errors.Is(err, platform.ErrNotFound) {
		return true, nil
	}
	return false, err
}

// artifactKept is how long an artifact is kept whose stage does not say.
const artifactKept = 30 * 24 * time.Hour

// rerun is the graph of the next attempt of a run: the same stages, of which those
// that do not run again are carried over. Conditions are decided anew, since who
// asks may be somebody else.
func (g *Graph) rerun(t Trigger, again map[int]bool) (*Graph, error) {
	next := *g
	next.From, next.Run, next.Trigger = g.Run, NewRunID(t), t
	next.Nodes = slices.Clone(g.Nodes)
	next.link()
	for i := range next.Nodes {
		n := &next.Nodes[i]
		n.Carried = !again[i]
		if n.Carried || n.Kind != Cell || n.Skip != "" && n.Skip != reasonCondition {
			continue
		}
		truth, err := next.decideWhen(i)
		if err != nil {
			return nil, err
		}
		n.Skip, n.Why, n.Decide = "", "", truth == language.Unknown
		if truth == language.False {
			n.Skip, n.Why = reasonCondition, conditionFalse
		}
	}
	return &next, nil
}

// opens is how many nodes a node waits for that are not carried over.
func (g *Graph) opens(node int) int {
	n := g.Nodes[node]
	if g.From == "" {
		return n.Waits
	}
	open := 0
	switch n.Kind {
	case Cell:
		seen := make(map[int]bool, len(n.Needs))
		for _, e := range n.Needs {
			if !seen[e.From] && !g.Nodes[e.From].Carried {
				open++
			}
			seen[e.From] = true
		}
	case Join:
		for _, cell := range g.cells[g.spec(node).Name] {
			if !g.Nodes[cell].Carried {
				open++
			}
		}
	case End:
		for _, other := range g.Nodes {
			if other.Kind == Cell && !other.Carried {
				open++
			}
		}
	}
	return open
}

// leansOnCarried tells whether one of a node's needs is settled from the beginning.
func (g *Graph) leansOnCarried(node int) bool {
	return g.From != "" && slices.ContainsFunc(g.Nodes[node].Needs, func(e Edge) bool { return g.Nodes[e.From].Carried })
}

// carried are the rows of a rerun that come from the run before: of the stages that
// do not run again, by key, and of what they made.
func (s *Service) carried(ctx context.Context, r ref) (stages map[StageKey]platform.Item, artifacts []platform.Action, err error) {
	if r.graph.From == "" {
		return nil, nil, nil
	}
	rows, err := s.rows(ctx, r.org, r.graph.From, "stage")
	if err != nil {
		return nil, nil, err
	}
	stages = make(map[StageKey]platform.Item, len(rows))
	for _, row := range rows {
		st := stageOf(row.Item)
		item := row.Item.Clone()
		item["version"] = platform.Int(1)
		item["from"] = platform.Text(orText(string(st.From), string(r.graph.From)))
		stages[st.Key] = item
	}
	rows, err = s.rows(ctx, r.org, r.graph.From, "artifact")
	for _, row := range rows {
		a := artifactOf(row.Item)
		if node, known := r.graph.byKey[a.Key]; known && r.graph.Nodes[node].Carried {
			artifacts = append(artifacts, platform.Put{Key: artifactRow(r.org, r.run, a.Name, a.Key), Item: row.Item, If: platform.NoRow})
		}
	}
	return stages, artifacts, err
}

// logHome is where the log of an attempt lies: in the run that the stage ran in.
func (s *Service) logHome(ctx context.Context, name LogName) (LogName, error) {
	st, err := s.stage(ctx, ref{org: name.Org, run: name.Run}, name.Key)
	if errors.Is(err, platform.ErrNotFound) {
		return name, nil // who reads the log says so
	}
	if err == nil && st.From != "" {
		name.Run = st.From
	}
	return name, err
}
