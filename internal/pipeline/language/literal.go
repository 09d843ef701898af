package language

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// entry reads one argument or property of n; one that is struck out is dropped.
func (s *scanner) entry(n *node, struck bool) {
	start := s.at
	name, quoted, ok := s.propertyName()
	if !ok {
		if s.sees("(") {
			s.annotation(n)
		}
		v := s.value(n.key + " ")
		if struck {
			return
		}
		n.args = append(n.args, v)
		n.end = s.at
		return
	}
	at := span{start, s.at}
	s.equals(n, name, at)
	if !quoted && !isIdentifier(name) {
		s.mistake(at, "syntax", quote(name)+" is not the name of a property", "a name has letters, digits, dash and underscore")
	}
	if s.sees("(") {
		s.annotation(&node{key: n.key + " " + name + "="})
	}
	if s.atNodeEnd() || s.sees("{") {
		s.mistake(at, "syntax", name+"= has no value", name+`="..."`)
		n.partial = true
		return
	}
	v := s.value(name + "=")
	if !struck {
		n.props = append(n.props, property{name: at, key: name, value: v})
		n.end = s.at
	}
}

// propertyName reads NAME if an equals sign follows, spaces before it or not.
func (s *scanner) propertyName() (name string, quoted, ok bool) {
	start, lost, problems := s.at, s.lost, len(s.problems.list)
	if quoted = s.sees(`"`) && !s.sees(`"""`); quoted {
		v, _ := s.readString()
		name = v.text
	} else {
		name = s.word()
	}
	after := s.at
	for !s.end() && isSpace(s.peek()) {
		s.skip()
	}
	ok = s.sees("=") && !s.operator() && name != ""
	s.at = after
	if !ok { // it is a value: read it again as one
		s.at, s.lost = start, lost
		s.problems.list = s.problems.list[:problems]
	}
	return name, quoted, ok
}

// equals passes over the = of a property and the spaces that may not be around it.
func (s *scanner) equals(n *node, name string, at span) {
	before := s.at
	s.skipSpace()
	spaced := s.at > before
	s.at++ // the =
	before = s.at
	s.skipSpace()
	if spaced = spaced || s.at > before; !spaced {
		return
	}
	end := s.at
	if s.sees(`"`) {
		probe := *s
		quiet := problems{}
		probe.file = newFileView(s.file, &quiet)
		probe.readString()
		end = probe.at
	} else {
		for end < len(s.text) && strings.IndexByte(" \t\r\n;{}", s.text[end]) < 0 {
			end++
		}
	}
	fixed := s.raw(at) + "=" + s.raw(span{s.at, end})
	s.mistake(at, "spaces-around-equals", "KDL v1 allows no spaces around =", fixed).fix(s.file, span{at.start, end}, fixed)
}

// newFileView is the same text with another list of problems.
func newFileView(f *file, all *problems) *file {
	view := *f
	view.problems = all
	return &view
}

