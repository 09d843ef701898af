package asl

import "fmt"

// parallel runs its branches at the same time, each with a copy of the input.
// Its result is the array of their outputs.
//
// Source: the specification, "Parallel State".
type parallel struct{ branches []*branch }

func readParallel(p *parser, o map[string]any, s *state) work {
	w := &parallel{}
	if !p.required(o, s.place, "Branches") {
		return w
	}
	list := p.list(o, "Branches", s.place)
	if len(list) == 0 {
		p.schema(s.place+"/Branches", "A Parallel state has at least one branch")
	}
	for i, b := range list {
		w.branches = append(w.branches, p.branch(b, fmt.Sprintf("%s/Branches[%d]", s.place, i)))
	}
	return w
}

func (w *parallel) begin(r *Run, t *Thread, s *state) {
	in, err := r.arguments(t, s)
	if err != nil {
		r.fail(t, s, t.problem(s, err))
		return
	}
	if r.mocked(t, s, 0, 0) {
		return
	}
	r.follow(t, "ParallelStateStarted", nil)
	t.Phase = Fanned
	t.Fan = &Fan{Results: make([]any, len(w.branches)), Next: len(w.branches), Started: t.Last}
	for i := range w.branches {
		r.open(t, w, i, in, nil, t.Last)
	}
}

func (w *parallel) scope(index int) *branch { return w.branches[index] }
func (*parallel) separate() bool            { return false }

func (*parallel) branchEnded(_ *Run, parent, child *Thread) { parent.Last = child.Last }
func (*parallel) branchFailed(*Run, *Thread, *Thread)       {}
func (*parallel) ended(r *Run, t *Thread)                   { r.aside(t, "ParallelStateSucceeded", nil) }
func (*parallel) failed(r *Run, t *Thread, _ failure)       { r.follow(t, "ParallelStateFailed", nil) }
