package convert

import (
	"fmt"
	"strings"

	"github.com/buildit-dev/buildit/internal/pattern"
)

// Limits of an expression of a workflow.
const (
	maxExpression = 4 << 10 // bytes
	maxNesting    = 32
)

// expr is an expression of GitHub Actions. op is "lit", "bool", "name", "call", "!"
// or a binary operator; text is a literal, a path in small letters, or a function.
type expr struct {
	op   string
	text string
	raw  string // of a name, as written
	args []*expr
}

// token reads the expressions: names with paths, numbers, strings, operators.
var token = pattern.Late(`^(?:([A-Za-z_][A-Za-z0-9_-]*(?:\.(?:[A-Za-z_*][A-Za-z0-9_-]*))*)|(-?[0-9][0-9A-Za-z_.]*)|'((?:[^']|'')*)'|(==|!=|<=|>=|&&|\|\||[<>!(),\[\]]))`)

type exprParser struct {
	rest  string
	kind  int // 1 name, 2 number, 3 string, 4 operator, 0 the end
	text  string
	depth int
	err   error
}

// parseExpr reads the text between ${{ and }}.
func parseExpr(text string) (*expr, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("the expression is too long")
	}
	p := &exprParser{rest: text}
	p.next()
	e := p.binary(0)
	if p.err == nil && p.kind != 0 {
		p.fail()
	}
	return e, p.err
}

func (p *exprParser) fail() {
	if p.err == nil {
		p.err = fmt.Errorf("the expression cannot be read")
	}
	p.kind = 0
}

func (p *exprParser) next() {
	p.rest = strings.TrimLeft(p.rest, " \t\r\n")
	if p.rest == "" || p.err != nil {
		p.kind = 0
		return
	}
	m := token().FindStringSubmatch(p.rest)
	if m == nil {
		p.fail()
		return
	}
	p.rest = p.rest[len(m[0]):]
	for i := 1; i < len(m); i++ {
		if m[i] != "" || i == 3 && strings.HasPrefix(m[0], "'") {
			p.kind, p.text = i, m[i]
			return
		}
	}
}

func (p *exprParser) is(op string) bool { return p.kind == 4 && p.text == op }

func (p *exprParser) expect(op string) {
	if !p.is(op) {
		p.fail()
		return
	}
	p.next()
}

// levels are the binary operators, weakest first.
var levels = [][]string{{"||"}, {"&&"}, {"==", "!=", "<", "<=", ">", ">="}}

func (p *exprParser) binary(level int) *expr {
	if level == len(levels) {
		return p.unary()
	}
	left := p.binary(level + 1)
	for p.err == nil && p.kind == 4 {
		found := ""
		for _, op := range levels[level] {
			if p.text == op {
				found = op
			}
		}
		if found == "" {
			break
		}
		p.next()
		left = &expr{op: found, args: []*expr{left, p.binary(level + 1)}}
	}
	return left
}

func (p *exprParser) unary() *expr {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxNesting {
		p.fail()
	}
	if p.is("!") {
		p.next()
		return &expr{op: "!", args: []*expr{p.unary()}}
	}
	return p.primary()
}

func (p *exprParser) primary() *expr {
	text, kind := p.text, p.kind
	switch {
	case p.is("("):
		p.next()
		e := p.binary(0)
		p.expect(")")
		return e
	case kind == 2:
		p.next()
		return &expr{op: "lit", text: text}
	case kind == 3:
		p.next()
		return &expr{op: "lit", text: strings.ReplaceAll(text, "''", "'")}
	case kind == 1:
		p.next()
		return p.name(text)
	}
	p.fail()
	return &expr{op: "lit"}
}

func (p *exprParser) name(text string) *expr {
	switch low := strings.ToLower(text); {
	case low == "true" || low == "false":
		return &expr{op: "bool", text: low}
	case low == "null":
		return &expr{op: "lit"}
	case p.is("("):
		p.next()
		call := &expr{op: "call", text: low}
		for p.err == nil && !p.is(")") {
			if len(call.args) > 0 {
				p.expect(",")
			}
			call.args = append(call.args, p.binary(0))
		}
		p.expect(")")
		return call
	}
	e := &expr{op: "name", text: text}
	for p.is("[") { // needs['a'].outputs.b
		p.next()
		if p.kind != 3 {
			p.fail()
			return e
		}
		e.text += "." + p.text
		p.next()
		p.expect("]")
		if strings.HasPrefix(p.rest, ".") || strings.HasPrefix(p.rest, "[") {
			p.fail()
		}
	}
	e.raw = e.text
	return e
}

// meaning is what a name of a workflow is with us.
type meaning struct {
	when     string  // in a condition
	bool     bool    // when is a condition by itself
	text     string  // in a field: ${git.sha}
	variable string  // that holds it in a command
	constant *string // its value, where the file says it
}

func constant(text string) meaning { return meaning{constant: &text} }

// names say what the names of an expression are, in one job.
type names interface {
	// meaning answers an error for what has none, in words that follow "because".
	meaning(path string) (meaning, error)
	// comparison answers conditions that are more than their parts, such as a ref
	// compared with refs/heads/main; ok is false for all others.
	comparison(path, op, literal string) (when string, ok bool)
}

