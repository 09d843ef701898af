package language

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of an expression (bytes, terms, levels) and of a pattern of =~ in bytes.
const (
	maxExpression      = 4 << 10
	maxExpressionTerms = 200
	maxExpressionDepth = 32
	maxRegexp          = 1 << 10
)

// Expr is a compiled expression: a condition that ends always and changes nothing.
//
//	expr    = and { "||" and } .            and   = not { "&&" not } .
//	not     = "!" not | cmp .               cmp   = term [ ("=="|"!="|"=~"|"!~"|"<"|"<="|">"|">="|"in") term ] .
//	term    = name | call | string | int | "true" | "false" | "[" [ term { "," term } ] "]" | "(" expr ")" .
//	call    = ident "(" [ expr { "," expr } ] ")" .   string = "'" … "'" ('' is one quote) .
type Expr struct{ root *operation }

// operation is a node of the syntax tree.
type operation struct {
	op     string // || && ! == … in, or: name, call, string, int, bool, list
	text   string // of a name, a call or a literal
	args   []*operation
	offset int // in the expression's text
	end    int
}

// expressionError is a mistake at a place of the expression's text.
type expressionError struct {
	offset, end   int
	code          string // "" is `expression`
	message, help string
	whole         bool   // the mistake is the whole value
	fix           string // what the whole expression should be, if that is known
}

func (e *expressionError) Error() string {
	if e.help == "" {
		return e.message
	}
	return e.message + " (" + e.help + ")"
}

// parseExpression reads an expression. Errors are of type *expressionError.
func parseExpression(text string) (*Expr, error) {
	if len(text) > maxExpression {
		return nil, &expressionError{code: "limit", message: fmt.Sprintf("an expression has at most %d bytes", maxExpression), help: "split it into several when nodes"}
	}
	p := &expressionParser{text: text}
	root, err := p.parse()
	if err != nil {
		return nil, err
	}
	return &Expr{root}, nil
}

// token is one word of an expression: kind is "name", "string", "int", "end", or
// the operator itself.
type token struct {
	kind, text  string
	offset, end int
}

type expressionParser struct {
	text   string
	next   token
	before token // the one before next
	at     int
	terms  int
	depth  int
}

func (p *expressionParser) parse() (*operation, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	if p.next.kind == "end" {
		return nil, &expressionError{end: len(p.text), message: "the expression is empty", help: "leave it out, or write a condition such as branch == 'main'"}
	}
	root, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.next.kind != "end" {
		return nil, p.unexpected()
	}
	return root, nil
}

func (p *expressionParser) or() (*operation, error)  { return p.chain("||", p.and) }
func (p *expressionParser) and() (*operation, error) { return p.chain("&&", p.not) }

// chain reads operands joined by one operator into one operation.
func (p *expressionParser) chain(op string, operand func() (*operation, error)) (*operation, error) {
	first, err := operand()
	if err != nil || p.next.kind != op {
		return first, err
	}
	joined := &operation{op: op, args: []*operation{first}, offset: first.offset}
	for p.next.kind == op {
		if err := p.advance(); err != nil {
			return nil, err
		}
		operand, err := operand()
		if err != nil {
			return nil, err
		}
		joined.args = append(joined.args, operand)
		joined.end = operand.end
	}
	return joined, nil
}

// enter goes one level deeper; who calls it leaves by p.depth--.
func (p *expressionParser) enter() error {
	if p.depth++; p.depth <= maxExpressionDepth {
		return nil
	}
	return &expressionError{
		offset: p.next.offset, end: p.next.end, code: "limit",
		message: fmt.Sprintf("an expression has at most %d levels", maxExpressionDepth), help: "split it into several when nodes",
	}
}

