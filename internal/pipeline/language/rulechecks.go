package language

import (
	"fmt"
	"slices"
	"strings"
)

// What the tables cannot say of one node: how its parts go together.

func checkEnv(c *checker, n *node) {
	if len(n.args) == 1 && !n.partial {
		c.file = n.file
		c.errorAt(&n.args[0], "missing-argument", "a variable needs a value", fmt.Sprintf("env %s=\"...\"", n.text(0)))
	}
}

func checkShell(c *checker, n *node) {
	if len(n.args) == 1 && shells[n.text(0)] == nil && !n.args[0].broken {
		c.file = n.file
		c.errorAt(&n.args[0], "missing-argument", fmt.Sprintf("the flags of %s are not known: sh and bash alone need none", n.text(0)), fmt.Sprintf(`shell %q "-c"`, n.text(0)))
	}
}

func checkWhen(c *checker, n *node) {
	if len(n.args)+len(n.props)+len(n.children) == 0 && !n.partial {
		n.file.errorAt(n.name, "missing-argument", "when needs a condition", `when branch="main"`)
	}
}

func checkSecret(c *checker, n *node) {
	if as := n.prop("as"); as != nil && len(n.args) > 1 {
		n.file.errorAt(as.name, "bad-value", "as= names the variable of one secret, and here are several", "write one secret node for each")
	}
}

func checkService(c *checker, n *node) {
	if n.prop("as") == nil && len(n.args) > 0 && !n.args[0].broken && !nameWord.MatchString(imageName(n.text(0))) {
		n.file.errorAt(n.name, "missing-property", "a service whose image is chosen by ${...} needs a name", n.label()+` as="db"`)
	}
}

func checkParam(c *checker, n *node) {
	c.file = n.file
	typed := orElse(n.optionText("type"), "string")
	choices := n.child("choices")
	switch {
	case typed == "choice" && choices == nil && !n.partial:
		n.file.errorAt(n.name, "missing-property", fmt.Sprintf("param %q has no choices", n.text(0)), `choices "staging" "production"`)
	case typed != "choice" && choices != nil && n.prop("type") == nil:
		n.file.errorAt(choices.name, "bad-value", "choices belong to a param of type choice", fmt.Sprintf(`param %q type="choice"`, n.text(0)))
	case typed != "choice" && choices != nil:
		n.file.errorAt(choices.name, "bad-value", fmt.Sprintf("a param of type %s has no choices", typed), `type="choice"`)
	}
	standard := n.prop("default")
	if standard == nil || standard.value.broken {
		return
	}
	at := place{node: n, label: "default", prefix: "default="}
	v := &standard.value
	switch {
	case typed == "int":
		c.value(&form{needs: "a whole number, as the type says", kinds: []kind{isNumber}, example: "4", check: checkWhole}, v, at)
	case typed == "bool":
		c.value(&form{needs: "true or false, as the type says", kinds: []kind{isBool}, example: "false"}, v, at)
	case typed == "choice" && choices != nil && !slices.Contains(choices.texts(), v.text):
		c.choice(v, "choice", choices.texts())
	}
}

func checkWhole(c *checker, v *value, at place) {
	if !allDigits(v.text) {
		c.errorAt(v, "wrong-type", fmt.Sprintf("%s needs a whole number, not %s", at.label, v.text), at.prefix+"4")
	}
}

func checkArtifact(c *checker, n *node) {
	given, paths := n.prop("value"), n.option("path")
	switch {
	case n.partial || n.prop("from") != nil: // meant as a fetch, which is reported
	case given == nil && len(paths) == 0 && n.child("path") == nil:
		n.file.errorAt(n.name, "missing-property", fmt.Sprintf("%s needs path or value", n.label()), n.label()+` path="dist/**"`)
	case given != nil && (len(paths) > 0 || n.child("path") != nil):
		n.file.errorAt(given.name, "bad-value", "an artifact is files or a reference: path or value, not both", "write two artifacts")
	}
}

// checkInlineCache checks a cache that a stage defines for itself.
func checkInlineCache(c *checker, n *node) {
	has := func(name string) bool { return n.prop(name) != nil || n.child(name) != nil }
	if n.partial || has("key") == has("path") && (has("key") || !has("restore")) {
		return
	}
	missing := "key"
	if has("key") {
		missing = "path"
	}
	n.file.errorAt(n.name, "missing-property", fmt.Sprintf("%s needs %s too", n.label(), missing), n.label()+` key="..." path="..."`)
}

// Limits of a matrix.
const (
	maxAxes  = 6
	maxCells = 256
)