// conjuncts are the parts that && joins.
func (e *expr) conjuncts() []*expr {
	if e.op == "&&" {
		return append(e.args[0].conjuncts(), e.args[1].conjuncts()...)
	}
	return []*expr{e}
}

// when says an expression as a condition of ours.
func (e *expr) when(in names) (string, error) {
	switch e.op {
	case "bool":
		return e.text, nil
	case "lit":
		return fmt.Sprint(e.text != ""), nil
	case "name":
		return e.truth(in)
	case "!":
		inner, err := e.args[0].when(in)
		if err != nil {
			return "", err
		}
		return negated(inner), nil
	case "&&", "||":
		return e.joined(in)
	case "call":
		return e.called(in)
	}
	return e.compared(in)
}

func negated(when string) string {
	switch {
	case when == "true":
		return "false"
	case when == "false":
		return "true"
	case simple().MatchString(when):
		return "!" + when
	}
	return "!(" + when + ")"
}

// simple is a condition that needs no brackets.
var simple = pattern.Late(`^[a-z_]+(\.[A-Za-z0-9_.-]+)?(\([^()]*\))?$`)

func (e *expr) joined(in names) (string, error) {
	left, err := e.args[0].when(in)
	if err != nil {
		return "", err
	}
	right, err := e.args[1].when(in)
	if err != nil {
		return "", err
	}
	dominant, neutral := "false", "true"
	if e.op == "||" {
		dominant, neutral = neutral, dominant
	}
	switch {
	case left == dominant || right == dominant:
		return dominant, nil
	case left == neutral:
		return right, nil
	case right == neutral:
		return left, nil
	}
	if e.op == "&&" {
		left, right = bracket(e.args[0], left), bracket(e.args[1], right)
	}
	return left + " " + e.op + " " + right, nil
}

func bracket(e *expr, when string) string {
	if strings.Contains(when, "||") && (e.op == "||" || e.op == "name" || e.op == "==" || e.op == "!=") {
		return "(" + when + ")"
	}
	return when
}

// truth is a name as a condition: a text is true if it is not empty.
func (e *expr) truth(in names) (string, error) {
	m, err := in.meaning(e.text)
	switch {
	case err != nil:
		return "", err
	case m.constant != nil:
		return fmt.Sprint(*m.constant != "" && *m.constant != "false"), nil
	case m.when == "":
		return "", notAsked(e)
	case m.bool:
		return m.when, nil
	}
	return m.when + " != ''", nil
}

func notAsked(e *expr) error {
	return fmt.Errorf("a condition of a stage cannot ask for %s", orElse(e.raw, e.text))
}

// compared is a comparison of a name with a constant, or of two names.
func (e *expr) compared(in names) (string, error) {
	left, right := e.args[0], e.args[1]
	if isConstant(left) && !isConstant(right) {
		left, right = right, left
	}
	if isConstant(left) && isConstant(right) {
		return constantly(e.op, left.text, right.text), nil
	}
	if left.op == "name" && isConstant(right) {
		if when, ok := in.comparison(left.text, e.op, right.text); ok {
			return when, nil
		}
	}
	if left.op == "name" && right.op == "name" {
		if when, ok := in.comparison(left.text, e.op, "\x00"+right.text); ok {
			return when, nil
		}
	}
	a, boolean, err := left.term(in)
	if err != nil {
		return "", err
	}
	if boolean {
		return boolCompared(e, a, right)
	}
	b, _, err := right.term(in)
	if err != nil {
		return "", err
	}
	if e.op != "==" && e.op != "!=" {
		return "", fmt.Errorf("%s compares whole numbers only", e.op)
	}
	if strings.HasPrefix(a, "'") && strings.HasPrefix(b, "'") {
		return constantly(e.op, a, b), nil
	}
	return a + " " + e.op + " " + b, nil
}

func isConstant(e *expr) bool { return e.op == "lit" || e.op == "bool" }

// constantly decides a comparison of two constants; GitHub ignores case.
func constantly(op, a, b string) string {
	return fmt.Sprint(strings.EqualFold(a, b) == (op == "=="))
}

func boolCompared(e *expr, when string, right *expr) (string, error) {
	if !isConstant(right) || e.op != "==" && e.op != "!=" {
		return "", fmt.Errorf("a yes or no is compared with true or false only")
	}
	if (right.text == "true" || right.text == "1") == (e.op == "==") {
		return when, nil
	}
	return negated(when), nil
}

