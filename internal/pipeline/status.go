package pipeline

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/problem"
)

// Status is what a run is at.
type Status string

// The statuses of a run.
const (
	Created   Status = "created"   // the row exists; the file is not read, or the stages are not all written
	Queued    Status = "queued"    // compiled; waits for its concurrency group, a quota or an approval
	Running   Status = "running"   //
	Canceling Status = "canceling" // no new stage starts
	Succeeded Status = "succeeded"
	Failed    Status = "failed"  // the commands said no
	Errored   Status = "errored" // the platform could not do it, or the file is wrong
	TimedOut  Status = "timed_out"
	Canceled  Status = "canceled"
	Skipped   Status = "skipped"
)

// maxRun is the longest timeout that a file may give a run.
const maxRun = 30 * 24 * time.Hour

// rules is the whole life of a run. A status that is not final has an owner, who
// moves it on, and a deadline, after which the sweeper ends it. That of Running is
// the run's own timeout where it has one, and that of Canceling is counted from
// the latest deadline of the stages that are still open.
var rules = map[Status]struct {
	next     []Status
	owner    string
	deadline time.Duration
}{
	Created:   {[]Status{Queued, Running, Skipped, Errored, Canceled}, "pipeline queue", 5 * time.Minute},
	Queued:    {[]Status{Running, Canceled, Errored}, "concurrency group", 24 * time.Hour},
	Running:   {[]Status{Succeeded, Failed, Errored, TimedOut, Skipped, Canceling}, "pipeline.asl.json", maxRun},
	Canceling: {[]Status{Canceled, TimedOut, Errored}, "pipeline.asl.json", 5 * time.Minute},
	Succeeded: {}, Failed: {}, Errored: {}, TimedOut: {}, Canceled: {}, Skipped: {},
}

// Final tells whether nothing moves the run any more.
func (s Status) Final() bool { return len(rules[s].next) == 0 }

