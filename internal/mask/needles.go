package mask

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Shortest is the length in bytes below which a text is no needle: it would be
// found everywhere.
const Shortest = 4

// shortestLine is the length from which a line of a value is a needle of its own.
const shortestLine = 8

// common are values that say nothing and stand in every log.
var common = []string{
	"true", "false", "null", "none", "undefined", "default", "test", "admin", "root", "user", "password", "secret",
	"localhost", "127.0.0.1", "0.0.0.0", "main", "master", "develop", "production", "staging", "development",
	"enabled", "disabled", "info", "debug", "warn", "error", "https", "http", "[secret]",
}

// Refuse says why a value cannot be masked, in words for the person who creates
// the secret, or "" if it can.
func Refuse(value string) string {
	trimmed := strings.TrimSpace(value)
	if len(trimmed) < Shortest {
		return fmt.Sprintf("a secret of fewer than %d bytes cannot be masked: it would blot out unrelated text", Shortest)
	}
	if slices.Contains(common, strings.ToLower(trimmed)) {
		return fmt.Sprintf("%q is too common a word to be masked: it would blot out unrelated text", trimmed)
	}
	return ""
}

// needles are the texts that give a value away: itself, its longer lines, and its
// usual encodings. A value that Refuse refuses has none.
func needles(value string) []string {
	if Refuse(value) != "" {
		return nil
	}
	plain := []string{value, strings.TrimSpace(value)}
	if strings.Contains(value, "\n") {
		unix := strings.ReplaceAll(value, "\r\n", "\n")
		plain = append(plain, unix, strings.ReplaceAll(unix, "\n", "\r\n"))
		for line := range strings.SplitSeq(unix, "\n") {
			if len(line) >= shortestLine {
				plain = append(plain, line)
			}
		}
	}
	plain = append(plain, passwords(value)...)
	found := map[string]bool{}
	for _, text := range plain {
		for _, form := range forms(text) {
			if len(form) >= Shortest {
				found[form] = true
			}
		}
	}
	list := make([]string, 0, len(found))
	for form := range found {
		list = append(list, form)
	}
	slices.Sort(list)
	return list
}

// passwords are those in a value that is a URL, as it was written and as it is
// used: a tool that connects prints the one without the other.
func passwords(value string) []string {
	address, err := url.Parse(strings.TrimSpace(value))
	if err != nil || address.User == nil {
		return nil
	}
	password, _ := address.User.Password()
	if Refuse(password) != "" {
		return nil
	}
	list := []string{password}
	if _, written, ok := strings.Cut(address.User.String(), ":"); ok {
		list = append(list, written)
	}
	return list
}

// forms are a text and its encodings.
func forms(text string) []string {
	list := []string{text, hex.EncodeToString([]byte(text)), strings.ToUpper(hex.EncodeToString([]byte(text)))}
	list = append(list, base64Forms(text)...)
	list = append(list, percentForms(text)...)
	list = append(list, jsonForms(text)...)
	return append(list, shellForms(text)...)
}

// base64Forms are the characters that text surely makes inside any longer base64
// text: in each of the three alignments, without the characters at both ends that
// hold bits of its neighbours.
func base64Forms(text string) []string {
	var list []string
	for before := range 3 {
		padded := append(make([]byte, before), text...)
		first := (8*before + 5) / 6
		behind := 8 * len(padded) / 6
		for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			list = append(list, alphabet.EncodeToString(padded)[first:behind])
		}
	}
	return list
}

// percentForms are text in a URL: as a query's value and as a path's segment,
// with the digits of the escapes in both cases.
func percentForms(text string) []string {
	var list []string
	for _, upper := range []string{url.QueryEscape(text), url.PathEscape(text), escapeReserved(text)} {
		list = append(list, upper, lowerEscapes(upper))
	}
	return list
}

// escapeReserved escapes all but the unreserved characters of RFC 3986.
func escapeReserved(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

func lowerEscapes(escaped string) string {
	lower := []byte(escaped)
	for i := 0; i+2 < len(lower); i++ {
		if lower[i] == '%' {
			copy(lower[i+1:i+3], strings.ToLower(escaped[i+1:i+3]))
			i += 2
		}
	}
	return string(lower)
}

// jsonForms are text in a JSON string, by encoders that escape <, > and & and by
// those that do not, and with / escaped.
func jsonForms(text string) []string {
	var plain strings.Builder
	encoder := json.NewEncoder(&plain)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		return nil // no string fails: invalid UTF-8 is replaced
	}
	bare := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(plain.String(), "\n"), `"`), `"`)
	ascii := escapeNonASCII(bare)
	html := strings.NewReplacer("<", `\u003c`, ">", `\u003e`, "&", `\u0026`).Replace(bare)
	return []string{bare, html, strings.ReplaceAll(bare, "/", `\/`), ascii, strings.ReplaceAll(ascii, "/", `\/`)}
}

// escapeNonASCII writes what is not ASCII as \uXXXX, in pairs above U+FFFF, as the
// encoders of several languages do by default.
func escapeNonASCII(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r < utf8.RuneSelf:
			b.WriteRune(r)
		case r > 0xffff:
			first, second := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, first, second)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// shellForms are text as shells quote it: within '…' in two habits, within "…",
// and with backslashes, as `printf %q` does.
func shellForms(text string) []string {
	double := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(text)
	var slashed strings.Builder
	for i := range len(text) {
		if strings.IndexByte(" \t!\"#$&'()*,;<>?[\\]^`{|}~", text[i]) >= 0 {
			slashed.WriteByte('\\')
		}
		slashed.WriteByte(text[i])
	}
	return []string{
		strings.ReplaceAll(text, "'", `'\''`),
		strings.ReplaceAll(text, "'", `'"'"'`),
		double,
		slashed.String(),
	}
}
