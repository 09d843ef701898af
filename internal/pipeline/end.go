package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// openRunState is the first state of a run: it stores the token that the run's
// end completes, and starts what waits for nothing. Called again, with another
// token, it replaces the token and starts what has not started.
func (s *Service) openRunState(ctx context.Context, r ref, token string) error {
	if err := s.storeRunToken(ctx, r, token, Running); err != nil {
		return err
	}
	var errs []error // one stage that cannot start now holds up no other
	for i, n := range r.graph.Nodes {
		if n.Kind == Cell && ctx.Err() == nil {
			errs = append(errs, s.openNode(ctx, r, i))
		}
	}
	return errors.Join(append(errs, ctx.Err(), s.wakeIfEnded(ctx, r))...)
}

// openNode starts a stage that waits for nothing, and settles one that never runs.
func (s *Service) openNode(ctx context.Context, r ref, node int) error {
	switch n := r.graph.Nodes[node]; {
	case n.Carried:
		return nil
	case n.Skip != "":
		if s.Observe != nil {
			s.Observe.StageChanged(r.run, r.graph.firstRow(node))
		}
		return s.settle(ctx, r, node)
	case n.Waits == 0, r.graph.leansOnCarried(node):
		return s.advance(ctx, r, node)
	}
	return nil
}

// storeRunToken keeps the token in the run's row, on condition of its status.
func (s *Service) storeRunToken(ctx context.Context, r ref, token string, status Status) error {
	wrapped, err := s.wrap(ctx, token, string(r.run))
	if err != nil {
		return err
	}
	_, err = s.home.Table.Write(ctx, platform.Update{
		Key: runRow(r.org, r.run), Set: platform.Item{"token": platform.Bytes(wrapped)},
		If: platform.Equal{Attribute: "status", Value: platform.Text(status)},
	})
	if lost(err) {
		return errNotRunning
	}
	return err
}

// wakeIfEnded completes the run's token where its end was settled before the token
// was stored.
func (s *Service) wakeIfEnded(ctx context.Context, r ref) error {
	end, err := s.stage(ctx, r, endKey)
	if err != nil || !end.Status.Final() {
		return err
	}
	return s.wakeRun(ctx, r)
}

// causeLost is the cause of a cancel that nobody asked for: the run's own execution
// failed.
const causeLost = "platform"