// value reads a value; prefix is what stands before it, for the help.
func (s *scanner) value(prefix string) value {
	start := s.at
	switch {
	case s.sees(`"""`):
		return s.v2Block()
	case s.sees(`"`) || s.rawHashes() >= 0:
		v, _ := s.readString()
		return v
	case s.v2Raw():
		return s.v2RawString(prefix)
	case s.sees("'") || s.sees("“") || s.sees("‘"):
		return s.singleQuoted(prefix)
	}
	word := s.word()
	at := span{start, s.at}
	switch {
	case word == "true" || word == "false":
		return value{span: at, kind: isBool, text: word}
	case word == "null":
		return value{span: at, kind: isNull, text: word}
	case strings.HasPrefix(word, "#"):
		return s.v2Keyword(at, word, prefix)
	case isNumberStart(word):
		if numeric(word) {
			return value{span: at, kind: isNumber, text: word}
		}
		meant := word
		if fields := durationWords.FindStringSubmatch(strings.ToLower(word)); fields != nil {
			meant = fields[1] + fields[3][:1] // 5min is 5m
		}
		s.mistake(at, "number-with-suffix", word+" is not a number; durations and sizes are strings", prefix+quote(meant)).fix(s.file, at, quote(meant))
		return value{span: at, text: word, broken: true}
	case word == "" && (s.end() || isNewline(s.peek())):
		if s.text[s.at-1] != ')' { // a type without its value is reported
			s.mistake(span{s.at - 1, s.at}, "syntax", "a value is missing here", prefix+`"..."`)
		}
		return value{span: at, broken: true}
	case word == "":
		s.skip()
		at.end = s.at
		s.mistake(at, "syntax", s.raw(at)+" has no meaning here", "put the value into quotes")
		return value{span: at, text: s.raw(at), broken: true}
	}
	if s.sees(",") { // a,b is one word that somebody forgot to quote
		for !s.end() && !isSpace(s.peek()) && !isNewline(s.peek()) && !s.sees(";") && !s.sees("{") {
			s.skip()
		}
		at.end = s.at
		word = s.raw(at)
	}
	quoted := quote(word)
	if lower := strings.ToLower(word); lower == "true" || lower == "false" {
		quoted = lower
	}
	s.mistake(at, "bare-word", "a value must be quoted", prefix+quoted).fix(s.file, at, quoted)
	return value{span: at, text: word, broken: true}
}

