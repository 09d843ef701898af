package language

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// This file knows what KDL v2, YAML, HCL and shells look like, so that each line of
// them makes one diagnostic that says what to write instead.

// foreignFile recognises a file in another language by its first word.
func (s *scanner) foreignFile() (int, bool) {
	s.skipLines()
	start := s.at
	word := s.word()
	at := span{start, s.at}
	opening := s.at == start && !s.end() && (s.text[s.at] == '{' || s.text[s.at] == '[')
	s.at = 0
	switch {
	case word == "---" || strings.HasSuffix(word, ":") && word != ":" || strings.HasPrefix(word, "%YAML"):
		s.mistake(at, "syntax", "this is YAML; a pipeline file is written in KDL", `begin with pipeline "my-app", then stage "test" { ... }`)
		return start, true
	case opening:
		s.mistake(span{start, start + 1}, "syntax", "this is JSON; a pipeline file is written in KDL", `begin with pipeline "my-app", then stage "test" { ... }`)
		return start, true
	}
	return 0, false
}

// foreignLine recognises a line of YAML, HCL or a shell by what follows its name,
// reports it once and passes over it.
func (s *scanner) foreignLine(n *node, start int) bool {
	switch {
	case strings.HasPrefix(n.key, "#"):
		s.mistake(span{start, s.lineEnd()}, "syntax", "a comment begins with //", "//"+strings.TrimLeft(s.raw(span{start, s.lineEnd()}), "#")).
			fix(s.file, span{start, n.name.start + len(n.key) - len(strings.TrimLeft(n.key, "#"))}, "//")
	case n.key == "-" || n.key == "--" || n.key == "---":
		s.mistake(n.name, "syntax", "a list of YAML has no meaning in KDL", "repeat the node, or give it several arguments")
	case strings.HasSuffix(n.key, ":") && n.name.end-n.name.start == len(n.key):
		return s.yamlLine(n)
	default:
		return s.assignment(n)
	}
	s.at = s.lineEnd()
	return true
}

// yamlLine reports `name: value`, and passes over what is indented below it.
func (s *scanner) yamlLine(n *node) bool {
	name := strings.TrimRight(n.key, ":")
	rest := strings.TrimSpace(s.raw(span{s.at, s.lineEnd()}))
	line, indent := s.position(n.start)
	inLine := s.depth > 0 && line == s.openLine // the block ends on this line too
	if inLine {
		rest, _, _ = strings.Cut(rest, ";")
		rest = strings.TrimRight(rest, " }")
	}
	help := name + " " + quote(strings.Trim(rest, "'"))
	if strings.HasPrefix(rest, `"`) {
		help = name + " " + rest
	}
	if rest == "" || strings.IndexByte("|>{[", rest[0]) >= 0 {
		help = name + " without the colon"
	}
	if word, ok := foreignWords[name]; ok {
		help = word.help
	}
	s.mistake(n.name, "syntax", "KDL has no colon after a name", help)
	if strings.HasSuffix(rest, "{") || inLine {
		s.skipNode()
		return true
	}
	s.skipIndented(line, indent)
	return true
}

// skipIndented passes over the rest of a line and the lines that are indented
// deeper than column.
func (s *scanner) skipIndented(line, column int) {
	s.at = s.lineEnd()
	for next := line + 1; next <= len(s.lines); next++ {
		text := s.line(next)
		if trimmed := strings.TrimLeft(text, " \t"); trimmed != "" && utf8.RuneCountInString(text)-utf8.RuneCountInString(trimmed) < column {
			return
		} else if strings.HasPrefix(trimmed, "}") {
			return
		}
		s.at = s.lines[next-1]
		s.at = s.lineEnd()
	}
}

