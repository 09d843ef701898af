// Package draft writes a first pipeline file for a tree: it looks for the projects of
// well-known tools, names their versions from the files that say them, and makes of
// each a stage that tests and, where something comes out, one that builds.
//
// It reads names and the few files that a tool is known by, runs nothing, and links
// no git. What it writes was loaded by the language package without an error.
package draft

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing/fstest"

	"github.com/buildit-dev/buildit/internal/pipeline/kdl"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
)

// Limits of the look at a tree.
const (
	maxEntries = 100_000
	maxDepth   = 5
	maxRead    = 256 << 10 // bytes of a file
	maxModules = 40
)

// Finding is one thing that was found, and why it counts.
type Finding struct {
	Kind   string `json:"kind"` // go, node, python, rust, java, docker
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// module is a project of one tool.
type module struct {
	kind, dir string // "." is the root
	image     string
	cache     *kdl.Node
	env       *kdl.Node
	setup     []string // commands before those of both stages
	test      []*kdl.Node
	build     []*kdl.Node // empty: nothing comes out
	many      bool        // it holds the modules below it
}

// Draft is a pipeline file for tree, and what it was made of. name is what the
// pipeline is called where the tree does not say. No findings make no file.
func Draft(tree fs.FS, name string) (text string, findings []Finding, err error) {
	s := &scanner{tree: tree, files: map[string][]string{}}
	if err := s.walk(); err != nil {
		return "", nil, err
	}
	modules, images := s.modules()
	if len(modules)+len(images) == 0 {
		return "", s.findings, nil
	}
	d := document(slug(name), modules, images)
	text, _ = d.Write()
	for _, problem := range load(text) {
		return "", s.findings, fmt.Errorf("the draft has a mistake of ours at line %d: %s", problem.Line, problem.Message)
	}
	return text, s.findings, nil
}

// load are the errors of a pipeline file.
func load(text string) []language.Diagnostic {
	const name = ".buildit.kdl"
	_, problems := language.Load(fstest.MapFS{name: {Data: []byte(text)}}, name)
	return slices.DeleteFunc(problems, func(d language.Diagnostic) bool { return d.Severity != "error" })
}

// hasReport tells whether this version reads reports of that kind.
func hasReport(kind string) bool {
	text := fmt.Sprintf("pipeline \"p\"\nstage \"s\" {\n    run \"true\"\n    report %q path=\"r\"\n}\n", kind)
	return len(load(text)) == 0
}

// scanner has looked at the names of a tree.
type scanner struct {
	tree     fs.FS
	files    map[string][]string // folder -> names
	dirs     []string
	seen     int
	findings []Finding
}

// skipped are folders of other people's code, or of what tools make.
var skipped = []string{"node_modules", "vendor", "testdata", "dist", "target", "build", "venv", "fixtures", "third_party"}

func (s *scanner) walk() error {
	return fs.WalkDir(s.tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil && name == ".":
			return err
		case err != nil:
			return fs.SkipDir // what cannot be read is none of a pipeline's
		}
		if s.seen++; s.seen > maxEntries {
			return fs.SkipAll
		}
		base := path.Base(name)
		if entry.IsDir() {
			if name != "." && (strings.HasPrefix(base, ".") || slices.Contains(skipped, base) || strings.Count(name, "/") >= maxDepth) {
				return fs.SkipDir
			}
			s.dirs = append(s.dirs, name)
			return nil
		}
		if entry.Type().IsRegular() {
			s.files[path.Dir(name)] = append(s.files[path.Dir(name)], base)
		}
		return nil
	})
}

func (s *scanner) has(dir string, names ...string) string {
	for _, name := range names {
		if slices.Contains(s.files[dir], name) {
			return name
		}
	}
	return ""
}

// read is the text of a file, "" where there is none or it is too large.
func (s *scanner) read(dir, name string) string {
	if s.has(dir, name) == "" {
		return ""
	}
	info, err := fs.Stat(s.tree, path.Join(dir, name))
	if err != nil || info.Size() > maxRead {
		return ""
	}
	text, err := fs.ReadFile(s.tree, path.Join(dir, name))
	if err != nil {
		return ""
	}
	return string(text)
}

func (s *scanner) found(kind, dir, name, reason string, args ...any) {
	s.findings = append(s.findings, Finding{kind, path.Join(dir, name), fmt.Sprintf(reason, args...)})
}

// modules are the projects of the tree and the folders of Dockerfiles.
func (s *scanner) modules() (modules []*module, images []string) {
	holders := map[string][]string{} // kind -> folders that hold what is below them
	for _, dir := range s.dirs {
		for _, look := range looks {
			if len(modules) == maxModules || below(dir, holders[look.kind]) {
				continue
			}
			if m := look.at(s, dir); m != nil {
				m.kind, m.dir = look.kind, dir
				modules = append(modules, m)
				if m.many {
					holders[look.kind] = append(holders[look.kind], dir)
				}
			}
		}
		if s.has(dir, "Dockerfile") != "" {
			s.found("docker", dir, "Dockerfile", "an image is built of it")
			images = append(images, dir)
		}
	}
	return modules, images
}

func below(dir string, holders []string) bool {
	return slices.ContainsFunc(holders, func(h string) bool { return dir != h && (h == "." || strings.HasPrefix(dir, h+"/")) })
}

