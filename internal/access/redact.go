package access

import (
	"fmt"
	"log/slog"
	"regexp"
)

// credential is what any of our tokens and tickets looks like, whole or broken off.
var credential = regexp.MustCompile(`\bbt[jt]?_[A-Za-z0-9_.-]{6,}`)

// Redact takes tokens and tickets out of a line of our own log: a handler's
// ReplaceAttr. They never should be in one; this is for an error that quotes one.
func Redact(_ []string, a slog.Attr) slog.Attr {
	var text string
	switch value := a.Value.Any().(type) {
	case string:
		text = value
	case error:
		text = value.Error()
	case fmt.Stringer:
		text = value.String()
	default:
		return a
	}
	if !credential.MatchString(text) {
		return a
	}
	return slog.String(a.Key, credential.ReplaceAllString(text, "[token]"))
}
