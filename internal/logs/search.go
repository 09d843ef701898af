package logs

import (
	"bytes"
	"fmt"
	"regexp"
	"unicode/utf8"
)

// Limits of a search.
const (
	MaxNeedle  = 1 << 10 // bytes of what is looked for
	MaxExcerpt = 2 << 10 // bytes of a line that a match shows, about
)

// Pattern is what a search looks for in a line. Colours and other terminal sequences
// inside the line are looked through: what a person reads is what is found.
type Pattern struct {
	literal []byte // what every match holds as it is, nil where that is not known
	expr    *regexp.Regexp
}

// Match is where a pattern was found in a line: an excerpt, as valid UTF-8 without
// terminal sequences, and the bytes of it that matched.
type Match struct {
	Line     int64
	MS       int64 // as Line.MS
	Text     string
	From, To int
	Cut      bool // the line is longer than the excerpt
}

// NewPattern reads what to look for: text as it is, or an RE2 expression. ignoreCase
// takes upper and lower case for the same.
func NewPattern(needle string, expression, ignoreCase bool) (*Pattern, error) {
	switch {
	case needle == "":
		return nil, fmt.Errorf("it is empty")
	case len(needle) > MaxNeedle:
		return nil, fmt.Errorf("it has %d bytes, and may have %d", len(needle), MaxNeedle)
	}
	p := new(Pattern)
	if !expression {
		if !ignoreCase {
			p.literal = []byte(needle)
		}
		needle = regexp.QuoteMeta(needle)
	}
	if ignoreCase {
		needle = "(?i)" + needle
	}
	var err error
	p.expr, err = regexp.Compile(needle)
	return p, err
}

// canSkip tells that no line of a part matches, so that it need not be cut into
// lines: it holds whole lines alone, no terminal sequence, and not the text.
func (p *Pattern) canSkip(part Part) bool {
	n := len(part.Text)
	return p.literal != nil && n > 0 && part.Text[n-1] == '\n' && !bytes.Contains(part.Text, p.literal) && bytes.IndexByte(part.Text, escape) < 0
}

// find looks at one line, or one piece of a long one.
func (p *Pattern) find(line Line) (Match, bool) {
	text := line.Text
	if bytes.IndexByte(text, escape) >= 0 {
		text = plain(text)
	} else if p.literal != nil && !bytes.Contains(text, p.literal) {
		return Match{}, false
	}
	at := p.expr.FindIndex(text)
	if at == nil {
		return Match{}, false
	}
	return excerpt(line, text, at[0], at[1]), true
}

// excerpt shows the line around what was found.
func excerpt(line Line, text []byte, from, to int) Match {
	m := Match{Line: line.Number, MS: line.MS, Cut: line.More}
	if len(text) > MaxExcerpt {
		start := max(0, min(from-MaxExcerpt/4, len(text)-MaxExcerpt))
		for start > 0 && start < from && !utf8.RuneStart(text[start]) {
			start++
		}
		end := min(start+MaxExcerpt, len(text))
		for end < len(text) && end > start && !utf8.RuneStart(text[end]) {
			end--
		}
		text, from, to, m.Cut = text[start:end], from-start, min(to, end)-start, true
	}
	head, found := valid(text[:from]), valid(text[from:to])
	m.Text = head + found + valid(text[to:])
	m.From, m.To = len(head), len(head)+len(found)
	return m
}

func valid(text []byte) string { return string(bytes.ToValidUTF8(text, []byte("\uFFFD"))) }

// Finder looks for a pattern in parts that come in order.
type Finder struct {
	pattern *Pattern
	lines   *Splitter
}

// NewFinder calls found for each line that matches, once for a line, from the line
// first on. found ends the search by an error of its own.
func NewFinder(p *Pattern, first int64, found func(Match) error) *Finder {
	last := int64(0)
	return &Finder{pattern: p, lines: NewSplitter(first, 0, func(line Line) error {
		if line.Number == last { // another piece of a line that was found
			return nil
		}
		m, ok := p.find(line)
		if !ok {
			return nil
		}
		last = line.Number
		return found(m)
	})}
}

// Add takes the next part.
func (f *Finder) Add(part Part) error {
	if !f.lines.mid && f.pattern.canSkip(part) {
		return nil
	}
	return f.lines.Add(part)
}

// Close looks at a last line that has no end.
func (f *Finder) Close() error { return f.lines.Close() }

const escape = 0x1b

// plain is text without terminal sequences (ECMA-48: CSI, OSC and two-byte ones).
func plain(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		i := bytes.IndexByte(text, escape)
		if i < 0 {
			return append(out, text...)
		}
		out = append(out, text[:i]...)
		text = text[i+sequence(text[i:]):]
	}
	return out
}

// sequence is the length of the terminal sequence that text begins with.
func sequence(text []byte) int {
	if len(text) < 2 {
		return len(text)
	}
	switch text[1] {
	case '[': // parameters and intermediates, then a final byte
		for i := 2; i < len(text); i++ {
			if text[i] >= 0x40 && text[i] <= 0x7e {
				return i + 1
			}
			if text[i] < 0x20 || text[i] > 0x7e {
				return i
			}
		}
		return len(text)
	case ']': // up to BEL or ESC \
		for i := 2; i < len(text); i++ {
			switch {
			case text[i] == 0x07:
				return i + 1
			case text[i] == escape && i+1 < len(text) && text[i+1] == '\\':
				return i + 2
			}
		}
		return len(text)
	}
	return 2
}
