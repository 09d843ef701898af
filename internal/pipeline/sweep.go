package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Sweep carries on what nobody owns any more: it looks for what is due, repeats
// outbox rows, and ends runs and stages whose deadline has passed. What fails is
// due again at the next look; the errors are joined.
func (s *Service) Sweep(ctx context.Context) error {
	var errs []error
	for shard := range dueShards {
		partition := duePartition(shard)
		query := platform.Query{
			Partition: partition, Index: platform.Due,
			Until: partition.Index(string(platform.Stamp(s.home.Clock.Now()))).SK(),
		}
		for {
			page, err := s.home.Table.Query(ctx, query)
			if err != nil {
				errs = append(errs, fmt.Errorf("what is due: %w", err))
				break
			}
			for _, row := range page.Rows {
				if err := s.sweepRow(ctx, row); err != nil {
					errs = append(errs, fmt.Errorf("sweep %s: %w", row.Key.SK(), err))
				}
			}
			if page.Cursor == "" {
				break
			}
			query.Cursor = page.Cursor
		}
	}
	return errors.Join(errs...)
}

// sweepRow carries on one row. Rows of other packages share the index; they are
// left alone.
func (s *Service) sweepRow(ctx context.Context, row platform.Row) error {
	parents, parts := row.Key.Parents(), row.Key.Parts()
	if len(parents) == 4 && parents[1] == "group" {
		return s.sweepGroup(ctx, platform.System(parents[0], "sweeper"), row)
	}
	if len(parents) != 3 || parents[1] != "run" {
		return nil
	}
	org, run := platform.System(parents[0], "sweeper"), RunID(parents[2])
	switch parts[0] {
	case "outbox":
		return s.repeat(ctx, row.Key)
	case "run":
		return s.sweepRun(ctx, org, run)
	case "stage":
		return s.sweepStage(ctx, org, run, StageKey(parts[1]))
	}
	return nil
}

// early tells whether a home that was away has not yet given a status its time
// since it is back, five minutes at most: who moves it on was away too.
func (s *Service) early(deadline time.Duration) bool {
	return !s.Since.IsZero() && s.home.Clock.Now().Sub(s.Since) < min(deadline, rules[Created].deadline)
}

// stillDue tells whether a row that the index named is due as it is now: it may have
// moved on since. A stage that has just said hello was due as one that had not.
func (s *Service) stillDue(item platform.Item, run RunID) bool {
	at, has := item.IndexKey(platform.Due)
	return has && at.SK() <= dueKey(run, s.home.Clock.Now()).SK()
}

// sweepRun ends a run that is past its deadline, or closes one whose end was settled
// and whose execution did not see to it.
func (s *Service) sweepRun(ctx context.Context, org platform.Org, id RunID) error {
	if item, err := s.home.Table.Get(ctx, runRow(org, id)); err != nil || !s.stillDue(item, id) {
		return err
	}
	r, run, err := s.openRun(ctx, org, id)
	if err != nil || run.Status != Running && s.early(rules[run.Status].deadline) {
		return err
	}
	switch run.Status {
	case Created:
		_, _, err = s.moveRun(ctx, r, run, Errored, change{reason: "config-timeout", why: "the file was not read in time"})
	case Queued:
		_, _, err = s.moveRun(ctx, r, run, Canceled, change{reason: "expired", why: "it waited too long"})
	case Running:
		err = s.sweepRunning(ctx, r)
	case Canceling:
		waits, waitErr := s.waitForDeployment(ctx, r, run)
		if waits || waitErr != nil {
			return waitErr
		}
		if err = s.cancelStages(ctx, r, nil); err == nil {
			err = s.stopRun(ctx, id) // first: once the run is over nobody looks at its execution
		}
		if err == nil {
			err = s.closeRun(ctx, r, true)
		}
	default:
		return nil
	}
	if lost(err) {
		return nil
	}
	return err
}

// waitForDeployment gives a canceled run more time while a deployment of it is under
// way: until that is past its own deadline.
func (s *Service) waitForDeployment(ctx context.Context, r ref, run Run) (bool, error) {
	if run.forced || r.graph == nil {
		return false, nil
	}
	rows, err := s.rows(ctx, r.org, r.run, "stage")
	if err != nil {
		return false, err
	}
	now, until := s.home.Clock.Now(), time.Time{}
	for _, row := range rows {
		st := stageOf(row.Item)
		if st.kind != Cell {
			continue
		}
		spec := r.graph.spec(r.graph.byKey[st.Key])
		end := st.Started.Add(orDefault(spec.Timeout, defaultStage) + defaultGrace + finishDeadline + rules[Canceling].deadline)
		if deployUnderWay(spec, st) && end.After(now) && end.After(until) {
			until = end
		}
	}
	if until.IsZero() {
		return false, nil
	}
	next := min(until.Sub(now), rules[Canceling].deadline)
	_, err = s.home.Table.Write(ctx, platform.Update{
		Key: runRow(r.org, r.run), Set: platform.Item{}.DueAt(dueKey(r.run, now.Add(next))),
		If: platform.Equal{Attribute: "status", Value: platform.Text(Canceling)},
	})
	if lost(err) {
		err = nil
	}
	return true, err
}