// assignment reports `name = value` and `name="value"` in the place of a node.
func (s *scanner) assignment(n *node) bool {
	at := s.at
	s.skipSpace()
	if !s.sees("=") {
		s.at = at
		return false
	}
	s.at++
	s.skipSpace()
	from := s.at
	lost := s.lost
	v := s.value(n.key + " ")
	if s.lost > lost {
		s.skipNode()
		return true
	}
	fixed := s.raw(n.name) + " " + s.raw(span{from, v.end})
	s.mistake(span{n.start, v.end}, "syntax", "a node takes its value without =", oneLine(fixed)).fix(s.file, span{n.start, v.end}, fixed)
	s.skipNode()
	return true
}

// foreignEntry recognises what stands for an argument and is none, reports it and
// passes over it.
func (s *scanner) foreignEntry(n *node) bool {
	start := s.at
	switch {
	case s.sees(","):
		s.separated(n)
	case s.sees("[") || s.sees("]"):
		s.bracketed(n)
	case s.sees("=>"):
		s.mistake(span{start, start + 2}, "syntax", "=> has no meaning in KDL", "remove it").fix(s.file, span{start, start + 2}, "")
		s.at += 2
	case s.comparison():
		s.mistake(span{start, s.lineEnd()}, "syntax", "a condition with operators is one string", n.key+` "branch == 'main'"`)
		s.giveUpLine()
	case s.sees("="):
		s.mistake(span{start, start + 1}, "syntax", "there is no name before this =", "NAME=VALUE for a property; a value alone for an argument")
		s.at = s.lineEnd()
	case s.sees("#") && !s.v2Raw() && !v2Keywords[s.wordAhead()]:
		s.mistake(span{start, s.lineEnd()}, "syntax", "a comment begins with //", "//"+strings.TrimLeft(s.raw(span{start, s.lineEnd()}), "#")).
			fix(s.file, span{start, start + 1}, "//")
		s.at = s.lineEnd()
		return true // the node before it is whole
	case s.blockScalar():
		s.mistake(span{start, s.lineEnd()}, "syntax", "there are no block texts in KDL", `a string may span lines: `+n.key+` "`)
		s.skipBlockText()
	default:
		return false
	}
	n.partial = true
	return true
}

// operator tells whether an operator that begins with = comes next, which makes no
// property.
func (s *scanner) operator() bool { return s.sees("==") || s.sees("=~") || s.sees("=>") }

// comparison tells whether a comparison stands here as in other languages: a word
// and an operator.
func (s *scanner) comparison() bool {
	start := s.at
	defer func() { s.at = start }()
	word := s.word()
	for !s.end() && isSpace(s.peek()) {
		s.skip()
	}
	return word != "" && (s.sees("==") || s.sees("=~") || s.sees("!=") || s.sees("!~") || s.sees("&&") || s.sees("||"))
}

// separated reports the first comma between arguments; the others of the line are
// the same mistake.
func (s *scanner) separated(n *node) {
	if !n.partial {
		fixed := strings.Join(strings.Fields(strings.ReplaceAll(s.raw(span{n.start, s.lineEnd()}), ",", " ")), " ")
		s.mistake(span{s.at, s.at + 1}, "syntax", "a comma has no meaning here: arguments are separated by spaces", strings.TrimRight(fixed, " ;{}"))
	}
	s.at++
}

// bracketed reports the first bracket of a list.
func (s *scanner) bracketed(n *node) {
	if !n.partial {
		s.mistake(span{s.at, s.at + 1}, "syntax", "lists have no brackets in KDL: they are arguments", n.key+` "a" "b"`)
	}
	s.at++
}

// skipBlockText passes over a block text: to the word that ends a heredoc, or what
// is indented deeper than its line.
func (s *scanner) skipBlockText() {
	line, _ := s.position(s.at)
	if word := strings.Trim(s.wordAhead(), `<-~'"`); word != "" && s.sees("<<") {
		for next := line + 1; next <= len(s.lines); next++ {
			if strings.TrimSpace(s.line(next)) == word {
				s.at = s.lines[next-1]
				s.at = s.lineEnd()
				return
			}
		}
	}
	s.skipIndented(line, s.indentOf(line)+1)
}