// cancelStages is where a run goes that is canceled, out of time or lost, which
// report, the error of its execution, tells apart: what has not started ends at
// once, the tasks of the others are told to stop.
func (s *Service) cancelStages(ctx context.Context, r ref, report json.RawMessage) error {
	run, err := s.run(ctx, r.org, r.run)
	if err != nil {
		return err
	}
	if run.Status == Running { // nobody asked for it
		c := change{reason: "timeout", why: "the run took longer than it may"}
		if flow := flowErrorOf(report); flow.Error != "" && flow.Error != platform.FlowTimeout {
			c = change{reason: causeLost, why: "the platform could not start its stages: " + orText(flow.Cause, flow.Error)}
		}
		run, _, err = s.moveRun(ctx, r, run, Canceling, c)
		if lost(err) {
			run, err = s.run(ctx, r.org, r.run)
		}
		if err != nil {
			return err
		}
	}
	if run.Status != Canceling {
		return nil
	}
	var errs []error
	for i, n := range slices.Backward(r.graph.Nodes) { // who waits first, so that it is canceled, not skipped
		if n.Kind == Cell && ctx.Err() == nil {
			errs = append(errs, s.cancelStage(ctx, r, i, run.Reason, run.forced))
		}
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// awaitEnd waits, under a second token, until the stages of a canceled run are over.
func (s *Service) awaitEnd(ctx context.Context, r ref, token string) error {
	if err := s.storeRunToken(ctx, r, token, Canceling); err != nil {
		return err
	}
	return s.wakeIfEnded(ctx, r)
}

// closeRun is the last state: the run becomes what its stages became. With force
// stages that nobody could end are errored first.
func (s *Service) closeRun(ctx context.Context, r ref, force bool) error {
	run, err := s.run(ctx, r.org, r.run)
	if err != nil {
		return err
	}
	if run.Status.Final() { // a call before this one was cut off; its observer may not know
		if s.Observe != nil {
			s.Observe.RunChanged(run)
		}
		return nil
	}
	rows, err := s.rows(ctx, r.org, r.run, "stage")
	if err != nil {
		return err
	}
	var statuses []StageStatus
	stages := r.graph.cellsOf(rows)
	for node, st := range stages {
		if !st.Status.Final() {
			if !force {
				return fmt.Errorf("run %s cannot end: stage %s is %s", r.run, st.Name, st.Status)
			}
			if err := s.abandon(ctx, r, st); err != nil {
				return err
			}
			st.Status = StageErrored
			stages[node] = st
		}
		statuses = append(statuses, st.Status)
	}
	status, c := Result(statuses), change{}
	if run.Status == Canceling {
		status, c = endOfCancel(run.Reason), change{reason: run.Reason}
	}
	ended := run
	ended.Status, ended.Ended = status, s.home.Clock.Now()
	kept, err := r.sampled(ended, stages)
	if err != nil {
		return err
	}
	c.with = []platform.Action{kept}
	_, _, err = s.moveRun(ctx, r, run, status, c)
	if lost(err) {
		return s.closeRun(ctx, r, force) // it was canceled in this moment: decide anew
	}
	return err
}

// abandon errors a stage whose task nobody could end.
func (s *Service) abandon(ctx context.Context, r ref, st Stage) error {
	c := change{reason: "heartbeat-lost", why: "its task could not be ended"}
	if st.Attempt > 0 { // it may have printed something
		c.with = []platform.Action{platform.Update{
			Key: attemptRow(r.org, r.run, st.Key, st.Attempt), Set: s.logDue(platform.Item{}, r.run, sealAfter), If: platform.RowIs,
		}}
	}
	_, _, err := s.move(ctx, r, st, StageErrored, c)
	if lost(err) {
		return fmt.Errorf("stage %s has just moved on: %w", st.Name, platform.ErrConflict)
	}
	return err
}

// endOfCancel is what a canceled run ends as, by its cause.
func endOfCancel(cause string) Status {
	switch cause {
	case "timeout":
		return TimedOut
	case "repository-gone", causeLost:
		return Errored
	}
	return Canceled
}

// Cancel ends a run: at once where nothing runs yet, else by telling its stages.
// A run that is final already is a Conflict; one that is canceling stays so.
func (s *Service) Cancel(ctx context.Context, org platform.Org, id RunID, cause, why string) (Run, error) {
	r, run, err := s.openRun(ctx, org, id)
	if err != nil {
		return Run{}, asNotFound(err, id)
	}
	to, c := Canceled, change{reason: cause, why: why}
	switch run.Status {
	case Canceling:
		return run, nil
	case Succeeded, Failed, Errored, TimedOut, Canceled, Skipped:
		return Run{}, problem.New(problem.Conflict, "The run has ended already: it is %s. There is nothing left to cancel.", run.Status)
	case Running:
		to, c.follow = Canceling, []string{boxCancel}
	}
	next, boxes, err := s.moveRun(ctx, r, run, to, c)
	if lost(err) {
		return s.Cancel(ctx, org, id, cause, why)
	}
	if err != nil {
		return Run{}, err
	}
	if err := s.carryOut(ctx, r, boxes); err != nil {
		s.Log.ErrorContext(ctx, "cancel is late", "org", org.ID(), "run", id, "err", err) // the outbox repeats it
	}
	return next, nil
}

// cancelStage ends a stage that has not begun, and tells the task of one that has. A
// deployment under way is waited for, unless with force.
func (s *Service) cancelStage(ctx context.Context, r ref, node int, cause string, force bool) error {
	for {
		st, err := s.stage(ctx, r, r.graph.Nodes[node].Key)
		if err != nil {
			return err
		}
		to, follow := StageCanceled, []string{boxSettle}
		switch st.Status {
		case StageBlocked, StageGated:
		case StageQueued:
			follow = append(follow, boxStop) // its execution waits for a start that must not come
		case StageStarting, StageRunning, StageFinishing:
			if !force && deployUnderWay(r.graph.spec(node), st) || len(r.graph.spec(node).Run) == 0 {
				return s.sayItWaits(ctx, r, st)
			}
			to, follow = StageCanceling, []string{boxStop}
		default:
			return nil // it has ended, or is about to
		}
		err = s.step(ctx, r, st, to, change{
			reason: "canceled", why: cause, set: platform.Item{"cause": platform.Text(cause)}, follow: follow,
		})
		if !lost(err) {
			return err
		}
	}
}

// noticeCancelWaits is the code of a deployment that a cancel waits for.
const noticeCancelWaits = "cancel-waits"

// sayItWaits notes on a stage that the cancel of its run waits for its deployment.
func (s *Service) sayItWaits(ctx context.Context, r ref, st Stage) error {
	for _, n := range st.Notices {
		if n.Code == noticeCancelWaits {
			return nil
		}
	}
	notices := append(st.Notices, Notice{noticeCancelWaits, "the run is canceled when this deployment is over; a forced cancel stops it"})
	_, err := s.home.Table.Write(ctx, platform.Update{
		Key: stageRow(r.org, r.run, st.Key), Set: platform.Item{"notices": noticeList(notices)}, If: s.asRead(st),
	})
	if lost(err) { // it has moved on, perhaps to its end
		return nil
	}
	return err
}

// ForceCancel is Cancel that waits for no deployment: what is under way is stopped, and
// nobody follows it any further.
func (s *Service) ForceCancel(ctx context.Context, org platform.Org, id RunID, cause, why string) (Run, error) {
	r, run, err := s.openRun(ctx, org, id)
	if err != nil {
		return Run{}, asNotFound(err, id)
	}
	if run.Status == Running || run.Status == Canceling {
		_, err := s.home.Table.Write(ctx, platform.Update{
			Key: runRow(org, id), Set: platform.Item{"forced": platform.Bool(true)}, If: platform.Any{
				platform.Equal{Attribute: "status", Value: platform.Text(Running)}, platform.Equal{Attribute: "status", Value: platform.Text(Canceling)},
			},
		})
		if err != nil && !lost(err) {
			return run, err
		}
	}
	if run, err = s.Cancel(ctx, org, id, cause, why); err != nil || run.Status != Canceling || r.graph == nil {
		return run, err
	}
	return run, s.cancelStages(ctx, r, nil)
}

// stopTask stops the task of an attempt; where there is none, or the stage is over,
// it ends the wait of its execution.
func (s *Service) stopTask(ctx context.Context, r ref, key StageKey, attempt int) error {
	item, err := s.home.Table.Get(ctx, attemptRow(r.org, r.run, key, attempt))
	if errors.Is(err, platform.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if task := item.Text("task"); task != "" {
		if err := s.home.Tasks.Stop(ctx, task, defaultGrace); err != nil {
			return fmt.Errorf("stop task %s: %w", task, err)
		}
	}
	st, err := s.stage(ctx, r, key)
	if err != nil || !st.Status.Final() {
		return err
	}
	token, err := s.attemptToken(ctx, r, key, attempt)
	if token == "" || err != nil {
		return err
	}
	if err := s.home.Flow.Fail(ctx, token, "Canceled", st.Why); !gone(err) {
		return err
	}
	return nil
}
