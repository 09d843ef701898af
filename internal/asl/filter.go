package asl

import "encoding/json"

// predicate is the condition of a filter, [?(@.price < 10 && @.isbn)].
type predicate interface {
	holds(node, root any) bool
}

type (
	both     struct{ left, right predicate }
	either   struct{ left, right predicate }
	negation struct{ of predicate }
	exists   struct{ of operand }
	relation struct {
		left, right operand
		operator    string
	}
)

// operand is a path from @ or $, or a literal.
type operand struct {
	path    path
	local   bool // from @
	literal any
	isPath  bool
}

func (b both) holds(n, r any) bool     { return b.left.holds(n, r) && b.right.holds(n, r) }
func (e either) holds(n, r any) bool   { return e.left.holds(n, r) || e.right.holds(n, r) }
func (n negation) holds(v, r any) bool { return !n.of.holds(v, r) }

func (e exists) holds(node, root any) bool {
	v, ok := e.of.value(node, root)
	if list, several := v.([]any); several && !e.of.path.definite {
		return len(list) > 0
	}
	return ok
}

func (c relation) holds(node, root any) bool {
	left, okLeft := c.left.value(node, root)
	right, okRight := c.right.value(node, root)
	if !okLeft || !okRight {
		return false
	}
	switch c.operator {
	case "==":
		return equal(left, right)
	case "!=":
		return !equal(left, right)
	}
	order, ok := orderOf(left, right)
	if !ok {
		return false
	}
	switch c.operator {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	}
	return order >= 0
}

// orderOf compares two numbers or two strings.
func orderOf(a, b any) (int, bool) {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		return compareNumbers(a, b), ok
	case string:
		b, ok := b.(string)
		return compare(a, b), ok
	}
	return 0, false
}

func (o operand) value(node, root any) (any, bool) {
	switch {
	case !o.isPath:
		return o.literal, true
	case o.local:
		return o.path.get(node)
	}
	return o.path.get(root)
}

// filter reads what follows [?, in parentheses.
func (p *pathParser) filter() (step, error) {
	p.space()
	if !p.take("(") {
		return nil, p.errorf("( is missing after ?")
	}
	test, err := p.disjunction()
	if err != nil {
		return nil, err
	}
	p.space()
	if !p.take(")") {
		return nil, p.errorf(") is missing")
	}
	return filter{test}, nil
}

func (p *pathParser) disjunction() (predicate, error) {
	left, err := p.conjunction()
	for err == nil {
		p.space()
		if !p.take("||") {
			return left, nil
		}
		var right predicate
		if right, err = p.conjunction(); err == nil {
			left = either{left, right}
		}
	}
	return nil, err
}

func (p *pathParser) conjunction() (predicate, error) {
	left, err := p.term()
	for err == nil {
		p.space()
		if !p.take("&&") {
			return left, nil
		}
		var right predicate
		if right, err = p.term(); err == nil {
			left = both{left, right}
		}
	}
	return nil, err
}

func (p *pathParser) term() (predicate, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, p.errorf("filters are nested at most %d deep", maxNesting)
	}
	defer func() { p.depth-- }()
	p.space()
	switch {
	case p.take("!("):
		p.at--
		of, err := p.term()
		return negation{of}, err
	case p.take("!"):
		of, err := p.term()
		return negation{of}, err
	case p.take("("):
		inner, err := p.disjunction()
		if err != nil {
			return nil, err
		}
		p.space()
		if !p.take(")") {
			return nil, p.errorf(") is missing")
		}
		return inner, nil
	}
	return p.relation()
}

func (p *pathParser) relation() (predicate, error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	p.space()
	for _, operator := range []string{"==", "!=", "<=", ">=", "<", ">"} {
		if p.take(operator) {
			right, err := p.operand()
			return relation{left, right, operator}, err
		}
	}
	if !left.isPath {
		return nil, p.errorf("a comparison is missing")
	}
	return exists{left}, nil
}

func (p *pathParser) operand() (operand, error) {
	p.space()
	local := p.take("@")
	if !local && !p.take("$") {
		literal, err := p.literal()
		return operand{literal: literal}, err
	}
	steps, err := p.steps()
	return operand{path: path{steps, isDefinite(steps)}, local: local, isPath: true}, err
}
