package asl

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// path is a parsed JSONPath: child, index, slice, union, wildcard, descent,
// filter and length(). It is definite if it can select one node at most; the
// value of any other path is the array of what it selects, empty or not.
//
// Source: the specification, "Paths"; Jayway JsonPath, which the service runs.
type path struct {
	steps    []step
	definite bool
}

// step selects nodes below one node.
type step interface {
	selects(node any, root any, emit func(any))
}

type (
	names    []string // ['a'], .a, ['a','b']
	indexes  []int    // [0], [-1], [0,2]
	between  struct{ from, to, step *int }
	wildcard struct{}
	descent  struct{ below step } // ..a, ..*, ..[0]
	filter   struct{ test predicate }
	length   struct{} // .length()
)

const (
	maxPath    = 4096 // bytes of one path
	maxNesting = 32   // filters in filters, functions in functions
)

// parsePath reads text, which begins with $.
func parsePath(text string) (path, error) {
	if len(text) > maxPath {
		return path{}, fmt.Errorf("a path has at most %d bytes", maxPath)
	}
	p := &pathParser{text: text}
	if !p.take("$") {
		return path{}, p.errorf("a path begins with $")
	}
	steps, err := p.steps()
	if err != nil {
		return path{}, err
	}
	if p.at < len(p.text) {
		return path{}, p.errorf("unexpected %q", p.rest())
	}
	return path{steps, isDefinite(steps)}, nil
}

func isDefinite(steps []step) bool {
	for _, s := range steps {
		switch s := s.(type) {
		case names:
			if len(s) != 1 {
				return false
			}
		case indexes:
			if len(s) != 1 {
				return false
			}
		case length:
		default:
			return false
		}
	}
	return true
}

// get answers the value of the path in root, and whether there is one.
func (p path) get(root any) (any, bool) {
	if !p.definite {
		return p.selectAll(root, root), true
	}
	node := root
	for _, s := range p.steps {
		found := false
		s.selects(node, root, func(v any) { node, found = v, true })
		if !found {
			return nil, false
		}
	}
	return node, true
}

func (p path) selectAll(node, root any) []any {
	nodes := []any{node}
	for _, s := range p.steps {
		next := []any{}
		for _, n := range nodes {
			s.selects(n, root, func(v any) { next = append(next, v) })
		}
		nodes = next
	}
	return nodes
}

func (s names) selects(node, _ any, emit func(any)) {
	object, ok := node.(map[string]any)
	if !ok {
		return
	}
	for _, name := range s {
		if v, ok := object[name]; ok {
			emit(v)
		}
	}
}

func (s indexes) selects(node, _ any, emit func(any)) {
	array, ok := node.([]any)
	if !ok {
		return
	}
	for _, i := range s {
		if i < 0 {
			i += len(array)
		}
		if i >= 0 && i < len(array) {
			emit(array[i])
		}
	}
}

func (s between) selects(node, _ any, emit func(any)) {
	array, ok := node.([]any)
	if !ok {
		return
	}
	bound := func(p *int, absent int) int {
		if p == nil {
			return absent
		}
		i := *p
		if i < 0 {
			i += len(array)
		}
		return min(max(i, 0), len(array))
	}
	width := 1
	if s.step != nil {
		width = *s.step
	}
	for i := bound(s.from, 0); i < bound(s.to, len(array)); i += width {
		emit(array[i])
	}
}

func (wildcard) selects(node, _ any, emit func(any)) { children(node, emit) }

func (s descent) selects(node, root any, emit func(any)) {
	s.below.selects(node, root, emit)
	children(node, func(child any) { s.selects(child, root, emit) })
}

func (s filter) selects(node, root any, emit func(any)) {
	if _, ok := node.(map[string]any); ok {
		if s.test.holds(node, root) {
			emit(node)
		}
		return
	}
	children(node, func(child any) {
		if s.test.holds(child, root) {
			emit(child)
		}
	})
}

func (length) selects(node, _ any, emit func(any)) {
	switch v := node.(type) {
	case []any:
		emit(number(len(v)))
	case map[string]any:
		emit(number(len(v)))
	case string:
		emit(number(utf8.RuneCountInString(v)))
	}
}

// children visits the elements of an array, or the values of an object by name.
func children(node any, visit func(any)) {
	switch v := node.(type) {
	case []any:
		for _, e := range v {
			visit(e)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			visit(v[name])
		}
	}
}

// pathParser reads paths, and filters in them.
type pathParser struct {
	text  string
	at    int
	depth int
}

func (p *pathParser) rest() string { return p.text[p.at:] }

func (p *pathParser) take(token string) bool {
	if strings.HasPrefix(p.rest(), token) {
		p.at += len(token)
		return true
	}
	return false
}

func (p *pathParser) space() {
	for p.at < len(p.text) && (p.text[p.at] == ' ' || p.text[p.at] == '\t') {
		p.at++
	}
}

func (p *pathParser) errorf(format string, args ...any) error {
	return fmt.Errorf("invalid path '%s' at character %d: %s", p.text, p.at+1, fmt.Sprintf(format, args...))
}