// statusNames are all statuses of a run, for messages.
func statusNames() string {
	var names []string
	for _, s := range slices.Sorted(maps.Keys(rules)) {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// To checks one step. The caller writes it on condition of the old status, so
// that of two writers one loses and reads again.
func (s Status) To(next Status) error {
	if slices.Contains(rules[s].next, next) {
		return nil
	}
	return problem.New(problem.Conflict,
		"The run is %s; from there it can become %v, not %s.", s, rules[s].next, next)
}

// StageStatus is what a stage is at.
type StageStatus string

// The statuses of a stage.
const (
	StageBlocked   StageStatus = "blocked"   // waits for its needs; no execution exists yet
	StageGated     StageStatus = "gated"     // ready; waits for people, or for a place in a group
	StageQueued    StageStatus = "queued"    // an execution was asked for, the task does not exist yet
	StageStarting  StageStatus = "starting"  // the task exists, the supervisor has not said hello
	StageRunning   StageStatus = "running"   //
	StageFinishing StageStatus = "finishing" // the commands are over; artifacts go up
	StageCanceling StageStatus = "canceling" // the task was told to stop
	StageReported  StageStatus = "reported"  // the result is stored, the execution not yet woken
	StageSucceeded StageStatus = "succeeded"
	StageFailed    StageStatus = "failed"
	StageAllowed   StageStatus = "allowed" // failed or timed out, under allow-failure
	StageErrored   StageStatus = "errored"
	StageTimedOut  StageStatus = "timed_out"
	StageCanceled  StageStatus = "canceled"
	StageSkipped   StageStatus = "skipped"
)

// Deadlines of a stage. What waits on commands adds the stage's own timeout.
const (
	startDeadline  = 2 * time.Minute // from asked for to hello
	finishDeadline = 15 * time.Minute
	cancelDeadline = 30 * time.Second // beyond the grace
	reportDeadline = 2 * time.Minute
	closeDeadline  = 2 * time.Minute // of a run whose stages are all over
	maxStage       = 24 * time.Hour
)

// stageRules is the whole life of a stage, as rules is that of a run. node holds
// the further steps of a node without commands (a join, the end of the run). A
// step to Queued from Starting, Running, Finishing or Reported is a new attempt.
var stageRules = map[StageStatus]struct {
	next     []StageStatus
	node     []StageStatus
	owner    string
	deadline time.Duration
}{
	StageBlocked: {
		[]StageStatus{StageGated, StageQueued, StageRunning, StageSkipped, StageErrored, StageCanceled},
		[]StageStatus{StageSucceeded, StageFailed, StageAllowed, StageTimedOut},
		"run", maxRun,
	},
	StageGated: {
		[]StageStatus{StageQueued, StageRunning, StageSkipped, StageFailed, StageTimedOut, StageErrored, StageCanceled},
		[]StageStatus{StageSucceeded},
		"the gate", maxRun,
	},
	StageQueued: {
		[]StageStatus{StageStarting, StageRunning, StageErrored, StageCanceled, StageReported},
		nil, "task driver", startDeadline,
	},
	StageStarting: {
		[]StageStatus{StageRunning, StageErrored, StageCanceling, StageReported, StageQueued},
		nil, "task", startDeadline,
	},
	StageRunning: {
		[]StageStatus{StageFinishing, StageReported, StageErrored, StageTimedOut, StageCanceling, StageQueued},
		[]StageStatus{StageSucceeded, StageFailed, StageAllowed},
		"supervisor", maxStage,
	},
	StageFinishing: {
		[]StageStatus{StageReported, StageErrored, StageTimedOut, StageCanceling, StageQueued},
		nil, "supervisor", finishDeadline,
	},
	StageCanceling: {
		[]StageStatus{StageReported, StageCanceled, StageTimedOut, StageErrored},
		nil, "supervisor", cancelDeadline,
	},
	StageReported: {
		[]StageStatus{StageSucceeded, StageFailed, StageAllowed, StageErrored, StageTimedOut, StageCanceled, StageQueued},
		nil, "stage.asl.json", reportDeadline,
	},
	StageSucceeded: {}, StageFailed: {}, StageAllowed: {}, StageErrored: {}, StageTimedOut: {}, StageCanceled: {}, StageSkipped: {},
}

// Final tells whether nothing moves the stage any more.
func (s StageStatus) Final() bool { return len(stageRules[s].next) == 0 }

// To checks one step of a stage with commands.
func (s StageStatus) To(next StageStatus) error {
	if slices.Contains(stageRules[s].next, next) {
		return nil
	}
	return s.refuse(next)
}

// nodeTo checks one step of a node without commands.
func (s StageStatus) nodeTo(next StageStatus) error {
	if slices.Contains(stageRules[s].node, next) {
		return nil
	}
	return s.To(next)
}

func (s StageStatus) refuse(next StageStatus) error {
	return problem.New(problem.Conflict, "%s", fmt.Sprintf(
		"The stage is %s; from there it can become %v, not %s.", s, stageRules[s].next, next))
}

// passed tells whether a need of this status lets its dependents start.
func (s StageStatus) passed() bool { return s == StageSucceeded || s == StageAllowed }

// broke tells whether the stage ended as a failure of any kind.
func (s StageStatus) broke() bool {
	return s == StageFailed || s == StageErrored || s == StageTimedOut
}

// Result is what a run ends as, of what its stages ended as: the first that
// applies of canceled, errored, failed, succeeded, skipped. (A run that was told
// to end, by a person or its timeout, ends as that says.)
func Result(stages []StageStatus) Status {
	result := Skipped
	for _, s := range stages {
		if r := resultOf(s); severity[r] > severity[result] {
			result = r
		}
	}
	return result
}

var severity = map[Status]int{Skipped: 0, Succeeded: 1, Failed: 2, Errored: 3}

func resultOf(s StageStatus) Status {
	switch s {
	case StageErrored:
		return Errored
	case StageFailed, StageTimedOut, StageCanceled: // a canceled cell: its sibling failed
		return Failed
	case StageSkipped:
		return Skipped
	}
	return Succeeded
}