func checkMatrix(c *checker, n *node) {
	m := buildMatrix(n)
	var dims []string
	for _, axis := range m.Axes {
		dims = append(dims, fmt.Sprint(len(axis.Values)))
		c.repeatedValues(n, axis)
	}
	switch size := m.size(); {
	case n.partial:
	case len(m.Axes) == 0 && len(m.Include) == 0:
		n.file.errorAt(n.name, "matrix-empty", "a matrix needs an axis", `matrix { go "1.25" "1.26"; }`)
	case len(m.Axes) > maxAxes:
		n.file.errorAt(n.name, "limit", fmt.Sprintf("a matrix has at most %d axes; this one has %d", maxAxes, len(m.Axes)), "split the stage")
	case size > 1<<16: // not worth counting out
		c.tooManyCells(n, size, dims)
	default:
		c.cells(n, m, dims)
	}
}

func (c *checker) repeatedValues(n *node, axis Axis) {
	child := n.child(axis.Name)
	for i, v := range axis.Values {
		if slices.Contains(axis.Values[:i], v) && child != nil && i < len(child.args) {
			c.file = n.file
			c.errorAt(&child.args[i], "bad-value", fmt.Sprintf("%s is twice in axis %s", quote(v), axis.Name), "remove one")
		}
	}
}

// cells checks what is left of the product after exclude and include.
func (c *checker) cells(n *node, m *Matrix, dims []string) {
	rows := m.product()
	for _, child := range n.children {
		if child.key == "exclude" || child.key == "include" {
			c.matrixEntry(m, child, rows)
		}
	}
	cells := (&Stage{Matrix: m}).Cells()
	switch {
	case len(cells) == 0 && len(m.Axes) > 0 && m.size() > 0:
		n.file.errorAt(n.name, "matrix-empty", "every cell is excluded", "remove the exclude")
	case len(cells) > maxCells:
		c.tooManyCells(n, len(cells), dims)
	}
}

func (c *checker) tooManyCells(n *node, cells int, dims []string) {
	product := ""
	if len(dims) > 1 {
		product = " (" + strings.Join(dims, " x ") + ")"
	}
	n.file.errorAt(n.name, "limit", fmt.Sprintf("this matrix has %d cells%s; at most %d", cells, product, maxCells), "use exclude, or split the stage")
}

// matrixEntry checks an exclude, which must match a cell, or an include, which must
// name something.
func (c *checker) matrixEntry(m *Matrix, entry *node, rows [][]Pair) {
	pairs := entry.pairs()
	if len(pairs) == 0 && !entry.partial {
		entry.file.errorAt(entry.name, "missing-argument", entry.key+" needs AXIS=VALUE", entry.key+` os="linux"`)
		return
	}
	if entry.key != "exclude" || slices.ContainsFunc(rows, func(row []Pair) bool { return holds(row, pairs) }) {
		return
	}
	var names []string
	for _, axis := range m.Axes {
		names = append(names, axis.Name)
		for _, p := range pairs {
			if p.Key == axis.Name && !slices.Contains(axis.Values, p.Value) {
				entry.file.errorAt(entry.name, "matrix-no-match", "this exclude matches no cell", fmt.Sprintf("%s is one of %s", axis.Name, strings.Join(axis.Values, ", ")))
				return
			}
		}
	}
	entry.file.errorAt(entry.name, "matrix-no-match", "this exclude matches no cell", "the axes are "+strings.Join(names, ", "))
}

// checkParallel checks that what is shared out has a name.
func checkParallel(c *checker, n *node) {
	if split := n.prop("split"); split != nil && n.prop("files") == nil && !n.partial {
		n.file.errorAt(split.name, "missing-property", "split= shares files out, and no files are named", `files="**/*_test.go"`)
	}
}

func checkExpression(c *checker, v *value, at place) {
	expr, err := parseExpression(v.text)
	if err != nil {
		c.expressionError(v, err)
		return
	}
	c.uses = append(c.uses, use{child: c.child, value: v, file: at.node.file, expr: expr})
}

// expressionError reports a mistake inside the text of an expression.
func (c *checker) expressionError(v *value, err error) {
	e, ok := err.(*expressionError)
	if !ok {
		c.errorAt(v, "expression", err.Error(), "")
		return
	}
	d := c.errorIn(v, e.offset, max(e.end, e.offset+1), orElse(e.code, "expression"), e.message, e.help)
	if e.fix != "" {
		d.fix(c.file, v.span, quote(e.fix))
	}
}