func (p *expressionParser) not() (*operation, error) {
	if p.next.kind != "!" {
		return p.comparison()
	}
	offset := p.next.offset
	defer func() { p.depth-- }()
	if err := p.enter(); err != nil {
		return nil, err
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	operand, err := p.not()
	if err != nil {
		return nil, err
	}
	return &operation{op: "!", args: []*operation{operand}, offset: offset, end: operand.end}, nil
}

// comparisons are the operators between two terms.
var comparisons = map[string]bool{"==": true, "!=": true, "=~": true, "!~": true, "<": true, "<=": true, ">": true, ">=": true, "in": true}

func (p *expressionParser) comparison() (*operation, error) {
	left, err := p.term()
	if err != nil {
		return nil, err
	}
	op := p.next.kind
	if op == "name" && p.next.text == "in" {
		op = "in"
	}
	if !comparisons[op] {
		return left, nil
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	right, err := p.term()
	if err != nil {
		return nil, err
	}
	return &operation{op: op, args: []*operation{left, right}, offset: left.offset, end: right.end}, nil
}

func (p *expressionParser) term() (*operation, error) {
	if p.terms++; p.terms > maxExpressionTerms {
		return nil, &expressionError{
			offset: p.next.offset, end: p.next.end, code: "limit",
			message: fmt.Sprintf("an expression has at most %d terms", maxExpressionTerms), help: "use in [...], or several when nodes",
		}
	}
	t := p.next
	switch t.kind {
	case "string", "int":
		return &operation{op: t.kind, text: t.text, offset: t.offset, end: t.end}, p.advance()
	case "name":
		return p.name(t)
	case "[":
		return p.list("list", "", "]", p.term)
	case "(":
		return p.group()
	}
	return nil, p.unexpected()
}

// group reads "( expr )".
func (p *expressionParser) group() (*operation, error) {
	defer func() { p.depth-- }()
	if err := p.enter(); err != nil {
		return nil, err
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	inner, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.next.kind != ")" {
		return nil, p.unexpected()
	}
	return inner, p.advance()
}

func (p *expressionParser) name(t token) (*operation, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	switch {
	case p.next.kind == "(":
		call, err := p.list("call", t.text, ")", p.or)
		if call != nil {
			call.offset = t.offset
		}
		return call, err
	case t.text == "true" || t.text == "false":
		return &operation{op: "bool", text: t.text, offset: t.offset, end: t.end}, nil
	}
	return &operation{op: "name", text: t.text, offset: t.offset, end: t.end}, nil
}

// list reads "[ … ]" or "( … )", whose opening bracket is the next token.
func (p *expressionParser) list(op, text, closing string, item func() (*operation, error)) (*operation, error) {
	defer func() { p.depth-- }()
	if err := p.enter(); err != nil {
		return nil, err
	}
	list := &operation{op: op, text: text, offset: p.next.offset}
	if err := p.advance(); err != nil {
		return nil, err
	}
	for p.next.kind != closing {
		if len(list.args) > 0 {
			if p.next.kind != "," {
				return nil, p.unexpected()
			}
			if err := p.advance(); err != nil {
				return nil, err
			}
		}
		arg, err := item()
		if err != nil {
			return nil, err
		}
		list.args = append(list.args, arg)
	}
	list.end = p.next.end
	return list, p.advance()
}

// foreignOperators are what other languages write.
var foreignOperators = map[string]string{"=": "==", "===": "==", "!==": "!=", "&": "&&", "|": "||", "and": "&&", "or": "||", "not": "!", "AND": "&&", "OR": "||", "NOT": "!"}

func (p *expressionParser) unexpected() error {
	t := p.next
	if t.kind == "end" {
		return &expressionError{offset: len(p.text), end: len(p.text), message: "the expression ends too early", help: "a name, a 'text' or a closing bracket is missing"}
	}
	if replacement := foreignOperators[t.text]; replacement != "" {
		return p.foreign(t, replacement)
	}
	if word := p.before; word.kind == "name" && foreignOperators[word.text] == "!" {
		p.text = p.text[:word.end] + strings.TrimLeft(p.text[word.end:], " ") // !fork, not ! fork
		return p.foreign(word, "!")
	}
	return &expressionError{offset: t.offset, end: t.end, message: fmt.Sprintf("%s is not expected here", p.text[t.offset:t.end]), help: "join conditions with && or ||"}
}

// foreign reports an operator of another language; the help is the expression with ours.
func (p *expressionParser) foreign(t token, replacement string) error {
	fixed := p.text[:t.offset] + replacement + p.text[t.end:]
	return &expressionError{offset: t.offset, end: t.end, message: p.text[t.offset:t.end] + " is not an operator", help: fixed, fix: fixed}
}

// operators, longest first.
var operators = []string{"||", "&&", "===", "!==", "==", "!=", "=~", "!~", "<=", ">=", "<", ">", "!", "(", ")", "[", "]", ",", "=", "&", "|"}

// advance reads the next token.
func (p *expressionParser) advance() error {
	p.before = p.next
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
	start := p.at
	if start == len(p.text) {
		p.next = token{"end", "", start, start}
		return nil
	}
	c := p.text[start]
	switch {
	case c == '\'':
		return p.quoted()
	case c >= '0' && c <= '9':
		for p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9' {
			p.at++
		}
		p.next = token{"int", p.text[start:p.at], start, p.at}
		if p.at-start > 18 {
			return &expressionError{offset: start, end: p.at, message: "this number is too large", help: "at most 18 digits"}
		}
		return nil
	case isNameByte(c) && c != '-' && c != '.':
		for p.at < len(p.text) && isNameByte(p.text[p.at]) {
			p.at++
		}
		p.next = token{"name", p.text[start:p.at], start, p.at}
		return nil
	}
	for _, op := range operators {
		if !strings.HasPrefix(p.text[start:], op) {
			continue
		}
		p.at += len(op)
		p.next = token{op, op, start, p.at}
		if replacement := foreignOperators[op]; replacement != "" {
			return p.foreign(p.next, replacement)
		}
		return nil
	}
	return p.strange(start)
}

// strange reports a character that begins no token.
func (p *expressionParser) strange(start int) error {
	r, size := utf8.DecodeRuneInString(p.text[start:])
	e := &expressionError{offset: start, end: start + size, message: fmt.Sprintf("%c has no meaning in an expression", r)}
	switch rest := p.text[start:]; {
	case r == '"':
		e.message, e.help = `" does not quote in an expression`, "use 'text'"
	case strings.HasPrefix(rest, "${") || r == '$':
		e.message, e.help = "names stand without $ in an expression", "branch == 'main'"
	case r == '-' || r == '+':
		e.help = "there is no arithmetic"
	}
	return e
}

func (p *expressionParser) quoted() error {
	start := p.at
	var text strings.Builder
	for i := start + 1; i < len(p.text); i++ {
		if p.text[i] != '\'' {
			text.WriteByte(p.text[i])
			continue
		}
		if i+1 < len(p.text) && p.text[i+1] == '\'' {
			text.WriteByte('\'')
			i++
			continue
		}
		p.at = i + 1
		p.next = token{"string", text.String(), start, p.at}
		return nil
	}
	return &expressionError{offset: start, end: len(p.text), message: "this ' is never closed", help: "'' is one quote inside a text"}
}

func isNameByte(c byte) bool {
	return c == '_' || c == '-' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
