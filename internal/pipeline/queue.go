package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// holdDeadline is how long a run is held for a person.
const holdDeadline = 30 * 24 * time.Hour

// runClaims are the concurrency groups that a run holds for as long as it runs: its
// own, and those of its stages that come before it in the one order of all groups. So
// whatever a stage waits for comes behind what its run holds, in every run, and no two
// runs wait for each other.
func (g *Graph) runClaims() ([]claim, error) {
	if g.Concurrency == nil || g.Open {
		return nil, nil
	}
	own, err := groupClaim(g.Concurrency, g.Trigger.Repository, g.facts)
	if err != nil {
		return nil, err
	}
	claims := []claim{own}
	for i, n := range g.Nodes {
		if n.Kind != Cell || n.Skip != "" || g.spec(i).Concurrency == nil {
			continue
		}
		c, err := groupClaim(g.spec(i).Concurrency, g.Trigger.Repository, g.cellFacts(i, ""))
		if err != nil || slices.ContainsFunc(claims, c.same) { // what needs outputs is known later
			continue
		}
		if c.order() < own.order() {
			claims = append(claims, c)
		}
	}
	slices.SortFunc(claims, func(a, b claim) int { return strings.Compare(a.order(), b.order()) })
	return claims, nil
}

// admitRun starts a run whose stages are written, if nothing holds it; else the run is
// queued. c is what the step out of created brings with it.
func (s *Service) admitRun(ctx context.Context, r ref, run Run, c change) (Run, error) {
	c.follow = []string{boxOpen}
	claims, err := r.graph.runClaims()
	if err != nil {
		return s.refuse(ctx, r.org, run, problem.New(problem.BadConfig, "The pipeline cannot run: %v.", err))
	}
	limits, err := s.limits(ctx, r.org)
	if err != nil {
		return run, err
	}
	if !r.graph.Open {
		claims = append(claims, limits.claims(quotaRuns)...)
	}
	if r.graph.Trigger.Hold != "" {
		return s.queueRun(ctx, r, run, c, nil, waitFork, openRule{rule: forkRule(r.graph.Trigger)}.say())
	}
	next, busy, err := s.startRun(ctx, r, run, claims, c)
	if busy == nil || err != nil {
		return next, err
	}
	if mode, _ := r.graph.mode(); busy.kind == waitGroup && mode == "skip" {
		return s.endUnbegun(ctx, r, run, Skipped, change{reason: reasonGroupBusy, why: whySkipped(*busy), set: c.set})
	}
	full, err := s.full(ctx, r.org, claims)
	if err != nil {
		return run, err
	}
	if full != nil {
		return s.endUnbegun(ctx, r, run, Errored, change{reason: reasonQueueFull, why: whyFull(*full), set: c.set})
	}
	return s.queueRun(ctx, r, run, c, claims, busy.kind, whyBusy(*busy))
}

func whySkipped(c claim) string {
	return fmt.Sprintf("group %s is busy, and mode=\"skip\" does not wait", c.name)
}

// endUnbegun ends a run whose stages are written and will not begin.
func (s *Service) endUnbegun(ctx context.Context, r ref, run Run, to Status, c change) (Run, error) {
	c.follow = []string{boxFree}
	next, _, err := s.moveRun(ctx, r, run, to, c)
	if lost(err) {
		return s.run(ctx, r.org, r.run)
	}
	return next, err
}

// mode is what the run does with its group, and whether newer runs leave it alone.
func (g *Graph) mode() (mode string, keep bool) {
	if g.Concurrency == nil {
		return "queue", false
	}
	return modeOf(g.Concurrency, g.facts)
}

// asMember is asRun with what `except` says of it.
func (g *Graph) asMember() member {
	m := g.asRun()
	_, m.keep = g.mode()
	return m
}

// startRun makes a run running, with a place in each of its groups.
func (s *Service) startRun(ctx context.Context, r ref, run Run, claims []claim, c change) (next Run, busy *claim, err error) {
	m := r.graph.asMember()
	var boxes []box
	busy, err = s.take(ctx, r.org, m, claims, run.queue, func(set platform.Item, actions []platform.Action) (first int, err error) {
		next, boxes, err = s.moveRun(ctx, r, run, Running, c.and(set, actions))
		return moveActions + len(c.with), err
	})
	switch {
	case busy != nil:
		return run, busy, nil
	case lost(err):
		next, err = s.run(ctx, r.org, r.run)
		return next, nil, err
	case err != nil:
		return run, nil, err
	}
	next.Pipeline, next.Stages = r.graph.Name, r.graph.Nodes[r.graph.end()].Waits
	return next, nil, s.carryOut(ctx, r, boxes)
}

// queueRun makes a run wait.
func (s *Service) queueRun(ctx context.Context, r ref, run Run, c change, claims []claim, reason, why string) (Run, error) {
	m := r.graph.asMember()
	c.reason, c.why, c.follow = reason, why, []string{boxEnter}
	c = c.and(platform.Item{"queue": claimList(claims)}, s.waitIn(r.org, m, claims))
	next, boxes, err := s.moveRun(ctx, r, run, Queued, c)
	if lost(err) {
		return s.run(ctx, r.org, r.run)
	}
	if err != nil {
		return run, err
	}
	if err := s.carryOut(ctx, r, boxes); err != nil {
		return next, err
	}
	return s.run(ctx, r.org, r.run) // it may have started in this moment
}

