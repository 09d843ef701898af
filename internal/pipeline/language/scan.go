package language

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep blocks may nest.
const maxDepth = 16

// scanner reads the text of a file into nodes with positions. It knows KDL v1, and
// what people write who think of something else; after a mistake it goes on where
// the next node probably begins.
//
// Source: the grammar of KDL 1.0.0, as far as the library reads it.
type scanner struct {
	*file
	at    int
	depth int
	// openLine is the line of the innermost block's {.
	openLine int
	// guess closes blocks where a stage begins a line: braces are known not to match.
	guess bool
	// torn says that braces or quotes do not match: where nodes end is a guess.
	torn bool
	// openEnd says that a block reached the end of the file.
	openEnd bool
	// buried says that the top-level node under way nests too deep.
	buried bool
	// lastText is the last quoted string.
	lastText span
	// lost counts the mistakes so far; who compares it knows that one was made.
	lost int
}

// scan reads the whole file. whole is false if braces or quotes do not match.
func (f *file) scan() (nodes []*node, whole bool) {
	s := &scanner{file: f}
	if at, ok := s.foreignFile(); ok {
		s.torn, s.at = true, at
		s.lostNode = true
		return nil, false
	}
	before := len(f.problems.list)
	nodes = s.nodes(nil)
	if s.openEnd {
		f.problems.list = f.problems.list[:before]
		s = &scanner{file: f, guess: true}
		nodes = s.nodes(nil)
		s.torn = true
	}
	return nodes, !s.torn
}

// mistake reports an error of syntax.
func (s *scanner) mistake(at span, code, message, help string) *Diagnostic {
	s.lost++
	return s.errorAt(at, code, message, help)
}

func (s *scanner) end() bool { return s.at >= len(s.text) }

// sees tells whether word comes next.
func (s *scanner) sees(word string) bool {
	return strings.HasPrefix(string(s.text[s.at:min(len(s.text), s.at+len(word))]), word)
}

func (s *scanner) peek() rune {
	r, _ := utf8.DecodeRune(s.text[s.at:])
	return r
}

// skip passes over one character, whatever it is.
func (s *scanner) skip() {
	_, size := utf8.DecodeRune(s.text[s.at:])
	s.at += size
}

// nodes reads nodes up to the end of the file, or of the block of parent.
func (s *scanner) nodes(parent *node) []*node {
	var list []*node
	for {
		s.skipLines()
		switch {
		case s.end():
			return list
		case parent != nil && (s.sees("}") || s.guess && s.stageBeginsLine()):
			return list
		case s.sees("}"):
			s.torn = true
			s.mistake(span{s.at, s.at + 1}, "stray-brace", "nothing is open here", "remove this }").fix(s.file, span{s.at, s.at + 1}, "")
			s.at++
		case s.sees(";"):
			s.mistake(span{s.at, s.at + 1}, "syntax", "there is no node before this semicolon", "remove it").fix(s.file, span{s.at, s.at + 1}, "")
			s.at++
		case s.sees("/-"):
			s.struckNode()
		case s.sees("{") && len(list) > 0 && list[len(list)-1].block.end == 0 && list[len(list)-1].key != "pipeline":
			s.blockOnNextLine(list[len(list)-1])
		default:
			if n := s.node(); n != nil {
				list = append(list, n)
			} else if parent == nil {
				s.lostNode = true
			} else {
				parent.hasLost = true
			}
		}
	}
}

// stageBeginsLine tells whether a stage begins in the first column.
func (s *scanner) stageBeginsLine() bool {
	return s.sees("stage ") && (s.at == 0 || s.text[s.at-1] == '\n')
}

// blockOnNextLine reads the block of a node that has ended with its line.
func (s *scanner) blockOnNextLine(n *node) {
	s.mistake(span{s.at, s.at + 1}, "syntax", "a block begins on the line of its node", oneLine(s.raw(span{n.start, n.end}))+" {")
	n.broken = true
	s.blockOf(n, false)
	s.terminator(n)
}

