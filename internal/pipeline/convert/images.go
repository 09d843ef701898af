package convert

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/pattern"
	"github.com/buildit-dev/buildit/internal/pipeline/kdl"
)

// tool is what a setup action brings, and the image that has it.
type tool struct {
	version string // the parameter
	file    string // the parameter that names a file with the version
	image   string // %s is the version
	newest  string // the version for "the newest"
}

var tools = map[string]tool{
	"actions/setup-node":     {"node-version", "node-version-file", "node:%s", "lts"},
	"actions/setup-go":       {"go-version", "go-version-file", "golang:%s", "1"},
	"actions/setup-python":   {"python-version", "python-version-file", "python:%s", "3"},
	"actions/setup-java":     {"java-version", "java-version-file", "eclipse-temurin:%s", "21"},
	"ruby/setup-ruby":        {"ruby-version", "", "ruby:%s", "3"},
	"actions/setup-dotnet":   {"dotnet-version", "global-json-file", "mcr.microsoft.com/dotnet/sdk:%s", "9.0"},
	"dtolnay/rust-toolchain": {"toolchain", "", "rust:%s", "1"}, "actions-rs/toolchain": {"toolchain", "", "rust:%s", "1"},
	"actions-rust-lang/setup-rust-toolchain": {"toolchain", "", "rust:%s", "1"},
	"oven-sh/setup-bun":                      {"bun-version", "", "oven/bun:%s", "1"},
	"denoland/setup-deno":                    {"deno-version", "", "denoland/deno:%s", "2"},
	"shivammathur/setup-php":                 {"php-version", "", "php:%s", "8"},
}

// setup makes the tool of a setup action the image of the stage.
func (j *job) setup(step *item, pending *kdl.Node) {
	name, at, _ := strings.Cut(step.get("uses").str(), "@")
	name = strings.ToLower(name)
	t := tools[name]
	it := step.get("with", t.version)
	version := it.str()
	if strings.Contains(name, "rust") && it == nil && at != "master" && !strings.HasPrefix(at, "v") {
		version = at // dtolnay/rust-toolchain@1.85
	}
	if file := step.get("with", t.file); t.file != "" && file != nil && version == "" {
		j.w.kept(file, t.file+": "+file.str(), "an image is named in the pipeline; the file is not read", "name the version of "+file.str()+" in image")
	}
	text, err := fieldText(version, j)
	if err != nil {
		j.w.lost(it, pending, t.version+": "+version, err.Error(), "")
		text = ""
	}
	j.setupCache(name, step)
	tag := versionTag(text, t.newest)
	image := strings.Replace(t.image, "%s", tag, 1)
	if name == "actions/setup-java" && j.item.mentions("mvn ") {
		image = "maven:3-eclipse-temurin-" + tag
	}
	present := j.stage.Child("image")
	switch {
	case present == nil:
		j.tools = append(j.tools, name)
		j.add(&kdl.Node{Name: "image", Args: []any{image}, Origin: j.w.origin(step)})
		j.tidyAxis(text)
	case present.Args[0] == any(image):
	case len(j.tools) > 0:
		j.w.lost(step.get("uses"), pending, "uses: "+step.get("uses").str(), "a stage has one image, and it has "+present.Args[0].(string)+" already", "use an image with both, or split the stage")
	default:
		j.w.kept(step.get("uses"), "uses: "+step.get("uses").str(), "the stage runs in the image of its container", "use an image that has "+image)
	}
}

var wild = pattern.Late(`(\.[x*])+$`)

// versionTag is a version as a tag of an image.
func versionTag(version, newest string) string {
	v := wild().ReplaceAllString(strings.TrimLeft(strings.TrimSpace(version), "v=~"), "")
	switch {
	case v == "" || v == "x" || v == "*" || v == "latest" || v == "stable" || v == "current" || v == "lts/*" || v == "node" || v == "lts/-1" || v == "nightly" || v == "beta" || v == "oldstable":
		return newest
	case strings.HasPrefix(v, "lts/"):
		return strings.ToLower(v[len("lts/"):])
	case strings.HasPrefix(v, "^"):
		v, _, _ = strings.Cut(v[1:], ".")
	case strings.ContainsAny(v, "<>| ,\n"):
		return newest
	}
	return v
}

// tidyAxis writes the values of an axis that chooses an image as tags.
func (j *job) tidyAxis(text string) {
	m := regexp.MustCompile(`^\$\{matrix\.([a-z0-9_-]+)\}$`).FindStringSubmatch(text)
	matrix := j.stage.Child("matrix")
	if m == nil || matrix == nil {
		return
	}
	tidy := func(v any, from *kdl.Node) any {
		s, ok := v.(string)
		if !ok || versionTag(s, s) == s {
			return v
		}
		j.w.kept(j.w.places[from.Origin-1], m[1]+" "+s, "the axis chooses an image, whose tag is "+versionTag(s, s), "")
		return versionTag(s, s)
	}
	for _, n := range matrix.Children {
		for i := range n.Args {
			if n.Name == m[1] {
				n.Args[i] = tidy(n.Args[i], n)
			}
		}
		for i := range n.Props {
			if n.Props[i].Name == m[1] {
				n.Props[i].Value = tidy(n.Props[i].Value, n)
			}
		}
	}
}

