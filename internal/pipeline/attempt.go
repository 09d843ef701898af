package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// startAttempt stores the token of an attempt's wait and asks for its task. The
// token is replaceable, the attempt is not: called again, the new token replaces
// the old one, and the task port knows the attempt by its id.
func (s *Service) startAttempt(ctx context.Context, r ref, in call) error {
	st, err := s.openAttempt(ctx, r, in)
	if err != nil {
		return err
	}
	ticket := ""
	if begins(st) { // stored with the token, which waits for the disk
		if ticket, err = s.ticket(platform.Relaxed(ctx), r, in); err != nil {
			return err
		}
	}
	if err := s.storeToken(ctx, r, in, Running); err != nil {
		return err
	}
	st, err = s.openAttempt(ctx, r, in) // again, after the token: a result that came before it found the old one
	switch {
	case err != nil:
		return err
	case st.Status == StageReported: // the token before this one was never completed
		return s.wake(ctx, r, in.Key, in.Attempt)
	case !begins(st):
		return nil // its supervisor is at work already
	}
	return s.startTask(ctx, r, st, in, ticket)
}

// openAttempt reads the stage of an attempt that is not over.
func (s *Service) openAttempt(ctx context.Context, r ref, in call) (Stage, error) {
	st, err := s.stage(ctx, r, in.Key)
	if err == nil && (st.Attempt != in.Attempt || st.Status.Final()) {
		err = errNotRunning
	}
	return st, err
}

// begins tells whether the supervisor of a stage has not said hello yet.
func begins(st Stage) bool { return st.Status == StageQueued || st.Status == StageStarting }

// startTask asks the task port for the task of an attempt, and notes it.
func (s *Service) startTask(ctx context.Context, r ref, st Stage, in call, ticket string) error {
	id := attemptID(r.run, in.Key, in.Attempt)
	node, err := r.graph.node(in.Key)
	if err != nil {
		return err
	}
	spec := r.graph.spec(node)
	task, err := s.home.Tasks.Run(ctx, platform.TaskSpec{
		Token: id, Org: r.org.ID(), Class: "process", Size: spec.Runner.Size, Arch: spec.Runner.Arch,
		Trust: r.graph.Trigger.Trust, Pool: r.graph.Trigger.Repository, Job: JobName(r.org.ID(), r.run, in.Key, in.Attempt),
		Ticket: ticket,
	})
	if err != nil {
		return fmt.Errorf("run the task of %s: %w", id, err)
	}
	return s.taskStarted(platform.Relaxed(ctx), r, st, in.Attempt, task)
}

func (s *Service) ticket(ctx context.Context, r ref, in call) (string, error) {
	if s.Ticket == nil {
		return "", nil
	}
	ticket, err := s.Ticket(ctx, LogName{r.org, r.run, in.Key, in.Attempt})
	if err != nil {
		return "", fmt.Errorf("ticket of %s: %w", attemptID(r.run, in.Key, in.Attempt), err)
	}
	return ticket, nil
}

// storeToken keeps the token in the attempt's row, on condition that the run still
// runs: so a cancel either finds the token, or the attempt does not start.
func (s *Service) storeToken(ctx context.Context, r ref, in call, status Status) error {
	wrapped, err := s.wrap(ctx, in.Token, attemptID(r.run, in.Key, in.Attempt))
	if err != nil {
		return err
	}
	err = s.transact(ctx,
		platform.Check{Key: runRow(r.org, r.run), If: platform.Equal{Attribute: "status", Value: platform.Text(status)}},
		platform.Update{
			Key: attemptRow(r.org, r.run, in.Key, in.Attempt),
			Set: platform.Item{"token": platform.Bytes(wrapped)}, If: platform.RowIs,
		})
	if lost(err) {
		return errNotRunning
	}
	return err
}

// taskStarted notes the task. Its supervisor may have said hello already, or the
// stage may be canceled: then the task is stopped here, since the cancel could not
// know it.
func (s *Service) taskStarted(ctx context.Context, r ref, st Stage, attempt int, task string) error {
	note := platform.Update{
		Key: attemptRow(r.org, r.run, st.Key, attempt),
		Set: platform.Item{"task": platform.Text(task)}, If: platform.RowIs,
	}
	if st.Status == StageQueued {
		_, _, err := s.move(ctx, r, st, StageStarting, change{with: []platform.Action{note}})
		if !lost(err) {
			return err
		}
	}
	if _, err := s.home.Table.Write(ctx, note); err != nil {
		return fmt.Errorf("note task %s: %w", task, err)
	}
	now, err := s.stage(ctx, r, st.Key)
	if err != nil {
		return err
	}
	if now.Status.Final() || now.Status == StageCanceling {
		return s.stopTask(ctx, r, st.Key, attempt)
	}
	return nil
}

