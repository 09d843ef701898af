package asl_test

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/buildit-dev/buildit/internal/asl"
)

// judgeTestState tries one state as TestState did.
func (s *scenario) judgeTestState() (string, []string) {
	want := s.Expected
	if refused, ok := want["api_error"].(map[string]any); ok {
		message, _ := refused["message"].(string)
		switch {
		case refused["type"] == "ParamValidationError":
			return "test_state: refused by the client library, before the service", nil
		case strings.HasPrefix(message, "Mock result schema validation error"):
			return "test_state: mocks are not checked against the API model of the service", nil
		}
	}
	if len(s.Needs) > 0 && s.Request["mock"] == nil {
		return "test_state: a Task that was really called, whose answer was not recorded", nil
	}
	trial, err := s.trial()
	if err != nil {
		return "", []string{err.Error()}
	}
	verdict, err := asl.Try(trial, s.start())
	var got map[string]any
	var refusal *asl.Refusal
	switch {
	case errors.As(err, &refusal):
		got = map[string]any{"api_error": map[string]any{"type": refusal.Type, "message": refusal.Message}}
	case err != nil:
		return "", []string{err.Error()}
	default:
		got = verdictOf(verdict)
	}
	if _, ok := want["inspectionData"]; !ok {
		delete(got, "inspectionData")
	}
	if problem := match("test_state", want, got); problem != "" {
		return "", []string{problem}
	}
	return "", nil
}

func (s *scenario) trial() (asl.Trial, error) {
	definition, err := asl.Decode(s.definition())
	if err != nil {
		return asl.Trial{}, err
	}
	trial := asl.Trial{Definition: definition.(map[string]any)}
	if trial.Input, err = s.input(); err != nil {
		return trial, err
	}
	trial.Reveal = s.Request["revealSecrets"] == true
	trial.StateName, _ = s.Request["stateName"].(string)
	trial.Context, _ = s.Request["context"].(map[string]any)
	trial.Variables, _ = s.Request["variables"].(map[string]any)
	if mock, ok := s.Request["mock"].(map[string]any); ok {
		trial.Mock = &asl.Mock{Result: mock["result"]}
		if failed, ok := mock["errorOutput"].(map[string]any); ok {
			trial.Mock.Failed = true
			trial.Mock.Error, _ = failed["error"].(string)
			trial.Mock.Cause, _ = failed["cause"].(string)
		}
	}
	configuration, _ := s.Request["stateConfiguration"].(map[string]any)
	trial.RetryCount = count(configuration["retrierRetryCount"])
	trial.ItemData = configuration["mapItemReaderData"]
	if n, ok := configuration["mapIterationFailureCount"]; ok {
		failures := count(n)
		trial.FailureCount = &failures
	}
	return trial, nil
}

func count(v any) int {
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	i, err := n.Int64()
	if err != nil {
		return 0
	}
	return int(i)
}

func verdictOf(v asl.Verdict) map[string]any {
	got := map[string]any{"status": v.Status, "inspectionData": v.Inspection}
	if v.Status == "SUCCEEDED" || v.Status == "CAUGHT_ERROR" {
		got["output"] = v.Output
	}
	for name, value := range map[string]string{"error": v.Error, "cause": v.Cause, "nextState": v.NextState} {
		if value != "" {
			got[name] = value
		}
	}
	return got
}
