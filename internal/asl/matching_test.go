package asl_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/asl"
)

var placeholder = regexp.MustCompile(`<[^<>]*>`)

// match compares a value with what was recorded, by the rules of the recordings'
// README, and answers where they differ, "" if nowhere.
func match(at string, want, got any) string {
	if w, ok := want.(string); ok && isPlaceholder(w) {
		return ""
	}
	if g, ok := got.(string); ok {
		want, got = unpack(want, g)
	}
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return differ(at, want, got)
		}
		return matchObjects(at, w, g)
	case []any:
		g, ok := got.([]any)
		if !ok || len(w) != len(g) {
			return differ(at, want, got)
		}
		for i := range w {
			if problem := match(fmt.Sprintf("%s[%d]", at, i), w[i], g[i]); problem != "" {
				return problem
			}
		}
		return ""
	case string:
		g, ok := got.(string)
		if !ok || !matchText(w, g) {
			return differ(at, want, got)
		}
		return ""
	case json.Number:
		g, ok := got.(json.Number)
		if !ok || !sameNumber(w, g) {
			return differ(at, want, got)
		}
		return ""
	}
	if want != got {
		return differ(at, want, got)
	}
	return ""
}

func isPlaceholder(s string) bool { return placeholder.FindString(s) == s && s != "" }

func sameNumber(a, b json.Number) bool {
	x, errX := a.Float64()
	y, errY := b.Float64()
	return errX == nil && errY == nil && x == y
}

func matchObjects(at string, want, got map[string]any) string {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		g, ok := got[name]
		if !ok {
			return fmt.Sprintf("%s/%s: missing, want %s", at, name, short(want[name]))
		}
		if problem := match(at+"/"+name, want[name], g); problem != "" {
			return problem
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			return fmt.Sprintf("%s/%s: %s, want none", at, name, short(got[name]))
		}
	}
	return ""
}

// unpack reads JSON texts, where the other side is a value or JSON text too.
func unpack(want any, got string) (any, any) {
	w, isText := want.(string)
	if isText && !looksLikeJSON(w) {
		return want, got
	}
	if isText && !looksLikeJSON(got) {
		return want, got
	}
	g, err := asl.Decode([]byte(got))
	if err != nil {
		return want, got
	}
	if !isText {
		switch want.(type) {
		case map[string]any, []any:
			return want, g
		}
		return want, got
	}
	v, err := asl.Decode([]byte(w))
	if err != nil {
		return want, got
	}
	return v, g
}

func looksLikeJSON(s string) bool { return strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[") }

// matchText compares texts in which placeholders stand for any text.
func matchText(want, got string) bool {
	if want == got {
		return true
	}
	pieces := placeholder.Split(want, -1)
	if len(pieces) == 1 {
		return false
	}
	for i := range pieces {
		pieces[i] = regexp.QuoteMeta(pieces[i])
	}
	return regexp.MustCompile(`(?s)^` + strings.Join(pieces, `.*`) + `$`).MatchString(got)
}

func differ(at string, want, got any) string {
	return fmt.Sprintf("%s: %s, want %s", at, short(got), short(want))
}

func short(v any) string {
	b, err := asl.Encode(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	if len(b) > 300 {
		return string(b[:300]) + "…"
	}
	return string(b)
}
