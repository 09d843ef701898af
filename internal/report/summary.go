package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/buildit-dev/buildit/internal/pattern"
)

// ReadSummary reads Markdown, and makes it harmless.
func (r *Reader) ReadSummary(in io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(in, MaxSummary+1))
	if err != nil {
		return err
	}
	if len(text) > MaxSummary {
		return fmt.Errorf("it has more than %d bytes (1 MiB)", MaxSummary)
	}
	r.report.Summary = Harmless(strings.TrimSpace(printable(r.Mask.Text(string(text)))))
	return nil
}

// Harmless is Markdown without raw HTML, and without links that run code: what every
// page may show. Code in fences that begin a line stays as it is; everywhere else a <
// that could begin a tag, and an & that could hide one, are written as entities, and
// what else could open a fence loses a mark, so that no reader of Markdown takes for
// text what was left alone as code. A second time changes nothing.
func Harmless(markdown string) string {
	var out strings.Builder
	var open fence
	for line := range strings.Lines(markdown) {
		switch {
		case open.char != 0:
			if open.closes(line) {
				open = fence{}
			}
			out.WriteString(line)
		default:
			if open = opens(line); open.char == 0 {
				line = harmlessLine(line)
			}
			out.WriteString(line)
		}
	}
	return out.String()
}

// fence is an open block of code, whose marks begin a line: no list or quotation can
// hold it.
type fence struct {
	char  byte
	count int
}

func opens(line string) fence {
	line = strings.TrimRight(line, "\r\n")
	if line == "" || line[0] != '`' && line[0] != '~' {
		return fence{}
	}
	f := fence{line[0], len(line) - len(strings.TrimLeft(line, line[:1]))}
	info := line[f.count:]
	if f.count < 3 || f.char == '`' && strings.Contains(info, "`") || info != harmlessLine(info) {
		return fence{} // a language with a tag in it is no language
	}
	return f
}

// closes tells whether a line ends the block, exactly as CommonMark says.
func (f fence) closes(line string) bool {
	text := strings.TrimRight(line, " \t\r\n")
	marks := strings.TrimLeft(text, " ")
	return len(text)-len(marks) <= 3 && len(marks) >= f.count && strings.Trim(marks, string(f.char)) == ""
}

var (
	// manyMarks could open a fence.
	manyMarks = pattern.Late("`{3,}|~{3,}")
	// tagBegin is a < that a browser, or Markdown, may read as the beginning of a tag;
	// a link in angle brackets is none.
	tagBegin = pattern.Late(`<https?://[^\s<>]*>|<[A-Za-z/!?]`)
	// hidden is an & that begins an entity, but for those that say what they are.
	hidden = pattern.Late(`&(?:(?:lt|gt|amp|quot|nbsp);|#|[A-Za-z])`)
	// scheme is the beginning of a link that runs code, also with what browsers pass
	// over in it.
	scheme = pattern.Late(`(?i)` + spaced("javascript") + `[\s\\]*:|(?i)` + spaced("vbscript") + `[\s\\]*:|(?i)` + spaced("data") +
		`[\s\\]*:[\s\\]*(?:text|image/svg|application)`)
)

// spaced matches a word whatever white space or escapes stand in it.
func spaced(word string) string {
	return strings.Join(strings.Split(word, ""), `[\s\\]*`)
}

func harmlessLine(line string) string {
	if !strings.ContainsAny(line, "<&:`~") {
		return line
	}
	line = manyMarks().ReplaceAllStringFunc(line, func(m string) string { return m[:2] })
	line = hidden().ReplaceAllStringFunc(line, func(m string) string {
		if strings.HasSuffix(m, ";") {
			return m
		}
		return "&amp;" + m[1:]
	})
	line = tagBegin().ReplaceAllStringFunc(line, func(m string) string {
		if strings.HasSuffix(m, ">") {
			return m
		}
		return "&lt;" + m[1:]
	})
	return scheme().ReplaceAllString(line, "blocked-link")
}
