package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
)

// pairsAtOnce is how many dependents one transaction counts down: 2 rows each, of
// the 100 that a transaction may have, with room to spare.
const pairsAtOnce = 45

// settle tells everybody who waits for a node that it has ended. It is repeated
// until it got through: an edge that is counted already is left out, a dependent
// that has moved on is left alone.
func (s *Service) settle(ctx context.Context, r ref, node int) error {
	st, err := s.stage(ctx, r, r.graph.Nodes[node].Key)
	if err != nil {
		return err
	}
	if !st.Status.Final() {
		return fmt.Errorf("stage %s is %s: it has nothing to settle", st.Name, st.Status)
	}
	if err := s.countDown(ctx, r, node, r.graph.out[node]); err != nil {
		return err
	}
	if err := s.advanceThose(ctx, r, node, st); err != nil {
		return err
	}
	if r.graph.Nodes[node].Kind != Cell {
		return nil
	}
	if err := s.leaveGate(ctx, r, node, st); err != nil {
		return err
	}
	if err := s.leaveMatrix(ctx, r, node, st); err != nil {
		return err
	}
	if err := s.countDown(ctx, r, node, []int{r.graph.end()}); err != nil {
		return err
	}
	return s.advance(ctx, r, r.graph.end())
}

// countDown writes the edges from a node to those who wait for it, each together
// with one need less of the dependent. Edges that are there already were counted.
func (s *Service) countDown(ctx context.Context, r ref, node int, dependents []int) error {
	for len(dependents) > 0 {
		n := min(len(dependents), pairsAtOnce)
		if err := s.countDownOnce(ctx, r, node, dependents[:n]); err != nil {
			return err
		}
		dependents = dependents[n:]
	}
	return nil
}

func (s *Service) countDownOnce(ctx context.Context, r ref, node int, dependents []int) error {
	from := r.graph.Nodes[node].Key
	for len(dependents) > 0 {
		actions := make([]platform.Action, 0, 2*len(dependents))
		for _, d := range dependents {
			key := r.graph.Nodes[d].Key
			actions = append(actions,
				platform.Put{Key: edgeRow(r.org, r.run, from, key), Item: platform.Item{}, If: platform.NoRow},
				platform.Update{Key: stageRow(r.org, r.run, key), Add: map[string]int64{"open": -1}, If: platform.RowIs})
		}
		err := s.transact(ctx, actions...)
		if err == nil {
			return nil
		}
		var rest []int
		for i, d := range dependents {
			if !platform.FailedAt(err, 2*i) {
				rest = append(rest, d)
			}
		}
		if len(rest) == len(dependents) {
			return fmt.Errorf("run %s: settle the needs of %s: %w", r.run, from, err)
		}
		dependents = rest
	}
	return nil
}

// advanceThose looks at the dependents that the end of a node may have decided.
func (s *Service) advanceThose(ctx context.Context, r ref, node int, st Stage) error {
	if len(r.graph.out[node]) == 0 {
		return nil
	}
	rows, err := s.stages(ctx, r, r.graph.out[node])
	if err != nil {
		return err
	}
	for _, d := range r.graph.out[node] {
		row, end := rows[d], st.ending()
		if row.Status == StageBlocked && (row.open <= 0 || decisive(r.graph.Nodes[d].Needs, node, end)) {
			if err := s.advanceRow(ctx, r, d, row); err != nil {
				return err
			}
		}
	}
	return nil
}

// decisive tells whether one need's end alone may rule a stage out.
func decisive(needs []Edge, from int, end ending) bool {
	for _, e := range needs {
		if e.From != from {
			continue
		}
		if e.On == "failed" && !end.Status.broke() || e.On != "failed" && rulesOut(e.On, end) != "" {
			return true
		}
	}
	return false
}

// advance decides what becomes of a node that is still blocked.
func (s *Service) advance(ctx context.Context, r ref, node int) error {
	row, err := s.stage(ctx, r, r.graph.Nodes[node].Key)
	if err != nil {
		return err
	}
	return s.advanceRow(ctx, r, node, row)
}