// passRun starts a queued run, if nothing holds it any more. It answers whether the
// run waits no longer.
func (s *Service) passRun(ctx context.Context, r ref) (bool, error) {
	run, err := s.run(ctx, r.org, r.run)
	if err != nil || run.Status != Queued {
		return err == nil, err
	}
	held, err := s.held(ctx, r)
	if err != nil || len(held) > 0 {
		return false, err
	}
	claims, err := r.graph.runClaims()
	if err != nil {
		return false, err
	}
	limits, err := s.limits(ctx, r.org)
	if err != nil {
		return false, err
	}
	claims = append(claims, limits.claims(quotaRuns)...)
	c := change{follow: []string{boxOpen}, why: r.graph.Trigger.Why}
	if len(run.queue) > 0 {
		c.follow = append(c.follow, boxNext)
	}
	_, busy, err := s.startRun(ctx, r, run, claims, c)
	if busy == nil || err != nil {
		return err == nil, err
	}
	if len(run.queue) == 0 {
		return false, s.lineUp(ctx, r, run, claims, *busy) // it was approved only now
	}
	if mode, _ := r.graph.mode(); mode == "cancel-older" {
		err = s.cancelOlder(ctx, r, claims, r.graph.asRun())
	}
	return false, err
}

// lineUp has a run that was approved wait for its groups.
func (s *Service) lineUp(ctx context.Context, r ref, run Run, claims []claim, busy claim) error {
	m := r.graph.asMember()
	err := s.transact(ctx, append(s.waitIn(r.org, m, claims), platform.Update{
		Key: runRow(r.org, r.run),
		Set: platform.Item{"queue": claimList(claims), "reason": platform.Text(busy.kind), "why": platform.Text(whyBusy(busy))},
		If: platform.All{
			platform.Equal{Attribute: "status", Value: platform.Text(Queued)}, platform.Equal{Attribute: "version", Value: platform.Int(run.version)},
		},
	})...)
	if lost(err) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = s.passRun(ctx, r)
	return err
}

func forkRule(t Trigger) rule { return rule{kind: t.Hold, count: 1} }

// held are the rules that hold a queued run.
func (s *Service) held(ctx context.Context, r ref) ([]openRule, error) {
	if r.graph.Trigger.Hold == "" {
		return nil, nil
	}
	return s.openRules(ctx, r, runKey, gates{rules: []rule{forkRule(r.graph.Trigger)}, digest: approvalDigest(r, -1, upstream{})})
}

// ApproveRun lets a run go on that is held as a whole.
func (s *Service) ApproveRun(ctx context.Context, caller access.Caller, id RunID, d Decision) (Run, error) {
	r, run, err := s.heldRun(ctx, caller, id, d)
	if err != nil {
		return run, err
	}
	at := gates{digest: approvalDigest(r, -1, upstream{})}
	b, put := s.boxPut(r, boxEnter, Stage{Key: runKey, version: run.version + 1}, 0)
	err = s.transact(ctx, append(s.voteRows(r, runKey, caller, d, approved, at, vote{}), put, platform.Check{
		Key: runRow(r.org, r.run), If: platform.Equal{Attribute: "status", Value: platform.Text(Queued)},
	})...)
	if err != nil && !lost(err) { // lost: the same person has approved it before
		return run, err
	}
	if err := s.carryOut(ctx, r, []box{b}); err != nil {
		s.Log.ErrorContext(ctx, "an approved run starts late", "run", id, "err", err)
	}
	return s.run(ctx, r.org, id)
}

// RejectRun cancels a run that is held as a whole.
func (s *Service) RejectRun(ctx context.Context, caller access.Caller, id RunID, d Decision) (Run, error) {
	_, run, err := s.heldRun(ctx, caller, id, d)
	if err != nil {
		return run, err
	}
	return s.Cancel(ctx, caller.Org, id, reasonRejected, withComment("rejected by "+caller.Name, d.Comment))
}

func (s *Service) heldRun(ctx context.Context, caller access.Caller, id RunID, d Decision) (ref, Run, error) {
	r, run, err := s.openRun(ctx, caller.Org, id)
	if err != nil {
		return r, run, asNotFound(err, id)
	}
	if run.Status != Queued || r.graph == nil || r.graph.Trigger.Hold == "" {
		return r, run, problem.New(problem.Conflict, "The run is %s; as a whole it waits for nobody. To approve a stage, name it.", run.Status)
	}
	if err := d.check(run.Commit, approvalDigest(r, -1, upstream{})); err != nil {
		return r, run, err
	}
	if why := forkRule(r.graph.Trigger).refuses(caller, r.graph.Trigger); why != "" {
		return r, run, problem.New(problem.Forbidden, "You may not decide about run %s: %s.", id, why)
	}
	return r, run, nil
}

// endQueued ends what a run holds that is over: its places, and the stages of one that
// never began.
func (s *Service) endQueued(ctx context.Context, r ref) error {
	run, err := s.run(ctx, r.org, r.run)
	if err != nil || !run.Status.Final() || r.graph == nil {
		return err
	}
	if run.Started.IsZero() {
		if err := s.cancelUnbegun(ctx, r, run); err != nil {
			return err
		}
	}
	return s.leave(ctx, r.org, r.graph.asRun(), run.holds, run.queue)
}

func (s *Service) cancelUnbegun(ctx context.Context, r ref, run Run) error {
	rows, err := s.rows(ctx, r.org, r.run, "stage")
	if err != nil {
		return err
	}
	for _, row := range rows {
		st := stageOf(row.Item)
		if st.kind != Cell || st.Status.Final() {
			continue
		}
		to, reason := StageCanceled, "canceled"
		if run.Status == Skipped {
			to, reason = StageSkipped, run.Reason
		}
		if _, _, err := s.move(ctx, r, st, to, change{reason: reason, why: orText(run.Why, run.Reason)}); err != nil && !lost(err) {
			return err
		}
	}
	return nil
}
