package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// carryOut does what outbox rows ask for, and removes them. What fails stays, for
// the feed's consumer and the sweeper; the caller hears of it all the same. The rows
// are on the disk before, or come with what is asked for: so what they ask for need
// not wait for the disk itself.
func (s *Service) carryOut(ctx context.Context, r ref, boxes []box) error {
	for _, b := range boxes {
		if err := s.carryOutOne(platform.Relaxed(ctx), r, b); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) carryOutOne(ctx context.Context, r ref, b box) error {
	if err := s.perform(ctx, r, b); err != nil {
		return fmt.Errorf("outbox %s of run %s, %s: %w", b.kind, r.run, b.key, err)
	}
	if _, err := s.home.Table.Write(ctx, platform.Delete{Key: b.row}); err != nil {
		return fmt.Errorf("remove outbox row %s of run %s: %w", b.kind, r.run, err)
	}
	return nil
}

// perform does one thing that must follow a step. Each may be done twice: a start
// by its name, a token by its end, a settling by its edges.
func (s *Service) perform(ctx context.Context, r ref, b box) error {
	switch b.kind {
	case boxStart:
		return s.startExecution(ctx, r, b.key, b.attempt)
	case boxSettle:
		node, err := r.graph.node(b.key)
		if err != nil {
			return err
		}
		return s.settle(ctx, r, node)
	case boxWake:
		return s.wake(ctx, r, b.key, b.attempt)
	case boxWakeRun:
		return s.wakeRun(ctx, r)
	case boxLaunch:
		return s.launchLater(ctx, r)
	case boxOpen:
		return s.openExecution(ctx, r)
	case boxCancel:
		return s.failRunToken(ctx, r)
	case boxStop:
		return s.stopTask(ctx, r, b.key, b.attempt)
	case boxDeploy:
		return s.deploy(ctx, r, b.key)
	case boxFree:
		return s.endQueued(ctx, r)
	case boxNext:
		return s.letNext(ctx, r, b.key)
	case boxEnter:
		if b.key == runKey {
			_, err := s.passRun(ctx, r)
			return err
		}
		_, err := s.passKey(ctx, r, b.key)
		return err
	}
	return fmt.Errorf("no such kind of outbox row")
}

// Names of the state machines.
const (
	RunMachine   = "pipeline"
	StageMachine = "stage"
)

// openExecution begins the execution of a run.
func (s *Service) openExecution(ctx context.Context, r ref) error {
	return s.begin(ctx, RunMachine, string(r.run), runInput{
		V: 1, Org: r.org.ID(), Run: r.run, Graph: r.digest, Timeout: seconds(runTimeout(r.graph)),
	})
}

// startExecution begins the execution of an attempt.
func (s *Service) startExecution(ctx context.Context, r ref, key StageKey, attempt int) error {
	node, err := r.graph.node(key)
	if err != nil {
		return err
	}
	timeout := orDefault(r.graph.spec(node).Timeout, defaultStage)
	return s.begin(ctx, StageMachine, attemptID(r.run, key, attempt), stageInput{
		V: 1, Org: r.org.ID(), Run: r.run, Graph: r.digest, Key: key, Attempt: attempt,
		Timeout: seconds(timeout + startDeadline + defaultGrace + finishDeadline),
	})
}

func (s *Service) begin(ctx context.Context, machine, name string, input any) error {
	payload, err := json.Marshal(input)
	if err != nil {
		return fmt.Errorf("input of %s %s: %w", machine, name, err)
	}
	err = s.home.Flow.Start(ctx, machine, name, payload)
	if err != nil {
		return fmt.Errorf("start %s %s: %w", machine, name, err)
	}
	return nil
}

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// wake completes the token of an attempt that has reported. A token that is not
// there yet belongs to a start that has not come through: that start looks at the
// row itself.
func (s *Service) wake(ctx context.Context, r ref, key StageKey, attempt int) error {
	token, err := s.attemptToken(ctx, r, key, attempt)
	if token == "" || err != nil {
		return err
	}
	err = s.home.Flow.Succeed(ctx, token, json.RawMessage(`{"v":1}`))
	if gone(err) {
		return nil
	}
	return err
}

func (s *Service) attemptToken(ctx context.Context, r ref, key StageKey, attempt int) (string, error) {
	item, err := s.home.Table.Get(ctx, attemptRow(r.org, r.run, key, attempt))
	if errors.Is(err, platform.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	wrapped := item.Bytes("token")
	if wrapped == nil {
		return "", nil
	}
	return s.unwrap(ctx, wrapped, attemptID(r.run, key, attempt))
}

// wakeRun completes the token of a run whose end is settled.
func (s *Service) wakeRun(ctx context.Context, r ref) error {
	_, token, err := s.runToken(ctx, r)
	if token == "" || err != nil {
		return err
	}
	if err := s.home.Flow.Succeed(ctx, token, json.RawMessage(`{"v":1}`)); !gone(err) {
		return err
	}
	return nil
}

// failRunToken leads the execution of a canceled run into its Catch. Where it has
// no token yet, its first state finds the run canceling and goes there by itself.
func (s *Service) failRunToken(ctx context.Context, r ref) error {
	run, token, err := s.runToken(ctx, r)
	if token == "" || err != nil {
		return err
	}
	if err := s.home.Flow.Fail(ctx, token, "Canceled", run.Reason); !gone(err) {
		return err
	}
	return nil
}

// runToken is the token that the execution of a run waits on, "" if it has none yet.
func (s *Service) runToken(ctx context.Context, r ref) (Run, string, error) {
	run, err := s.run(ctx, r.org, r.run)
	if err != nil || run.token == nil {
		return run, "", err
	}
	token, err := s.unwrap(ctx, run.token, string(r.run))
	return run, token, err
}

// outboxGrace is how long an outbox row may be in the hands of whoever wrote it
// before the feed's consumer takes it up.
const outboxGrace = 250 * time.Millisecond

// Outbox is the feed's consumer of outbox rows: it repeats what a crash has cut
// off. It is a platform.Handler.
func (s *Service) Outbox(ctx context.Context, changes []platform.Change) (int, error) {
	for i, c := range changes {
		if c.New == nil || c.Old != nil || c.Key.Parts()[0] != "outbox" || c.New.Bool("later") {
			continue
		}
		if wait := outboxGrace - s.home.Clock.Now().Sub(c.At); wait > 0 {
			if err := s.home.Clock.Sleep(ctx, wait); err != nil {
				return i, err
			}
		}
		if err := s.repeat(ctx, c.Key); err != nil {
			s.Log.ErrorContext(ctx, "outbox row not carried out", "row", c.Key.SK(), "err", err)
		}
	}
	return len(changes), nil // what failed is due again, and the sweeper's
}

// repeat carries out an outbox row that is still there.
func (s *Service) repeat(ctx context.Context, key platform.RowKey) error {
	item, err := s.home.Table.Get(ctx, key)
	if errors.Is(err, platform.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.repeatRow(ctx, platform.Row{Key: key, Item: item})
}

func (s *Service) repeatRow(ctx context.Context, row platform.Row) error {
	item := row.Item
	r, err := s.open(ctx, platform.System(item.Text("org"), "outbox"), RunID(item.Text("run")), item.Text("graph"))
	if err != nil {
		return err
	}
	return s.carryOutOne(ctx, r, box{row.Key, item.Text("kind"), StageKey(item.Text("key")), int(item.Int("attempt"))})
}