// document is the pipeline of what was found.
func document(name string, modules []*module, images []string) *kdl.Document {
	d := &kdl.Document{Head: []string{
		"Written by buildit init. Try it with `buildit run`; `buildit validate` checks every change of it.",
	}}
	d.Nodes = append(d.Nodes, &kdl.Node{Name: "pipeline", Args: []any{name}, Apart: true})
	d.Nodes = append(d.Nodes, components(modules)...)
	d.Nodes = append(d.Nodes, caches(modules)...)
	builds := map[string]string{}
	for _, m := range modules {
		prefix := m.prefix(modules)
		test := m.stage(prefix+"test", modules)
		test.Add(m.test...)
		if len(m.test) > 0 {
			d.Nodes = append(d.Nodes, test)
			builds[m.dir] = prefix + "test"
		}
		if len(m.build) > 0 {
			build := m.stage(prefix+"build", modules)
			if len(m.test) > 0 {
				build.Props = append([]kdl.Prop{{Name: "needs", Value: prefix + "test"}}, build.Props...)
			}
			d.Nodes = append(d.Nodes, build.Add(m.build...))
			builds[m.dir] = prefix + "build"
		}
	}
	for i, dir := range images {
		d.Nodes = append(d.Nodes, image(dir, builds[dir], i == 0, len(images) > 1, modules))
	}
	return d
}

// prefix tells the stages of several modules apart: by folder, then by kind.
func (m *module) prefix(all []*module) string {
	if len(all) == 1 {
		return ""
	}
	if m.dir == "." || slices.ContainsFunc(all, func(o *module) bool { return o != m && (o.dir == m.dir || path.Base(o.dir) == path.Base(m.dir)) }) {
		if m.dir == "." {
			return m.kind + "-"
		}
		return slug(strings.ReplaceAll(m.dir, "/", "-")) + "-" + m.kind + "-"
	}
	return slug(path.Base(m.dir)) + "-"
}

// component is the name of the component of a folder, "" of the root.
func (m *module) component(all []*module) string {
	if m.dir == "." || len(all) == 1 {
		return ""
	}
	for _, o := range all {
		if o.dir != m.dir && path.Base(o.dir) == path.Base(m.dir) {
			return slug(strings.ReplaceAll(m.dir, "/", "-"))
		}
	}
	return slug(path.Base(m.dir))
}

func components(modules []*module) []*kdl.Node {
	var all []*kdl.Node
	for _, m := range modules {
		name := m.component(modules)
		if name == "" || slices.ContainsFunc(all, func(n *kdl.Node) bool { return n.Args[0] == any(name) }) {
			continue
		}
		n := kdl.New("component", name).With("path", m.dir+"/**")
		if n.Apart = len(all) == 0; n.Apart {
			n.Note("The stages of a component run when something below its path has changed.")
		}
		all = append(all, n)
	}
	return all
}

// caches are those of all modules, each once.
func caches(modules []*module) []*kdl.Node {
	var all []*kdl.Node
	for _, m := range modules {
		if m.cache != nil && !slices.ContainsFunc(all, func(n *kdl.Node) bool { return n.Args[0] == m.cache.Args[0] }) {
			m.cache.Apart = true
			all = append(all, m.cache)
		}
	}
	return all
}

// stage begins a stage of the module.
func (m *module) stage(name string, all []*module) *kdl.Node {
	n := &kdl.Node{Name: "stage", Args: []any{name}, Apart: true}
	if c := m.component(all); c != "" {
		n.With("component", c)
	}
	n.Add(kdl.New("image", m.image))
	if m.dir != "." {
		n.Add(kdl.New("dir", m.dir))
	}
	n.Add(m.env)
	if m.cache != nil {
		n.Add(kdl.New("cache", m.cache.Args[0]))
	}
	for _, command := range m.setup {
		n.Add(kdl.New("run", command))
	}
	return n
}

// image builds with the engine of the machine, which works today.
func image(dir, needs string, first, several bool, modules []*module) *kdl.Node {
	name := "image"
	if several && dir != "." {
		name = slug(path.Base(dir)) + "-image"
	}
	n := &kdl.Node{Name: "stage", Args: []any{name}, Apart: true}
	if needs != "" {
		n.With("needs", needs)
	}
	for _, m := range modules {
		if m.dir == dir && m.component(modules) != "" {
			n.With("component", m.component(modules))
			break
		}
	}
	if first {
		n.Note("Docker of the machine builds it; image-build, which needs none, is not in this version.")
		n.Note(`IMAGE is set by BuildIt. To publish it: a secret, docker login, and docker push "$IMAGE".`)
	}
	return n.Add(kdl.New("run", fmt.Sprintf(`docker build -t "$IMAGE" %s`, quoted(dir))), kdl.New("artifact", name).With("value", "$IMAGE").With("optional", true))
}

// quoted is a path as a word of a shell.
func quoted(p string) string {
	if strings.Trim(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-") == "" {
		return p
	}
	return "'" + strings.ReplaceAll(p, "'", `'\''`) + "'"
}

// slug makes a name of words.
func slug(text string) string {
	s := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-' {
			return r
		}
		return '-'
	}, text)
	s = strings.Trim(s, "-._")
	return cmp.Or(strings.Trim(s[:min(len(s), 40)], "-._"), "pipeline")
}

// cacheNode is a cache whose key is the digest of a lock file.
func cacheNode(name, lock string, paths ...any) *kdl.Node {
	return kdl.New("cache", name).Add(
		kdl.New("key", name+"-${arch}-${hash:"+lock+"}"),
		kdl.New("restore", name+"-${arch}-"),
		kdl.New("path", paths...),
	)
}

// run, report and artifact are nodes of a stage.
func run(command string) *kdl.Node { return kdl.New("run", command) }

func report(kind, at string) *kdl.Node { return kdl.New("report", kind).With("path", at) }

func artifact(name string, globs ...string) *kdl.Node {
	n := kdl.New("artifact", name)
	if len(globs) == 1 {
		return n.With("path", globs[0])
	}
	line := &kdl.Node{Name: "path"}
	for _, g := range globs {
		line.Args = append(line.Args, g)
	}
	return n.Add(line)
}
