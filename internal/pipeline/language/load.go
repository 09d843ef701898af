package language

import (
	"errors"
	"fmt"
	"io/fs"
)

// maxFile is the size of one pipeline file, in bytes.
const maxFile = 256 << 10

// loader reads one pipeline file and what it includes.
type loader struct {
	tree     fs.FS
	main     string
	problems problems

	stages    []*node
	defaults  []*node
	templates map[string]*node
}

// Load reads the pipeline file at path of tree (and local includes), at most 100
// diagnostics, ordered by position. The Pipeline is nil if one is an error.
func Load(tree fs.FS, path string) (*Pipeline, []Diagnostic) {
	l := &loader{tree: tree, main: path, templates: map[string]*node{}}
	p := l.load()
	if l.problems.broken() {
		p = nil
	}
	return p, l.problems.sorted(path)
}

func (l *loader) load() *Pipeline {
	f := l.open(l.main)
	if f == nil {
		return nil
	}
	top, _ := f.scan()
	for _, n := range top {
		switch n.key {
		case "stage":
			l.stages = append(l.stages, n)
		case "defaults":
			l.defaults = append(l.defaults, n)
		case "template":
			l.templates[n.text(0)] = n
		}
	}
	return l.build(top)
}

// open reads a file of the tree, or reports why it cannot.
func (l *loader) open(path string) *file {
	text, err := fs.ReadFile(l.tree, path)
	f := newFile(path, text, &l.problems)
	if err != nil {
		what := err.Error()
		if errors.Is(err, fs.ErrNotExist) {
			what = "there is no file " + path
		}
		f.errorAt(span{}, "include-not-found", what, "")
		return nil
	}
	if len(text) > maxFile {
		f.errorAt(span{}, "file-too-large", fmt.Sprintf("a pipeline file has at most %d bytes, this one has %d", maxFile, len(text)), "move parts into files and include them")
		return nil
	}
	return f
}