// struckNode reads a node that is struck out; its mistakes are mistakes all the same.
func (s *scanner) struckNode() {
	start := s.at
	s.at += len("/-")
	s.skipLines()
	if s.end() || s.sees("}") {
		s.mistake(span{start, start + 2}, "syntax", "there is nothing to strike out after /-", "remove it")
		return
	}
	if s.sees("kdl-version") {
		s.mistake(span{start, s.lineEnd()}, "kdl-v2-version", "this file asks for KDL v2; BuildIt reads KDL v1",
			"remove the line; quote every string, write true and false without #").fix(s.file, span{start, s.lineEnd()}, "")
		s.at = s.lineEnd()
		return
	}
	s.node()
}

// node reads one node, or reports why it is none and answers nil.
func (s *scanner) node() *node {
	lost, start := s.lost, s.at
	if s.sees("(") {
		s.annotation(nil)
	}
	n := &node{file: s.file}
	if !s.nodeName(n) {
		s.skipNode()
		return nil
	}
	n.start, n.end = n.name.start, n.name.end
	if s.foreignLine(n, start) {
		n.broken = true
		return nil
	}
	s.entries(n)
	s.terminator(n)
	n.broken = s.lost > lost
	if s.buried && s.depth == 0 {
		s.buried = false
		return nil // no node of the language is that deep, so nothing else is said of it
	}
	return n
}

// nodeName reads the name of a node.
func (s *scanner) nodeName(n *node) bool {
	start := s.at
	switch {
	case s.sees(`"`) || s.rawHashes() >= 0:
		v, _ := s.readString()
		n.name, n.key = v.span, v.text
		return true
	case s.sees("{"):
		s.mistake(span{start, start + 1}, "syntax", "a block needs a name before it", `stage "test" {`)
		return false
	}
	word := s.word()
	if quote := strings.IndexByte(word, '"'); quote > 0 { // run"make"
		word, s.at = word[:quote], start+quote
	}
	n.name, n.key = span{start, s.at}, word
	if isIdentifier(word) {
		return true
	}
	if word == "" {
		s.skip()
		s.mistake(span{start, s.at}, "syntax", s.raw(span{start, s.at})+" cannot begin a node", "a node begins with its name: run \"make\"")
		return false
	}
	if word == "true" || word == "false" || word == "null" || isNumberStart(word) {
		s.mistake(n.name, "syntax", word+" is a value, and a node begins with its name", "begin it with a letter")
		return false
	}
	s.mistake(n.name, "syntax", quote(word)+" is not a name", "quote it: "+quote(word)).fix(s.file, n.name, quote(word))
	return true
}

// entries reads arguments, properties and the block of a node.
func (s *scanner) entries(n *node) {
	apart := false // what was passed over separates as a space does
	for {
		before := s.at
		s.skipSpace()
		spaced := s.at > before || apart
		struck := false
		if s.sees("/-") {
			s.at += len("/-")
			s.skipSpace()
			struck = true
		}
		switch {
		case s.atNodeEnd():
			if struck {
				s.mistake(span{s.at - 2, s.at}, "syntax", "there is nothing to strike out after /-", "remove it")
			}
			return
		case s.sees("{"):
			if !spaced && len(n.args)+len(n.props) == 0 && !struck {
				s.mistake(span{s.at, s.at + 1}, "syntax", "a space is missing before {", s.raw(n.name)+" {").fix(s.file, span{s.at, s.at}, " ")
			}
			s.blockOf(n, struck)
			continue
		case n.block.end > 0 && s.guess && s.stageBeginsLine():
			return
		case n.block.end > 0:
			s.mistake(span{s.at, s.at + 1}, "missing-semicolon", "a node ends with its block; the next one begins on a line of its own or after a semicolon", "put a ; after the }").
				fix(s.file, span{n.block.end, n.block.end}, ";")
			return
		}
		if apart = s.foreignEntry(n); apart {
			continue
		}
		if !spaced && !struck {
			s.missingSpace(n)
			continue
		}
		s.entry(n, struck)
	}
}

