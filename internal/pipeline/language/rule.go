package language

// level says when a part of the language is built.
type level uint8

const (
	must   level = iota // in this release
	should              // in the next: an error of its own until then
	later
)

// rule is what one node may hold. The tables in rules.go and stagerules.go are the
// language; check.go reads them.
type rule struct {
	name   string
	level  level
	repeat bool // may stand more than once in its block

	arg      *form  // of every argument; nil takes none
	min, max int    // number of arguments; max 0 is one, many has no limit
	noun     string // what an argument is: "name", "script"
	example  string // a whole node, for the help

	props    []option
	children []*rule
	// pairs are properties and children whose names the author chooses: variables,
	// axes, parameters. key is the form of a name, arg that of a value.
	pairs *pairs
	// variants choose the rule by the first argument, as `on` does.
	variants map[string]*rule
	// oneOf are options of which one must be given.
	oneOf []string
	// check is what a table cannot say.
	check func(c *checker, n *node)
}

// many is a number of arguments without a limit of its own.
const many = 1 << 20

// option is a property.
type option struct {
	name  string
	form  *form
	level level
}

// pairs are names that the author chooses.
type pairs struct {
	noun  string // "variable"
	key   *form
	value *form
	max   int // values of a child; 0 is one
}

// form is what a value must look like.
type form struct {
	needs   string // "a whole number from 0 to 5"
	kinds   []kind
	example string // as written: "\"20m\"" or "2"
	check   func(c *checker, v *value, at place)
	// text says whether ${…} is replaced, and what untrusted text could do here.
	text *interpolated
}

// place is where a value stands.
type place struct {
	node   *node
	rule   *rule
	label  string // "timeout", or "idle" of a property
	prefix string // what stands before the value in a help: "timeout " or "idle="
}

// child is the rule of a child, or nil.
func (r *rule) child(name string) *rule {
	for _, c := range r.children {
		if c.name == name {
			return c
		}
	}
	return nil
}

// prop is the property of that name, or nil.
func (r *rule) prop(name string) *option {
	for i := range r.props {
		if r.props[i].name == name {
			return &r.props[i]
		}
	}
	return nil
}

// limit is how many arguments there may be.
func (r *rule) limit() int {
	switch {
	case r.arg == nil:
		return 0
	case r.max == 0:
		return 1
	}
	return r.max
}

// words are the names of the children.
func (r *rule) words() []string {
	var words []string
	for _, c := range r.children {
		words = append(words, c.name)
	}
	return words
}

// propWords are the names of the properties.
func (r *rule) propWords() []string {
	var words []string
	for _, p := range r.props {
		words = append(words, p.name)
	}
	return words
}
