package language

import (
	"fmt"
	"unicode/utf8"
)

// checkCharacters refuses bytes that are no UTF-8 (the first, as the others follow
// from it) and characters that a reader cannot see: control characters but for tab
// and line ends, and those that change the direction of text, in comments too.
// It answers false where the file cannot be given to the library.
func (f *file) checkCharacters() bool {
	valid := true
	for i := 0; i < len(f.text); {
		c := f.text[i]
		if c >= ' ' && c < 0x7f || c == '\n' || c == '\t' || c == '\r' {
			i++
			continue
		}
		r, size := utf8.DecodeRune(f.text[i:])
		at := span{i, i + size}
		switch {
		case r == utf8.RuneError && size == 1:
			if valid {
				f.errorAt(at, "file-not-utf8", fmt.Sprintf("byte 0x%02x is not valid UTF-8", c), "save the file as UTF-8")
			}
			valid = false
		case r < ' ' || r == 0x7f:
			f.errorAt(at, "control-character", fmt.Sprintf("U+%04X is not allowed in a pipeline file", r), fmt.Sprintf(`write \u{%x} if it is meant`, r)).
				fix(f, at, fmt.Sprintf(`\u{%x}`, r))
		case isBidi(r):
			f.errorAt(at, "bidi-character", fmt.Sprintf("U+%04X changes the direction of the text and can hide what this line does", r), "remove it").
				fix(f, at, "")
		}
		i += size
	}
	return valid
}
