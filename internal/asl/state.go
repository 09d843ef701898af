package asl

import (
	"fmt"
	"slices"
	"strings"
)

// reader reads the own work of a state of one type.
type reader func(p *parser, o map[string]any, s *state) work

// readerOf answers how a type's own work is read, and the fields that it may have
// beside those of every state; nil for a type that there is not.
//
// Source: the specification, "Table of State Types and Fields".
func readerOf(kind string) (read reader, fields []string) {
	switch kind {
	case "Task":
		return readTask, append([]string{
			"Resource", "TimeoutSeconds", "TimeoutSecondsPath", "HeartbeatSeconds", "HeartbeatSecondsPath", "Credentials",
		}, execution...)
	case "Parallel":
		return readParallel, append([]string{"Branches"}, execution...)
	case "Map":
		return readMap, append([]string{
			"ItemProcessor", "Iterator", "ItemsPath", "ItemSelector", "ItemReader", "ItemBatcher", "ResultWriter",
			"MaxConcurrency", "MaxConcurrencyPath", "ToleratedFailureCount", "ToleratedFailureCountPath",
			"ToleratedFailurePercentage", "ToleratedFailurePercentagePath", "Label",
		}, execution...)
	case "Pass":
		return readPass, []string{"Result", "Parameters", "ResultPath", "Assign", "Next", "End"}
	case "Wait":
		return readWait, []string{"Seconds", "SecondsPath", "Timestamp", "TimestampPath", "Assign", "Next", "End"}
	case "Choice":
		return readChoice, []string{"Choices", "Default", "Assign"}
	case "Succeed":
		return readSucceed, nil
	case "Fail":
		return readFail, []string{"Error", "Cause", "ErrorPath", "CausePath"}
	}
	return nil, nil
}

var (
	everyState = []string{"Type", "Comment", "QueryLanguage", "InputPath", "OutputPath"}
	// what states have that call somebody
	execution = []string{"Parameters", "ResultSelector", "ResultPath", "Retry", "Catch", "Assign", "Next", "End"}
	// what only states of the other language have
	jsonataFields = []string{"Arguments", "Output", "Items", "Condition"}
)

func (p *parser) state(name string, v any, place string) *state {
	o, ok := v.(map[string]any)
	if !ok {
		p.schema(place, "Expected value of type Object")
		return nil
	}
	if len([]rune(name)) > maxStateName || name == "" {
		p.schema(place, "The name of a state has 1 to %d characters", maxStateName)
	}
	if !p.required(o, place, "Type") {
		return nil
	}
	p.language(o, place)
	s := &state{name: name, kind: p.text(o, "Type", place), place: place}
	read, fields := readerOf(s.kind)
	if read == nil {
		p.schema(place+"/Type", "Value is not valid. Acceptable values are [Task, Parallel, Map, Pass, Wait, Choice, Succeed, Fail]")
		return nil
	}
	if o["QueryLanguage"] == "JSONata" {
		return nil // said already; its fields are those of another language
	}
	p.known(o, place, append(slices.Clone(everyState), fields...))
	p.dataFlow(o, s)
	s.work = read(p, o, s)
	if slices.Contains(fields, "Next") {
		p.ending(o, s)
	}
	return s
}

// maxStateName is in characters.
const maxStateName = 80

// known reports the fields that a state does not have.
func (p *parser) known(o map[string]any, place string, fields []string) {
	var unknown []string
	for name := range o {
		if !slices.Contains(fields, name) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		if slices.Contains(jsonataFields, name) {
			p.schema(place, "'%s' is a field of the query language JSONata and not supported in JSONPath", name)
			continue
		}
		p.schema(place, "Field '%s' is not supported", name)
	}
}

// ending reads Next or End, of which a state has exactly one.
func (p *parser) ending(o map[string]any, s *state) {
	s.next = p.text(o, "Next", s.place)
	end, hasEnd := o["End"]
	switch {
	case hasEnd && end != true && end != false:
		p.schema(s.place+"/End", "Expected value of type Boolean")
	case s.next == "" && end != true:
		p.schema(s.place, "A state has 'Next' or 'End'")
	case s.next != "" && end == true:
		p.schema(s.place, "A state has 'Next' or 'End', not both")
	}
}

// dataFlow reads the fields that shape input and output.
func (p *parser) dataFlow(o map[string]any, s *state) {
	s.inputPath, s.noInput = p.path(o, "InputPath", s.place)
	s.outputPath, s.noOutput = p.path(o, "OutputPath", s.place)
	s.resultPath, s.noResult = p.resultPath(o, s.place)
	s.parameters = p.template(o, "Parameters", s.place)
	s.selector = p.template(o, "ResultSelector", s.place)
	s.assign = p.assign(o, s.place)
	s.retry = p.retriers(o, s.place)
	s.catch = p.catchers(o, s.place)
}

// path reads a path; null is said apart.
func (p *parser) path(o map[string]any, field, place string) (e expression, isNull bool) {
	v, ok := o[field]
	if !ok {
		return nil, false
	}
	if v == nil {
		return nil, true
	}
	source, _ := v.(string)
	e, err := parsePathExpression(source)
	if err != nil {
		p.schema(place+"/"+field, "Value is not a valid JSONPath")
	}
	return e, false
}

// lookup reads a field whose value is a path or an intrinsic function call.
func (p *parser) lookup(o map[string]any, field, place string) expression {
	v, ok := o[field]
	if !ok {
		return nil
	}
	source, _ := v.(string)
	e, err := parseExpression(source)
	if err != nil {
		p.schema(place+"/"+field, "Value is not a valid JSONPath")
		return nil
	}
	return e
}

func (p *parser) resultPath(o map[string]any, place string) (r reference, isNull bool) {
	v, ok := o["ResultPath"]
	if !ok {
		return reference{source: "$"}, false
	}
	if v == nil {
		return reference{}, true
	}
	source, _ := v.(string)
	r, err := parseReference(source)
	if err != nil {
		p.schema(place+"/ResultPath", "Value is not a Reference Path")
	}
	return r, false
}

func (p *parser) template(o map[string]any, field, place string) *template {
	v, ok := o[field]
	if !ok {
		return nil
	}
	return parseTemplate(v, place+"/"+field, p.inTemplate)
}

func (p *parser) assign(o map[string]any, place string) *template {
	v, ok := o["Assign"]
	if !ok {
		return nil
	}
	object, ok := v.(map[string]any)
	if !ok {
		p.schema(place+"/Assign", "Expected value of type Object")
		return nil
	}
	for name := range object {
		name = strings.TrimSuffix(name, ".$")
		if name == "" || variableName(name) != name || name == "states" {
			p.schema(place+"/Assign", "'%s' is not a valid name of a variable", name)
		}
	}
	return parseTemplate(object, place+"/Assign", p.inTemplate)
}

// one reads two fields of which at most one may be there.
func (p *parser) one(o map[string]any, place string, fields ...string) {
	var there []string
	for _, f := range fields {
		if _, ok := o[f]; ok {
			there = append(there, f)
		}
	}
	if len(there) > 1 {
		p.schema(place, "%s", fmt.Sprintf("You must specify only one of [%s]", strings.Join(there, ", ")))
	}
}
