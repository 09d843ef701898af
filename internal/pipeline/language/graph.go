package language

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// graph is the stages of a pipeline and who waits for whom.
type graph struct {
	*loader
	pipeline *Pipeline
	index    map[string]int // of a stage by name
	above    []bits         // the stages upstream of each, filled when asked for
	looped   map[int]bool   // stages of a cycle
	makers   map[string]int // of an artifact: the stage
	tried    *reachable
}

func newGraph(l *loader, p *Pipeline) *graph {
	g := &graph{loader: l, pipeline: p, index: map[string]int{}, above: make([]bits, len(p.Stages)), looped: map[int]bool{}}
	for i, s := range p.Stages {
		if _, taken := g.index[s.Name]; !taken {
			g.index[s.Name] = i
		}
	}
	return g
}

// needRef is one name that a stage needs, with its place.
type needRef struct {
	file *file
	at   value
}

// needsOf are the names that a stage needs, in the order of its model.
func (g *graph) needsOf(stage int) []needRef {
	n := g.stages[stage]
	var refs []needRef
	if p := n.prop("needs"); p != nil {
		refs = append(refs, needRef{n.file, p.value})
	}
	for _, c := range n.children {
		if c.key == "needs" {
			for _, a := range c.args {
				refs = append(refs, needRef{c.file, a})
			}
		}
	}
	return refs
}

// names are the stages' names, in file order.
func (g *graph) names() []string {
	var names []string
	for _, s := range g.pipeline.Stages {
		if s.Name != "" {
			names = append(names, s.Name)
		}
	}
	return names
}

// needs checks that what a stage needs is there, once.
func (g *graph) needs() {
	for i := range g.stages {
		seen := map[string]bool{}
		for count, ref := range g.needsOf(i) {
			name := ref.at.text
			switch _, ok := g.index[name]; {
			case ref.at.broken:
			case !ok:
				g.unknownStage(ref.file, ref.at, g.pipeline.Stages[i].Name)
			case seen[name]:
				ref.file.errorAt(ref.at.span, "duplicate-node", fmt.Sprintf("stage %q is needed twice", name), "remove one")
			case count == maxNeeds:
				ref.file.errorAt(ref.at.span, "limit", fmt.Sprintf("a stage has at most %d needs", maxNeeds), "put a stage in between that needs them")
			}
			seen[name] = true
		}
	}
}

// unknownStage reports a name that no stage has; from is the stage that names it,
// which cannot be meant.
func (g *graph) unknownStage(f *file, v value, from string) {
	if g.lostNames {
		return
	}
	others := slices.DeleteFunc(g.names(), func(name string) bool { return name == from })
	help := orElse(nearName(v.text, others), listed(g.names(), "stages here"))
	if parts := strings.FieldsFunc(v.text, func(r rune) bool { return r == ',' || r == ' ' }); len(parts) > 1 {
		quoted := make([]string, len(parts))
		for i, part := range parts {
			quoted[i] = quote(part)
		}
		help = "write needs " + strings.Join(quoted, " ") + " inside the stage"
	}
	f.errorAt(v.span, "unknown-stage", fmt.Sprintf("there is no stage %q", v.text), help)
}

// size checks the number of stages and edges after matrices.
func (g *graph) size() {
	stages, edges := 0, 0
	for i, s := range g.pipeline.Stages {
		cells := 1
		if s.Parallel != nil || s.Matrix != nil && s.Matrix.size() <= 1<<16 {
			cells = max(1, len(s.Cells()))
		}
		n := g.stages[i]
		at := argument(n)
		if before := stages; before <= maxStages {
			if stages += cells; stages > maxStages {
				g.tooMany(n, at, "stages", maxStages, g.total())
			}
		}
		if before := edges; before <= maxEdges {
			if edges += cells * len(s.Needs); edges > maxEdges {
				g.tooMany(n, at, "needs", maxEdges, edges)
			}
		}
	}
}

func (g *graph) tooMany(n *node, at span, what string, most, count int) {
	n.file.errorAt(at, "limit", fmt.Sprintf("a pipeline has at most %s %s after matrices; this one has %s", thousands(most), what, thousands(count)), "split the pipeline: on \"upstream\" starts one after another")
}

// total is the number of stages with all cells.
func (g *graph) total() int {
	total := 0
	for _, s := range g.pipeline.Stages {
		cells := 1
		if s.Parallel != nil || s.Matrix != nil && s.Matrix.size() <= 1<<16 {
			cells = max(1, len(s.Cells()))
		}
		total += cells
	}
	return total
}

// thousands writes a number with commas.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// cycles reports stages that wait for each other, each ring once, as a path.
func (g *graph) cycles() {
	const (
		unseen = iota
		open
		done
	)
	state := make([]int, len(g.stages))
	var path []int
	var visit func(i int)
	visit = func(i int) {
		state[i] = open
		path = append(path, i)
		for _, need := range g.pipeline.Stages[i].Needs {
			next, ok := g.index[need.Stage]
			switch {
			case !ok:
			case state[next] == unseen:
				visit(next)
			case state[next] == open:
				g.cycle(path[slices.Index(path, next):])
			}
		}
		path = path[:len(path)-1]
		state[i] = done
	}
	for i := range g.stages {
		if state[i] == unseen {
			visit(i)
		}
	}
}

// cycle reports one ring, from its first stage in the file on.
func (g *graph) cycle(ring []int) {
	start := 0
	for i, stage := range ring {
		if g.looped[stage] {
			return // a part of it has been reported
		}
		if stage < ring[start] {
			start = i
		}
	}
	ring = append(slices.Clone(ring[start:]), ring[:start]...)
	var names, lines []string
	var numbers []int
	var first needRef
	for i, stage := range ring {
		g.looped[stage] = true
		next := g.pipeline.Stages[ring[(i+1)%len(ring)]].Name
		for _, ref := range g.needsOf(stage) {
			if ref.at.text != next {
				continue
			}
			if i == 0 {
				first = ref
			}
			line, _ := ref.file.position(ref.at.start)
			numbers = append(numbers, line)
			break
		}
		names = append(names, g.pipeline.Stages[stage].Name)
	}
	if first.file == nil || first.at.broken {
		return
	}
	if len(ring) == 1 {
		first.file.errorAt(first.at.span, "cycle", fmt.Sprintf("stage %q needs itself", names[0]), "remove it")
		return
	}
	slices.Sort(numbers)
	for _, n := range slices.Compact(numbers) {
		lines = append(lines, strconv.Itoa(n))
	}
	first.file.errorAt(first.at.span, "cycle", "these stages wait for each other: "+strings.Join(append(names, names[0]), " -> "),
		"remove one of these needs (lines "+strings.Join(lines, ", ")+")")
}

// bits is a set of stages.
type bits []uint64

func (b bits) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }
func (b bits) set(i int)      { b[i/64] |= 1 << (i % 64) }
func (b bits) join(o bits) {
	for i := range b {
		b[i] |= o[i]
	}
}

// upstream tells whether stage b is among those that a waits for, however far.
func (g *graph) upstream(a, b int) bool { return g.ancestors(a).has(b) }

func (g *graph) ancestors(i int) bits {
	if g.above[i] == nil {
		g.above[i] = make(bits, len(g.stages)/64+1) // a ring meets the unfinished set, and ends
		for _, need := range g.pipeline.Stages[i].Needs {
			if next, ok := g.index[need.Stage]; ok {
				g.above[i].set(next)
				g.above[i].join(g.ancestors(next))
			}
		}
	}
	return g.above[i]
}
