package asl

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Machine is a definition that can be run. It never changes.
type Machine struct {
	branch
	timeout time.Duration // of an execution; 0 is none

	// Unsupported are the features of the definition that are part of the language
	// and are not run here. A machine that has any must not be started.
	Unsupported []string
}

// branch is one graph of states: a machine, a branch of a Parallel, the processor
// of a Map.
type branch struct {
	start  string
	states map[string]*state
}

// state is what all states have in common, and its own work.
type state struct {
	name       string
	kind       string // Type
	place      string // /States/Name
	next       string // "" ends the branch
	inputPath  expression
	outputPath expression
	noInput    bool // InputPath: null
	noOutput   bool // OutputPath: null
	parameters *template
	selector   *template // ResultSelector
	resultPath reference
	noResult   bool // ResultPath: null
	assign     *template
	retry      []retrier
	catch      []catcher
	work       work
}

// work is what a state of one type does when a thread comes to it, and comes
// again after a retry. It ends with succeed or fail of the run, or waits.
type work interface {
	begin(r *Run, t *Thread, s *state)
}

// Type says on which kind of machine a definition is to run.
type Type string

// Types of machines. Express machines take no .sync and no .waitForTaskToken.
const (
	Standard Type = "STANDARD"
	Express  Type = "EXPRESS"
)

// Parse reads a definition. The error is an *InvalidDefinition with everything
// that is wrong.
func Parse(definition []byte, kind Type) (*Machine, error) {
	m, diagnostics := parse(definition, kind)
	if len(diagnostics) > 0 {
		return nil, &InvalidDefinition{diagnostics}
	}
	return m, nil
}

// Validate answers what is wrong with a definition: nothing, if it can be created.
func Validate(definition []byte, kind Type) []Diagnostic {
	_, diagnostics := parse(definition, kind)
	return diagnostics
}

func parse(definition []byte, kind Type) (*Machine, []Diagnostic) {
	p := &parser{kind: kind}
	if len(definition) > maxDefinition {
		p.report(SchemaInvalid, "/", definitionTooLong)
		return nil, p.found
	}
	if strings.TrimSpace(string(definition)) == "" {
		p.report(SchemaInvalid, "", "Definition must be a valid JSON object")
		return nil, p.found
	}
	v, err := Decode(definition)
	if err != nil {
		p.report(InvalidJSON, "", err.Error())
		return nil, p.found
	}
	object, ok := v.(map[string]any)
	if !ok {
		p.report(SchemaInvalid, "", "Definition must be a valid JSON object")
		return nil, p.found
	}
	m := p.machine(object)
	m.Unsupported = p.unsupported
	return m, p.found
}

// parser collects what is wrong on its way through a definition.
type parser struct {
	kind  Type
	found []Diagnostic
	depth int

	unsupported []string
}

func (p *parser) report(code, place, message string) {
	p.found = append(p.found, Diagnostic{code, message, place})
}

func (p *parser) schema(place, format string, args ...any) {
	p.report(SchemaInvalid, place, fmt.Sprintf(format, args...))
}

func (p *parser) inTemplate(place, message string) { p.schema(place, "%s", message) }

func (p *parser) machine(o map[string]any) *Machine {
	p.language(o, "/")
	m := &Machine{branch: *p.branch(o, "")}
	if seconds, ok := p.whole(o, "TimeoutSeconds", "/"); ok {
		m.timeout = time.Duration(seconds) * time.Second
	}
	if version, ok := o["Version"]; ok && version != "1.0" {
		p.schema("/Version", "Value is not valid. Acceptable values are '1.0'")
	}
	return m
}

// language refuses JSONata, and a state that would go back to JSONPath.
func (p *parser) language(o map[string]any, place string) {
	language, ok := o["QueryLanguage"]
	if !ok || language == "JSONPath" {
		return
	}
	if language != "JSONata" {
		p.schema(place, "'QueryLanguage' must be one of [JSONPath, JSONata]")
		return
	}
	states, _ := o["States"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(states)) {
		if s, ok := states[name].(map[string]any); ok && s["QueryLanguage"] == "JSONPath" {
			p.schema("/States/"+name, "'QueryLanguage' can not be 'JSONPath' if set to 'JSONata' for whole state machine")
			return
		}
	}
	p.report(NotImplemented, place, jsonataSentence)
}

