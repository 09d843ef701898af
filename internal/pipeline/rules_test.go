package pipeline

import (
	"fmt"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	own, need := ending{StageSkipped, reasonCondition}, ending{StageSkipped, reasonNeedFailed}
	done, bad, running := ending{Status: StageSucceeded}, ending{Status: StageFailed}, ending{Status: StageRunning}
	for name, tt := range map[string]struct {
		on   string
		ends []ending
		want verdict
		why  string
	}{
		"all succeeded":                      {"succeeded", []ending{done, {Status: StageAllowed}}, satisfied, ""},
		"one still runs":                     {"succeeded", []ending{done, running}, open, ""},
		"one failed while one runs":          {"succeeded", []ending{running, bad}, ruledOut, reasonNeedFailed},
		"skipped":                            {"succeeded", []ending{own}, ruledOut, reasonNeedSkipped},
		"skipped by its own condition":       {"succeeded-or-skipped", []ending{own}, satisfied, ""},
		"skipped for another's sake":         {"succeeded-or-skipped", []ending{need}, ruledOut, reasonNeedSkipped},
		"canceled":                           {"succeeded", []ending{{Status: StageCanceled}}, ruledOut, reasonNeedCanceled},
		"finished takes all":                 {"finished", []ending{bad, own}, satisfied, ""},
		"failed waits for all of its group":  {"failed", []ending{bad, running}, open, ""},
		"failed with one":                    {"failed", []ending{bad, done}, satisfied, ""},
		"failed without any":                 {"failed", []ending{done, own}, ruledOut, reasonNothingFailed},
		"an allowed failure is none":         {"failed", []ending{{Status: StageAllowed}}, ruledOut, reasonNothingFailed},
		"a need of which nothing is known":   {"finished", []ending{{}}, open, ""},
		"timed out and errored are failures": {"failed", []ending{{Status: StageTimedOut}, {Status: StageErrored}}, satisfied, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var needs []Edge
			for i := range tt.ends {
				needs = append(needs, Edge{From: i, On: tt.on})
			}
			got, why, _ := judge(needs, func(i int) ending { return tt.ends[i] })
			if got != tt.want || why != tt.why {
				t.Errorf("judge = %d %q, want %d %q", got, why, tt.want, tt.why)
			}
		})
	}
}

func TestConclude(t *testing.T) {
	t.Parallel()
	exit := supervisor.Result{Reason: "exit", ExitCode: 3}
	lost := supervisor.Result{Reason: "heartbeat-lost"}
	oom := supervisor.Result{Reason: "oom", ExitCode: 137}
	asks := func(count int, on ...string) language.Stage {
		return language.Stage{Retry: language.Retry{Count: count, On: on}}
	}
	for name, tt := range map[string]struct {
		spec   language.Stage
		result supervisor.Result
		cause  string
		before tries
		want   StageStatus
		retry  bool
		after  time.Duration
	}{
		"failed":                         {result: exit, want: StageFailed},
		"allowed":                        {spec: language.Stage{AllowFailure: &language.AllowFailure{}}, result: exit, want: StageAllowed},
		"allowed for another code":       {spec: language.Stage{AllowFailure: &language.AllowFailure{Codes: []int{4}}}, result: exit, want: StageFailed},
		"infra is retried":               {result: lost, want: StageErrored, retry: true, after: 10 * time.Second},
		"infra a second time":            {result: lost, before: tries{infra: 1}, want: StageErrored, retry: true, after: 20 * time.Second},
		"infra twice is enough":          {result: lost, before: tries{infra: 2}, want: StageErrored},
		"InfraRetryNotCounted":           {spec: language.Stage{Retry: language.Retry{Count: 1}}, result: exit, before: tries{infra: 2}, want: StageFailed, retry: true, after: 10 * time.Second},
		"infra that was asked for":       {spec: asks(1, "infra"), result: lost, before: tries{infra: 2}, want: StageErrored, retry: true, after: 10 * time.Second},
		"infra as often as asked":        {spec: asks(1, "infra"), result: lost, before: tries{infra: 3}, want: StageErrored},
		"any counts all that was asked":  {spec: asks(2, "any"), result: lost, before: tries{infra: 3, asked: 1}, want: StageErrored},
		"out of memory is no signal":     {spec: asks(1, "signal"), result: oom, want: StageFailed},
		"out of memory, asked for":       {spec: asks(1, "oom"), result: oom, want: StageFailed, retry: true, after: 10 * time.Second},
		"backoff doubles":                {spec: asks(5, "exit"), result: exit, before: tries{asked: 3}, want: StageFailed, retry: true, after: 80 * time.Second},
		"backoff has a limit":            {spec: language.Stage{Retry: language.Retry{Count: 5, Backoff: 4 * time.Minute}}, result: exit, before: tries{asked: 2}, want: StageFailed, retry: true, after: maxPause},
		"retries used up":                {spec: language.Stage{Retry: language.Retry{Count: 1}}, result: exit, before: tries{asked: 1}, want: StageFailed},
		"another code is listed":         {spec: language.Stage{Retry: language.Retry{Count: 1, On: []string{"exit:4"}}}, result: exit, want: StageFailed},
		"this code is listed":            {spec: language.Stage{Retry: language.Retry{Count: 1, On: []string{"exit:3"}, Backoff: time.Second}}, result: exit, want: StageFailed, retry: true, after: time.Second},
		"canceled, whatever it says":     {result: exit, cause: "user", want: StageCanceled},
		"canceled after its end":         {result: supervisor.Result{Reason: "ok"}, cause: "user", want: StageSucceeded},
		"a reason that nobody knows":     {result: supervisor.Result{Reason: "surprise"}, want: StageErrored},
		"a missing secret stays missing": {spec: language.Stage{Retry: language.Retry{Count: 5, On: []string{"any"}}}, result: supervisor.Result{Reason: "secret-missing"}, want: StageErrored},
	} {
		t.Run(name, func(t *testing.T) {
			got := conclude(&tt.spec, tt.result, tt.cause, tt.before)
			if got.retry != tt.retry || got.after != tt.after || !tt.retry && got.status != tt.want {
				t.Errorf("conclude = %+v", got)
			}
		})
	}
}

// What is never retried stays so, whatever the file asks for (pipelines.md 3.11).
func TestNeverRetried(t *testing.T) {
	t.Parallel()
	spec := language.Stage{Retry: language.Retry{Count: 5, On: []string{"any", "exit", "infra"}}}
	for _, reason := range []string{
		"canceled", "secret-missing", "secret-untrusted", "image-not-found", "engine-missing", "class-unfit", "source-gone",
		"artifact-missing", "artifact-empty", "artifact-invalid", "artifact-unresolved", "output-invalid", "report-missing", "log-limit",
	} {
		if end := conclude(&spec, supervisor.Result{Reason: reason}, "", tries{}); end.retry {
			t.Errorf("%s is tried again", reason)
		}
	}
}

func TestSpread(t *testing.T) {
	t.Parallel()
	seen := make(map[time.Duration]bool)
	for i := range 200 {
		attempt := fmt.Sprint("attempt ", i)
		got := spread(10*time.Second, attempt)
		if got < 8*time.Second || got > 12*time.Second || got != spread(10*time.Second, attempt) {
			t.Fatalf("%s waits %s", attempt, got)
		}
		seen[got] = true
		if got := spread(maxPause, attempt); got > maxPause {
			t.Fatalf("%s waits %s, longer than %s", attempt, got, maxPause)
		}
	}
	if len(seen) < 150 {
		t.Errorf("200 attempts wait %d different times", len(seen))
	}
}
