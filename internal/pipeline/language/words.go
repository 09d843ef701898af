package language

import (
	"regexp"
	"strings"
	"sync"
)

// lateRegexp is a regular expression that is compiled when it is first asked: a file
// needs few of them, and to compile all would take as long as a short run.
type lateRegexp struct{ compiled func() *regexp.Regexp }

func newLateRegexp(text string) lateRegexp {
	return lateRegexp{sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })}
}

// MatchString is that of a [regexp.Regexp], as are the other methods.
func (p lateRegexp) MatchString(s string) bool { return p.compiled().MatchString(s) }

// FindStringSubmatch answers the leftmost match and its groups.
func (p lateRegexp) FindStringSubmatch(s string) []string { return p.compiled().FindStringSubmatch(s) }

// FindStringSubmatchIndex answers where they are.
func (p lateRegexp) FindStringSubmatchIndex(s string) []int {
	return p.compiled().FindStringSubmatchIndex(s)
}

// Characters of words.
const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

// word is a form that every file has many of: characters of a set, the first of
// them of a smaller one.
type word struct {
	first, rest string
	longest     int // bytes
}

// MatchString tells whether all of s is such a word.
func (w word) MatchString(s string) bool {
	return s != "" && len(s) <= w.longest && strings.IndexByte(w.first, s[0]) >= 0 && strings.Trim(s[1:], w.rest) == ""
}
