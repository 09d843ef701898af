package pipeline

import (
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
