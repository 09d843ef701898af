package language

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	kdl "github.com/sblinch/kdl-go"
	"github.com/sblinch/kdl-go/document"
)

// The library reads the file a second time, and both trees must agree: our scanner
// gives the positions, the library is the judge of what KDL is.
//
// kdl.Parse is never called: it reads through a buffer that it moves while tokens
// still point into it, so that files above 128 KiB are misread without an error.
// kdl.Unmarshal works on the slice; it wants a type, so the text is wrapped in one
// node whose children are taken.

// wrapped takes the children of the one node around the text.
type wrapped struct{ nodes []*document.Node }

// UnmarshalKDL is called by the library.
func (w *wrapped) UnmarshalKDL(n *document.Node) error {
	w.nodes = n.Children
	return nil
}

// readByLibrary parses text, of which braces, quotes and comments must be whole.
func readByLibrary(text []byte) ([]*document.Node, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	var out struct {
		X wrapped `kdl:"x"`
	}
	source := make([]byte, 0, len(text)+8)
	source = append(source, "x {\n"...)
	source = append(source, text...)
	source = append(source, "\n}\n"...)
	err := kdl.Unmarshal(source, &out)
	return out.X.nodes, err
}

// compareWithLibrary reports where the library does not read what the scanner read.
// A file with mistakes of syntax is read node by node, so that one broken stage
// does not hide the others; so is a file that the library refuses as a whole.
func (f *file) compareWithLibrary(nodes []*node) {
	whole := true
	for _, n := range nodes {
		whole = whole && !n.broken
	}
	if whole && !f.problems.broken() {
		if theirs, err := readByLibrary(f.text); err == nil {
			f.compare(nodes, theirs, span{0, min(1, len(f.text))})
			return
		}
	}
	for _, n := range nodes {
		if n.broken {
			continue
		}
		theirs, err := readByLibrary(f.text[n.start:n.end])
		if err != nil {
			n.broken = true
			if n.oddNumber() {
				continue // the library stumbles over some of them; the check of the value says what is wrong
			}
			f.errorAt(n.name, "syntax", "this is not KDL: "+libraryWords(err), "")
			continue
		}
		f.compare([]*node{n}, theirs, n.name)
	}
}

// oddNumber tells whether the node or one below it has a number that is no decimal
// whole one, which no value of the language may be.
func (n *node) oddNumber() bool {
	odd := func(v *value) bool { return v.kind == isNumber && !allDigits(v.text) }
	for i := range n.args {
		if odd(&n.args[i]) {
			return true
		}
	}
	for i := range n.props {
		if odd(&n.props[i].value) {
			return true
		}
	}
	return slices.ContainsFunc(n.children, (*node).oddNumber)
}

// compare checks names and numbers of arguments and properties, node by node; at is
// where a difference in the number of nodes is shown.
func (f *file) compare(ours []*node, theirs []*document.Node, at span) bool {
	if len(ours) != len(theirs) {
		return f.disagree(at, fmt.Sprintf("%d nodes, the library reads %d", len(ours), len(theirs)))
	}
	for i, n := range ours {
		other := theirs[i]
		keys := map[string]bool{}
		for _, p := range n.props {
			keys[p.key] = true
		}
		name, _ := other.Name.Value.(string)
		name = unixLines(name)
		theirKeys := map[string]bool{}
		for key := range other.Properties.Unordered() {
			theirKeys[unixLines(key)] = true
		}
		switch {
		case name != n.key:
			return f.disagree(n.name, fmt.Sprintf("a node %q, the library reads %q", n.key, name))
		case len(n.args) != len(other.Arguments):
			return f.disagree(n.name, fmt.Sprintf("%d arguments, the library reads %d", len(n.args), len(other.Arguments)))
		case len(keys) != len(theirKeys):
			return f.disagree(n.name, fmt.Sprintf("%d properties, the library reads %d", len(keys), len(theirKeys)))
		}
		for key := range keys {
			if !theirKeys[key] {
				return f.disagree(n.name, fmt.Sprintf("a property %q, the library reads none", key))
			}
		}
		if !f.compare(n.children, other.Children, n.name) {
			return false
		}
	}
	return true
}

// disagree refuses the file: either reader may be wrong, so neither is believed.
func (f *file) disagree(at span, what string) bool {
	f.errorAt(at, "internal-disagreement", "BuildIt reads "+what+" here", "this is a fault of BuildIt: please report it with this file; writing the node in another way helps until then")
	return false
}

// libraryWords are the library's words without its positions, which are wrong.
func libraryWords(err error) string {
	words, _, _ := strings.Cut(err.Error(), "\n")
	words, _, _ = strings.Cut(words, " at line ")
	words = strings.TrimPrefix(strings.TrimPrefix(words, "scan failed: "), "parse failed: ")
	return words
}
