package pipeline

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// change is what a step brings with it besides the new status.
type change struct {
	set    platform.Item
	reason string
	why    string
	if_    platform.Condition // beyond status, attempt and version
	follow []string           // kinds of outbox rows
	with   []platform.Action  // more rows of the same transaction
	delay  time.Duration      // what follows is due only after it, and is left to whoever waits for it
	made   bool               // by an earlier run: the stage ends without an attempt of its own
}

// box is an outbox row: what must follow a step, written in its transaction,
// carried out at once, and again by the feed's consumer and the sweeper until done.
type box struct {
	row     platform.RowKey
	kind    string
	key     StageKey
	attempt int
}

// The kinds of outbox rows.
const (
	boxStart   = "start"    // begin the execution of an attempt
	boxSettle  = "settle"   // tell the dependents of a stage that has ended
	boxWake    = "wake"     // complete the token of an attempt that has reported
	boxWakeRun = "wake-run" // complete the token of a run whose end is settled
	boxLaunch  = "launch"   // write the stages of a rerun, and let it begin
	boxOpen    = "open"     // begin the execution of a run
	boxCancel  = "cancel"   // fail the token of a run that is canceled
	boxStop    = "stop"     // stop the task of a stage that is canceled
	boxEnter   = "enter"    // look whether a gate is open now
	boxNext    = "next"     // let in who waits behind one that has started
	boxFree    = "free"     // give back what a run held that is over
	boxDeploy  = "deploy"   // carry out a deployment without commands
)

// outboxDue is how long an outbox row waits before the sweeper looks at it.
const outboxDue = 15 * time.Second

func (s *Service) boxPut(r ref, kind string, st Stage, delay time.Duration) (box, platform.Put) {
	b := box{outboxRow(r.org, r.run, kind, st.Key, st.version), kind, st.Key, st.Attempt}
	item := platform.Item{
		"kind": platform.Text(kind), "key": platform.Text(st.Key), "attempt": platform.Int(st.Attempt),
		"org": platform.Text(r.org.ID()), "run": platform.Text(r.run), "graph": platform.Text(r.digest),
	}.DueAt(dueKey(r.run, s.home.Clock.Now().Add(delay+outboxDue)))
	if delay > 0 {
		item["later"] = platform.Bool(true)
	}
	return b, platform.Put{Key: b.row, Item: item}
}

// move takes one step of a stage: row, event and what must follow, in one
// transaction, on condition that the row is as st says. It fails with
// platform.ErrConditionFailed where another writer was faster.
func (s *Service) move(ctx context.Context, r ref, st Stage, to StageStatus, c change) (Stage, []box, error) {
	check := st.Status.To
	if node := r.graph.Nodes[r.graph.byKey[st.Key]]; c.made || node.Kind != Cell || len(r.graph.spec(r.graph.byKey[st.Key]).Run) == 0 {
		check = st.Status.nodeTo
	}
	if err := check(to); err != nil {
		return st, nil, err
	}
	now := s.home.Clock.Now()
	next := st
	next.Status, next.Reason, next.Why, next.version = to, c.reason, c.why, st.version+1
	set := platform.Item{
		"status": platform.Text(to), "reason": platform.Text(c.reason), "why": platform.Text(c.why),
		"version": platform.Int(next.version),
	}
	for name, value := range c.set {
		set[name] = value
	}
	update := platform.Update{Key: stageRow(r.org, r.run, st.Key), Set: set, If: platform.All{
		platform.Equal{Attribute: "status", Value: platform.Text(st.Status)},
		platform.Equal{Attribute: "version", Value: platform.Int(st.version)},
		platform.Equal{Attribute: "attempt", Value: platform.Int(st.Attempt)},
	}}
	if c.if_ != nil {
		update.If = append(update.If.(platform.All), c.if_)
	}
	if n, changed := set["attempt"].(platform.Number); changed {
		next.Attempt = int(platform.Item{"n": n}.Int("n"))
	}
	next.holds, next.queue = heldAfter(next.holds, next.queue, set)
	if until := set.Time("decide_until"); !until.IsZero() {
		next.expires = until
	}
	s.stamp(&next, set, r, to, now)
	if to.Final() {
		update.Remove = []string{platform.DuePartition, platform.DueSort}
	} else if until := s.deadline(r, next, to); until > 0 {
		set.DueAt(dueKey(r.run, now.Add(c.delay+until)))
	}
	actions := append([]platform.Action{update, stageEvent(r, next, st.Status, now)}, c.with...)
	var boxes []box
	for _, kind := range c.follow {
		b, put := s.boxPut(r, kind, next, c.delay)
		boxes, actions = append(boxes, b), append(actions, put)
	}
	if err := s.transact(ctx, actions...); err != nil {
		return st, nil, err
	}
	if s.Observe != nil && next.kind == Cell {
		s.Observe.StageChanged(r.run, next)
	}
	return next, boxes, nil
}

// stamp notes when the stage became ready, started and ended.
func (s *Service) stamp(next *Stage, set platform.Item, r ref, to StageStatus, now time.Time) {
	switch {
	case to == StageQueued && next.Ready.IsZero():
		next.Ready = now
		set["ready"] = platform.Stamp(now)
	case to == StageRunning: // of each attempt anew
		next.Started = now
		set["started"] = platform.Stamp(now)
	case to.Final():
		next.Ended = now
		set["ended"] = platform.Stamp(now)
	}
	if code, has := set["exit"].(platform.Number); has {
		n := int(platform.Item{"n": code}.Int("n"))
		next.Exit = &n
	}
	if outputs, has := set["outputs"].(platform.Map); has {
		next.Outputs = textMap(platform.Item{"outputs": outputs}, "outputs")
	}
}