// missingSpace reports two things that touch, most often because a quote inside a
// string was not escaped; the rest of the line is given up.
func (s *scanner) missingSpace(n *node) {
	n.partial = true
	if first, _ := s.position(s.lastText.start); s.lastText.end == s.at && bytes.ContainsAny(s.text[s.lastText.start:s.at], "\r\n") {
		line, _ := s.position(s.at)
		end := s.lineEndAt(s.lastText.start)
		s.mistake(span{s.lastText.start, end}, "unclosed-string", "this string is never closed",
			fmt.Sprintf("strings may span lines in KDL, so the next quote, on line %d, ended it; close the quote on line %d", line, first))
		s.at = end
		return
	}
	help := `write \" for a quote inside a string, or r#"..."#`
	switch {
	case s.sees(":"):
		s.mistake(span{s.at, s.at + 1}, "syntax", "KDL has no colon here", "remove the :").fix(s.file, span{s.at, s.at + 1}, "")
		s.at++
		n.partial = false
		return
	case s.text[s.at-1] != '"':
		help = "separate them by a space"
	}
	s.mistake(span{s.at, s.at + 1}, "syntax", "a space is missing here", help)
	s.giveUpLine()
}

// giveUpLine passes over the rest of the line, but for the } of a block that was
// opened on it.
func (s *scanner) giveUpLine() {
	end := s.lineEnd()
	if line, _ := s.position(s.at); s.depth > 0 && line == s.openLine {
		if closing := bytes.LastIndexByte(s.text[s.at:end], '}'); closing >= 0 {
			end = s.at + closing
		}
	}
	s.at = end
}

// blockOf reads the children of a node.
func (s *scanner) blockOf(n *node, struck bool) {
	open := span{s.at, s.at + 1}
	if n.block.end > 0 && !struck {
		s.mistake(open, "syntax", "a node has one block", "put the nodes of both into one")
	}
	if s.depth++; s.depth > maxDepth {
		s.tooDeep(open)
		s.depth--
		return
	}
	before := s.openLine
	s.openLine, _ = s.position(s.at)
	s.at++
	children := s.nodes(n)
	s.depth--
	s.openLine = before
	if !s.sees("}") {
		s.openEnd = s.openEnd || !s.torn
		if !s.torn || s.guess { // a string or a block inside was not closed either
			s.mistake(open, "unclosed-block", "this block is never closed", "add } after the last node of "+n.label())
		}
		s.torn = true
		n.end = s.at
		n.partial = true
	} else {
		s.at++ // the }
	}
	if struck {
		return
	}
	n.children = append(n.children, children...)
	n.block = span{open.start, s.at}
	n.end = s.at
}

// tooDeep reports a block below the deepest level and passes over it.
func (s *scanner) tooDeep(open span) {
	s.buried = true
	s.mistake(open, "nesting-too-deep", "blocks nest at most 16 deep", "no node of the language needs more than five")
	depth := 0
	for !s.end() {
		switch {
		case s.sees(`"`) || s.rawHashes() >= 0:
			s.readString()
			continue
		case s.sees("{"):
			depth++
		case s.sees("}"):
			depth--
		}
		s.at++
		if depth == 0 {
			return
		}
	}
	s.torn = true
}

// terminator ends a node: at a line's end, a semicolon or the end of the file.
func (s *scanner) terminator(n *node) {
	switch {
	case s.end() || s.sees("//"):
	case s.sees(";"):
		s.at++
	case s.sees("}") && s.depth > 0 && n.partial: // the rest of its line was given up
	case s.sees("}") && s.depth > 0:
		fixed := s.raw(span{n.start, n.end}) + "; }"
		d := s.mistake(span{s.at, s.at + 1}, "missing-semicolon", "in KDL v1 the last node before } on the same line needs a semicolon", oneLine(fixed))
		d.fix(s.file, span{n.start, s.at + 1}, fixed)
	case isNewline(s.peek()):
		s.newline()
	}
}

