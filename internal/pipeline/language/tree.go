package language

// span is a range of bytes in a file.
type span struct{ start, end int }

// kind is how a value was written.
type kind uint8

const (
	isString kind = iota
	isNumber
	isBool
	isNull
)

// words are the kinds as messages name them.
var words = [...]string{isString: "a string", isNumber: "a number", isBool: "true or false", isNull: "null"}

// value is an argument, or the value of a property.
type value struct {
	span
	kind kind
	text string // of a string what it means; else as it was written
	// broken values have been reported: nothing more is said about them.
	broken bool
}

// property is one NAME=VALUE.
type property struct {
	name  span
	key   string
	value value
}

// node is one node of a file with the place of each of its parts. What was struck
// out with /- is not in the tree.
type node struct {
	span          // from the name to the end of the last value, or of the block
	name     span // the name alone
	key      string
	args     []value
	props    []property
	children []*node
	block    span // the braces and what is between them; empty without a block
	// broken nodes have a mistake of syntax in them (or below): the library is not
	// asked about them.
	broken bool
	// partial nodes have lost a part to a mistake of syntax, so that nothing is
	// said of what they lack.
	partial bool
	// hasLost nodes have lost a child to a mistake of syntax.
	hasLost bool
	file    *file
}

// prop is the first property of that name, or nil.
func (n *node) prop(key string) *property {
	for i := range n.props {
		if n.props[i].key == key {
			return &n.props[i]
		}
	}
	return nil
}

// child is the first child of that name, or nil.
func (n *node) child(key string) *node {
	for _, c := range n.children {
		if c.key == key {
			return c
		}
	}
	return nil
}

// label is how a message names the node: its name and its first argument.
func (n *node) label() string {
	if len(n.args) > 0 && n.args[0].kind == isString {
		return n.key + " " + quote(n.args[0].text)
	}
	return n.key
}
