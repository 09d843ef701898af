package asl

import (
	"fmt"
	"strings"
)

// choice goes the way of the first rule that holds.
//
// Source: the specification, "Choice State".
type choice struct {
	rules     []choiceRule
	otherwise string // Default
}

type choiceRule struct {
	test   condition
	next   string
	assign *template
}

func readChoice(p *parser, o map[string]any, s *state) work {
	c := &choice{otherwise: p.text(o, "Default", s.place)}
	if !p.required(o, s.place, "Choices") {
		return c
	}
	list := p.list(o, "Choices", s.place)
	if len(list) == 0 {
		p.schema(s.place+"/Choices", "A Choice state has at least one rule")
	}
	for i, e := range list {
		at := fmt.Sprintf("%s/Choices[%d]", s.place, i)
		rule := choiceRule{assign: p.assign(e, at)}
		if p.required(e, at, "Next") {
			rule.next = p.text(e, "Next", at)
		}
		rule.test = p.condition(e, at, true)
		c.rules = append(c.rules, rule)
	}
	return c
}

func (c *choice) begin(r *Run, t *Thread, s *state) {
	in, err := r.input(t, s)
	if err != nil {
		r.fail(t, s, t.problem(s, err))
		return
	}
	see := r.sight(t, in)
	for _, rule := range c.rules {
		holds, err := rule.test.holds(see)
		if err != nil {
			r.fail(t, s, t.problem(s, err))
			return
		}
		if holds {
			r.choose(t, s, in, rule)
			return
		}
	}
	if c.otherwise == "" {
		r.fail(t, s, failure{name: errorNoChoice, cause: t.where(s) +
			"Failed to transition out of the state. The state's choice rules do not match, and it has no Default."})
		return
	}
	r.choose(t, s, in, choiceRule{next: c.otherwise})
}

func (r *Run) choose(t *Thread, s *state, in any, rule choiceRule) {
	output, vars, err := r.output(t, s, in, rule.assign)
	if err != nil {
		r.fail(t, s, t.problem(s, err))
		return
	}
	r.leave(t, s, output, vars, rule.next)
}

// condition is the test of a rule.
type condition interface {
	holds(s *sight) (bool, error)
}

type (
	allOf  []condition
	anyOf  []condition
	noneOf struct{ of condition }
	// comparison compares what Variable selects.
	comparison struct {
		variable expression
		source   string
		test     comparator
		expected any        // a literal
		path     expression // or where it is
		pathText string
	}
	// isPresent asks whether Variable selects something.
	isPresent struct {
		variable expression
		expected bool
	}
)

func (a allOf) holds(s *sight) (bool, error) {
	for _, c := range a {
		if holds, err := c.holds(s); err != nil || !holds {
			return false, err
		}
	}
	return true, nil
}

func (a anyOf) holds(s *sight) (bool, error) {
	for _, c := range a {
		if holds, err := c.holds(s); err != nil || holds {
			return holds, err
		}
	}
	return false, nil
}

func (n noneOf) holds(s *sight) (bool, error) {
	holds, err := n.of.holds(s)
	return !holds, err
}

func (i isPresent) holds(s *sight) (bool, error) {
	_, err := i.variable.eval(s)
	return (err == nil) == i.expected, nil
}

func (c comparison) holds(s *sight) (bool, error) {
	v, err := c.variable.eval(s)
	if err != nil {
		return false, saying("Invalid path '%s': The choice state's condition path references an invalid value.", c.source)
	}
	expected := c.expected
	if c.path != nil {
		if expected, err = c.path.eval(s); err != nil {
			return false, saying("Invalid path '%s': The choice state's condition path references an invalid value.", c.pathText)
		}
	}
	return c.test.compare(v, expected), nil
}

// condition reads a rule, or one inside And, Or and Not, which has no Next.
func (p *parser) condition(o map[string]any, place string, top bool) condition {
	if p.depth++; p.depth > maxNesting {
		p.schema(place, "Rules are nested at most %d deep", maxNesting)
		return allOf{}
	}
	defer func() { p.depth-- }()
	for field := range o {
		switch {
		case field == "And":
			return allOf(p.conditions(o, field, place))
		case field == "Or":
			return anyOf(p.conditions(o, field, place))
		case field == "Not":
			inner, ok := o[field].(map[string]any)
			if !ok {
				p.schema(place+"/Not", "Expected value of type Object")
				return allOf{}
			}
			return noneOf{p.condition(inner, place+"/Not", false)}
		case field == "Next" && !top:
			p.schema(place, "Field 'Next' is not supported")
		}
	}
	return p.comparison(o, place)
}

func (p *parser) conditions(o map[string]any, field, place string) []condition {
	list := p.list(o, field, place)
	if len(list) == 0 {
		p.schema(place+"/"+field, "Expected a list of at least one rule")
	}
	var all []condition
	for i, e := range list {
		all = append(all, p.condition(e, fmt.Sprintf("%s/%s[%d]", place, field, i), false))
	}
	return all
}

func (p *parser) comparison(o map[string]any, place string) condition {
	if !p.required(o, place, "Variable") {
		return allOf{}
	}
	variable := p.lookup(o, "Variable", place)
	var found condition
	for field, v := range o {
		switch field {
		case "Variable", "Next", "Comment", "Assign":
			continue
		}
		if found != nil {
			p.schema(place, "A rule has one comparison operator")
			return found
		}
		found = p.operator(field, v, variable, o, place)
	}
	if found == nil {
		p.schema(place, "A rule has a comparison operator")
		return allOf{}
	}
	return found
}

func (p *parser) operator(field string, v any, variable expression, o map[string]any, place string) condition {
	c := comparison{variable: variable, source: p.text(o, "Variable", place), expected: v}
	if field == "IsPresent" {
		expected, ok := v.(bool)
		if !ok {
			p.schema(place+"/IsPresent", "Expected value of type Boolean")
		}
		return isPresent{variable, expected}
	}
	name, byPath := strings.CutSuffix(field, "Path")
	test, ok := comparators[name]
	if !ok || byPath && !test.byPath {
		p.schema(place, "Field '%s' is not supported", field)
		return allOf{}
	}
	c.test = test
	if byPath {
		c.path, c.pathText = p.lookup(o, field, place), p.text(o, field, place)
	} else if !test.takes(v) {
		p.schema(place+"/"+field, "Expected value of another type")
	}
	return c
}