// atNodeEnd tells whether a node may end here.
func (s *scanner) atNodeEnd() bool {
	return s.end() || s.sees(";") || s.sees("}") || s.sees("//") || isNewline(s.peek())
}

// annotation reports (type) and passes over it; n is the node whose value follows.
func (s *scanner) annotation(n *node) {
	start := s.at
	for !s.end() && !isNewline(s.peek()) && !s.sees(")") {
		s.at++
	}
	if s.sees(")") {
		s.at++
	}
	at := span{start, s.at}
	help := "remove " + s.raw(at)
	if n != nil {
		rest := s.at
		for rest < len(s.text) && strings.IndexByte(" \t\r\n;{}", s.text[rest]) < 0 {
			rest++
		}
		if rest > s.at {
			help = n.key + " " + s.raw(span{s.at, rest})
		}
	}
	s.mistake(at, "type-annotation", "type annotations are not used here", help).fix(s.file, at, "")
}

// skipNode gives up a node: the rest of the line, and a block that begins on it.
func (s *scanner) skipNode() {
	for !s.end() && !isNewline(s.peek()) && !s.sees(";") && !s.sees("}") {
		switch {
		case s.sees(`"`) || s.rawHashes() >= 0:
			s.readString()
		case s.sees("{"):
			s.blockOf(&node{file: s.file, key: "this"}, true)
		default:
			s.skip()
		}
	}
	if s.sees(";") {
		s.at++
	}
}

// skipSpace passes over blanks, comments within a line and continued lines.
func (s *scanner) skipSpace() {
	for !s.end() {
		switch {
		case isSpace(s.peek()):
			s.skip()
		case s.sees("/*"):
			s.comment()
		case s.sees(`\`):
			if !s.continuation() {
				return
			}
		default:
			return
		}
	}
}

// continuation passes over a backslash and the end of its line.
func (s *scanner) continuation() bool {
	start := s.at
	s.at++
	for !s.end() && isSpace(s.peek()) {
		s.skip()
	}
	if s.sees("//") {
		s.at = s.lineEnd()
	}
	if !s.end() && isNewline(s.peek()) {
		s.newline()
		return true
	}
	s.mistake(span{start, start + 1}, "syntax", `a backslash outside a string continues the line, and must end it`, "put the value into quotes")
	return true
}

// skipLines passes over everything between nodes.
func (s *scanner) skipLines() {
	for !s.end() {
		switch {
		case isSpace(s.peek()):
			s.skip()
		case isNewline(s.peek()):
			s.newline()
		case s.sees("//"):
			s.at = s.lineEnd()
		case s.sees("/*"):
			s.comment()
		default:
			return
		}
	}
}

// comment passes over /* … */, which nests.
func (s *scanner) comment() {
	start, depth := s.at, 0
	for !s.end() {
		switch {
		case s.sees("/*"):
			depth++
			s.at += 2
		case s.sees("*/"):
			depth--
			s.at += 2
			if depth == 0 {
				return
			}
		default:
			s.at++
		}
	}
	s.torn = true
	s.mistake(span{start, start + 2}, "syntax", "this comment is never closed", "close it with */ (comments nest), or begin each line with //")
}

func (s *scanner) newline() {
	if s.sees("\r\n") {
		s.at += 2
		return
	}
	s.skip()
}

// lineEnd is the offset of the end of the line under way.
func (s *scanner) lineEnd() int { return s.lineEndAt(s.at) }

func (s *scanner) lineEndAt(at int) int {
	for i := at; i < len(s.text); {
		r, size := utf8.DecodeRune(s.text[i:])
		if isNewline(r) {
			return i
		}
		i += size
	}
	return len(s.text)
}

func isNewline(r rune) bool {
	return r == '\n' || r == '\r' || r == '\u0085' || r == '\f' || r == '\u2028' || r == '\u2029'
}

func isSpace(r rune) bool {
	switch r {
	case ' ', '\t', '\u00A0', '\u1680', '\u202F', '\u205F', '\u3000', '\uFEFF':
		return true
	}
	return r >= '\u2000' && r <= '\u200A'
}
