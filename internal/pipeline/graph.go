package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// graphVersion is the format of a stored graph; the version before is read too.
const graphVersion = 1

// Limits of a run.
const (
	maxStages = 1000  // nodes with commands
	maxEdges  = 10000 // between stages
)

// Graph is everything about a run that does not change: what triggered it, its
// stages as they will run, and who waits for whom. It is stored once, as a blob
// that the run's row names by digest.
type Graph struct {
	V       int               `json:"v"`
	Run     RunID             `json:"run"`
	Number  int               `json:"number"`
	Trigger Trigger           `json:"trigger"`
	Name    string            `json:"name"`
	Env     map[string]string `json:"env,omitempty"`
	Params  map[string]string `json:"params,omitempty"`
	Timeout time.Duration     `json:"timeout"`
	Stages  []*language.Stage `json:"stages"`
	// Concurrency is the group of the whole run.
	Concurrency *language.Concurrency `json:"concurrency,omitempty"`
	// Open says that no gate is closed but that of max-parallel: a run on somebody's own machine.
	Open  bool   `json:"open,omitempty"`
	Nodes []Node `json:"nodes"`
	// Timings are what the files of the repository took before, as they were known when
	// the run started: all cells of `parallel` share their files out by them.
	Timings supervisor.Object `json:"timings,omitzero"`
	// From is the run whose stages a rerun carries over, as far as they do not run again.
	From RunID `json:"from,omitempty"`

	facts language.Facts // what is known at the start
	out   [][]int        // the dependents of each node, without joins and end
	joins []int          // the join of each node, -1 for none
	byKey map[StageKey]int
	cells map[string][]int // the cells of each stage
}

// NodeKind is what a node of the graph is for.
type NodeKind string

// The kinds of nodes: a stage (or one cell of its matrix), the join of a matrix,
// and the end of the run.
const (
	Cell NodeKind = "cell"
	Join NodeKind = "join"
	End  NodeKind = "end"
)

// Node is what is settled: it has a row, a status and dependents.
type Node struct {
	Kind  NodeKind        `json:"kind"`
	Key   StageKey        `json:"key"`
	Name  string          `json:"name"`  // of the cell, for people
	Stage int             `json:"stage"` // index into Stages, -1 for the end
	Pairs []language.Pair `json:"pairs,omitempty"`
	Index int             `json:"index"` // of the cell among Total
	Total int             `json:"total"`
	Needs []Edge          `json:"needs,omitempty"` // of a cell
	Waits int             `json:"waits"`           // distinct nodes that it waits for
	Reads []int           `json:"reads,omitempty"` // upstream nodes whose outputs and artifacts it may see
	// Skip is why the node never runs, decided at the start; "" if it may.
	Skip string `json:"skip,omitempty"`
	Why  string `json:"why,omitempty"`
	// Decide says that the condition speaks of what the needs leave behind, and is
	// evaluated when they are final.
	Decide bool `json:"decide,omitempty"`
	// Elsewhere says that the node does not run here: what it leaves behind is that of
	// an earlier run, if there is one.
	Elsewhere bool `json:"elsewhere,omitempty"`
	// Carried says that the node ended in the run before (Graph.From) and does not
	// run again: its row is copied, and nobody waits for it.
	Carried bool `json:"carried,omitempty"`
}

// Edge is one need: the node that stands for the needed stage, how it must end,
// and the `needs` node that named it, since "failed" speaks of all names of one.
type Edge struct {
	From  int    `json:"from"`
	On    string `json:"on"`
	Group int    `json:"group"`
}

// encode is the graph as it is stored, and its digest.
func (g *Graph) encode() (body []byte, digest string, err error) {
	body, err = json.Marshal(g)
	if err != nil {
		return nil, "", fmt.Errorf("encode the graph: %w", err)
	}
	sum := sha256.Sum256(body)
	return body, hex.EncodeToString(sum[:]), nil
}

// decodeGraph reads a stored graph and refuses what has another digest.
func decodeGraph(body []byte, digest string) (*Graph, error) {
	sum := sha256.Sum256(body)
	if hex.EncodeToString(sum[:]) != digest {
		return nil, fmt.Errorf("graph %s: the stored bytes have another digest", digest)
	}
	g := new(Graph)
	if err := json.Unmarshal(body, g); err != nil {
		return nil, fmt.Errorf("graph %s: %w", digest, err)
	}
	if g.V < graphVersion-1 || g.V > graphVersion {
		return nil, fmt.Errorf("graph %s: format %d is not known here", digest, g.V)
	}
	g.link()
	return g, nil
}

// link derives what is not stored.
func (g *Graph) link() {
	g.out = make([][]int, len(g.Nodes))
	g.joins = make([]int, len(g.Nodes))
	g.byKey = make(map[StageKey]int, len(g.Nodes))
	g.cells = make(map[string][]int, len(g.Stages))
	joinOf := make(map[int]int)
	for i, n := range g.Nodes {
		g.byKey[n.Key] = i
		switch n.Kind {
		case Join:
			joinOf[n.Stage] = i
		case Cell:
			name := g.Stages[n.Stage].Name
			g.cells[name] = append(g.cells[name], i)
		}
	}
	for i, n := range g.Nodes {
		g.joins[i] = -1
		if join, ok := joinOf[n.Stage]; ok && n.Kind == Cell {
			g.joins[i] = join
		}
		seen := make(map[int]bool, len(n.Needs))
		for _, e := range n.Needs {
			if !seen[e.From] {
				seen[e.From] = true
				g.out[e.From] = append(g.out[e.From], i)
			}
		}
	}
	g.facts = g.Trigger.facts(g)
}

// end is the node that every stage leads to; it is the last one.
func (g *Graph) end() int { return len(g.Nodes) - 1 }

// spec is the stage of a cell or join.
func (g *Graph) spec(node int) *language.Stage { return g.Stages[g.Nodes[node].Stage] }

// node finds a node by its key.
func (g *Graph) node(key StageKey) (int, error) {
	i, ok := g.byKey[key]
	if !ok {
		return 0, fmt.Errorf("run %s has no stage with key %s", g.Run, key)
	}
	return i, nil
}

// facts is what a condition or ${…} may ask before any stage has run.
func (t Trigger) facts(g *Graph) language.Facts {
	short := t.Commit
	if len(short) > 12 {
		short = short[:12]
	}
	return language.Facts{
		Event: t.Event, Branch: t.Branch, Tag: t.Tag, Ref: t.Ref, Base: t.Base, Head: t.Head, Actor: t.Actor,
		DefaultBranch: t.DefaultBranch, Pipeline: g.Name, Fork: t.Fork, Action: t.Action, Draft: t.Draft,
		SHA: t.Commit, ShortSHA: short,
		RunID: string(g.Run), RunNumber: g.Number, RunAttempt: max(t.Attempt, 1),
		RepoName: t.RepoName, RepoOwner: t.RepoOwner,
		OS: "linux", Params: g.Params,
		Changed: t.Changed, FilesKnown: t.FilesKnown,
	}
}

// cellFacts are the facts of one cell: its stage, matrix and template parameters.
func (g *Graph) cellFacts(node int, arch string) language.Facts {
	f, n := g.facts, g.Nodes[node]
	spec := g.Stages[n.Stage]
	f.Stage, f.With, f.Arch = spec.Name, spec.With, arch
	if spec.Runner.Arch != "" {
		f.Arch = spec.Runner.Arch
	}
	f.Matrix = make(map[string]string, len(n.Pairs))
	for _, p := range n.Pairs {
		f.Matrix[p.Key] = p.Value
	}
	return f
}