func (s *Service) advanceRow(ctx context.Context, r ref, node int, row Stage) error {
	if row.Status != StageBlocked {
		return nil
	}
	var err error
	switch r.graph.Nodes[node].Kind {
	case End:
		if row.open <= 0 {
			err = s.advanceEnd(ctx, r, row)
		}
	case Join:
		if row.open <= 0 {
			err = s.advanceJoin(ctx, r, node, row)
		}
	case Cell:
		err = s.advanceCell(ctx, r, node, row)
	}
	if lost(err) {
		return nil // somebody else has decided it, and carries on from there
	}
	return err
}

// advanceEnd settles the end of a run and wakes its execution. From then on the
// sweeper looks at the run soon: the execution closes it at once, or is lost.
func (s *Service) advanceEnd(ctx context.Context, r ref, row Stage) error {
	soon := platform.Update{
		Key: runRow(r.org, r.run), Set: platform.Item{}.DueAt(dueKey(r.run, s.home.Clock.Now().Add(closeDeadline))),
		If: platform.Any{
			platform.Equal{Attribute: "status", Value: platform.Text(Running)},
			platform.Equal{Attribute: "status", Value: platform.Text(Canceling)},
		},
	}
	return s.step(ctx, r, row, StageSucceeded, change{follow: []string{boxWakeRun}, with: []platform.Action{soon}})
}

// step moves a stage and carries out what follows.
func (s *Service) step(ctx context.Context, r ref, row Stage, to StageStatus, c change) error {
	_, boxes, err := s.move(ctx, r, row, to, c)
	if err != nil {
		return err
	}
	return s.carryOut(ctx, r, boxes)
}

func (s *Service) advanceJoin(ctx context.Context, r ref, node int, row Stage) error {
	cells, err := s.stages(ctx, r, r.graph.cells[r.graph.spec(node).Name])
	if err != nil {
		return err
	}
	ends := make([]ending, 0, len(cells))
	for _, c := range cells {
		ends = append(ends, c.ending())
	}
	end := joined(ends)
	return s.step(ctx, r, row, end.Status, change{reason: end.Reason, follow: []string{boxSettle}})
}

// advanceCell starts, skips or errors a stage whose needs have decided it.
func (s *Service) advanceCell(ctx context.Context, r ref, node int, row Stage) error {
	n := r.graph.Nodes[node]
	needs := make([]int, 0, len(n.Needs))
	for _, e := range n.Needs {
		needs = append(needs, e.From)
	}
	ends, err := s.stages(ctx, r, needs)
	if err != nil {
		return err
	}
	verdict, reason, need := judge(n.Needs, func(i int) ending { return ends[i].ending() })
	switch {
	case verdict == ruledOut:
		return s.step(ctx, r, row, StageSkipped, change{
			reason: reason, why: because(reason, r.graph.Nodes[need].Name), follow: []string{boxSettle},
		})
	case verdict == open || row.open > 0:
		return nil
	}
	above, err := s.above(ctx, r, node)
	if err != nil {
		return err
	}
	to, c := s.ready(ctx, r, node, above)
	if to != StageQueued {
		return s.step(ctx, r, row, to, c)
	}
	limits, err := s.limits(ctx, r.org)
	switch {
	case err != nil:
		return err
	case r.graph.gated(node) || limits.Stages > 0:
		_, err := s.pass(ctx, r, node, row)
		return err
	}
	return s.step(ctx, r, row, StageQueued, s.queued(r, row.Key, 1, nil))
}

// leaveGate records what a stage that is over has deployed, and gives back what it held.
func (s *Service) leaveGate(ctx context.Context, r ref, node int, st Stage) error {
	if st.Status == StageSucceeded && st.From == "" && !r.graph.Open && deploys(r.graph.spec(node)) {
		if err := s.recordRelease(ctx, r, node, st); err != nil {
			return err
		}
	}
	if len(st.holds)+len(st.queue) == 0 {
		return nil
	}
	return s.leave(ctx, r.org, r.graph.member(node), st.holds, st.queue)
}