// JobName is what a task is told about its attempt: a reference.
func JobName(org string, run RunID, key StageKey, attempt int) string {
	return fmt.Sprintf("%s/%s/%s/%d", org, run, key, attempt)
}

// watch waits again, with a new token, for a task that was silent and lives.
func (s *Service) watch(ctx context.Context, r ref, in call) error {
	wrapped, err := s.wrap(ctx, in.Token, attemptID(r.run, in.Key, in.Attempt))
	if err != nil {
		return err
	}
	_, err = s.home.Table.Write(ctx, platform.Update{
		Key: attemptRow(r.org, r.run, in.Key, in.Attempt),
		Set: platform.Item{"token": platform.Bytes(wrapped)}, If: platform.RowIs,
	})
	if err != nil {
		return err
	}
	st, err := s.stage(ctx, r, in.Key)
	if err != nil {
		return err
	}
	if st.Attempt != in.Attempt || st.Status == StageReported || st.Status.Final() {
		return s.wake(ctx, r, in.Key, in.Attempt)
	}
	return nil
}

// maxLooks is how often a silent task that lives is waited for: ten heartbeats.
const maxLooks = 10

// inspected is the answer of inspect: what the state machine does next.
type inspected struct {
	Next    string `json:"next"` // record, or watch
	Looks   int    `json:"looks"`
	Timeout int    `json:"timeout_seconds"`
}

// inspect finds out why a wait has ended without a result: heartbeat, timeout,
// cancel and a start that failed all arrive here. It asks the row and the task.
func (s *Service) inspect(ctx context.Context, r ref, in call) (inspected, error) {
	done := inspected{Next: "record"}
	st, err := s.stage(ctx, r, in.Key)
	if err != nil || st.Attempt != in.Attempt || st.Status.Final() || st.Status == StageReported || st.Status == StageBlocked {
		return done, err
	}
	run, err := s.run(ctx, r.org, r.run)
	if err != nil {
		return done, err
	}
	if run.Status != Running && (st.Status == StageQueued || st.Status == StageStarting) {
		return done, s.report(ctx, r, st, supervisor.Result{V: 1, Reason: "canceled", Detail: run.Reason, Command: -1}, nil)
	}
	item, err := s.home.Table.Get(ctx, attemptRow(r.org, r.run, in.Key, in.Attempt))
	if err != nil {
		return done, err
	}
	result, alive, err := s.diagnose(ctx, r, st, item.Text("task"), in)
	if err != nil {
		return done, err
	}
	if alive {
		node, err := r.graph.node(in.Key)
		if err != nil {
			return done, err
		}
		rest := orDefault(r.graph.spec(node).Timeout, defaultStage) + finishDeadline
		return inspected{"watch", in.Looks + 1, seconds(rest)}, nil
	}
	err = s.report(ctx, r, st, result, nil)
	if lost(err) {
		err = nil // it has reported in this moment
	}
	return done, err
}

// diagnose asks the task port what became of an attempt's task. One that lives and
// has time left is alive; of any other it says how it ended.
func (s *Service) diagnose(ctx context.Context, r ref, st Stage, task string, in call) (supervisor.Result, bool, error) {
	if task == "" {
		return notStarted(in.Error), false, nil
	}
	seen, err := s.home.Tasks.Describe(ctx, task)
	if err != nil && !gone(err) {
		return supervisor.Result{}, false, err
	}
	result := supervisor.Result{V: 1, Command: -1}
	switch {
	case gone(err), seen.Status == platform.TaskStopped:
		result.Reason, result.Detail = "heartbeat-lost", "its task is gone: "+orText(seen.Reason, "unknown to the runner")
		if st.Status == StageCanceling {
			result.Reason, result.Detail = "canceled", st.cause
		}
	case s.overtime(r, st):
		result.Reason, result.Detail = "timeout", "it took longer than it may, and did not say so itself"
	case in.Looks >= maxLooks && st.Started.IsZero():
		result.Reason, result.Detail = "start-timeout", "its task lives and has never asked for its job"
	case in.Looks >= maxLooks:
		result.Reason, result.Detail = "heartbeat-lost", "its task lives and was silent for too long"
	default:
		return result, true, nil
	}
	if err := s.home.Tasks.Stop(ctx, task, defaultGrace); err != nil {
		return result, false, fmt.Errorf("stop task %s: %w", task, err)
	}
	return result, false, nil
}

// overtime tells whether a stage is past its own timeout, which its supervisor
// should have seen to.
func (s *Service) overtime(r ref, st Stage) bool {
	if st.Started.IsZero() {
		return false
	}
	spec := r.graph.spec(r.graph.byKey[st.Key])
	limit := orDefault(spec.Timeout, defaultStage) + defaultGrace + cancelDeadline
	return s.home.Clock.Now().Sub(st.Started) > limit
}

