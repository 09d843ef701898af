package pipeline

// verdict is what the needs of a stage say about it.
type verdict int

const (
	open      verdict = iota // not all needs are final, and none rules the stage out
	satisfied                // all needs let it start
	ruledOut                 // it will never start
)

// Reasons for which a stage is skipped.
const (
	reasonCondition     = "condition"      // its `when` is false
	reasonComponent     = "component"      // no path of its component has changed
	reasonNeedSkipped   = "need-skipped"   //
	reasonNeedFailed    = "need-failed"    //
	reasonNeedCanceled  = "need-canceled"  //
	reasonNothingFailed = "nothing-failed" // it runs only after a failure
	reasonNotHere       = "not-here"       // a deployment, under `buildit run`
	reasonNotAsked      = "not-asked"      // `buildit run STAGE` runs others, and no earlier result is the same
)

// ending is how a need ended; Status is "" while it is not final.
type ending struct {
	Status StageStatus
	Reason string
}

// judge says what the ends of its needs, by node, mean for a stage (pipelines.md
// 3.3). reason and need, a node, tell why it is ruled out.
func judge(needs []Edge, ends func(node int) ending) (v verdict, reason string, need int) {
	v = satisfied
	groups := make(map[int]*group)
	for _, e := range needs {
		end := ends(e.From)
		final := end.Status != "" && end.Status.Final()
		if e.On == "failed" {
			g := groups[e.Group]
			if g == nil {
				g = &group{need: e.From}
				groups[e.Group] = g
			}
			g.open = g.open || !final
			g.broke = g.broke || end.Status.broke()
			continue
		}
		if !final {
			v = open
			continue
		}
		if why := rulesOut(e.On, end); why != "" {
			return ruledOut, why, e.From
		}
	}
	for _, g := range groups {
		switch {
		case g.open:
			v = open
		case !g.broke:
			return ruledOut, reasonNothingFailed, g.need
		}
	}
	return v, "", 0
}

// group is the names of one `needs … on="failed"`.
type group struct {
	need        int
	open, broke bool
}

// rulesOut says why a need that ended so keeps its dependent from ever starting.
func rulesOut(on string, end ending) string {
	switch {
	case on == "finished", end.Status.passed():
		return ""
	case on == onFree && end.Status == StageSkipped && end.Reason != reasonNeedFailed && end.Reason != reasonNeedCanceled:
		return ""
	case end.Status == StageSkipped:
		own := end.Reason == reasonCondition || end.Reason == reasonComponent
		if on == "succeeded-or-skipped" && own {
			return ""
		}
		return reasonNeedSkipped
	case end.Status == StageCanceled:
		return reasonNeedCanceled
	}
	return reasonNeedFailed
}

// joined is what a matrix ends as, of what its cells ended as.
func joined(cells []ending) ending {
	has := make(map[StageStatus]bool, len(cells))
	for _, c := range cells {
		has[c.Status] = true
	}
	for _, s := range []StageStatus{StageErrored, StageFailed, StageTimedOut, StageCanceled, StageAllowed, StageSucceeded} {
		if has[s] {
			return ending{Status: s}
		}
	}
	reason := reasonCondition
	for _, c := range cells {
		if c.Reason != reasonCondition && c.Reason != reasonComponent {
			reason = c.Reason
		}
	}
	return ending{StageSkipped, reason}
}
