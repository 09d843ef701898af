// Package pattern makes regular expressions when they are wanted first: a program that
// people start a hundred times a day compiles none that it does not use.
package pattern

import (
	"regexp"
	"sync"
)

// Late is the expression of text, compiled at its first use. It panics there, as
// regexp.MustCompile does, on text that is none.
func Late(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}