// notStarted is the result of an attempt that never had a task, by the error that
// the flow reports for its start.
func notStarted(report json.RawMessage) supervisor.Result {
	flow := flowErrorOf(report)
	result := supervisor.Result{V: 1, Command: -1, Reason: "start-timeout", Detail: "it was not started in time"}
	switch flow.Error {
	case platform.Throttled:
		result.Reason, result.Detail = "capacity", "there is no room for it now"
	case platform.Rejected:
		result.Reason, result.Detail = "class-unfit", flow.Cause
	case platform.FunctionError, platform.FunctionPanic, platform.FunctionTimeout:
		result.Reason, result.Detail = "supervisor-crash", flow.Cause
	}
	return result
}

// report stores how an attempt ended and makes the stage `reported`; record makes
// it final. follow names outbox rows, nil where the execution is awake already.
func (s *Service) report(ctx context.Context, r ref, st Stage, result supervisor.Result, follow []string) error {
	_, boxes, err := s.reported(ctx, r, st, result, follow)
	if err != nil {
		return err
	}
	return s.carryOut(ctx, r, boxes)
}

func (s *Service) reported(ctx context.Context, r ref, st Stage, result supervisor.Result, follow []string) (Stage, []box, error) {
	body, err := json.Marshal(result)
	if err != nil {
		return st, nil, fmt.Errorf("result of %s: %w", st.Name, err)
	}
	actions := []platform.Action{platform.Update{
		Key: attemptRow(r.org, r.run, st.Key, st.Attempt),
		Set: s.logDue(platform.Item{"result": platform.Bytes(body)}, r.run, sealAfter), If: platform.RowIs,
	}}
	actions = append(actions, s.reportPut(r, st, result)...)
	return s.move(ctx, r, st, StageReported, change{reason: result.Reason, why: result.Detail, with: actions, follow: follow})
}

// finish takes the supervisor's result. The second time, and for an attempt that
// is over, it wakes the execution again and says supervisor.ErrSettled.
func (s *Service) finish(ctx context.Context, r ref, key StageKey, attempt int, result supervisor.Result) error {
	for {
		st, err := s.stage(ctx, r, key)
		if err != nil {
			return err
		}
		if st.Attempt != attempt || st.Status.Final() || st.Status == StageReported {
			return errors.Join(supervisor.ErrSettled, s.wake(ctx, r, key, attempt))
		}
		if st.Status == StageCanceling && result.Reason == "canceled" && result.Detail == "" {
			result.Detail = st.cause
		}
		err = s.report(ctx, r, st, result, []string{boxWake})
		if !lost(err) {
			return err
		}
	}
}

// recorded is the answer of record.
type recorded struct {
	Retry   bool `json:"retry"`
	Seconds int  `json:"seconds"`
}

// record makes a reported stage final, or asks for its next attempt. It is the one
// place where results, cancels, late news and retries meet.
func (s *Service) record(ctx context.Context, r ref, in call) (recorded, error) {
	node, err := r.graph.node(in.Key)
	if err != nil {
		return recorded{}, err
	}
	st, err := s.stage(ctx, r, in.Key)
	switch {
	case err != nil:
		return recorded{}, err
	case st.Attempt != in.Attempt: // the next attempt is asked for already
		return recorded{Retry: st.Attempt == in.Attempt+1 && st.Status == StageQueued}, nil
	case st.Status.Final():
		return recorded{}, s.settle(ctx, r, node)
	case st.Status != StageReported:
		return recorded{}, fmt.Errorf("stage %s is %s: there is nothing to record", st.Name, st.Status)
	}
	item, err := s.home.Table.Get(ctx, attemptRow(r.org, r.run, in.Key, in.Attempt))
	if err != nil {
		return recorded{}, err
	}
	var result supervisor.Result
	if err := json.Unmarshal(item.Bytes("result"), &result); err != nil {
		return recorded{}, fmt.Errorf("result of %s: %w", st.Name, err)
	}
	run, err := s.run(ctx, r.org, r.run)
	if err != nil {
		return recorded{}, err
	}
	tries, err := s.triesBefore(ctx, r, in.Key, in.Attempt)
	if err != nil {
		return recorded{}, err
	}
	end := conclude(r.graph.spec(node), result, st.cause, tries)
	if end.retry && deploys(r.graph.spec(node)) && item.Text("boot") != "" {
		end.retry = false // its deployment has begun: it is looked at by people, not repeated
	}
	if end.retry && run.Status == Running {
		answer, err := s.again(ctx, r, st, end)
		if lost(err) { // the run is canceled in this moment, or another call has recorded it
			return s.record(ctx, r, in)
		}
		return answer, err
	}
	return recorded{}, s.makeFinal(ctx, r, node, st, end, result)
}

