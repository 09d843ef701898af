package language

import (
	"cmp"
	"slices"
	"sort"
	"unicode/utf8"
)

// maxProblems is how many diagnostics a reader gets at once.
const maxProblems = 100

// file is the text of a pipeline file, or of a file that it includes, and the
// place where everything that reads it reports.
type file struct {
	name     string
	text     []byte
	lines    []int // offset of the first byte of each line
	from     *Pos  // the include node that brought it
	problems *problems
	lostNode bool // a top-level node could not be read at all

	lastOffset, lastLine, lastColumn int // where position was asked last
}

// problems are the diagnostics of a pipeline and all its files.
type problems struct{ list []Diagnostic }

func newFile(name string, text []byte, all *problems) *file {
	f := &file{name: name, text: text, lines: []int{0}, problems: all}
	for i, c := range text {
		if c == '\n' || c == '\r' && (i+1 == len(text) || text[i+1] != '\n') {
			f.lines = append(f.lines, i+1)
		}
	}
	return f
}

// raw is the text of a range, as it was written.
func (f *file) raw(s span) string { return string(f.text[s.start:s.end]) }

// pos turns a range of bytes into lines and columns.
func (f *file) pos(s span) Pos {
	p := Pos{File: f.name}
	p.Line, p.Column = f.position(s.start)
	p.EndLine, p.EndColumn = f.position(s.end)
	return p
}

// position is the line and column of an offset, from 1. Most questions follow the
// one before on the same line: counting goes on there, so that a file of one long
// line costs no more than others.
func (f *file) position(offset int) (line, column int) {
	offset = min(offset, len(f.text))
	i, exact := slices.BinarySearch(f.lines, offset)
	if exact {
		i++
	}
	start, column := f.lines[i-1], 1
	if f.lastLine == i && f.lastOffset <= offset {
		start, column = f.lastOffset, f.lastColumn
	}
	column += utf8.RuneCount(f.text[start:offset])
	f.lastLine, f.lastOffset, f.lastColumn = i, offset, column
	return i, column
}

// line is the text of a line, without its end.
func (f *file) line(number int) string {
	start, end := f.lines[number-1], len(f.text)
	if number < len(f.lines) {
		end = f.lines[number]
	}
	for end > start && (f.text[end-1] == '\n' || f.text[end-1] == '\r') {
		end--
	}
	return string(f.text[start:end])
}

// errorAt reports a mistake; the answer takes its exact replacement.
func (f *file) errorAt(s span, code, message, help string) *Diagnostic {
	return f.report(s, "error", code, message, help)
}

// warnAt reports what is allowed and probably not meant.
func (f *file) warnAt(s span, code, message, help string) *Diagnostic {
	return f.report(s, "warning", code, message, help)
}

func (f *file) report(s span, severity, code, message, help string) *Diagnostic {
	f.problems.list = append(f.problems.list, Diagnostic{
		Pos: f.pos(s), Severity: severity, Code: code, Message: message, Help: help, IncludedFrom: f.from,
	})
	return &f.problems.list[len(f.problems.list)-1]
}

// fix adds the text that replaces the range s.
func (d *Diagnostic) fix(f *file, s span, text string) { d.Fix = &Fix{Range: f.pos(s), Text: text} }

// broken tells whether one of the problems is an error.
func (p *problems) broken() bool {
	return slices.ContainsFunc(p.list, func(d Diagnostic) bool { return d.Severity == "error" })
}

// sorted are the diagnostics as people get them: by file and position, the main
// file first, each once, at most maxProblems, errors before warnings where some
// have to go.
func (p *problems) sorted(main string) []Diagnostic {
	list := p.list
	sort.SliceStable(list, func(i, j int) bool { return before(list[i], list[j], main) })
	list = slices.CompactFunc(list, func(a, b Diagnostic) bool { return a.Pos == b.Pos && a.Code == b.Code && a.Message == b.Message })
	if len(list) > maxProblems {
		errors := slices.DeleteFunc(slices.Clone(list), func(d Diagnostic) bool { return d.Severity != "error" })
		if len(errors) >= maxProblems {
			list = errors
		}
		list = list[:maxProblems]
	}
	return list
}

func before(a, b Diagnostic, main string) bool {
	if a.File != b.File {
		if a.File == main || b.File == main {
			return a.File == main
		}
		return a.File < b.File
	}
	return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) < 0
}

// dropWarnings leaves the errors.
func (p *problems) dropWarnings() {
	p.list = slices.DeleteFunc(p.list, func(d Diagnostic) bool { return d.Severity == "warning" })
}