// term is one side of a comparison, and whether it is a condition by itself.
func (e *expr) term(in names) (string, bool, error) {
	switch e.op {
	case "lit", "bool":
		return literal(e.text), false, nil
	case "name":
		m, err := in.meaning(e.text)
		switch {
		case err != nil:
			return "", false, err
		case m.constant != nil:
			return literal(*m.constant), false, nil
		case m.when == "":
			return "", false, notAsked(e)
		}
		return m.when, m.bool, nil
	case "call":
		when, err := e.called(in)
		return when, true, err
	}
	return "", false, fmt.Errorf("a comparison of a comparison has no counterpart")
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

// textCalls are the functions that both languages have.
var textCalls = map[string]string{"startswith": "starts_with", "endswith": "ends_with", "contains": "contains"}

func (e *expr) called(in names) (string, error) {
	ours, known := textCalls[e.text]
	if !known || len(e.args) != 2 {
		return "", fmt.Errorf("%s() has no counterpart in a condition", e.text)
	}
	if list := e.args[0]; e.text == "contains" && list.op == "call" && list.text == "fromjson" && len(list.args) == 1 {
		return inList(list.args[0].text, e.args[1], in)
	}
	if e.args[0].op == "name" && isConstant(e.args[1]) {
		if when, ok := in.comparison(e.args[0].text, ours, e.args[1].text); ok {
			return when, nil
		}
	}
	a, aBool, err := e.args[0].term(in)
	if err != nil {
		return "", err
	}
	b, bBool, err := e.args[1].term(in)
	if err != nil {
		return "", err
	}
	if aBool || bBool {
		return "", fmt.Errorf("%s() looks at texts only", e.text)
	}
	return ours + "(" + a + ", " + b + ")", nil
}

// inList is contains(fromJSON('["a"]'), x).
func inList(list string, e *expr, in names) (string, error) {
	words := jsonStrings().FindAllStringSubmatch(list, -1)
	term, _, err := e.term(in)
	if err != nil {
		return "", err
	}
	var all []string
	for _, w := range words {
		all = append(all, literal(w[1]))
	}
	return term + " in [" + strings.Join(all, ", ") + "]", nil
}

var jsonStrings = pattern.Late(`"([^"\\]*)"`)

func orElse(text, other string) string {
	if text != "" {
		return text
	}
	return other
}

// field says an expression as text of a field, which is replaced when the stage
// becomes ready.
func (e *expr) field(in names) (string, error) {
	switch {
	case isConstant(e):
		return escapeField(e.text), nil
	case e.op == "name":
		m, err := in.meaning(e.text)
		switch {
		case err != nil:
			return "", err
		case m.constant != nil:
			return escapeField(*m.constant), nil
		case m.text == "":
			return "", fmt.Errorf("%s is not replaced in a field", orElse(e.raw, e.text))
		}
		return m.text, nil
	case e.op == "call" && e.text == "hashfiles":
		var globs []string
		for _, a := range e.args {
			if a.op != "lit" {
				return "", fmt.Errorf("hashFiles() of what is known only later has no counterpart")
			}
			globs = append(globs, strings.TrimPrefix(strings.TrimPrefix(a.text, "./"), "/"))
		}
		return "${hash:" + strings.Join(globs, ",") + "}", nil
	case e.op == "call" && e.text == "format" && len(e.args) > 0 && e.args[0].op == "lit":
		return e.formatted(in)
	}
	return "", fmt.Errorf("a field holds no conditions and no functions but hashFiles() and format()")
}

func (e *expr) formatted(in names) (string, error) {
	text := escapeField(e.args[0].text)
	for i, a := range e.args[1:] {
		part, err := a.field(in)
		if err != nil {
			return "", err
		}
		text = strings.ReplaceAll(text, fmt.Sprintf("{%d}", i), part)
	}
	return text, nil
}

// ours are the ${…} that a field would replace.
var ours = pattern.Late(`\$\{([A-Za-z_]+\.[^}]*|arch|os|hash:[^}]*)\}`)

// escapeField keeps literal text literal.
func escapeField(text string) string {
	return ours().ReplaceAllStringFunc(text, func(s string) string { return "$" + s })
}

// embedded is ${{ … }}; strings inside may hold braces.
var embedded = pattern.Late(`\$\{\{((?:[^'}]|'(?:[^']|'')*'|\}[^}])*)\}\}`)

// fieldText replaces every ${{ … }} of a field. The first that cannot be said is
// the error.
func fieldText(text string, in names) (string, error) {
	var out strings.Builder
	last := 0
	for _, at := range embedded().FindAllStringSubmatchIndex(text, -1) {
		out.WriteString(escapeField(text[last:at[0]]))
		last = at[1]
		e, err := parseExpr(text[at[2]:at[3]])
		if err != nil {
			return "", err
		}
		part, err := e.field(in)
		if err != nil {
			return "", err
		}
		out.WriteString(part)
	}
	rest := text[last:]
	if strings.Contains(rest, "${{") {
		return "", fmt.Errorf("an expression in it is never closed")
	}
	out.WriteString(escapeField(rest))
	return out.String(), nil
}

// onlyExpr is the expression of a text that is one ${{ … }} or, in an `if`, bare.
func onlyExpr(text string) (*expr, error) {
	text = strings.TrimSpace(text)
	if at := embedded().FindStringSubmatchIndex(text); at != nil {
		if at[0] != 0 || at[1] != len(text) {
			return nil, fmt.Errorf("it mixes text with expressions")
		}
		text = text[at[2]:at[3]]
	}
	return parseExpr(text)
}