// ready decides a stage whose needs let it start.
func (s *Service) ready(ctx context.Context, r ref, node int, above upstream) (StageStatus, change) {
	spec, n := r.graph.spec(node), r.graph.Nodes[node]
	if n.Decide {
		truth, err := language.Decide(spec.When, r.graph.finalFacts(node, above))
		switch {
		case err != nil:
			return StageErrored, change{reason: "unresolved", why: err.Error(), follow: []string{boxSettle}}
		case truth != language.True:
			return StageSkipped, change{reason: reasonCondition, why: "its condition does not hold", follow: []string{boxSettle}}
		}
	}
	if len(spec.Run) == 0 && !r.graph.gated(node) {
		return StageSucceeded, change{why: whyNoCommands(spec), follow: []string{boxSettle}}
	}
	if len(spec.Secrets) > 0 && r.graph.Trigger.Trust != "trusted" {
		return StageErrored, change{
			reason: "secret-untrusted", why: "an untrusted run gets no secrets; keep the stage out of it with `when`", follow: []string{boxSettle},
		}
	}
	lacks := r.graph.lacks(node, above)
	if lacks != "" && !n.Elsewhere {
		return StageErrored, change{reason: reasonNeedMissing, why: fmt.Sprintf(
			"it uses what %q leaves behind, which has no result here of the same inputs; add --with-deps", lacks), follow: []string{boxSettle}}
	}
	job, err := r.graph.job(r.org.ID(), node, 1, above)
	if made, found := s.earlier(ctx, job, n.Elsewhere); found && err == nil && lacks == "" {
		return made.Status, s.asMade(r, node, made)
	}
	if n.Elsewhere {
		return StageSkipped, change{reason: reasonNotAsked, why: "it was not asked for, and has no result here of the same inputs", follow: []string{boxSettle}}
	}
	if err != nil {
		return StageErrored, change{reason: "unresolved", why: err.Error(), follow: []string{boxSettle}}
	}
	return StageQueued, change{}
}

// queued asks for an attempt: its row, and the outbox row that starts its execution.
func (s *Service) queued(r ref, key StageKey, attempt int, with []platform.Action) change {
	return change{
		set:    platform.Item{"attempt": platform.Int(attempt)},
		follow: []string{boxStart},
		with: append([]platform.Action{platform.Put{
			Key:  attemptRow(r.org, r.run, key, attempt),
			Item: platform.Item{"key": platform.Text(key), "attempt": platform.Int(attempt), "created": platform.Stamp(s.home.Clock.Now())},
		}}, with...),
	}
}

// above reads what the stages that a cell may look at have left behind.
func (s *Service) above(ctx context.Context, r ref, node int) (upstream, error) {
	up := upstream{artifacts: make(map[int][]Artifact)}
	var err error
	if up.ends, err = s.stages(ctx, r, r.graph.Nodes[node].Reads); err != nil {
		return up, err
	}
	var keys []platform.RowKey
	for i, end := range up.ends {
		if end.Status == StageSkipped {
			continue
		}
		for _, a := range r.graph.spec(i).Artifacts {
			keys = append(keys, artifactRow(r.org, r.run, a.Name, end.Key))
		}
	}
	if len(keys) == 0 {
		return up, nil
	}
	rows, err := s.home.Table.GetMany(ctx, keys)
	if err != nil {
		return up, fmt.Errorf("run %s: read artifacts: %w", r.run, err)
	}
	for _, row := range rows {
		a := artifactOf(row.Item)
		i := r.graph.byKey[a.Key]
		up.artifacts[i] = append(up.artifacts[i], a)
	}
	return up, nil
}

// because is the sentence to a reason for which a stage is skipped.
func because(reason, need string) string {
	switch reason {
	case reasonNeedSkipped:
		return fmt.Sprintf("%q was skipped", need)
	case reasonNeedFailed:
		return fmt.Sprintf("%q failed", need)
	case reasonNeedCanceled:
		return fmt.Sprintf("%q was canceled", need)
	case reasonNothingFailed:
		return fmt.Sprintf("%q did not fail", need)
	}
	return ""
}

// gone tells that a token's wait is over: who settled it carries on.
func gone(err error) bool { return errors.Is(err, platform.ErrGone) }
