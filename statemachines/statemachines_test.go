package statemachines

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// allowed is what our files may say: each feature is one that the interpreter has
// and that recordings of the real service judge.
var allowed = struct{ resources, types, fields, choice []string }{
	resources: []string{
		"arn:aws:states:::lambda:invoke",
		"arn:aws:states:::lambda:invoke.waitForTaskToken",
		"arn:aws:states:::states:startExecution",
	},
	types: []string{"Task", "Choice", "Wait", "Succeed", "Fail"},
	fields: []string{
		"Comment", "Type", "Resource", "Parameters", "ResultSelector", "ResultPath", "TimeoutSeconds", "TimeoutSecondsPath",
		"HeartbeatSeconds", "Retry", "Catch", "Next", "Choices", "Default", "SecondsPath", "Error", "Cause",
	},
	choice: []string{"Variable", "StringEquals", "BooleanEquals", "Next"},
}

type machine struct {
	StartAt string
	States  map[string]map[string]any
}

func TestMachinesUseOnlyWhatIsAllowed(t *testing.T) {
	t.Parallel()
	for name, text := range All() {
		t.Run(name, func(t *testing.T) {
			var m machine
			if err := json.Unmarshal(text, &m); err != nil {
				t.Fatal(err)
			}
			if m.States[m.StartAt] == nil {
				t.Fatalf("StartAt %q is no state", m.StartAt)
			}
			for name, state := range m.States {
				checkState(t, name, state)
			}
		})
	}
}

func checkState(t *testing.T, name string, state map[string]any) {
	t.Helper()
	kind, _ := state["Type"].(string)
	if !slices.Contains(allowed.types, kind) {
		t.Errorf("%s: type %q", name, kind)
	}
	for field := range state {
		if !slices.Contains(allowed.fields, field) {
			t.Errorf("%s: field %s", name, field)
		}
	}
	choices, _ := state["Choices"].([]any)
	for _, c := range choices {
		for field := range c.(map[string]any) {
			if !slices.Contains(allowed.choice, field) {
				t.Errorf("%s: choice by %s", name, field)
			}
		}
	}
	if kind != "Task" {
		return
	}
	if resource, _ := state["Resource"].(string); !slices.Contains(allowed.resources, resource) {
		t.Errorf("%s: resource %q", name, resource)
	}
	if state["TimeoutSeconds"] == nil && state["TimeoutSecondsPath"] == nil || state["Retry"] == nil || state["Catch"] == nil {
		t.Errorf("%s: a Task has a timeout, a Retry and a Catch", name)
	}
	payload, _ := state["Parameters"].(map[string]any)["Payload"].(map[string]any)
	if payload["v"] != float64(1) || payload["op"] == nil {
		t.Errorf("%s: a payload has v and op", name)
	}
}

// TestValidatorAgrees runs npm's asl-validator over every file.
func TestValidatorAgrees(t *testing.T) {
	t.Parallel()
	npx, err := exec.LookPath("npx")
	if err != nil {
		t.Skip("npx is not here: asl-validator was not run over the state machines")
	}
	for name := range All() {
		t.Run(name, func(t *testing.T) {
			file, err := filepath.Abs(name + ".asl.json")
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(npx, "--yes", "asl-validator@4.0.0", "--json-path", file)
			cmd.Env = append(os.Environ(), "npm_config_update_notifier=false")
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
