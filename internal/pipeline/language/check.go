package language

import (
	"fmt"
	"slices"
	"strings"
)

// checker compares nodes with the tables of the language: shape alone, so nothing
// here looks at two top-level nodes at once.
type checker struct {
	*loader
	file  *file
	child *node // of the top-level node under way
	uses  []use // what the file as a whole decides
}

// errorAt reports a mistake of a value, unless one was reported of it before.
func (c *checker) errorAt(v *value, code, message, help string) *Diagnostic {
	return c.errorIn(v, -1, -1, code, message, help)
}

// errorIn reports a mistake at a part of a value: offsets count in its text.
func (c *checker) errorIn(v *value, start, end int, code, message, help string) *Diagnostic {
	if v.broken {
		return &Diagnostic{} // nobody sees it
	}
	v.broken = true
	return c.file.errorAt(c.file.inside(v, start, end), code, message, help)
}

func (c *checker) warnAt(v *value, code, message, help string) *Diagnostic {
	if v.broken {
		return &Diagnostic{}
	}
	return c.file.warnAt(v.span, code, message, help)
}

// checkTop checks the top-level nodes of a file.
func (c *checker) checkTop(nodes []*node, within *rule) {
	c.block(within, nodes, nil)
}

// block checks the children of a node whose rule is parent's.
func (c *checker) block(parent *rule, nodes []*node, owner *node) {
	first := map[string]*node{}
	for _, n := range nodes {
		if owner == nil || layers[parent.name] {
			c.child = n
		}
		r := parent.child(n.key)
		if word := oldNodes[n.key]; r == nil && owner == nil && word != "" {
			n.file.warnAt(n.name, "old-word", fmt.Sprintf("%q is an old word for %q", n.key, word), "write "+word).fix(n.file, n.name, word)
			r = parent.child(word)
		}
		switch {
		case r == nil && parent.pairs != nil:
			c.pairChild(parent, n, first)
			continue
		case r == nil:
			c.unknownNode(parent, n, owner)
			continue
		case !r.repeat && first[n.key] != nil:
			c.twice(n, first[n.key])
		}
		if first[n.key] == nil {
			first[n.key] = n
		}
		c.node(r, n)
	}
}

// layers are the nodes whose children make a stage.
var layers = map[string]bool{"stage": true, "template": true, "defaults": true}

// oldNodes are former spellings, accepted with a warning.
var oldNodes = map[string]string{"trigger": "on"}

// twice reports a node that may stand once.
func (c *checker) twice(n, before *node) {
	line, _ := before.file.position(before.name.start)
	help := "remove one"
	if n.key == "pipeline" {
		help = "one file, one pipeline; put the second into its own file"
	}
	n.file.errorAt(n.name, "duplicate-node", fmt.Sprintf("%s is given twice (first on line %d)", n.key, line), help)
	n.partial = true
}

// node checks one node against its rule.
func (c *checker) node(r *rule, n *node) {
	if c.unavailable(r, n) {
		return
	}
	before := len(c.problems.list)
	c.arguments(r, n)
	if r.variants != nil {
		variant := r.variants[variantName(n)]
		if variant == nil {
			return // the argument is wrong, and says so
		}
		if c.unavailable(variant, n) {
			return
		}
		copied := *variant
		copied.repeat, copied.arg, copied.noun = r.repeat, r.arg, r.noun
		r = &copied
	}
	c.properties(r, n)
	if len(n.children) > 0 && len(r.children) == 0 && r.pairs == nil {
		if len(c.problems.list) == before {
			c.unknownNode(r, n.children[0], n)
		}
		return
	}
	c.block(r, n.children, n)
	c.required(r, n)
	if r.check != nil {
		r.check(c, n)
	}
}

// variantName is the argument that chooses a rule.
func variantName(n *node) string {
	return orElse(oldEvents[n.text(0)], n.text(0))
}

// unavailable reports a node that is not built yet. Nothing else is said about it.
func (c *checker) unavailable(r *rule, n *node) bool {
	if r.level == must {
		return false
	}
	what := n.key
	if r.name == "on" || r.name == "report" {
		what = n.label()
	}
	c.notAvailable(n.file, n.name, what)
	return true
}

func (c *checker) notAvailable(f *file, at span, what string) {
	c.incomplete = true
	f.errorAt(at, "not-available", what+" is part of the language but not built yet", "remove it; the file would not do what it says")
}

// arguments checks number and form of the arguments.
func (c *checker) arguments(r *rule, n *node) {
	for i := range n.args {
		if i < r.limit() {
			c.value(r.arg, &n.args[i], place{node: n, rule: r, label: n.key, prefix: n.key + " "})
		}
	}
	least := r.min
	if r.arg != nil && r.max == 0 && r.min == 0 && !optionalArgument[r.name] {
		least = 1
	}
	switch {
	case n.partial:
	case len(n.args) > 0 && len(n.args) < least:
		n.file.errorAt(n.name, "limit", fmt.Sprintf("%s needs at least %d %ss; this one has %d", n.key, least, r.noun, len(n.args)), r.example)
		n.partial = true
	case len(n.args) < least:
		help := r.example
		if r.name == "environment" && (len(n.props) > 0 || len(n.children) > 0) {
			help = "variables are set by env: env { NAME \"value\"; }"
		}
		n.file.errorAt(n.afterName(), "missing-argument", fmt.Sprintf("%s needs %s %s", n.key, article(r.noun), r.noun), help)
		n.partial = true
	case len(n.args) > r.limit():
		c.tooMany(r, n)
	}
}

