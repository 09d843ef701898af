package platformtest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
)

// callsMachine calls a function, looks at the answer and comes again, until the
// function says that it is enough: four transitions a round.
const callsMachine = `{"StartAt": "Call", "States": {
	"Call": {
		"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke",
		"Parameters": {"FunctionName": "${function}", "Payload.$": "$"},
		"ResultSelector": {"left.$": "$.Payload"}, "Next": "More?"
	},
	"More?": {"Type": "Choice", "Choices": [{"Variable": "$.left", "NumericGreaterThan": 0, "Next": "Shape"}], "Default": "Done"},
	"Shape": {"Type": "Pass", "Parameters": {"left.$": "$.left"}, "Next": "Again"},
	"Again": {"Type": "Pass", "Next": "Call"},
	"Done": {"Type": "Succeed"}
}}`

const roundsOfBench, transitionsOfRound = 25, 4

// BenchmarkFlow measures transitions a second, with some executions at once; each
// fourth of the transitions calls a function.
func BenchmarkFlow(b *testing.B, open func(*testing.B, FlowSetup) platform.Flow) {
	for _, at := range []int{1, 16} {
		b.Run(fmt.Sprintf("executions=%d", at), func(b *testing.B) {
			over := make(chan struct{}, at)
			f := open(b, FlowSetup{
				Machines: map[string][]byte{"m": []byte(callsMachine)},
				Functions: map[string]platform.Function{"function": func(_ context.Context, in json.RawMessage) (json.RawMessage, error) {
					var v struct{ Left int }
					if err := json.Unmarshal(in, &v); err != nil {
						return nil, err
					}
					if v.Left == 1 {
						over <- struct{}{}
					}
					return fmt.Append(nil, v.Left-1), nil
				}},
			})
			b.ResetTimer()
			for started, done := 0, 0; done < b.N; {
				for started < b.N && started-done < at {
					started++
					if err := f.Start(b.Context(), "m", fmt.Sprintf("e%d", started), fmt.Appendf(nil, `{"left":%d}`, roundsOfBench)); err != nil {
						b.Fatal(err)
					}
				}
				<-over
				done++
			}
			b.ReportMetric(float64(b.N*roundsOfBench*transitionsOfRound)/b.Elapsed().Seconds(), "transitions/s")
		})
	}
}
