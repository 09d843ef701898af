package asl

import "slices"

// fan is the work of a state that runs threads below its own: Parallel and Map.
type fan interface {
	work
	scope(index int) *branch
	separate() bool // each thread below is an execution of its own, with its own history
	// branchEnded and branchFailed write what the history says; aborted that of
	// one whose sibling failed. ended and failed are about the whole.
	branchEnded(r *Run, parent, child *Thread)
	branchFailed(r *Run, parent, child *Thread)
	ended(r *Run, t *Thread)
	failed(r *Run, t *Thread, f failure)
}

// open starts one thread below t.
func (r *Run) open(t *Thread, f fan, index int, input, item any, last int64) *Thread {
	r.Execution.LastID++
	scope := f.scope(index)
	child := &Thread{
		ID: r.Execution.LastID, Index: index, State: scope.start, Phase: Entering,
		Input: input, Item: item, Last: last,
		parent: t, scope: scope, silent: t.silent || f.separate(), beat: r.now,
	}
	t.Fan.Open = append(t.Fan.Open, child)
	r.ready = append(r.ready, child)
	return child
}

// close takes an ended thread off its parent.
func (t *Thread) close(child *Thread) {
	t.Fan.Open = slices.DeleteFunc(t.Fan.Open, func(o *Thread) bool { return o == child })
}

func (r *Run) branchSucceeded(child *Thread, output any) {
	t := child.parent
	s := t.state()
	f := s.work.(fan)
	t.Fan.Results[child.Index] = output
	t.Fan.Ended++
	t.close(child)
	f.branchEnded(r, t, child)
	r.proceed(t, s, f, child.Last)
}

// proceed opens what may be open next, or ends the state when all have ended.
// last is the event that the next ones follow from.
func (r *Run) proceed(t *Thread, s *state, f fan, last int64) {
	if r.Ended() {
		return
	}
	if m, ok := f.(*mapping); ok && !m.more(r, t, s, last) {
		return
	}
	if t.Fan.Ended < len(t.Fan.Results) {
		return
	}
	results := t.Fan.Results
	f.ended(r, t)
	t.Fan = nil
	r.succeed(t, s, results, nil)
}

// branchFailed ends the state with the error of one thread below it, and aborts
// the others, unless so many failures are tolerated.
func (r *Run) branchFailed(child *Thread, failure failure) {
	t := child.parent
	s := t.state()
	f := s.work.(fan)
	t.close(child)
	f.branchFailed(r, t, child)
	t.Fan.Ended++
	t.Fan.Failures++
	if t.Fan.Failures <= t.Fan.Tolerate {
		r.proceed(t, s, f, child.Last)
		return
	}
	if f.separate() {
		failure = thresholdExceeded
	} else {
		t.Last = child.Last
	}
	for _, other := range t.Fan.Open {
		other.each(func(o *Thread) {
			if o.Phase != Entering && o.Fan == nil {
				r.aside(o, o.state().kind+"StateAborted", nil)
			}
		})
	}
	t.Fan.Open = nil
	r.fail(t, s, failure)
}
