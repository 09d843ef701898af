package language

import (
	"fmt"
	"io/fs"
	"strings"
)

// Limits of the text of a pipeline: bytes of one file, bytes of all, how many files
// and how deep includes go.
const (
	maxFile         = 256 << 10
	maxAllFiles     = 1 << 20
	maxFiles        = 32
	maxIncludeDepth = 4
)

// loader reads one pipeline file and what it includes. Its steps follow each other:
// text, tree, shape, model, meaning; none stops at the first mistake, and a later
// one keeps quiet about what an earlier one has spoiled.
type loader struct {
	tree     fs.FS
	main     string
	problems problems
	check    *checker

	files []*file
	top   []*node // of all files, includes in the place of their node

	missingIncludes []*node

	stages    []*node
	defaults  []*node
	templates map[string]*node
	caches    map[string]*node
	params    map[string]*node
	parts     map[string]*node // components

	// lostNames says that a mistake has hidden names, so that nothing is said of
	// names that seem to be missing. incomplete says that the file uses what is not
	// built yet: then only errors of what is there are reported, and no warnings.
	lostNames, incomplete bool
}

// Load reads the pipeline file at path of tree (and local includes), at most 100
// diagnostics, ordered by position. The Pipeline is nil if one is an error.
func Load(tree fs.FS, path string) (*Pipeline, []Diagnostic) {
	l := &loader{tree: tree, main: path}
	p := l.load()
	if l.incomplete {
		l.problems.dropWarnings()
	}
	if l.problems.broken() {
		p = nil
	}
	return p, l.problems.sorted(path)
}

func (l *loader) load() *Pipeline {
	l.check = &checker{loader: l}
	text, err := fs.ReadFile(l.tree, l.main)
	f := newFile(l.main, text, &l.problems)
	if err != nil {
		f.errorAt(span{}, "include-not-found", fmt.Sprintf("the file cannot be read (%v)", err), "check its path and who may read it")
		return nil
	}
	l.read(f, 0)
	if len(l.files) == 0 {
		return nil // too large: nothing of it was read
	}
	l.reportMissingIncludes()
	l.pipelineFirst(f)
	l.index()
	p := l.build(l.top)
	l.meaning(p)
	return p
}

// read takes one file into the tree and checks its shape.
func (l *loader) read(f *file, depth int) {
	if len(f.text) > maxFile {
		f.errorAt(span{}, "file-too-large", fmt.Sprintf("a pipeline file has at most %d bytes; this one has %d", maxFile, len(f.text)), "move parts of it into files and include them")
		return
	}
	l.files = append(l.files, f)
	utf8 := f.checkCharacters()
	nodes, whole := f.scan()
	if utf8 && whole {
		f.compareWithLibrary(nodes)
	}
	l.lostNames = l.lostNames || !whole || f.lostNode
	l.check.file = f
	within := fileRule
	if depth > 0 {
		within = includedRule
	}
	l.check.checkTop(nodes, within)
	for _, n := range nodes {
		l.top = append(l.top, n)
		if n.key == "include" {
			l.include(n, depth+1)
		}
	}
}

// pipelineFirst checks that the file begins with its name.
func (l *loader) pipelineFirst(f *file) {
	main := nodesOf(l.top, f)
	switch {
	case len(main) == 0:
		if !f.problems.broken() {
			f.errorAt(span{}, "no-pipeline", "the file must start with its name", `pipeline "my-app"`)
		}
	case main[0].key == "pipeline":
		l.needStages(main[0])
	default:
		for _, n := range main {
			if n.key == "pipeline" {
				f.errorAt(main[0].name, "no-pipeline", "the file must start with its name", "move "+n.label()+" to the first line")
				return
			}
			if Nearest(n.key, []string{"pipeline"}) != "" || n.key == "name" {
				return // misspelt, which is reported
			}
		}
		if !f.lostNode {
			f.errorAt(main[0].name, "no-pipeline", "the file must start with its name", `pipeline "my-app"`)
		}
	}
}

// needStages reports a pipeline that does nothing.
func (l *loader) needStages(pipeline *node) {
	if l.lostNames || l.incomplete {
		return
	}
	for _, n := range l.top {
		if n.key == "stage" {
			return
		}
	}
	pipeline.file.errorAt(pipeline.name, "no-stages", "the pipeline has no stage", `stage "test" { run "make test"; }`)
}

// nodesOf are the nodes that stand in one file.
func nodesOf(nodes []*node, f *file) []*node {
	var found []*node
	for _, n := range nodes {
		if n.file == f {
			found = append(found, n)
		}
	}
	return found
}

// index finds the things that have names, each of which may be there once.
func (l *loader) index() {
	l.templates, l.caches, l.params, l.parts = map[string]*node{}, map[string]*node{}, map[string]*node{}, map[string]*node{}
	stages := map[string]*node{}
	tables := map[string]map[string]*node{"stage": stages, "template": l.templates, "cache": l.caches, "param": l.params, "component": l.parts}
	folded := map[string]*node{}
	for _, n := range l.top {
		switch n.key {
		case "stage":
			l.stages = append(l.stages, n)
		case "defaults":
			l.defaults = append(l.defaults, n)
		}
		table := tables[n.key]
		if table == nil {
			continue
		}
		if len(n.args) == 0 {
			l.lostNames = true
			continue
		}
		name := n.text(0)
		fold := n.key + " " + strings.ToLower(name)
		if before := folded[fold]; before != nil {
			l.duplicate(n, before)
			continue
		}
		folded[fold], table[name] = n, n
	}
}

func (l *loader) duplicate(n, before *node) {
	code, name, other := "duplicate-node", n.text(0), before.text(0)
	if n.key == "stage" {
		code = "duplicate-stage"
	}
	line, _ := before.file.position(before.name.start)
	where := fmt.Sprintf("line %d", line)
	if before.file != n.file {
		where = fmt.Sprintf("%s, line %d", before.file.name, line)
	}
	message := fmt.Sprintf("there is already a %s %q (%s)", n.key, other, where)
	if name != other {
		message = fmt.Sprintf("%s %q differs from %q (%s) only in case", n.key, name, other, where)
	}
	n.file.errorAt(n.args[0].span, code, message, "rename one")
}
