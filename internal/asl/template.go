package asl

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// template is a payload template: JSON in which a field whose name ends in .$
// holds an expression, whose value becomes the field without .$. What needs no
// evaluation is kept as one value.
//
// Source: the specification, "Payload Template".
type template struct {
	fixed  any
	fields []templateField // an object
	items  []*template     // an array
}

type templateField struct {
	name       string
	inner      *template
	expression expression
	source     string // as the definition spells it, with .$
}

// parseTemplate reads a template. at is its place, for errors.
func parseTemplate(v any, at string, report func(at, message string)) *template {
	switch v := v.(type) {
	case map[string]any:
		return parseTemplateObject(v, at, report)
	case []any:
		t := &template{items: make([]*template, len(v))}
		fixed := true
		for i, e := range v {
			t.items[i] = parseTemplate(e, fmt.Sprintf("%s[%d]", at, i), report)
			fixed = fixed && t.items[i].isFixed()
		}
		if fixed {
			return &template{fixed: v}
		}
		return t
	}
	return &template{fixed: v}
}

func parseTemplateObject(object map[string]any, at string, report func(at, message string)) *template {
	t := &template{fields: make([]templateField, 0, len(object))}
	fixed := true
	for _, name := range slices.Sorted(maps.Keys(object)) {
		value := object[name]
		plainName, dynamic := strings.CutSuffix(name, ".$")
		if !dynamic {
			inner := parseTemplate(value, at+"/"+name, report)
			fixed = fixed && inner.isFixed()
			t.fields = append(t.fields, templateField{name: name, inner: inner})
			continue
		}
		fixed = false
		source, ok := value.(string)
		if !ok {
			report(at+"/"+name, fmt.Sprintf("The value for the field '%s' must be a STRING that contains a JSONPath but was not", name))
			continue
		}
		e, err := parseExpression(source)
		if err != nil {
			report(at+"/"+name, fmt.Sprintf("The value for the field '%s' must be a valid JSONPath or a valid intrinsic function call", name))
			continue
		}
		t.fields = append(t.fields, templateField{name: plainName, expression: e, source: name})
	}
	if fixed {
		return &template{fixed: object}
	}
	return t
}

func (t *template) isFixed() bool { return t.fields == nil && t.items == nil }

// notFound is a path of a template's field that selects nothing.
type notFound struct {
	noValue
	field string
}

func (e *notFound) Error() string {
	return fmt.Sprintf("The JSONPath '%s' specified for the field '%s' could not be found in the input '%s'",
		e.path, e.field, text(e.in))
}

func (t *template) eval(s *sight) (any, error) {
	switch {
	case t.fields != nil:
		object := make(map[string]any, len(t.fields))
		for _, f := range t.fields {
			v, err := f.eval(s)
			if err != nil {
				return nil, err
			}
			object[f.name] = v
		}
		return object, nil
	case t.items != nil:
		array := make([]any, len(t.items))
		for i, item := range t.items {
			v, err := item.eval(s)
			if err != nil {
				return nil, err
			}
			array[i] = v
		}
		return array, nil
	}
	return t.fixed, nil
}

func (f *templateField) eval(s *sight) (any, error) {
	if f.expression == nil {
		return f.inner.eval(s)
	}
	v, err := f.expression.eval(s)
	return v, forField(err, f.source)
}

// forField names the field in whose value a path was.
func forField(err error, field string) error {
	if missing, ok := err.(*noValue); ok { //nolint:errorlint // made two lines above, never wrapped
		return &notFound{*missing, field}
	}
	return err
}
