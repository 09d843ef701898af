package asl_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/asl"
	"github.com/buildit-dev/buildit/internal/golden"
)

// scenario is one file of the recordings; their README says what each field is.
type scenario struct {
	file string

	Name           string
	Kind           string
	Definition     json.RawMessage
	DefinitionText *string `json:"definition_text"`
	Input          json.RawMessage
	InputText      *string `json:"input_text"`
	Type           asl.Type
	QueryLanguage  string `json:"query_language"`
	Features       []string
	Needs          []string
	Stubs          []*stub
	Resources      struct{ S3 []object }
	Clock          string
	Request        map[string]any
	Expected       map[string]any
	Recorded       string
}

// stub is how one attempt of one task was answered.
type stub struct {
	State, Resource, Outcome string
	Input, Output, Submitted any
	Error                    string
	Cause                    any
	used                     bool
}

type object struct{ Bucket, Key, Body string }

// definition is the text of the machine.
func (s *scenario) definition() []byte {
	if s.DefinitionText != nil {
		return []byte(*s.DefinitionText)
	}
	return s.Definition
}

// TestRecordings replays what Step Functions did: every scenario whose features
// are implemented must come out as it was recorded.
func TestRecordings(t *testing.T) {
	folder := golden.Folder(t, "BUILDIT_ASL_RECORDINGS", "../shared/recordings/stepfunctions")
	var passed, failed int
	skipped := map[string]int{}
	for _, s := range readScenarios(t, folder) {
		reason := s.skip()
		if reason == "" {
			reason, problems := s.judge()
			if reason != "" {
				skipped[reason]++
				continue
			}
			if len(problems) == 0 {
				passed++
				continue
			}
			failed++
			t.Errorf("%s (%s):\n  %s", s.file, s.Name, strings.Join(problems, "\n  "))
			continue
		}
		skipped[reason]++
	}
	total := 0
	for _, reason := range slices.Sorted(maps.Keys(skipped)) {
		say(t, fmt.Sprintf("skipped: %4d  %s", skipped[reason], reason))
		total += skipped[reason]
	}
	say(t, fmt.Sprintf("recordings: %d passed, %d failed, %d skipped", passed, failed, total))
}

// say prints a line as it is, for whoever reads the output of go test -v.
func say(t *testing.T, line string) {
	t.Helper()
	t.Log(line)
	fmt.Println(line)
}

func readScenarios(t *testing.T, folder string) []*scenario {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	all := make([]*scenario, 0, len(files))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := &scenario{file: filepath.Base(filepath.Dir(file)) + "/" + filepath.Base(file)}
		d := json.NewDecoder(strings.NewReader(string(text)))
		d.UseNumber()
		if err := d.Decode(s); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, s)
	}
	return all
}

// skip answers why a scenario cannot be judged, by its features alone.
func (s *scenario) skip() string {
	switch {
	case s.Kind == "validation":
		return ""
	case s.QueryLanguage != "JSONPath":
		return "query language JSONata: out of scope"
	case s.Kind == "execution" && len(s.Needs) > 0 && len(s.Stubs) == 0 && slices.Contains(s.Features, "Task"):
		return "a Task whose answers were not recorded"
	case s.distributedTask():
		return "a Task inside a distributed Map: the recordings hold no answer for it"
	}
	return ""
}

// distributedTask says whether a task runs in a child execution, which has a
// history of its own and so no stubs.
func (s *scenario) distributedTask() bool {
	if s.Kind != "execution" {
		return false
	}
	var definition any
	if err := json.Unmarshal(s.Definition, &definition); err != nil {
		return false
	}
	found := false
	var walk func(v any, inside bool)
	walk = func(v any, inside bool) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e, inside)
			}
		case map[string]any:
			config, _ := v["ProcessorConfig"].(map[string]any)
			inside = inside || config["Mode"] == "DISTRIBUTED"
			found = found || inside && v["Type"] == "Task"
			for _, e := range v {
				walk(e, inside)
			}
		}
	}
	walk(definition, false)
	return found
}

// judge runs a scenario and answers what differs, or why it cannot be run.
func (s *scenario) judge() (skip string, problems []string) {
	switch s.Kind {
	case "execution":
		return s.judgeExecution()
	case "create_error":
		return "", s.judgeCreate()
	case "validation":
		return "", s.judgeValidation()
	case "test_state":
		return s.judgeTestState()
	case "variable_references":
		return "", s.judgeVariables()
	}
	return "kind " + s.Kind, nil
}

// judgeCreate compares codes and places; how AWS words a refusal is its own.
func (s *scenario) judgeCreate() []string {
	want := s.Expected["create_error"].(map[string]any)
	_, err := asl.Parse(s.definition(), s.Type)
	if err == nil {
		return []string{fmt.Sprintf("created, want %v", want)}
	}
	code, place := refusalParts(fmt.Sprint(want["message"]))
	gotCode, gotPlace := refusalParts(err.Error())
	if want["type"] != "InvalidDefinition" || gotCode != code || gotPlace != place {
		return []string{fmt.Sprintf("refused with %v, want %v", err, want)}
	}
	return nil
}

var refusal = regexp.MustCompile(`^Invalid State Machine Definition: '(\w+): .* at (/[^']*)'$`)

// refusalParts are the code and the place of a refused definition.
func refusalParts(message string) (code, place string) {
	parts := refusal.FindStringSubmatch(message)
	if parts == nil {
		return message, ""
	}
	return parts[1], parts[2]
}

func (s *scenario) judgeVariables() []string {
	listed, err := asl.VariableReferences(s.definition())
	if err != nil {
		return []string{err.Error()}
	}
	got := map[string]any{}
	for state, names := range listed {
		list := make([]any, len(names))
		for i, name := range names {
			list[i] = name
		}
		got[state] = list
	}
	if problem := match("variables", s.Expected["variable_references"], got); problem != "" {
		return []string{problem}
	}
	return nil
}

func (s *scenario) judgeValidation() []string {
	want := s.Expected["validation"].(map[string]any)
	found := asl.Validate(s.definition(), s.Type)
	result := "OK"
	diagnostics := []any{}
	for _, d := range found {
		if d.Code == asl.NotImplemented {
			continue // valid ASL; that it is not run here is nobody's mistake
		}
		result = "FAIL"
		diagnostics = append(diagnostics, map[string]any{"code": d.Code, "severity": "ERROR", "location": d.Location})
	}
	for _, d := range want["diagnostics"].([]any) {
		d := d.(map[string]any)
		delete(d, "message") // the service's prose
		if _, ok := d["location"]; !ok || d["code"] == asl.InvalidJSON {
			d["location"] = "" // of bad JSON it is where a parser of Java stood
		}
	}
	got := map[string]any{"result": result, "diagnostics": diagnostics, "truncated": false}
	if problem := match("validation", want, got); problem != "" {
		return []string{problem}
	}
	return nil
}
