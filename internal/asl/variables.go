package asl

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// VariableReferences lists the variables that each state reads, in alphabetical
// order; a state that reads none is left out. States inside a Map or a Parallel
// stand for themselves. The definition must be a valid one.
//
// Source: API Reference, DescribeStateMachine, variableReferences.
func VariableReferences(definition []byte) (map[string][]string, error) {
	var machine map[string]any
	if err := json.Unmarshal(definition, &machine); err != nil {
		return nil, err
	}
	found := variableFinder{}
	found.branch(machine)
	list := make(map[string][]string, len(found))
	for state, names := range found {
		list[state] = slices.Sorted(maps.Keys(names))
	}
	return list, nil
}

// variableFinder holds the variables found, by state and name.
type variableFinder map[string]map[string]bool

func (f variableFinder) branch(b map[string]any) {
	states, _ := b["States"].(map[string]any)
	for name, s := range states {
		f.fields(name, s)
	}
}

// templates are the fields in which only names that end in .$ hold an expression.
var templates = []string{"Parameters", "ResultSelector", "ItemSelector", "Assign", "BatchInput", "Credentials"}

// fields looks at what a state holds outside its templates, and into its branches.
func (f variableFinder) fields(state string, v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			f.fields(state, item)
		}
	case map[string]any:
		if v["States"] != nil {
			f.branch(v)
			return
		}
		for key, field := range v {
			source, isText := field.(string)
			switch {
			case key == "Result" || key == "ResultPath" || key == "Comment":
			case slices.Contains(templates, key):
				f.template(state, field)
			case isText && (key == "Variable" || strings.HasSuffix(key, "Path")):
				f.expression(state, source)
			case !isText:
				f.fields(state, field)
			}
		}
	}
}

// template looks at a payload template.
func (f variableFinder) template(state string, v any) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			f.template(state, item)
		}
	case map[string]any:
		for key, field := range v {
			if source, isText := field.(string); isText && strings.HasSuffix(key, ".$") {
				f.expression(state, source)
				continue
			}
			f.template(state, field)
		}
	}
}

// expression looks at what is looked up; a definition with one that cannot be
// parsed is not valid, and so none of it is read.
func (f variableFinder) expression(state, source string) {
	if e, err := parseExpression(source); err == nil {
		f.read(state, e)
	}
}

func (f variableFinder) read(state string, e expression) {
	switch e := e.(type) {
	case variablePath:
		if f[state] == nil {
			f[state] = map[string]bool{}
		}
		f[state][e.name] = true
	case call:
		for _, argument := range e.arguments {
			f.read(state, argument)
		}
	}
}
