package pipeline

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// Classes of retry (pipelines.md 3.11).
const (
	classInfra   = "infra"
	classExit    = "exit"
	classSignal  = "signal"
	classOOM     = "oom"
	classTimeout = "timeout"
	classService = "service"
)

// ends is what an exit reason makes of a stage, and the class in which it is
// tried again; "" is never.
type ends struct {
	status StageStatus
	class  string
}

// exitReasons is pipelines.md 5.4.
var exitReasons = map[string]ends{
	"ok":                  {StageSucceeded, ""},
	"exit":                {StageFailed, classExit},
	"signal":              {StageFailed, classSignal},
	"oom":                 {StageFailed, classOOM},
	"timeout":             {StageTimedOut, classTimeout},
	"idle-timeout":        {StageTimedOut, classTimeout},
	"canceled":            {StageCanceled, ""},
	"disk-full":           {StageFailed, classExit},
	"checkout-failed":     {StageErrored, classInfra},
	"source-gone":         {StageErrored, ""},
	"image-pull-failed":   {StageErrored, classInfra},
	"image-not-found":     {StageErrored, ""},
	"engine-missing":      {StageErrored, ""},
	"class-unfit":         {StageErrored, ""},
	"service-not-ready":   {StageFailed, classService},
	"service-died":        {StageFailed, classService},
	"secret-missing":      {StageErrored, ""},
	"secret-untrusted":    {StageErrored, ""},
	"artifact-missing":    {StageFailed, ""},
	"artifact-empty":      {StageFailed, ""},
	"artifact-invalid":    {StageFailed, ""},
	"artifact-unresolved": {StageFailed, ""},
	"output-invalid":      {StageFailed, ""},
	"report-missing":      {StageFailed, ""},
	"log-limit":           {StageFailed, ""},
	"upload-failed":       {StageErrored, classInfra},
	"capacity":            {StageErrored, classInfra},
	"start-timeout":       {StageErrored, classInfra},
	"heartbeat-lost":      {StageErrored, classInfra},
	"spot-interrupted":    {StageErrored, classInfra},
	"supervisor-crash":    {StageErrored, classInfra},
	"grant-failed":        {StageErrored, classInfra},
}

// reasonOf finds an exit reason; one that we do not know is our own fault.
func reasonOf(reason string) ends {
	if e, known := exitReasons[reason]; known {
		return e
	}
	return ends{StageErrored, ""}
}

// infraRetries is how often a failure of ours is repeated without being asked.
const infraRetries = 2

// maxPause bounds the wait before a retry.
const maxPause = 5 * time.Minute

// tries are the failed attempts before this one: those that were our fault, and
// those of the commands.
type tries struct{ infra, asked int }

// counted is how many of them count against `retry N`: all but the first that were
// our fault, which are repeated without being asked.
func (t tries) counted() int { return t.asked + max(0, t.infra-infraRetries) }

// outcome is what an attempt's result makes of its stage.
type outcome struct {
	status      StageStatus
	reason, why string
	retry       bool
	after       time.Duration
}

// conclude decides what becomes of a stage, of its specification, the result of an
// attempt, the cause of a cancel ("" for none) and the attempts before.
func conclude(spec *language.Stage, result supervisor.Result, cause string, before tries) outcome {
	e := reasonOf(result.Reason)
	end := outcome{status: e.status, reason: result.Reason, why: result.Detail}
	if result.Reason == "exit" && end.why == "" {
		end.why = fmt.Sprintf("exit code %d", result.ExitCode)
	}
	if cause != "" { // it was told to stop: what it says about that is no failure of its own
		if e.status != StageSucceeded {
			return outcome{status: StageCanceled, reason: "canceled", why: cause}
		}
		return end
	}
	if end.retry, end.after = retries(spec.Retry, e.class, result, before); end.retry {
		return end
	}
	if a := spec.AllowFailure; a != nil && (e.status == StageFailed || e.status == StageTimedOut) {
		if len(a.Codes) == 0 || result.Reason == "exit" && slices.Contains(a.Codes, result.ExitCode) {
			end.status = StageAllowed
		}
	}
	return end
}

// retries says whether, and after how long, another attempt is made.
func retries(asked language.Retry, class string, result supervisor.Result, before tries) (bool, time.Duration) {
	switch {
	case class == "":
		return false, 0
	case class == classInfra && before.infra < infraRetries:
		return true, pause(retryPause, before.infra)
	case before.counted() < asked.Count && listed(asked.On, class, result):
		return true, pause(orDefault(asked.Backoff, retryPause), before.counted())
	}
	return false, 0
}

// listed tells whether `retry … on=` names how the attempt ended. Without `on` it
// speaks of every failure of the commands.
func listed(on []string, class string, result supervisor.Result) bool {
	if len(on) == 0 {
		return class != classInfra
	}
	return slices.Contains(on, "any") || slices.Contains(on, class) ||
		class == classExit && slices.Contains(on, fmt.Sprintf("exit:%d", result.ExitCode))
}

func pause(first time.Duration, before int) time.Duration {
	return min(first<<min(before, 10), maxPause)
}

// spread moves a pause by up to a fifth to either side, so that stages that failed
// together do not come again together. The same attempt always waits the same time,
// whoever computes it.
func spread(pause time.Duration, attempt string) time.Duration {
	h := fnv.New32a()
	h.Write([]byte(attempt))
	fifths := float64(h.Sum32())/math.MaxUint32*2 - 1 // from -1 to 1
	return min(pause+time.Duration(fifths*float64(pause)/5), maxPause)
}
