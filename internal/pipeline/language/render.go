package language

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxShown is how much of a line of source a person gets to see, in code points.
const maxShown = 160

// Render writes a diagnostic for people: place, message and code, the line of
// source with carets under what is meant, the help. source is the text of its file;
// nil leaves the line out.
//
//	.buildit.kdl:7:13: error: "5min" is not a duration [bad-duration]
//	    timeout "5min"
//	            ^^^^^^
//	  help: did you mean "5m"? (units s, m, h, d)
func (d Diagnostic) Render(source []byte) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s:%d:%d: %s: %s [%s]", d.File, d.Line, d.Column, d.Severity, d.Message, d.Code)
	if lines := newFile(d.File, source, nil); len(source) > 0 && d.Line <= len(lines.lines) {
		d.renderLine(&out, strings.TrimPrefix(lines.line(d.Line), "\ufeff"))
	}
	if d.Help != "" {
		fmt.Fprintf(&out, "\n  help: %s", d.Help)
	}
	if d.IncludedFrom != nil {
		fmt.Fprintf(&out, "\n  included from %s:%d:%d", d.IncludedFrom.File, d.IncludedFrom.Line, d.IncludedFrom.Column)
	}
	return out.String()
}

// renderLine writes the line with four blanks for its own indentation, and carets
// below it.
func (d Diagnostic) renderLine(out *strings.Builder, line string) {
	trimmed := strings.TrimLeft(line, " \t")
	column := d.Column - 1 - (utf8.RuneCountInString(line) - utf8.RuneCountInString(trimmed))
	runes := []rune(strings.ToValidUTF8(trimmed, "\uFFFD"))
	if column < 0 || column > len(runes) || column > maxShown {
		return
	}
	width := 1
	switch {
	case d.EndLine == d.Line:
		width = max(1, d.EndColumn-d.Column)
	case d.EndLine > d.Line:
		width = max(1, len(runes)-column)
	}
	shown := runes[:min(len(runes), maxShown)]
	for i, r := range shown {
		if r < ' ' || r == 0x7f || isBidi(r) {
			shown[i] = '\uFFFD' // what is refused does not reach the terminal
		}
	}
	fmt.Fprintf(out, "\n    %s\n    %s%s", string(shown), strings.Repeat(" ", column), strings.Repeat("^", min(width, maxShown-column+1)))
}

// isBidi tells whether the character changes the direction of text.
func isBidi(r rune) bool { return r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 }
