package language

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// includedRule is a file that another one includes: no name and no events.
var includedRule = &rule{name: "an included file", children: without(fileRule.children, "pipeline", "on")}

// remoteInclude is OWNER/REPO//PATH.
var remoteInclude = newLateRegexp(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)+//[^/].*$`)

var fullCommit = newLateRegexp(`^[0-9a-f]{40}$`)

// include puts the top-level nodes of a file in the place of its node.
func (l *loader) include(n *node, depth int) {
	if len(n.args) == 0 || n.args[0].broken || n.partial {
		l.lostNames = true
		return
	}
	target := n.text(0)
	if remoteInclude.MatchString(target) {
		l.remote(n)
		return
	}
	if ref := n.prop("ref"); ref != nil {
		n.file.errorAt(ref.name, "unknown-property", "a file of this repository is read from the commit of the run and has no ref", "remove ref=")
	}
	text, ok := l.included(n, target, depth)
	if !ok {
		l.lostNames = true
		return
	}
	from := n.file.pos(n.name)
	f := newFile(path.Clean(target), text, &l.problems)
	f.from = &from
	l.read(f, depth)
}

// remote checks an include of another repository, which is not built yet.
func (l *loader) remote(n *node) {
	l.lostNames = true
	ref := n.prop("ref")
	switch {
	case ref == nil:
		n.file.errorAt(n.args[0].span, "include-not-pinned", "a branch or tag can be moved by its owner", "ref= needs the full 40-digit commit")
	case ref.value.broken:
	case !fullCommit.MatchString(ref.value.text):
		n.file.errorAt(ref.value.span, "include-not-pinned", "a branch or tag can be moved by its owner", "ref= needs the full 40-digit commit")
	default:
		l.check.notAvailable(n.file, n.name, "include of another repository")
	}
}

// included reads a local file, or reports why it cannot be included.
func (l *loader) included(n *node, target string, depth int) ([]byte, bool) {
	name := path.Clean(target)
	at := n.args[0].span
	fail := func(code, message, help string) ([]byte, bool) {
		n.file.errorAt(at, code, message, help)
		return nil, false
	}
	if strings.Contains(target, "://") {
		return fail("include-not-found", "an include is a file of a repository, not an address", `include "OWNER/REPO//PATH" ref="COMMIT"`)
	}
	if !fs.ValidPath(name) || strings.Contains(target, `\`) {
		return fail("include-not-found", fmt.Sprintf("%q is no path inside this repository", target), "begin at the root of the repository, without / and ..")
	}
	for i, f := range l.files {
		if f.name != name {
			continue
		}
		if n.file.name == name {
			return fail("include-cycle", "this file includes itself", "remove the include")
		}
		if i == 0 || l.includes(n.file, name) {
			return fail("include-cycle", "these files include each other: "+strings.Join(l.chain(n.file, name), " -> "), "remove one of the includes")
		}
		return fail("duplicate-node", fmt.Sprintf("%s is included twice", name), "remove one")
	}
	text, err := fs.ReadFile(l.tree, name)
	total := len(text)
	for _, f := range l.files {
		total += len(f.text)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// A file that this version cannot run comes from elsewhere, most often, and its
		// includes with it: see incomplete. The node is judged when all nodes are known.
		l.missingIncludes = append(l.missingIncludes, n)
		return nil, false
	case err != nil:
		return fail("include-not-found", fmt.Sprintf("%s cannot be read (%v)", name, err), "")
	case depth > maxIncludeDepth:
		return fail("limit", fmt.Sprintf("includes nest at most %d deep", maxIncludeDepth), "include the file from the pipeline itself")
	case len(l.files) > maxFiles:
		return fail("limit", fmt.Sprintf("a pipeline includes at most %d files", maxFiles), "join some of them")
	case total > maxAllFiles:
		return fail("file-too-large", fmt.Sprintf("the files of a pipeline have at most %d bytes together", maxAllFiles), "split the pipeline")
	}
	return text, true
}

// includes tells whether f is, or was included by, the file of that name.
func (l *loader) includes(f *file, name string) bool { return len(l.chain(f, name)) > 1 }

// chain is the way from the file of that name by includes to f, and back to it;
// one element if there is none.
func (l *loader) chain(f *file, name string) []string {
	way := []string{name}
	for f != nil {
		way = append([]string{f.name}, way...)
		if f.name == name {
			return way
		}
		f = l.parentOf(f)
	}
	return []string{name}
}

// parentOf is the file that includes f.
func (l *loader) parentOf(f *file) *file {
	for _, candidate := range l.files {
		if f.from != nil && candidate.name == f.from.File {
			return candidate
		}
	}
	return nil
}

// reportMissingIncludes says which local files are not there.
func (l *loader) reportMissingIncludes() {
	if l.incomplete {
		return
	}
	for _, n := range l.missingIncludes {
		help := "paths count from the root of the repository"
		if nearest := Nearest(path.Base(n.text(0)), l.siblings(n.text(0))); nearest != "" {
			help = meant(path.Join(path.Dir(n.text(0)), nearest))
		}
		n.file.errorAt(n.args[0].span, "include-not-found", fmt.Sprintf("there is no file %q", n.text(0)), help)
	}
}

// siblings are the files of the folder of a path.
func (l *loader) siblings(name string) []string {
	entries, err := fs.ReadDir(l.tree, path.Dir(path.Clean(name)))
	if err != nil {
		return nil // no folder, no suggestion
	}
	var files []string
	for _, e := range entries {
		files = append(files, e.Name())
	}
	return files
}