// branch reads StartAt and States. place is that of the object, "" for the machine.
func (p *parser) branch(o map[string]any, place string) *branch {
	b := &branch{states: map[string]*state{}}
	if p.depth++; p.depth > maxNesting {
		p.schema(place, "Branches are nested at most %d deep", maxNesting)
		return b
	}
	defer func() { p.depth-- }()
	if !p.required(o, place+"/", "StartAt", "States") {
		return b
	}
	states, ok := o["States"].(map[string]any)
	if !ok || len(states) == 0 {
		p.schema(place+"/States", "States must be an object with at least one state")
		return b
	}
	b.start = p.text(o, "StartAt", place)
	for _, name := range slices.Sorted(maps.Keys(states)) {
		if s := p.state(name, states[name], place+"/States/"+name); s != nil {
			b.states[name] = s
		}
	}
	p.transitions(b, states, place)
	return b
}

// transitions checks that every way leads to a state, every state has a way to
// it, and some state ends.
func (p *parser) transitions(b *branch, states map[string]any, place string) {
	target := func(name, at, field string) {
		if _, ok := states[name]; name != "" && !ok {
			p.report(MissingTarget, at, fmt.Sprintf("Missing '%s' target: %s", field, name))
		}
	}
	target(b.start, place+"/StartAt", "StartAt")
	ends := false
	reached := map[string]bool{b.start: true}
	for _, name := range slices.Sorted(maps.Keys(b.states)) {
		s := b.states[name]
		ends = ends || s.next == "" && s.kind != "Choice"
		for _, way := range s.ways() {
			target(way.to, s.place+way.at, way.field)
			reached[way.to] = reached[way.to] || way.to != name
		}
	}
	if len(b.states) < len(states) || len(p.found) > 0 {
		return
	}
	if !ends {
		p.report(MissingEnd, place+"/States", "There is no state that ends")
	}
	for _, name := range slices.Sorted(maps.Keys(b.states)) {
		if !reached[name] {
			p.report(MissingTarget, b.states[name].place, fmt.Sprintf("State %q is not reachable.", name))
		}
	}
}

// way is one transition out of a state.
type way struct{ to, at, field string }

func (s *state) ways() []way {
	var ways []way
	if s.next != "" {
		ways = append(ways, way{s.next, "/Next", "Next"})
	}
	for i, c := range s.catch {
		ways = append(ways, way{c.next, fmt.Sprintf("/Catch[%d]/Next", i), "Next"})
	}
	if c, ok := s.work.(*choice); ok {
		for i, rule := range c.rules {
			ways = append(ways, way{rule.next, fmt.Sprintf("/Choices[%d]/Next", i), "Next"})
		}
		if c.otherwise != "" {
			ways = append(ways, way{c.otherwise, "/Default", "Default"})
		}
	}
	return ways
}

// required reports the fields that are missing.
func (p *parser) required(o map[string]any, place string, fields ...string) bool {
	var missing []string
	for _, f := range fields {
		if _, ok := o[f]; !ok {
			missing = append(missing, f)
		}
	}
	if missing == nil {
		return true
	}
	if place != "/" {
		place = strings.TrimSuffix(place, "/")
	}
	p.schema(place, "These fields are required: [%s]", strings.Join(missing, ", "))
	return false
}

func (p *parser) text(o map[string]any, field, place string) string {
	v, ok := o[field]
	if !ok {
		return ""
	}
	s, ok := v.(string)
	if !ok {
		p.schema(place+"/"+field, "Expected value of type STRING")
	}
	return s
}

// whole reads a number that is not negative.
func (p *parser) whole(o map[string]any, field, place string) (int64, bool) {
	v, ok := o[field]
	if !ok {
		return 0, false
	}
	n, ok := v.(json.Number)
	i, isWhole := whole(n)
	if !ok || !isWhole || i < 0 || i > maxSeconds {
		p.schema(strings.TrimSuffix(place, "/")+"/"+field, "Expected value of type Integer between 0 and %d", maxSeconds)
		return 0, false
	}
	return i, true
}

// maxSeconds is the longest timeout and wait, about three years.
const maxSeconds = 99999999