// word reads what could be an identifier, a number or a keyword.
func (s *scanner) word() string {
	start := s.at
	for !s.end() {
		r, size := utf8.DecodeRune(s.text[s.at:])
		if isSpace(r) || isNewline(r) || strings.ContainsRune(`(){};[]=,"\`, r) || r == '/' && (s.sees("//") || s.sees("/*") || s.sees("/-")) {
			break
		}
		s.at += size
	}
	return s.raw(span{start, s.at})
}

// readString reads a quoted or raw string; ok is false if it is never closed.
func (s *scanner) readString() (v value, ok bool) {
	start := s.at
	if hashes := s.rawHashes(); hashes >= 0 {
		opening := len("r") + hashes + len(`"`)
		closing := `"` + strings.Repeat("#", hashes)
		length := bytes.Index(s.text[start+opening:], []byte(closing))
		if length < 0 {
			return s.unclosed(), false
		}
		s.at = start + opening + length + len(closing)
		return value{span: span{start, s.at}, text: unixLines(s.raw(span{start + opening, start + opening + length}))}, true
	}
	for i := start + 1; i < len(s.text); i++ {
		switch s.text[i] {
		case '\\':
			i++
		case '"':
			s.at = i + 1
			at := span{start, s.at}
			s.lastText = at
			text, good := s.unescapeString(at)
			return value{span: at, text: text, broken: !good}, true
		}
	}
	return s.unclosed(), false
}

func (s *scanner) unclosed() value {
	at := span{s.at, s.lineEnd()}
	line, _ := s.position(s.at)
	s.torn = true
	s.mistake(at, "unclosed-string", "this string is never closed",
		fmt.Sprintf("strings may span lines in KDL, so the end of the file was reached; close the quote on line %d", line))
	s.at = len(s.text)
	return value{span: at, text: s.raw(at), broken: true}
}

// rawHashes is the number of hashes of the raw string that begins here, or -1.
func (s *scanner) rawHashes() int {
	if !s.sees("r") {
		return -1
	}
	i := s.at + 1
	for i < len(s.text) && s.text[i] == '#' {
		i++
	}
	if i < len(s.text) && s.text[i] == '"' {
		return i - s.at - 1
	}
	return -1
}

// escapes of a quoted string, but for \u{…}.
var escapes = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', 'b': '\b', 'f': '\f', '"': '"', '\\': '\\', '/': '/'}

// unescapeString is the meaning of the quoted string at; it reports what is no escape.
func (s *scanner) unescapeString(at span) (text string, good bool) {
	inner := s.raw(span{at.start + 1, at.end - 1})
	if !strings.ContainsAny(inner, "\\\r") {
		return inner, true
	}
	good = true
	var out strings.Builder
	for i := 0; i < len(inner); i++ {
		if inner[i] != '\\' {
			out.WriteByte(inner[i])
			continue
		}
		meaning, length, ok := unescapeOne(inner[i:])
		if !ok {
			good = false
			s.unknownEscape(at.start+1+i, inner[i:])
		}
		out.WriteString(meaning)
		i += length - 1
	}
	return unixLines(out.String()), good
}

// unescapeOne reads the escape that text begins with: what it means, and its length.
func unescapeOne(text string) (meaning string, length int, ok bool) {
	if text[1] == 'u' {
		digits, _, closed := strings.Cut(text[2:], "}")
		if hex, braced := strings.CutPrefix(digits, "{"); braced && closed && len(hex) <= 6 {
			if n, err := strconv.ParseUint(hex, 16, 32); err == nil && utf8.ValidRune(rune(n)) {
				return string(rune(n)), len(`\u{}`) + len(hex), true
			}
		}
		return "u", 2, false
	}
	if c, known := escapes[text[1]]; known {
		return string(c), 2, true
	}
	_, size := utf8.DecodeRuneInString(text[1:])
	return text[1 : 1+size], 1 + size, false
}

func (s *scanner) unknownEscape(offset int, text string) {
	if text[1] == '\n' || text[1] == '\r' {
		s.mistake(span{offset, offset + 1}, "unknown-escape",
			"a backslash at the end of a line inside a string would be lost, and the command would be cut in two",
			`write \\, or use a raw string r"..."`).fix(s.file, span{offset, offset + 1}, `\\`)
		return
	}
	r, size := utf8.DecodeRuneInString(text[1:])
	at := span{offset, offset + 1 + size}
	if r == 'u' {
		s.mistake(at, "unknown-escape", `\u needs the number of a character in braces`, `write \u{e9}`)
		return
	}
	s.mistake(at, "unknown-escape", fmt.Sprintf(`\%c is not an escape of KDL; the backslash would be lost`, r),
		fmt.Sprintf(`write \\%c, or use a raw string r"..."`, r)).fix(s.file, at, `\\`+string(r))
}

// unixLines makes a checkout on Windows run as it does elsewhere.
func unixLines(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") }

// quote writes text as a KDL string.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(text) + `"`
}

// oneLine shortens text to its first line, for a help.
func oneLine(text string) string {
	first, _, more := strings.Cut(text, "\n")
	if more {
		return strings.TrimRight(first, "\r ") + " ..."
	}
	return first
}

// isIdentifier tells whether the library takes word as the name of a node or property.
func isIdentifier(word string) bool {
	switch word {
	case "", "true", "false", "null":
		return false
	}
	if word[0] == '_' || word[0] == '.' || word[0] == '?' || isNumberStart(word) {
		return false
	}
	return !strings.ContainsAny(word, `\/(){}<>;[]=,"`)
}

// isNumberStart tells whether word is read as a number.
func isNumberStart(word string) bool {
	digits := strings.TrimLeft(word, "+-")
	return digits != "" && len(word)-len(digits) <= 1 && digits[0] >= '0' && digits[0] <= '9'
}

// numeric tells whether word is a number of KDL, of whatever form.
func numeric(word string) bool {
	digits := strings.ReplaceAll(strings.TrimLeft(word, "+-"), "_", "")
	for prefix, base := range map[string]int{"0x": 16, "0o": 8, "0b": 2} {
		if rest, ok := strings.CutPrefix(digits, prefix); ok {
			_, err := strconv.ParseUint(rest, base, 64)
			return err == nil
		}
	}
	whole, exponent, hasExponent := strings.Cut(strings.ToLower(digits), "e")
	whole, fraction, hasFraction := strings.Cut(whole, ".")
	exponent = strings.TrimLeft(exponent, "+-")
	return allDigits(whole) && (!hasFraction || allDigits(fraction)) && (!hasExponent || allDigits(exponent))
}

func allDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}