// triesBefore counts the failed attempts before this one, by retry class.
func (s *Service) triesBefore(ctx context.Context, r ref, key StageKey, attempt int) (tries, error) {
	var t tries
	for before := 1; before < attempt; before++ {
		item, err := s.home.Table.Get(ctx, attemptRow(r.org, r.run, key, before))
		if err != nil {
			return t, err
		}
		var result supervisor.Result
		if err := json.Unmarshal(item.Bytes("result"), &result); err != nil {
			return t, fmt.Errorf("result of attempt %d: %w", before, err)
		}
		if reasonOf(result.Reason).class == classInfra {
			t.infra++
		} else {
			t.asked++
		}
	}
	return t, nil
}

// again queues the next attempt. The state machine waits and then starts it; the
// outbox row does, should the execution be lost.
func (s *Service) again(ctx context.Context, r ref, st Stage, end outcome) (recorded, error) {
	c := s.queued(r, st.Key, st.Attempt+1, nil)
	c.reason, c.why = end.reason, fmt.Sprintf("attempt %d ended: %s", st.Attempt, orText(end.why, end.reason))
	pause := spread(end.after, attemptID(r.run, st.Key, st.Attempt))
	c.delay = pause
	c.with = append(c.with, platform.Check{
		Key: runRow(r.org, r.run), If: platform.Equal{Attribute: "status", Value: platform.Text(Running)},
	})
	if _, _, err := s.move(ctx, r, st, StageQueued, c); err != nil {
		return recorded{}, err
	}
	return recorded{true, seconds(pause)}, nil
}

// makeFinal writes the end of a stage with what it leaves behind, and tells its dependents.
func (s *Service) makeFinal(ctx context.Context, r ref, node int, st Stage, end outcome, result supervisor.Result) error {
	c := s.remains(r, node, merged(st.Notices, append(result.Notices, s.floodNotice(result)...)), result)
	c.reason, c.why = end.reason, end.why
	err := s.step(ctx, r, st, end.status, c)
	if lost(err) {
		return s.settle(ctx, r, node)
	}
	return err
}

// remains is the end of a stage with what a result says that it leaves behind.
func (s *Service) remains(r ref, node int, notices []Notice, result supervisor.Result) change {
	n, now := r.graph.Nodes[node], s.home.Clock.Now()
	c := change{follow: []string{boxSettle}, set: platform.Item{
		"lines": platform.Int(result.LogLines), "log_bytes": platform.Int(result.LogBytes),
		"outputs": mapOf(declared(r.graph.spec(node).Outputs, result.Outputs)),
		"notices": noticeList(notices),
	}}
	if result.Report != nil && result.Report.Tests.Cases > 0 {
		c.set["tests"] = totalsMap(result.Report.Tests)
	}
	if result.Command >= 0 || result.Reason == "ok" {
		c.set["exit"] = platform.Int(result.ExitCode)
	}
	for _, a := range result.Artifacts {
		row := Artifact{
			Name: a.Name, Stage: n.Name, Key: n.Key, Value: a.Value, SHA256: a.Manifest.SHA256,
			ManifestSize: a.Manifest.Size, Files: a.Files, Bytes: a.Bytes, Created: now,
		}
		c.with = append(c.with, r.artifactPut(node, row))
	}
	return c
}

// declared keeps the outputs that the stage declares.
func declared(names []string, outputs map[string]string) map[string]string {
	kept := make(map[string]string, len(names))
	for _, name := range names {
		if value, has := outputs[name]; has {
			kept[name] = value
		}
	}
	return kept
}

// merged adds the supervisor's notices to those that were there before.
func merged(before []Notice, more []supervisor.Notice) []Notice {
	for _, n := range more {
		known := false
		for _, b := range before {
			known = known || b == Notice(n)
		}
		if !known {
			before = append(before, Notice(n))
		}
	}
	return before
}

// retryPause is the wait before the first repeat of a failure of ours; it doubles.
const retryPause = 10 * time.Second

// ParseJobName reads what JobName has made.
func ParseJobName(name string) (LogName, error) {
	parts := strings.Split(name, "/")
	if len(parts) != 4 {
		return LogName{}, fmt.Errorf("job %q: %w", name, platform.ErrInvalid)
	}
	attempt, err := strconv.Atoi(parts[3])
	if err != nil {
		return LogName{}, fmt.Errorf("job %q: %w: %w", name, err, platform.ErrInvalid)
	}
	return LogName{Org: platform.System(parts[0], "task"), Run: RunID(parts[1]), Key: StageKey(parts[2]), Attempt: attempt}, nil
}
