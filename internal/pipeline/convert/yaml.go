package convert

import (
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Limits of a foreign file. Aliases are counted when they are followed, so that a
// few lines cannot stand for a billion nodes.
const (
	maxSource = 512 << 10 // bytes
	maxNodes  = 50_000    // with aliases followed
	maxLevels = 64
	maxJobs   = 300
	maxSteps  = 100 // of a job, with those of commands: as many as a stage has commands
)

// item is a node of YAML with its place: a scalar, a list or a map in file order.
type item struct {
	kind   yaml.Kind // ScalarNode, SequenceNode, MappingNode
	text   string    // of a scalar
	tag    string
	line   int
	column int
	list   []*item
	pairs  []pair
}

type pair struct{ key, value *item }

// parseYAML reads one document. Errors name the line.
func parseYAML(text []byte) (root *item, err error) {
	if len(text) > maxSource {
		return nil, fmt.Errorf("the file has %d bytes; at most %d are read", len(text), maxSource)
	}
	if deep(text) {
		return nil, fmt.Errorf("the file is nested more than %d levels deep", maxLevels)
	}
	defer func() {
		if cause := recover(); cause != nil { // the library panics on some broken input
			root, err = nil, fmt.Errorf("this is not YAML: %v", cause)
		}
	}()
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("this is not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(document.Content) == 0 {
		return nil, fmt.Errorf("the file is empty")
	}
	r := &resolver{left: maxNodes}
	root = r.item(document.Content[0], 0)
	if r.err == nil && root.kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: the file is no map", root.line)
	}
	return root, r.err
}

// deep tells whether brackets or dashes open too many levels: the library would
// follow them all the way.
func deep(text []byte) bool {
	depth := 0
	for line := range strings.SplitSeq(string(text), "\n") {
		dashes := 0
		for rest := strings.TrimLeft(line, " "); strings.HasPrefix(rest, "- ") || strings.HasPrefix(rest, "? "); rest = strings.TrimLeft(rest[2:], " ") {
			dashes++
		}
		depth += strings.Count(line, "[") + strings.Count(line, "{") - strings.Count(line, "]") - strings.Count(line, "}")
		if depth = max(depth, 0); depth > 16*maxLevels || dashes > maxLevels {
			return true
		}
	}
	return false
}

// resolver follows aliases within a budget.
type resolver struct {
	left int
	err  error
}

func (r *resolver) item(n *yaml.Node, depth int) *item {
	it := &item{kind: n.Kind, text: n.Value, tag: n.ShortTag(), line: n.Line, column: n.Column}
	switch r.left--; {
	case r.err != nil:
		return it
	case r.left < 0:
		r.err = fmt.Errorf("line %d: the file stands for more than %d values; its aliases multiply", n.Line, maxNodes)
	case depth > maxLevels:
		r.err = fmt.Errorf("line %d: the file is nested more than %d levels deep", n.Line, maxLevels)
	case n.Kind == yaml.AliasNode:
		it = r.item(n.Alias, depth+1)
		it.line, it.column = n.Line, n.Column
	case n.Kind == yaml.SequenceNode:
		for _, c := range n.Content {
			it.list = append(it.list, r.item(c, depth+1))
		}
	case n.Kind == yaml.MappingNode:
		r.mapping(it, n, depth)
	}
	return it
}

// mapping reads the pairs of a map; << brings those of another one.
func (r *resolver) mapping(it *item, n *yaml.Node, depth int) {
	var merged []pair
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], r.item(n.Content[i+1], depth+1)
		if key.Value == "<<" && key.ShortTag() == "!!merge" {
			if value.kind == yaml.MappingNode {
				merged = append(merged, value.pairs...)
			}
			for _, one := range value.list {
				merged = append(merged, one.pairs...)
			}
			continue
		}
		it.pairs = append(it.pairs, pair{r.item(key, depth+1), value})
	}
	for _, p := range merged {
		if it.get(p.key.text) == nil {
			it.pairs = append(it.pairs, p)
		}
	}
}

// get is the value of a key, or nil; of nil too.
func (it *item) get(path ...string) *item {
	for _, key := range path {
		if it == nil {
			return nil
		}
		at := it
		it = nil
		for _, p := range at.pairs {
			if p.key.text == key {
				it = p.value
				break
			}
		}
	}
	return it
}

func (it *item) isMap() bool    { return it != nil && it.kind == yaml.MappingNode }
func (it *item) isList() bool   { return it != nil && it.kind == yaml.SequenceNode }
func (it *item) isScalar() bool { return it != nil && it.kind == yaml.ScalarNode }
func (it *item) isNull() bool   { return it == nil || it.isScalar() && it.tag == "!!null" }

// str is the text of a scalar, "" of all else.
func (it *item) str() string {
	if it.isScalar() && it.tag != "!!null" {
		return it.text
	}
	return ""
}

func (it *item) isTrue() bool { return it.isScalar() && it.tag == "!!bool" && it.text[0]|0x20 == 't' }

// number is a whole number.
func (it *item) number() (int, bool) {
	n, err := strconv.Atoi(it.str())
	return n, err == nil
}

// texts are the scalars of a list, or the one scalar.
func (it *item) texts() []string {
	var all []string
	for _, one := range it.items() {
		if one.isScalar() && !one.isNull() {
			all = append(all, one.text)
		}
	}
	return all
}

// items are the members of a list, or the item itself.
func (it *item) items() []*item {
	switch {
	case it == nil:
		return nil
	case it.isList():
		return it.list
	}
	return []*item{it}
}

// lines are the non-empty lines of a scalar, and the scalars of a list.
func (it *item) lines() []string {
	var all []string
	for _, text := range it.texts() {
		for line := range strings.SplitSeq(text, "\n") {
			if line = strings.TrimSpace(line); line != "" {
				all = append(all, line)
			}
		}
	}
	return all
}