// blockScalar tells whether a block text of YAML, or a heredoc, begins here.
func (s *scanner) blockScalar() bool {
	switch word := s.wordAhead(); {
	case word == "|" || word == ">" || word == "|-" || word == ">-" || word == "|+" || word == ">+":
		return true
	default:
		return strings.HasPrefix(word, "<<")
	}
}

func (s *scanner) wordAhead() string {
	start := s.at
	word := s.word()
	s.at = start
	return word
}

// indentOf is the number of blanks that a line begins with.
func (s *scanner) indentOf(line int) int {
	text := s.line(line)
	return len(text) - len(strings.TrimLeft(text, " \t"))
}

// v2Keywords are what KDL v2 writes with a hash.
var v2Keywords = map[string]bool{"#true": true, "#false": true, "#null": true, "#inf": true, "#-inf": true, "#nan": true}

func (s *scanner) v2Keyword(at span, word, prefix string) value {
	v := value{span: at, kind: isBool, text: strings.TrimPrefix(word, "#"), broken: true}
	help := prefix + v.text
	switch v.text {
	case "true", "false":
	case "null":
		help = "leave it out"
	default:
		help = "numbers are decimal whole numbers"
	}
	d := s.mistake(at, "kdl-v2-keyword", word+" is KDL v2; this file is read as KDL v1", help)
	if v.text == "true" || v.text == "false" {
		d.fix(s.file, at, v.text)
	}
	return v
}

// v2Raw tells whether #"…"# begins here.
func (s *scanner) v2Raw() bool {
	return s.sees("#") && strings.HasPrefix(strings.TrimLeft(string(s.text[s.at:min(len(s.text), s.at+64)]), "#"), `"`)
}

func (s *scanner) v2RawString(prefix string) value {
	start := s.at
	hashes := 0
	for s.sees("#") {
		hashes++
		s.at++
	}
	closing := `"` + strings.Repeat("#", hashes)
	if s.sees(`"""`) {
		closing = `""` + closing
	}
	length := bytes.Index(s.text[s.at+1:], []byte(closing))
	if length < 0 {
		s.at = start
		return s.unclosed()
	}
	s.at += 1 + length + len(closing)
	at := span{start, s.at}
	fixed := "r" + s.raw(at)
	s.mistake(at, "kdl-v2-raw-string", `#"..."# is KDL v2`, oneLine(fixed)).fix(s.file, at, fixed)
	return value{span: at, text: s.raw(at), broken: true}
}

// v2Block reads """…""" as KDL v2 means it.
func (s *scanner) v2Block() value {
	start := s.at
	s.at += 3
	length := bytes.Index(s.text[s.at:], []byte(`"""`))
	if length < 0 {
		s.at = start
		return s.unclosed()
	}
	text := s.raw(span{s.at, s.at + length})
	s.at += length + 3
	s.mistake(span{start, s.at}, "kdl-v2-multiline", `"""...""" is KDL v2; KDL v1 would read three strings`, "use one quote: a KDL v1 string may span lines")
	return value{span: span{start, s.at}, text: text, broken: true}
}

// singleQuoted reads '…', “…” and ‘…’, which end on the same line or are one word.
func (s *scanner) singleQuoted(prefix string) value {
	start := s.at
	closing := map[rune]string{'\'': "'", '“': "”", '‘': "’"}[s.peek()]
	s.skip()
	if length := bytes.Index(s.text[s.at:s.lineEnd()], []byte(closing)); length >= 0 {
		s.at += length + len(closing)
	} else {
		s.word()
	}
	at := span{start, s.at}
	text := strings.Trim(s.raw(at), "'“”‘’")
	s.mistake(at, "bare-word", "a value must be quoted", prefix+quote(text)).fix(s.file, at, quote(text))
	return value{span: at, text: text, broken: true}
}
