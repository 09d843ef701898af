package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// SweepEvery is how often the sweeper looks.
const SweepEvery = 15 * time.Second

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

// sweepRun ends a run that is past its deadline.
func (s *Service) sweepRun(ctx context.Context, org platform.Org, id RunID) error {
	r, run, err := s.openRun(ctx, org, id)
	if err != nil {
		return err
	}
	switch run.Status {
	case Created:
		_, _, err = s.moveRun(ctx, r, run, Errored, change{reason: "config-timeout", why: "the file was not read in time"})
	case Queued:
		_, _, err = s.moveRun(ctx, r, run, Canceled, change{reason: "expired", why: "it waited too long"})
	case Running:
		_, err = s.Cancel(ctx, org, id, "timeout", "the run took longer than it may")
	case Canceling:
		if err = s.cancelStages(ctx, r); err == nil {
			err = s.closeRun(ctx, r, true)
		}
		if err == nil {
			err = s.home.Flow.Stop(ctx, RunMachine, string(id), "RunLost", "the sweeper has ended the run")
		}
	default:
		return nil
	}
	if lost(err) {
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
	st, err := s.stage(ctx, r, key)
	if err != nil || st.Status.Final() {
		return err
	}
	if st.Status == StageReported {
		if err := s.wake(ctx, r, key, st.Attempt); err != nil {
			return err
		}
		return s.recordLost(ctx, r, st)
	}
	in := call{Key: key, Attempt: st.Attempt}
	found, err := s.inspect(ctx, r, in)
	if err != nil || found.Next != "record" {
		return err
	}
	if err := s.wake(ctx, r, key, st.Attempt); err != nil {
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