// sweepRunning closes a running run whose stages are all over, and cancels one that
// has taken too long.
func (s *Service) sweepRunning(ctx context.Context, r ref) error {
	end, err := s.stage(ctx, r, endKey)
	if err != nil {
		return err
	}
	if !end.Status.Final() {
		_, err = s.Cancel(ctx, r.org, r.run, "timeout", "the run took longer than it may")
		return err
	}
	if err := s.wakeRun(ctx, r); err != nil {
		return err
	}
	if err := s.stopRun(ctx, r.run); err != nil {
		return err
	}
	return s.closeRun(ctx, r, false)
}

// stopRun ends the execution of a run that the sweeper has closed, if there is one.
func (s *Service) stopRun(ctx context.Context, id RunID) error {
	err := s.home.Flow.Stop(ctx, RunMachine, string(id), "RunLost", "the sweeper has ended the run")
	if errors.Is(err, platform.ErrNotFound) {
		return nil
	}
	return err
}

// sweepStage carries on a stage that is past the deadline of its status.
func (s *Service) sweepStage(ctx context.Context, org platform.Org, id RunID, key StageKey) error {
	r, _, err := s.openRun(ctx, org, id)
	if err != nil {
		return err
	}
	item, err := s.home.Table.Get(ctx, stageRow(org, id, key))
	if err != nil {
		return err
	}
	if !s.stillDue(item, id) {
		return nil
	}
	st := stageOf(item)
	if st.Status == StageGated {
		return s.sweepGate(ctx, r, st)
	}
	if st.Status.Final() || st.Status != StageRunning && s.early(stageRules[st.Status].deadline) {
		return nil
	}
	return s.carryOn(ctx, r, st, maxLooks) // it was waited for long enough
}

// sweepGate ends a gated stage that people had their time for, and looks again at any
// other: what should have opened its gate may be lost.
func (s *Service) sweepGate(ctx context.Context, r ref, st Stage) error {
	node, err := r.graph.node(st.Key)
	if err != nil {
		return err
	}
	over, err := s.expire(ctx, r, node, st)
	if !over && err == nil {
		over, err = s.pass(ctx, r, node, st)
	}
	if over || err != nil && !lost(err) {
		return err
	}
	next := s.home.Clock.Now().Add(groupLook)
	if !st.expires.IsZero() && st.expires.Before(next) && s.home.Clock.Now().Before(st.expires) {
		next = st.expires
	}
	_, err = s.home.Table.Write(ctx, platform.Update{
		Key: stageRow(r.org, r.run, st.Key), Set: platform.Item{}.DueAt(dueKey(r.run, next)), If: s.asRead(st),
	})
	if lost(err) {
		return nil
	}
	return err
}

// TaskEnded carries on the attempt of a task that has ended without a word of its
// supervisor: what a home that sees tasks die tells, so that nobody waits for a
// heartbeat. job is the task's, of JobName.
func (s *Service) TaskEnded(ctx context.Context, job string) error {
	name, err := ParseJobName(job)
	if err != nil {
		return err
	}
	r, _, err := s.openRun(ctx, name.Org, name.Run)
	if errors.Is(err, platform.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	st, err := s.stage(ctx, r, name.Key)
	if err != nil || st.Status.Final() || st.Status == StageReported || st.Attempt != name.Attempt {
		return err
	}
	return s.carryOn(ctx, r, st, 0)
}

// carryOn asks what became of an attempt, and records it if it is over.
func (s *Service) carryOn(ctx context.Context, r ref, st Stage, looks int) error {
	if st.Status != StageReported {
		found, err := s.inspect(ctx, r, call{Key: st.Key, Attempt: st.Attempt, Looks: looks})
		if err != nil || found.Next != "record" {
			return err
		}
	}
	if err := s.wake(ctx, r, st.Key, st.Attempt); err != nil {
		return err
	}
	return s.recordLost(ctx, r, st)
}

// recordLost records a reported stage whose execution has ended without doing so.
func (s *Service) recordLost(ctx context.Context, r ref, st Stage) error {
	seen, err := s.home.Flow.Describe(ctx, StageMachine, attemptID(r.run, st.Key, st.Attempt))
	if err != nil && !errors.Is(err, platform.ErrNotFound) {
		return err
	}
	if seen.Status == "RUNNING" {
		return nil
	}
	again, err := s.record(ctx, r, call{Key: st.Key, Attempt: st.Attempt})
	if err == nil && again.Retry {
		err = s.startExecution(ctx, r, st.Key, st.Attempt+1)
	}
	return err
}
