package logs

import "bytes"

// Limits of sections: marks of a stage's own output, which may be anything.
const (
	maxSections = 1000
	maxNested   = 16
	maxTitle    = 200 // bytes
)

// Section is a group of lines that a command has marked in its output by lines that
// begin with ##[group]TITLE and ##[endgroup]. It is for display alone: it decides
// nothing, and its marks stay in the text.
type Section struct {
	Title string `json:"title"`
	Depth int    `json:"depth,omitempty"` // how many sections it stands in
	First int64  `json:"first"`           // the line of its mark
	Last  int64  `json:"last"`            // of the mark that ends it, or of the log
}

var (
	sectionMark  = []byte("##[")
	sectionBegin = []byte("##[group]")
	sectionEnd   = []byte("##[endgroup]")
)

// sections collects the sections of a text that comes in order.
type sections struct {
	list []Section
	open []int // places in list, the innermost last
	deep int   // sections that are open and not noted
}

// scan looks at text, which begins in a line and, unless inside, at its beginning.
func (s *sections) scan(text []byte, line int64, inside bool) {
	from := 0
	for {
		i := bytes.Index(text[from:], sectionMark)
		if i < 0 {
			return
		}
		line += int64(bytes.Count(text[from:from+i], newline))
		at := from + i
		from = at + len(sectionMark)
		if at > 0 && text[at-1] != '\n' || at == 0 && inside {
			continue
		}
		mark, _, _ := bytes.Cut(text[at:], newline)
		switch {
		case bytes.HasPrefix(mark, sectionBegin):
			s.begin(mark[len(sectionBegin):], line)
		case bytes.HasPrefix(mark, sectionEnd):
			s.end(line)
		}
	}
}

func (s *sections) begin(title []byte, line int64) {
	if len(s.list) == maxSections || len(s.open) == maxNested || s.deep > 0 {
		s.deep++
		return
	}
	title = bytes.TrimSpace(plain(title))
	title = title[:min(len(title), maxTitle)]
	s.list = append(s.list, Section{Title: string(bytes.ToValidUTF8(title, nil)), Depth: len(s.open), First: line})
	s.open = append(s.open, len(s.list)-1)
}

func (s *sections) end(line int64) {
	switch {
	case s.deep > 0:
		s.deep--
	case len(s.open) > 0:
		s.list[s.open[len(s.open)-1]].Last = line
		s.open = s.open[:len(s.open)-1]
	}
}

// close ends what is open at the last line of the log.
func (s *sections) close(last int64) []Section {
	for len(s.open) > 0 {
		s.deep = 0
		s.end(last)
	}
	return s.list
}
