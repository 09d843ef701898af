package notify

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/buildit-dev/buildit/internal/forge"
	"github.com/buildit-dev/buildit/internal/pipeline"
)

// ofRun is the aggregate check of a pipeline: enough to be the one that a merge
// requires, since a run that was skipped is a success with its reason.
func ofRun(r pipeline.Run) forge.Check {
	c := forge.Check{Commit: r.Commit, Name: "buildit/" + cmp.Or(r.Pipeline, r.File), Run: string(r.ID)}
	why := func(word string) string { return sentence(word, cmp.Or(r.Why, r.Reason)) }
	switch r.Status {
	case pipeline.Running:
		c.State, c.Description = forge.CheckRunning, fmt.Sprintf("run #%d goes on", r.Number)
	case pipeline.Canceling:
		c.State, c.Description = forge.CheckRunning, why("is being canceled")
	case pipeline.Succeeded:
		c.State, c.Description = forge.CheckSuccess, fmt.Sprintf("run #%d succeeded", r.Number)
	case pipeline.Skipped:
		c.State, c.Description = forge.CheckSuccess, why("skipped")
		if r.Reason == "not-forks" {
			c.State, c.Description = forge.CheckNeutral, "not run for forks"
		}
	case pipeline.Failed:
		c.State, c.Description = forge.CheckFailure, why("failed")
	case pipeline.TimedOut:
		c.State, c.Description = forge.CheckFailure, why("timed out")
	case pipeline.Errored:
		c.State, c.Description = forge.CheckError, why("the platform could not run it")
	case pipeline.Canceled:
		c.State, c.Description = forge.CheckCanceled, why("canceled")
		if r.Reason == "superseded" {
			c.State, c.Description = forge.CheckNeutral, "superseded"
		}
	default:
		c.State, c.Description = forge.CheckPending, why(fmt.Sprintf("run #%d waits", r.Number))
	}
	return c
}

// ofStage is the check of one stage. Before it has begun there is none: a stage that
// is over within a moment has one state, its last.
func ofStage(r pipeline.Run, s pipeline.Stage) (c forge.Check, told bool) {
	c = ofRun(r)
	c.Name += "/" + s.Name
	why := func(word string) string { return sentence(word, cmp.Or(s.Why, s.Reason)) }
	switch s.Status {
	case pipeline.StageBlocked:
		return c, false
	case pipeline.StageGated:
		c.State, c.Description = forge.CheckPending, why("waits")
	case pipeline.StageQueued, pipeline.StageStarting:
		c.State, c.Description = forge.CheckPending, "starts"
	case pipeline.StageSucceeded:
		c.State, c.Description = forge.CheckSuccess, "succeeded"
		if s.Flaky {
			c.Description = fmt.Sprintf("succeeded at attempt %d", s.Attempt)
		}
	case pipeline.StageAllowed:
		c.State, c.Description = forge.CheckSuccess, why("failed, which is allowed")
	case pipeline.StageSkipped:
		c.State, c.Description = forge.CheckSuccess, why("skipped")
	case pipeline.StageFailed:
		c.State, c.Description = forge.CheckFailure, why("failed")
	case pipeline.StageTimedOut:
		c.State, c.Description = forge.CheckFailure, why("timed out")
	case pipeline.StageErrored:
		c.State, c.Description = forge.CheckError, why("the platform could not run it")
	case pipeline.StageCanceled:
		c.State, c.Description = forge.CheckCanceled, why("canceled")
	default:
		c.State, c.Description = forge.CheckRunning, "is running"
	}
	return c, true
}

func sentence(word, why string) string {
	why, _, _ = strings.Cut(why, "\n")
	if why == "" {
		return word
	}
	return word + ": " + why
}

// final tells whether nothing more comes of the run or stage.
func final(s forge.CheckState) bool { return s != forge.CheckPending && s != forge.CheckRunning }
