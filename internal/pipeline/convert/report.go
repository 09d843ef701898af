package convert

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/buildit-dev/buildit/internal/pipeline/kdl"
)

// Loss is one thing of a workflow that the output does not say as it was written.
type Loss struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	What   string `json:"what"`
	Why    string `json:"why"`
	Do     string `json:"do,omitempty"`
	// Kept says that it is carried over, in another way that is worth knowing.
	Kept bool `json:"kept"`
}

// Pipeline is one file of the output.
type Pipeline struct {
	Name string `json:"name"`
	From string `json:"from"` // the workflow's file
	Text string `json:"-"`
}

// Result is what became of one file.
type Result struct {
	Pipelines []Pipeline `json:"pipelines"`
	Losses    []Loss     `json:"losses"`
}

// Lost counts what was not carried over.
func (r Result) Lost() int {
	count := 0
	for _, l := range r.Losses {
		if !l.Kept {
			count++
		}
	}
	return count
}

// maxComments is how many losses stand above one node; the list has all.
const maxComments = 40

// report collects the losses of a file.
type report struct {
	file   string
	losses []Loss
	listed map[Loss]bool
	places []*item // of origins, from 1: the YAML that a node was made of
}

// origin numbers the YAML that a node is made of.
func (r *report) origin(it *item) int {
	r.places = append(r.places, it)
	return len(r.places)
}

// lost lists what is not carried over, and says so above near, if there is a place.
func (r *report) lost(at *item, near *kdl.Node, what, why, do string) {
	r.add(at, what, why, do, false)
	if near != nil {
		line := "Not carried over: " + what + " (" + r.where(at) + "): " + why + "."
		if do != "" {
			line += " " + sentence(do)
		}
		if len(near.Comments) < maxComments && !slices.Contains(near.Comments, line) {
			near.Comments = append(near.Comments, line)
		}
	}
}

// kept lists what is carried over in another way.
func (r *report) kept(at *item, what, why, do string) { r.add(at, what, why, do, true) }

func (r *report) add(at *item, what, why, do string, kept bool) {
	l := Loss{File: r.file, Line: 1, Column: 1, What: what, Why: why, Do: do, Kept: kept}
	if at != nil {
		l.Line, l.Column = max(at.line, 1), max(at.column, 1)
	}
	if r.listed == nil {
		r.listed = map[Loss]bool{}
	}
	if !r.listed[l] {
		r.listed[l] = true
		r.losses = append(r.losses, l)
	}
}

func (r *report) where(at *item) string {
	if at == nil {
		return r.file
	}
	return fmt.Sprintf("%s:%d", r.file, at.line)
}

func (r *report) sorted() []Loss {
	slices.SortStableFunc(r.losses, func(a, b Loss) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return r.losses
}

// sentence begins with a capital letter where it begins with a plain word, and ends
// with a full stop.
func sentence(text string) string {
	if c := text[0]; c >= 'a' && c <= 'z' {
		text = string(c-'a'+'A') + text[1:]
	}
	return text + "."
}