// toolCache is the cache of a package manager.
type toolCache struct {
	name, lock string
	paths      []any
}

var toolCaches = map[string]toolCache{
	"npm": {"npm", "**/package-lock.json", []any{"~/.npm"}}, "yarn": {"yarn", "**/yarn.lock", []any{"~/.cache/yarn", "~/.yarn/berry/cache"}},
	"pnpm": {"pnpm", "**/pnpm-lock.yaml", []any{"~/.local/share/pnpm/store"}},
	"go":   {"go", "**/go.sum", []any{"~/go/pkg/mod", "~/.cache/go-build"}},
	"pip":  {"pip", "**/requirements*.txt", []any{"~/.cache/pip"}}, "poetry": {"poetry", "**/poetry.lock", []any{"~/.cache/pypoetry"}},
	"maven": {"maven", "**/pom.xml", []any{"~/.m2/repository"}}, "gradle": {"gradle", "**/*.gradle*,**/gradle-wrapper.properties", []any{"~/.gradle/caches", "~/.gradle/wrapper"}},
}

// setupCache is the cache that a setup action keeps.
func (j *job) setupCache(name string, step *item) {
	kind := step.get("with", "cache").str()
	if name == "actions/setup-go" && kind != "false" {
		kind = "go" // it caches unless told not to
	}
	c, known := toolCaches[kind]
	if !known || j.hasNamed("cache", c.name) {
		return
	}
	lock := c.lock
	if own := step.get("with", "cache-dependency-path").lines(); len(own) > 0 && !strings.Contains(own[0], "${{") {
		lock = strings.Join(own, ",")
	}
	j.toolCache(c, lock, step)
}

func (j *job) toolCache(c toolCache, lock string, step *item) {
	n := &kdl.Node{Name: "cache", Args: []any{c.name}, Origin: j.w.origin(step)}
	j.add(n.Add(kdl.New("key", c.name+"-${arch}-${hash:"+strings.ReplaceAll(lock, "./", "")+"}"), kdl.New("restore", c.name+"-${arch}-"), kdl.New("path", c.paths...)))
}

func (j *job) rustCache(step *item, _ *kdl.Node) {
	if !j.hasNamed("cache", "cargo") {
		j.toolCache(toolCache{"cargo", "", []any{"~/.cargo/registry", "~/.cargo/git", "target"}}, "**/Cargo.lock", step)
	}
}

// usual are images for commands of tools that GitHub's machines have without asking.
var usual = []struct {
	command func() *regexp.Regexp
	image   string
}{
	{pattern.Late(`(?m)^\s*(cargo|rustc|rustup)\s`), "rust:1"},
	{pattern.Late(`(?m)^\s*(docker|docker-compose)\s`), "docker:28"},
	{pattern.Late(`(?m)^\s*(npm|npx|yarn|pnpm|node)\s`), "node:lts"},
	{pattern.Late(`(?m)^\s*(python3?|pip3?|pytest)\s`), "python:3"},
	{pattern.Late(`(?m)^\s*(mvn|\./mvnw)\s`), "maven:3-eclipse-temurin-21"},
	{pattern.Late(`(?m)^\s*\./gradlew\s`), "eclipse-temurin:21"},
	{pattern.Late(`(?m)^\s*go\s`), "golang:1"},
}

var ubuntu = pattern.Late(`^ubuntu-(\d\d\.\d\d)`)

// carryOver gives stages without an image the one that comes nearest to the machine.
func (w *workflow) carryOver(d *kdl.Document) {
	for _, j := range w.jobs {
		if j.dropped || j.stage.Child("image") != nil || len(j.runs()) == 0 {
			continue
		}
		image := ""
		for _, u := range usual {
			if image == "" && slices.ContainsFunc(j.runs(), func(n *kdl.Node) bool { return u.command().MatchString(n.Args[0].(string)) }) {
				image = u.image
			}
		}
		if image == "" {
			image = "ubuntu:24.04"
			if m := ubuntu().FindStringSubmatch(j.item.get("runs-on").str()); m != nil {
				image = "ubuntu:" + m[1]
			}
		}
		j.w.kept(j.item.get("runs-on"), "the machine of "+j.id, "GitHub's have many tools; the stage runs in "+image, "name an image that has what it needs")
		j.stage.Add(kdl.New("image", image))
		inOrder(j.stage)
	}
}

// sorted are the keys of a map.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