// deadline is when the sweeper looks at a stage of this status; 0 for those that
// the deadline of their run covers.
func (s *Service) deadline(r ref, st Stage, to StageStatus) time.Duration {
	switch to {
	case StageBlocked:
		return 0
	case StageGated:
		if !st.expires.IsZero() {
			return min(groupLook, st.expires.Sub(s.home.Clock.Now()))
		}
		return groupLook
	case StageRunning:
		spec := r.graph.spec(r.graph.byKey[st.Key])
		if len(spec.Run) == 0 {
			return 0 // its outbox row is looked after
		}
		return orDefault(spec.Timeout, defaultStage) + defaultGrace + finishDeadline
	case StageCanceling:
		return defaultGrace + cancelDeadline
	}
	return stageRules[to].deadline
}

func stageEvent(r ref, st Stage, from StageStatus, now time.Time) platform.Put {
	return platform.Put{
		Key: eventRow(r.org, r.run, "stage-"+string(st.Key), st.version),
		Item: platform.Item{
			"entity": platform.Text("stage"), "key": platform.Text(st.Key), "name": platform.Text(st.Name),
			"from": platform.Text(from), "status": platform.Text(st.Status), "reason": platform.Text(st.Reason),
			"why": platform.Text(st.Why), "attempt": platform.Int(st.Attempt),
			"version": platform.Int(st.version), "at": platform.Stamp(now),
		},
	}
}

// moveRun takes one step of a run, as move does of a stage.
func (s *Service) moveRun(ctx context.Context, r ref, run Run, to Status, c change) (Run, []box, error) {
	if err := run.Status.To(to); err != nil {
		return run, nil, err
	}
	now := s.home.Clock.Now()
	next := run
	next.Status, next.Reason, next.version = to, c.reason, run.version+1
	if to.Final() && len(run.holds)+len(run.queue) > 0 || run.Status == Queued && to != Running {
		c.follow = append(slices.Clone(c.follow), boxFree)
	}
	set := platform.Item{
		"status": platform.Text(to), "reason": platform.Text(c.reason), "version": platform.Int(next.version),
	}
	if c.why != "" || run.Status == Queued { // what it waited for is over
		next.Why = c.why
		set["why"] = platform.Text(c.why)
	}
	for name, value := range c.set {
		set[name] = value
	}
	next.holds, next.queue = heldAfter(next.holds, next.queue, set)
	update := platform.Update{Key: runRow(r.org, r.run), Set: set, If: platform.All{
		platform.Equal{Attribute: "status", Value: platform.Text(run.Status)},
		platform.Equal{Attribute: "version", Value: platform.Int(run.version)},
	}}
	switch {
	case to.Final():
		next.Ended = now
		set["ended"] = platform.Stamp(now)
		update.Remove = []string{platform.DuePartition, platform.DueSort, "token"}
	case to == Running:
		next.Started = now
		set["started"] = platform.Stamp(now)
		set.DueAt(dueKey(r.run, now.Add(runTimeout(r.graph)+rules[Canceling].deadline)))
	case to == Queued && r.graph != nil && r.graph.Trigger.Hold != "":
		set.DueAt(dueKey(r.run, now.Add(holdDeadline)))
	default:
		set.DueAt(dueKey(r.run, now.Add(rules[to].deadline)))
	}
	event := platform.Put{
		Key: eventRow(r.org, r.run, "run", next.version),
		Item: platform.Item{
			"entity": platform.Text("run"), "from": platform.Text(run.Status), "status": platform.Text(to),
			"reason": platform.Text(c.reason), "why": platform.Text(next.Why),
			"version": platform.Int(next.version), "at": platform.Stamp(now),
		},
	}
	actions := append([]platform.Action{update, event}, c.with...)
	var boxes []box
	for _, kind := range c.follow {
		if digest, named := set["graph"].(platform.Text); named {
			r.digest = string(digest)
		}
		b, put := s.boxPut(r, kind, Stage{Key: "run", Attempt: next.Attempt, version: next.version}, 0)
		boxes, actions = append(boxes, b), append(actions, put)
	}
	if err := s.transact(ctx, actions...); err != nil {
		return run, nil, fmt.Errorf("run %s, %s to %s: %w", r.run, run.Status, to, err)
	}
	if s.Observe != nil {
		s.Observe.RunChanged(next)
	}
	if last := len(boxes) - 1; last >= 0 && boxes[last].kind == boxFree {
		if err := s.carryOut(ctx, r, boxes[last:]); err != nil {
			s.Log.ErrorContext(ctx, "what a run held is free only later", "run", r.run, "err", err) // the outbox repeats it
		}
		boxes = boxes[:last]
	}
	return next, boxes, nil
}

// heldAfter are the places and queues of a row after a change of it.
func heldAfter(holds []place, queue []claim, set platform.Item) ([]place, []claim) {
	if _, changed := set["holds"]; changed {
		holds = placesOf(set, "holds")
	}
	if _, changed := set["queue"]; changed {
		queue = claimsOf(set, "queue")
	}
	return holds, queue
}

// defaultRun is the timeout of a run whose file gives none.
const defaultRun = 24 * time.Hour

func runTimeout(g *Graph) time.Duration {
	if g == nil {
		return defaultRun
	}
	return orDefault(g.Timeout, defaultRun)
}