// afterName is where an argument should stand: what follows the name, or the name
// itself if nothing does.
func (n *node) afterName() span {
	at := n.name.end
	for at < n.end && isSpace(rune(n.file.text[at])) {
		at++
	}
	if at >= n.end {
		return n.name
	}
	return span{at, at + 1}
}

// optionalArgument are the nodes that may stand without their one argument.
var optionalArgument = map[string]bool{"when": true, "checkout": true, "restore": true}

func article(noun string) string {
	if strings.IndexByte("aeiou", noun[0]) >= 0 {
		return "an"
	}
	return "a"
}

func (c *checker) tooMany(r *rule, n *node) {
	extra := &n.args[r.limit()]
	raw := n.file.raw(extra.span)
	switch limit := r.limit(); {
	case limit == 0 && r.pairs != nil:
		c.errorAt(extra, "too-many-arguments", n.key+" takes no arguments", n.key+" NAME="+raw)
	case limit == 0:
		c.errorAt(extra, "too-many-arguments", n.key+" takes no arguments", "remove "+raw)
	case limit == 1 && r.repeat:
		c.errorAt(extra, "too-many-arguments", fmt.Sprintf("%s takes one %s", n.key, r.noun), fmt.Sprintf("start a second %s %s", n.key, raw))
	case limit == 1:
		c.errorAt(extra, "too-many-arguments", fmt.Sprintf("%s takes one %s", n.key, r.noun), "remove "+raw)
	default:
		c.errorAt(extra, "limit", fmt.Sprintf("%s takes at most %d %ss; this one has %d", n.key, limit, r.noun, len(n.args)), "use fewer, or repeat the node if it may stand more than once")
	}
	n.partial = true
}

// properties checks names and values of the properties.
func (c *checker) properties(r *rule, n *node) {
	for i := range n.props {
		p := &n.props[i]
		if earlier := n.prop(p.key); earlier != p {
			c.twiceProperty(r, n, p, earlier)
			continue
		}
		at := place{node: n, rule: r, label: p.key, prefix: p.key + "="}
		switch option := r.prop(p.key); {
		case option != nil && option.level != must && p.value.text != "false":
			c.notAvailable(n.file, p.name, n.key+" "+p.key)
		case option != nil:
			c.value(option.form, &p.value, at)
		case r.pairs != nil:
			c.pairKey(r, n, p.name, p.key)
			c.value(r.pairs.value, &p.value, at)
		case n.partial: // what is missing is reported, and this may be meant as it
		default:
			c.unknownProperty(r, n, p)
		}
	}
}

func (c *checker) twiceProperty(r *rule, n *node, p, earlier *property) {
	help := "remove one"
	if child := r.child(p.key); child != nil && (child.repeat || child.limit() > 1) {
		help = fmt.Sprintf("write %s %s %s inside the %s", p.key, n.file.raw(earlier.value.span), n.file.raw(p.value.span), n.key)
	}
	n.file.errorAt(p.name, "duplicate-property", p.key+" is given twice; KDL keeps only the last", help)
}

// pairKey checks a name that the author chose.
func (c *checker) pairKey(r *rule, n *node, at span, key string) {
	v := &value{span: at, text: key}
	c.value(r.pairs.key, v, place{node: n, rule: r, label: key, prefix: n.key + " "})
}

// pairChild checks a child whose name the author chose: a variable, an axis.
func (c *checker) pairChild(parent *rule, n *node, first map[string]*node) {
	if before := first[n.key]; before != nil {
		line, _ := before.file.position(before.name.start)
		n.file.errorAt(n.name, "duplicate-node", fmt.Sprintf("%s is set twice in this block (first on line %d)", n.key, line), "remove one")
		return
	}
	first[n.key] = n
	c.pairKey(parent, n, n.name, n.key)
	limit := max(parent.pairs.max, 1)
	for i := range n.args {
		c.value(parent.pairs.value, &n.args[i], place{node: n, rule: parent, label: n.key, prefix: n.key + " "})
	}
	switch {
	case n.partial:
	case len(n.args) == 0:
		n.file.errorAt(n.name, "missing-argument", fmt.Sprintf("%s %s needs a value", parent.pairs.noun, n.key), n.key+" "+parent.pairs.value.example)
		n.partial = true
	case len(n.args) > limit && limit == 1:
		c.errorAt(&n.args[1], "too-many-arguments", fmt.Sprintf("%s %s takes one value", parent.pairs.noun, n.key), "remove "+n.file.raw(n.args[1].span))
	case len(n.args) > limit:
		c.errorAt(&n.args[limit], "limit", fmt.Sprintf("%s %s has at most %d values; this one has %d", parent.pairs.noun, n.key, limit, len(n.args)), "split the stage")
	}
	if len(n.props) > 0 {
		n.file.errorAt(n.props[0].name, "unknown-property", fmt.Sprintf("%s %s has no property %q", parent.pairs.noun, n.key, n.props[0].key), "values are arguments: "+n.key+` "..."`)
	}
	if len(n.children) > 0 {
		c.unknownNode(&rule{name: n.key}, n.children[0], n)
	}
}

