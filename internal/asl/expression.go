package asl

import (
	"fmt"
	"strings"
)

// expression is what a field whose value is looked up holds: a path into the
// input ($.a), into the context object ($$.Execution.Name), into a variable
// ($name.a), or a call of an intrinsic function.
//
// Source: the specification, "Paths", "Using variables", "Intrinsic Functions".
type expression interface {
	eval(s *sight) (any, error)
}

// sight is what an expression sees: the node that $ stands for, the context
// object, and the variables.
type sight struct {
	node     any
	context  func() map[string]any
	variable func(name string) (any, bool)
	env      *Env
}

// noValue is a path that selects nothing.
type noValue struct {
	path string
	in   any
}

func (e *noValue) Error() string {
	return fmt.Sprintf("The JSONPath '%s' could not be found in the input '%s'", e.path, text(e.in))
}

type (
	inputPath struct {
		source string
		path   path
	}
	contextPath struct {
		source string
		path   path
	}
	variablePath struct {
		source string
		name   string
		path   path
	}
)

func (e inputPath) eval(s *sight) (any, error) {
	v, ok := e.path.get(s.node)
	if !ok {
		return nil, &noValue{e.source, s.node}
	}
	return v, nil
}

func (e contextPath) eval(s *sight) (any, error) {
	context := s.context()
	v, ok := e.path.get(context)
	if !ok {
		return nil, &noValue{e.source, context}
	}
	return v, nil
}

func (e variablePath) eval(s *sight) (any, error) {
	value, ok := s.variable(e.name)
	if !ok {
		return nil, &noValue{e.source, map[string]any{}}
	}
	v, ok := e.path.get(value)
	if !ok {
		return nil, &noValue{e.source, value}
	}
	return v, nil
}

// parseExpression reads a path or a call of an intrinsic function.
func parseExpression(source string) (expression, error) {
	if strings.HasPrefix(source, "States.") {
		return parseIntrinsic(source)
	}
	return parsePathExpression(source)
}

// parsePathExpression reads a path of one of the three kinds.
func parsePathExpression(source string) (expression, error) {
	switch {
	case strings.HasPrefix(source, "$$"):
		p, err := parsePath(source[1:])
		return contextPath{source, p}, err
	case source == "$", strings.HasPrefix(source, "$."), strings.HasPrefix(source, "$["):
		p, err := parsePath(source)
		return inputPath{source, p}, err
	case strings.HasPrefix(source, "$"):
		name := variableName(source[1:])
		if name == "" {
			return nil, fmt.Errorf("invalid path '%s'", source)
		}
		p, err := parsePath("$" + source[1+len(name):])
		return variablePath{source, name, p}, err
	}
	return nil, fmt.Errorf("invalid path '%s': a path begins with $", source)
}

// variableName is the name at the beginning of text: letters, digits and _, not a
// digit first, at most 80 characters.
//
// Source: Developer Guide, "Passing data between states with variables".
func variableName(text string) string {
	for i, c := range text {
		if !isNameCharacter(c, i == 0) {
			return text[:i]
		}
		if i == maxVariableName {
			return ""
		}
	}
	return text
}

const maxVariableName = 80 // characters

func isNameCharacter(c rune, first bool) bool {
	switch {
	case c == '_', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c > 127:
		return true
	}
	return !first && c >= '0' && c <= '9'
}
