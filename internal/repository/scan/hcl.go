package scan

import "strings"

// block is a block header, or the value of an attribute source, with the block
// around it. Its first label is kept.
type block struct {
	outer, name, label string
}

func (b block) is(names ...string) bool {
	if len(names) == 1 {
		return b.outer == "" && b.name == names[0]
	}
	return b.outer == names[0] && b.name == names[1]
}

// blocks reports the block headers of HCL source at depth 0 and 1, in order, and
// the string attributes named source at depth 1. It knows comments, strings with
// ${}, and heredocs, as far as braces and quotes need it; what is broken is
// reported as far as it was read.
//
// Source: HCL Native Syntax Specification.
func blocks(source string, report func(block)) {
	l := &lexer{text: source}
	var outer []string
	var words []string // of the statement that is being read: a name, then labels
	for {
		switch t := l.next(); t.kind {
		case end:
			return
		case word, text:
			words = append(words, t.value)
		case equals:
			if len(outer) == 1 && len(words) == 1 && words[0] == "source" {
				if v := l.next(); v.kind == text {
					report(block{outer[0], "source", v.value})
				}
			}
			words = nil
		case open:
			name := ""
			if len(words) > 0 {
				name = words[0]
				if len(outer) < 2 {
					report(block{strings.Join(outer, "/"), name, label(words)})
				}
			}
			outer, words = append(outer, name), nil
		case shut:
			if len(outer) > 0 {
				outer = outer[:len(outer)-1]
			}
			words = nil
		case newline, other:
			words = nil
		}
	}
}

func label(words []string) string {
	if len(words) < 2 {
		return ""
	}
	return words[1]
}

type kind int

const (
	other kind = iota
	word
	text
	equals
	open
	shut
	newline
	end
)

var marks = map[byte]kind{'=': equals, '{': open, '}': shut, '\n': newline}

type token struct {
	kind  kind
	value string
}

type lexer struct {
	text string
	at   int
}

func (l *lexer) next() token {
	for l.at < len(l.text) {
		rest := l.text[l.at:]
		c := rest[0]
		switch {
		case c == ' ' || c == '\t' || c == '\r':
			l.at++
		case c == '#' || strings.HasPrefix(rest, "//"):
			l.skipTo("\n", 0)
		case strings.HasPrefix(rest, "/*"):
			l.skipTo("*/", 2)
		case c == '"':
			return token{text, l.quoted()}
		case strings.HasPrefix(rest, "<<"):
			l.heredoc()
			return token{other, ""}
		case isWord(c):
			n := 1
			for n < len(rest) && (isWord(rest[n]) || rest[n] == '-' || rest[n] >= '0' && rest[n] <= '9') {
				n++
			}
			l.at += n
			return token{word, rest[:n]}
		default:
			l.at++
			return token{marks[c], string(c)}
		}
	}
	return token{kind: end}
}

func isWord(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= 0x80 }

// skipTo goes to the next mark, and behind it by n bytes.
func (l *lexer) skipTo(mark string, n int) {
	i := strings.Index(l.text[l.at+n:], mark)
	if i < 0 {
		l.at = len(l.text)
		return
	}
	l.at += n + i
	if n > 0 {
		l.at += len(mark)
	}
}

// quoted reads a string, over ${…} with strings of its own.
func (l *lexer) quoted() string {
	start, depth := l.at+1, 0
	for l.at++; l.at < len(l.text); l.at++ {
		rest := l.text[l.at:]
		switch {
		case rest[0] == '\\':
			l.at++
		case strings.HasPrefix(rest, "${") || strings.HasPrefix(rest, "%{"):
			depth++
			l.at++
		case depth > 0 && rest[0] == '}':
			depth--
		case depth > 0 && rest[0] == '"':
			l.quoted()
			l.at--
		case rest[0] == '"':
			value := l.text[start:l.at]
			l.at++
			return value
		case rest[0] == '\n' && depth == 0:
			return l.text[start:l.at] // a string ends with its line
		}
	}
	return ""
}

// heredoc goes behind <<WORD … WORD.
func (l *lexer) heredoc() {
	first, _, _ := strings.Cut(l.text[l.at:], "\n")
	mark := strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(first, "<<"), "-"))
	l.at += len(first)
	for l.at < len(l.text) && mark != "" {
		line, _, _ := strings.Cut(l.text[l.at+1:], "\n")
		l.at += 1 + len(line)
		if strings.TrimSpace(line) == mark {
			return
		}
	}
	l.at = min(l.at, len(l.text))
}
