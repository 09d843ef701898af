package pipeline_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/pipeline"
)

// plan is a random file, and what it must come to, worked out without any of the
// code that is tested.
type plan struct {
	stages []*planned
	cancel bool
	head   string // more nodes of the file
}

// planned is a stage of a plan.
type planned struct {
	name     string
	needs    []plannedNeed
	cells    int // of its matrix, 0 for none
	failFast bool
	failing  []bool // of each cell, or of the stage
	allowed  bool
	off      bool // its condition does not hold
	group    string
	gates    string // more nodes of the stage
}

// plannedNeed is one `needs` of a stage.
type plannedNeed struct {
	of []*planned
	on string
}

func newPlan(random *dice) *plan {
	random.mu.Lock()
	defer random.mu.Unlock()
	p := &plan{cancel: random.IntN(5) == 0}
	for i := range 2 + random.IntN(9) {
		st := &planned{name: fmt.Sprintf("s%d", i), allowed: random.IntN(5) == 0, off: random.IntN(8) == 0, failFast: random.IntN(2) == 0}
		if random.IntN(4) == 0 {
			st.cells = 2 + random.IntN(3)
		}
		for range max(st.cells, 1) {
			st.failing = append(st.failing, random.IntN(5) == 0)
		}
		others := slices.Clone(p.stages)
		random.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
		for len(others) > 0 && random.IntN(3) > 0 {
			n := 1 + random.IntN(min(2, len(others)))
			on := []string{"succeeded", "succeeded", "succeeded-or-skipped", "failed", "finished"}[random.IntN(5)]
			st.needs = append(st.needs, plannedNeed{others[:n], on})
			others = others[n:]
		}
		p.stages = append(p.stages, st)
	}
	return p
}

// text is the plan as a file.
func (p *plan) text() string {
	var file strings.Builder
	file.WriteString("pipeline \"simulated\"\n" + p.head)
	for _, st := range p.stages {
		fmt.Fprintf(&file, "stage %q {\n", st.name)
		for _, need := range st.needs {
			file.WriteString("    needs")
			for _, of := range need.of {
				fmt.Fprintf(&file, " %q", of.name)
			}
			fmt.Fprintf(&file, " on=%q\n", need.on)
		}
		if st.off {
			file.WriteString("    when branch=\"never\"\n")
		}
		if st.allowed {
			file.WriteString("    allow-failure\n")
		}
		if st.cells > 0 {
			fmt.Fprintf(&file, "    matrix fail-fast=%v max-parallel=2 { v", st.failFast)
			for i := range st.cells {
				fmt.Fprintf(&file, " \"%d\"", i)
			}
			file.WriteString("; }\n")
		}
		file.WriteString(st.gates + "    run \"true\"\n}\n")
	}
	return file.String()
}

// find is the stage of a cell's name, and the cell's number.
func (p *plan) find(name string) (*planned, int) {
	stage, rest, _ := strings.Cut(name, " (")
	cell := 0
	if rest != "" {
		cell = int(rest[0] - '0')
	}
	for _, st := range p.stages {
		if st.name == stage {
			return st, cell
		}
	}
	return nil, 0
}

func (p *plan) fails(name string) bool {
	st, cell := p.find(name)
	return st.failing[cell]
}

// endOf is what a stage ends as: "own-skip" for its own condition, "" while it is
// not known. known answers the end of another.
func (st *planned) endOf(known func(*planned) string) string {
	if st.off {
		return "own-skip"
	}
	for _, need := range st.needs {
		if !need.holds(known) {
			return "skipped"
		}
	}
	switch failed := slices.Contains(st.failing, true); {
	case failed && st.allowed:
		return "allowed"
	case failed:
		return "failed"
	}
	return "succeeded"
}

// holds tells whether a need lets its stage begin, once all it names have ended.
func (n plannedNeed) holds(known func(*planned) string) bool {
	failed := 0
	for _, of := range n.of {
		end := known(of)
		if end == "failed" {
			failed++
		}
		passed := end == "succeeded" || end == "allowed"
		switch n.on {
		case "succeeded":
			if !passed {
				return false
			}
		case "succeeded-or-skipped":
			if !passed && end != "own-skip" {
				return false
			}
		}
	}
	return n.on != "failed" || failed > 0
}

func (p *plan) ends() map[*planned]string {
	ends := map[*planned]string{}
	for _, st := range p.stages { // in an order in which needs come first
		ends[st] = st.endOf(func(of *planned) string { return ends[of] })
	}
	return ends
}

// compare holds the stages and the result of a run against the plan.
func (p *plan) compare(t *testing.T, view pipeline.View) {
	t.Helper()
	ends := p.ends()
	for _, row := range view.Stages {
		st, cell := p.find(row.Name)
		got, want := string(row.Status), strings.TrimPrefix(ends[st], "own-")
		if want == "skip" {
			want = "skipped"
		}
		if want != "skipped" && !st.failing[cell] {
			want = "succeeded"
		}
		canceled := got == "canceled" && st.cells > 0 && st.failFast && ends[st] == "failed" // a sibling failed first
		if got != want && !canceled {
			t.Errorf("%s ended as %s (%s %s), want %s", row.Name, got, row.Reason, row.Why, want)
		}
	}
	want := pipeline.Skipped
	for _, end := range ends {
		switch {
		case end == "failed":
			want = pipeline.Failed
		case want == pipeline.Skipped && (end == "succeeded" || end == "allowed"):
			want = pipeline.Succeeded
		}
	}
	if view.Status != want {
		t.Errorf("the run ended as %s (%s), want %s", view.Status, view.Why, want)
	}
}

// mayNotBegin is why a stage that begins now should not, by what its needs have
// ended as.
func (p *plan) mayNotBegin(name string, view pipeline.View) string {
	st, _ := p.find(name)
	if st.off {
		return "its condition does not hold"
	}
	for _, need := range st.needs {
		for _, of := range need.of {
			for _, row := range view.Stages {
				if other, _ := p.find(row.Name); other == of && !row.Status.Final() {
					return fmt.Sprintf("%s is %s", row.Name, row.Status)
				}
			}
		}
		ends := p.ends()
		if !need.holds(func(of *planned) string { return ends[of] }) && !p.cancel {
			return "a need does not hold: on " + need.on
		}
	}
	return ""
}