// steps reads as many steps as there are.
func (p *pathParser) steps() ([]step, error) {
	var steps []step
	for p.at < len(p.text) {
		var s step
		var err error
		switch {
		case p.take(".."):
			if s, err = p.afterDots(); err == nil {
				s = descent{s}
			}
		case p.take("."):
			s, err = p.name()
		case p.take("["):
			s, err = p.bracket()
		default:
			return steps, nil
		}
		if err != nil {
			return nil, err
		}
		steps = append(steps, s)
	}
	return steps, nil
}

func (p *pathParser) afterDots() (step, error) {
	if p.take("[") {
		return p.bracket()
	}
	return p.name()
}

// name reads what follows a dot.
func (p *pathParser) name() (step, error) {
	if p.take("*") {
		return wildcard{}, nil
	}
	if p.take("length()") {
		return length{}, nil
	}
	begin := p.at
	for p.at < len(p.text) && !strings.ContainsRune(".[]()=<>!&|,*?@ \t'\"", rune(p.text[p.at])) {
		p.at++
	}
	if p.at == begin {
		return nil, p.errorf("a name is missing")
	}
	return names{p.text[begin:p.at]}, nil
}

// bracket reads what follows [, up to and with the ].
func (p *pathParser) bracket() (step, error) {
	p.space()
	s, err := p.inBracket()
	if err != nil {
		return nil, err
	}
	p.space()
	if !p.take("]") {
		return nil, p.errorf("] is missing")
	}
	return s, nil
}

func (p *pathParser) inBracket() (step, error) {
	switch {
	case p.take("*"):
		return wildcard{}, nil
	case p.take("?"):
		return p.filter()
	case strings.HasPrefix(p.rest(), "'"), strings.HasPrefix(p.rest(), `"`):
		return p.quotedNames()
	}
	return p.numbers()
}

func (p *pathParser) quotedNames() (step, error) {
	var all names
	for {
		name, err := p.quoted()
		if err != nil {
			return nil, err
		}
		all = append(all, name)
		p.space()
		if !p.take(",") {
			return all, nil
		}
		p.space()
	}
}

// quoted reads text between ' or ", in which \ escapes one character.
func (p *pathParser) quoted() (string, error) {
	if p.at >= len(p.text) || p.text[p.at] != '\'' && p.text[p.at] != '"' {
		return "", p.errorf("a quoted name is missing")
	}
	quote := p.text[p.at]
	p.at++
	var b strings.Builder
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case c == quote:
			p.at++
			return b.String(), nil
		case c == '\\' && p.at+1 < len(p.text):
			p.at++
			b.WriteByte(p.text[p.at])
		default:
			b.WriteByte(c)
		}
	}
	return "", p.errorf("the closing quote is missing")
}

// numbers reads 0, 0,2 or 1:5:2.
func (p *pathParser) numbers() (step, error) {
	first, err := p.integer()
	if err != nil {
		return nil, err
	}
	p.space()
	if strings.HasPrefix(p.rest(), ":") {
		return p.slice(first)
	}
	if first == nil {
		return nil, p.errorf("an index, a name, * or ? is missing")
	}
	all := indexes{*first}
	for p.take(",") {
		p.space()
		next, err := p.integer()
		if err != nil {
			return nil, err
		}
		if next == nil {
			return nil, p.errorf("an index is missing")
		}
		all = append(all, *next)
		p.space()
	}
	return all, nil
}

func (p *pathParser) slice(from *int) (step, error) {
	bounds := [3]*int{from}
	for i := 1; i < len(bounds) && p.take(":"); i++ {
		p.space()
		n, err := p.integer()
		if err != nil {
			return nil, err
		}
		bounds[i] = n
		p.space()
	}
	if s := bounds[2]; s != nil && *s <= 0 {
		return nil, p.errorf("the step of a slice is 1 or more")
	}
	return between{bounds[0], bounds[1], bounds[2]}, nil
}

// integer reads a number, or nothing.
func (p *pathParser) integer() (*int, error) {
	begin := p.at
	p.take("-")
	for p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9' {
		p.at++
	}
	if p.at == begin {
		return nil, nil
	}
	n, err := strconv.ParseInt(p.text[begin:p.at], 10, 32)
	if err != nil {
		return nil, p.errorf("%q is no index", p.text[begin:p.at])
	}
	i := int(n)
	return &i, nil
}

// literal reads a string, number, true, false or null of a filter.
func (p *pathParser) literal() (any, error) {
	if strings.HasPrefix(p.rest(), "'") || strings.HasPrefix(p.rest(), `"`) {
		return p.quoted()
	}
	for word, value := range map[string]any{"true": true, "false": false, "null": nil} {
		if p.take(word) {
			return value, nil
		}
	}
	begin := p.at
	for p.at < len(p.text) && strings.IndexByte("+-.0123456789eE", p.text[p.at]) >= 0 {
		p.at++
	}
	n := json.Number(p.text[begin:p.at])
	if _, err := n.Float64(); err != nil {
		return nil, p.errorf("a value is missing")
	}
	return n, nil
}
