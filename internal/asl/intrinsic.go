package asl

import (
	"encoding/json"
	"fmt"
	"strings"
)

// call is a call of an intrinsic function, States.Name(arguments).
//
// Source: the specification, "Intrinsic Functions" and Appendix B.
type call struct {
	source    string
	function  function
	name      string
	arguments []expression
}

// quotedText is a string literal as it was written: States.Format must tell a {
// that was escaped from one that was not.
type quotedText struct{ raw string }

// constant is any other literal.
type constant struct{ value any }

func (c constant) eval(*sight) (any, error)   { return c.value, nil }
func (q quotedText) eval(*sight) (any, error) { return unescape(q.raw), nil }

// failedCall is an intrinsic function that could not do what it was asked.
type failedCall struct{ source, reason string }

func (e *failedCall) Error() string {
	return fmt.Sprintf("The intrinsic function %s failed: %s", e.source, e.reason)
}

func (c call) eval(s *sight) (any, error) {
	values := make([]any, len(c.arguments))
	for i, a := range c.arguments {
		if q, ok := a.(quotedText); ok && i == 0 && c.name == "Format" {
			values[i] = q.raw
			continue
		}
		v, err := a.eval(s)
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	result, err := c.function.run(values, s.env)
	if err != nil {
		return nil, &failedCall{c.source, err.Error()}
	}
	return result, nil
}

// parseIntrinsic reads one call and nothing after it.
func parseIntrinsic(source string) (expression, error) {
	if len(source) > maxPath*4 {
		return nil, fmt.Errorf("an intrinsic function call has at most %d bytes", maxPath*4)
	}
	p := &callParser{text: source}
	e, err := p.call()
	if err != nil {
		return nil, err
	}
	if p.space(); p.at < len(p.text) {
		return nil, p.errorf("unexpected %q", p.text[p.at:])
	}
	return e, nil
}

type callParser struct {
	text  string
	at    int
	depth int
}

func (p *callParser) errorf(format string, args ...any) error {
	return fmt.Errorf("invalid intrinsic function call '%s' at character %d: %s",
		p.text, p.at+1, fmt.Sprintf(format, args...))
}

func (p *callParser) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

func (p *callParser) take(token byte) bool {
	p.space()
	if p.at < len(p.text) && p.text[p.at] == token {
		p.at++
		return true
	}
	return false
}

func (p *callParser) call() (expression, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, p.errorf("calls are nested at most %d deep", maxNesting)
	}
	defer func() { p.depth-- }()
	begin := p.at
	open := strings.IndexByte(p.text[p.at:], '(')
	if open < 0 {
		return nil, p.errorf("( is missing")
	}
	name := strings.TrimSpace(strings.TrimPrefix(p.text[p.at:p.at+open], "States."))
	f, ok := functions[name]
	if !ok {
		return nil, p.errorf("there is no function States.%s", name)
	}
	p.at += open + 1
	arguments, err := p.arguments()
	if err != nil {
		return nil, err
	}
	if n := len(arguments); n < f.least || f.most >= 0 && n > f.most {
		return nil, p.errorf("States.%s does not take %d arguments", name, n)
	}
	return call{p.text[begin:p.at], f, name, arguments}, nil
}

// arguments reads up to and with the closing parenthesis.
func (p *callParser) arguments() ([]expression, error) {
	if p.take(')') {
		return nil, nil
	}
	var all []expression
	for {
		a, err := p.argument()
		if err != nil {
			return nil, err
		}
		all = append(all, a)
		switch {
		case p.take(')'):
			return all, nil
		case !p.take(','):
			return nil, p.errorf(", or ) is missing")
		}
	}
}

func (p *callParser) argument() (expression, error) {
	p.space()
	rest := p.text[p.at:]
	switch {
	case strings.HasPrefix(rest, "States."):
		return p.call()
	case strings.HasPrefix(rest, "'"):
		return p.quoted()
	}
	begin := p.at
	p.at += argumentEnd(rest)
	word := strings.TrimSpace(p.text[begin:p.at])
	if strings.HasPrefix(word, "$") {
		return parsePathExpression(word)
	}
	if v, err := Decode([]byte(word)); err == nil {
		switch v.(type) {
		case json.Number, bool, nil:
			return constant{v}, nil
		}
	}
	return nil, p.errorf("%q is no argument", word)
}

// argumentEnd finds the , or ) that ends a path or a literal, outside of the
// brackets, parentheses and quotes of a path.
func argumentEnd(text string) int {
	depth := 0
	var quote byte
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote != 0:
			if c == '\\' {
				i++
			} else if c == quote {
				quote = 0
			}
		case depth > 0 && (c == '\'' || c == '"'):
			quote = c
		case c == '[', c == '(':
			depth++
		case depth > 0 && (c == ']' || c == ')'):
			depth--
		case depth == 0 && (c == ',' || c == ')'):
			return i
		}
	}
	return len(text)
}

func (p *callParser) quoted() (expression, error) {
	begin := p.at + 1
	for i := begin; i < len(p.text); i++ {
		switch p.text[i] {
		case '\\':
			i++
		case '\'':
			p.at = i + 1
			return quotedText{p.text[begin:i]}, nil
		}
	}
	return nil, p.errorf("the closing ' is missing")
}

// unescape takes away the \ before \, ', { and }, and any other.
func unescape(raw string) string {
	if !strings.Contains(raw, `\`) {
		return raw
	}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\\' && i+1 < len(raw) {
			if i++; strings.IndexByte(`\'{}"`, raw[i]) < 0 {
				b.WriteByte('\\')
			}
		}
		b.WriteByte(raw[i])
	}
	return b.String()
}