// required checks that what must be given is given, once.
func (c *checker) required(r *rule, n *node) {
	for i := range n.props {
		p := &n.props[i]
		if child := n.child(p.key); child != nil && r.child(p.key) != nil && r.prop(p.key) != nil && !r.child(p.key).repeat {
			line, _ := n.file.position(p.name.start)
			child.file.errorAt(child.name, "duplicate-node", fmt.Sprintf("%s is given twice (first on line %d)", p.key, line), "remove one")
		}
	}
	if n.partial {
		return
	}
	for _, name := range r.oneOf {
		if n.prop(name) == nil && n.child(name) == nil {
			n.file.errorAt(n.name, "missing-property", fmt.Sprintf("%s needs %s", n.label(), name), requiredHelp(r, n, name))
			return
		}
	}
}

func requiredHelp(r *rule, n *node, name string) string {
	if option := r.prop(name); option != nil && !strings.Contains(r.example, name+"=") {
		return fmt.Sprintf("%s %s=%s", n.label(), name, option.form.example)
	}
	return r.example
}

// value checks one value against its form.
func (c *checker) value(f *form, v *value, at place) {
	if v.broken {
		return
	}
	previous := c.file
	c.file = at.node.file
	defer func() { c.file = previous }()
	switch {
	case v.kind == isNull:
		c.errorAt(v, "null-value", "null is not a value here", "leave the node out")
	case !slices.Contains(f.kinds, v.kind):
		c.wrongType(f, v, at)
	case v.kind == isNumber && slices.Contains(f.kinds, isString) && !allDigits(v.text):
		c.strangeNumber(v, at)
	case v.kind == isNumber && slices.Contains(f.kinds, isString) && len(v.text) > 1 && v.text[0] == '0':
		c.errorAt(v, "number-loses-digits", fmt.Sprintf("a value that begins with 0 must be a string: as a number %s is %s", v.text, orElse(strings.TrimLeft(v.text, "0"), "0")), quote(v.text)).
			fix(c.file, v.span, quote(v.text))
	default:
		if f.check != nil {
			f.check(c, v, at)
		}
		if f.text != nil {
			c.interpolation(v, at, f.text)
		}
	}
}

func (c *checker) wrongType(f *form, v *value, at place) {
	fixed := f.example
	switch {
	case slices.Contains(f.kinds, isString):
		if v.kind == isNumber && !allDigits(v.text) {
			c.strangeNumber(v, at)
			return
		}
		fixed = quote(v.text)
	case slices.Contains(f.kinds, isBool) && v.kind == isString:
		fixed = boolWords[strings.ToLower(v.text)]
		if fixed == "" {
			fixed = "true"
		}
	case slices.Contains(f.kinds, isNumber) && v.kind == isString && allDigits(v.text):
		fixed = v.text
	}
	if f.needs == "a duration" && v.kind == isNumber {
		c.errorAt(v, "wrong-type", fmt.Sprintf("%s needs a duration, not a number", at.label), fmt.Sprintf("%s%q (units s, m, h, d)", at.prefix, v.text+"m"))
		return
	}
	c.errorAt(v, "wrong-type", fmt.Sprintf("%s needs %s, not %s", at.label, f.needs, words[v.kind]), at.prefix+fixed).
		fix(c.file, v.span, fixed)
}

// boolWords are strings that mean true or false elsewhere.
var boolWords = map[string]string{"true": "true", "on": "true", "yes": "true", "false": "false", "off": "false", "no": "false"}

// strangeNumber reports a number that is no decimal whole number where text is meant.
func (c *checker) strangeNumber(v *value, at place) {
	message := "a value with a decimal point must be a string"
	switch {
	case !strings.Contains(v.text, ".") || strings.ContainsAny(v.text, "eExX"):
		c.errorAt(v, "wrong-type", fmt.Sprintf("%s is not a decimal whole number", v.text), at.prefix+quote(v.text))
		return
	case strings.HasSuffix(v.text, "0"):
		message += fmt.Sprintf(": as a number %s is %s", v.text, strings.TrimRight(strings.TrimRight(v.text, "0"), "."))
	}
	c.errorAt(v, "number-loses-digits", message, quote(v.text)).fix(c.file, v.span, quote(v.text))
}

// parentName names the owner of a node in a message: a stage, a template.
func (c *checker) parentName(at place) string {
	if at.rule.name == "timeout" && at.rule.child("idle") == nil && at.rule.prop("idle") == nil {
		return "a pipeline"
	}
	return "a stage"
}
