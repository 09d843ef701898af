package language

import "unicode/utf8"

// inside is the range of the file of a part of a value: start and end count in the
// value's text, which may have had escapes. A negative start is the whole value.
func (f *file) inside(v *value, start, end int) span {
	if start < 0 || v.kind != isString || v.end > len(f.text) {
		return v.span
	}
	raw := f.raw(v.span)
	opening := 0
	for opening < len(raw) && raw[opening] != '"' {
		opening++ // r and hashes of a raw string
	}
	escapes := opening == 0
	begin, at := -1, 0
	for i := opening + 1; i < len(raw); {
		if at >= start && begin < 0 {
			begin = i
		}
		if at >= end && begin >= 0 {
			return span{v.start + begin, v.start + i}
		}
		length, meaning := 1, 1
		switch {
		case escapes && raw[i] == '\\' && i+1 < len(raw):
			text, n, _ := unescapeOne(raw[i:])
			length, meaning = n, len(text)
		case raw[i] == '\r' && i+1 < len(raw) && raw[i+1] == '\n':
			length = 2 // became one line break
		default:
			_, length = utf8.DecodeRuneInString(raw[i:])
			meaning = length
		}
		i += length
		at += meaning
	}
	if begin < 0 {
		return v.span
	}
	return span{v.start + begin, v.end}
}
