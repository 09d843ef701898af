package convert

import (
	"fmt"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/buildit-dev/buildit/internal/pipeline/kdl"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
)

// maxRounds is how often a file is written anew without what the language refuses;
// each round takes out at least one node.
const maxRounds = 60

// settle writes the document and takes out what the language refuses, until it
// refuses nothing. What is taken out is a loss. A file of which nothing is left is an
// error.
func (r *report) settle(d *kdl.Document) (string, error) {
	for range maxRounds {
		text, places := d.Write()
		refused := errorsOf(text)
		if len(refused) == 0 {
			shorten(d)
			text, _ = d.Write()
			return text, nil
		}
		if !r.takeOut(d, places, refused) {
			return "", fmt.Errorf("%s: nothing of it can be carried over: %s", r.file, refused[0].Message)
		}
	}
	return "", fmt.Errorf("%s: too much of it is refused", r.file)
}

// shorten writes the only need of a stage as its property.
func shorten(d *kdl.Document) {
	for _, n := range d.Nodes {
		var needs []*kdl.Node
		for _, c := range n.Children {
			if c.Name == "needs" {
				needs = append(needs, c)
			}
		}
		if len(needs) != 1 || len(needs[0].Args) != 1 || len(needs[0].Props)+len(needs[0].Comments) > 0 || n.Name != "stage" {
			continue
		}
		n.With("needs", needs[0].Args[0])
		n.Children = slices.DeleteFunc(n.Children, func(c *kdl.Node) bool { return c == needs[0] })
	}
}

// errorsOf are the errors of a pipeline file. What a later version can run is none.
func errorsOf(text string) []language.Diagnostic {
	const name = ".buildit.kdl"
	_, diagnostics := language.Load(fstest.MapFS{name: {Data: []byte(text)}}, name)
	return slices.DeleteFunc(diagnostics, func(d language.Diagnostic) bool {
		return d.Severity != "error" || d.Code == "not-available"
	})
}

// takeOut removes the nodes at which errors stand, one for each stage and round: a
// second error may follow from the first.
func (r *report) takeOut(d *kdl.Document, places []kdl.Place, refused []language.Diagnostic) bool {
	done := map[*kdl.Node]bool{}
	for _, e := range refused {
		at := -1
		for i, p := range places { // the innermost comes last
			if p.First <= e.Line && e.Line <= p.Last {
				at = i
			}
		}
		if at < 0 || places[at].Node.Name == "pipeline" {
			continue
		}
		n, parent := places[at].Node, places[at].Parent
		top := topOf(places, places[at])
		if done[top] {
			continue
		}
		done[top] = true
		r.refused(d, n, parent, e)
	}
	return len(done) > 0
}

func topOf(places []kdl.Place, p kdl.Place) *kdl.Node {
	for p.Parent != nil {
		i := slices.IndexFunc(places, func(q kdl.Place) bool { return q.Node == p.Parent })
		p = places[i]
	}
	return p.Node
}

// refused takes n out, with a comment where it stood.
func (r *report) refused(d *kdl.Document, n, parent *kdl.Node, e language.Diagnostic) {
	var at *item
	for _, m := range []*kdl.Node{n, parent} {
		if m != nil && at == nil && m.Origin > 0 {
			at = r.places[m.Origin-1]
		}
	}
	if e.Code == "empty-stage" {
		n.Children = append(n.Children, kdl.New("run", "true").Note("Nothing of this job could be carried over."))
		r.lost(at, n, strings.Trim(kdl.Value(fmt.Sprint(n.Args...), 0), `"`), "none of its steps could be carried over", "write its commands")
		return
	}
	if e.Code == "never-runs" { // it never ran there either
		for parent != nil {
			n, parent = parent, nil
		}
	}
	near := parent
	if n.Name == "when" && parent != nil {
		guard(parent) // it must not run on every occasion instead
	}
	remove := func(list []*kdl.Node) []*kdl.Node {
		return slices.DeleteFunc(list, func(c *kdl.Node) bool { return c == n })
	}
	if parent == nil {
		d.Nodes = remove(d.Nodes)
	} else {
		parent.Children = remove(parent.Children)
	}
	what := n.Name
	for _, a := range n.Args {
		what += " " + strings.SplitN(kdl.Value(a, 0), "\n", 2)[0]
	}
	if near == nil {
		near = &kdl.Node{}
		defer func() { d.Tail = append(d.Tail, near.Comments...) }()
	}
	r.lost(at, near, what, e.Message, e.Help)
}

// guard makes a stage wait for a person, whose condition is not known any more.
func guard(stage *kdl.Node) {
	if stage.Name == "stage" && stage.Child("approval") == nil {
		stage.Children = append([]*kdl.Node{kdl.New("approval")}, stage.Children...)
	}
}
