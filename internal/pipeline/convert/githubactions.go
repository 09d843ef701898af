package convert

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/pattern"
	"github.com/buildit-dev/buildit/internal/pipeline/kdl"
)

// actions are those that have a counterpart, by name without version.
var actions map[string]func(j *job, step *item, pending *kdl.Node)

func init() {
	actions = map[string]func(*job, *item, *kdl.Node){
		"actions/checkout":          (*job).checkout,
		"actions/cache":             (*job).cache,
		"actions/cache/restore":     (*job).cache,
		"actions/cache/save":        (*job).cache,
		"actions/upload-artifact":   (*job).upload,
		"actions/download-artifact": (*job).download,
		"actions/setup-node":        (*job).setup, "actions/setup-go": (*job).setup, "actions/setup-python": (*job).setup,
		"actions/setup-java": (*job).setup, "ruby/setup-ruby": (*job).setup, "actions/setup-dotnet": (*job).setup,
		"dtolnay/rust-toolchain": (*job).setup, "actions-rs/toolchain": (*job).setup, "actions-rust-lang/setup-rust-toolchain": (*job).setup,
		"oven-sh/setup-bun": (*job).setup, "denoland/setup-deno": (*job).setup, "shivammathur/setup-php": (*job).setup,
		"swatinem/rust-cache":                      (*job).rustCache,
		"docker/login-action":                      (*job).dockerLogin,
		"docker/build-push-action":                 (*job).dockerBuild,
		"mikepenz/action-junit-report":             (*job).junit,
		"dorny/test-reporter":                      (*job).junit,
		"enricomi/publish-unit-test-result-action": (*job).junit,
	}
}

// noLongerNeeded are actions whose work the platform does by itself.
var noLongerNeeded = map[string]string{
	"docker/setup-buildx-action":       "the engine of the machine builds",
	"docker/setup-qemu-action":         "an image is built for the architecture that it is built on",
	"styfle/cancel-workflow-action":    `concurrency with mode="cancel-older" does it`,
	"gradle/actions/setup-gradle":      "the wrapper brings Gradle",
	"gradle/wrapper-validation-action": "the wrapper is part of the repository",
	"pnpm/action-setup":                "corepack brings pnpm: run \"corepack enable\"",
	"step-security/harden-runner":      "what a stage may reach is decided by its runner",
}

// advice is what to write instead of well-known actions.
var advice = map[string]string{
	"codecov/codecov-action":                `run "codecov upload-process", with its command line in the image`,
	"golangci/golangci-lint-action":         `run "golangci-lint run", with it in the image`,
	"softprops/action-gh-release":           `run "gh release create \"$BUILDIT_TAG\" FILES", with a token as secret`,
	"goreleaser/goreleaser-action":          `image "goreleaser/goreleaser" and run "goreleaser release --clean"`,
	"aws-actions/configure-aws-credentials": `secrets AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY`,
	"google-github-actions/auth":            `a secret with file=true and GOOGLE_APPLICATION_CREDENTIALS`,
	"peaceiris/actions-gh-pages":            `push the folder with git, with a token as secret`,
	"docker/metadata-action":                `tags of $BUILDIT_TAG and $BUILDIT_SHORT_SHA`,
	"actions/github-script":                 `a script that calls the API with a token as secret`,
	"dorny/paths-filter":                    `component "NAME" path="..." and stages of it, or when path="..."`,
	"tj-actions/changed-files":              `when path="..."`,
	"actions/labeler":                       "", "astral-sh/setup-uv": `image "ghcr.io/astral-sh/uv:python3.13-bookworm"`,
	"azure/setup-helm": `image "alpine/helm"`, "hashicorp/setup-terraform": `image "hashicorp/terraform"`,
}

// action converts a step with uses.
func (j *job) action(step *item, pending *kdl.Node) {
	uses := step.get("uses")
	name, _, _ := strings.Cut(strings.ToLower(uses.str()), "@")
	if uses == nil {
		j.w.lost(step, pending, "a step", "it has neither run nor uses", "")
		return
	}
	if why, known := noLongerNeeded[name]; known {
		j.w.kept(uses, "uses: "+uses.str(), why, "")
		return
	}
	if convert := actions[name]; convert != nil {
		convert(j, step, pending)
		return
	}
	why, do := "an action is code that lives elsewhere", orElse(advice[name], "write what it does as a command")
	switch {
	case strings.HasPrefix(name, "./"):
		why, do = "an action of the repository is not read", "write its steps here, or as a template"
	case strings.HasPrefix(name, "docker://"):
		why, do = "a stage has one image", "a stage of its own with image "+kdl.Value(uses.str()[len("docker://"):], 0)
	}
	j.w.lost(uses, pending, orElse(step.get("name").str(), uses.str())+" (uses: "+uses.str()+")", why, do)
}

// with is a parameter of an action as text of a field.
func (j *job) with(step *item, key string, pending *kdl.Node) string {
	it := step.get("with", key)
	text, err := fieldText(it.str(), j)
	if err != nil {
		j.w.lost(it, pending, key+": "+it.str(), err.Error(), "")
		return ""
	}
	return text
}

// checkout: of another repository, ref or folder is none of ours.
func (j *job) checkout(step *item, pending *kdl.Node) {
	with := step.get("with")
	for _, p := range with.entries() {
		switch key := p.key.text; {
		case key == "fetch-depth" || key == "persist-credentials" || key == "clean" || key == "fetch-tags" || key == "show-progress":
		case key == "submodules" || key == "lfs":
			if p.value.str() != "false" {
				j.w.lost(p.key, pending, "checkout "+key, "it is not built yet", "git submodule update --init, in a command")
			}
		case key == "repository" || key == "path" || key == "ref" || key == "ssh-key":
			if checkoutSame().MatchString(p.value.str()) {
				continue
			}
			j.w.lost(p.key, pending, "checkout "+key+": "+p.value.str(), "a stage gets the commit of its run, at the root of its workspace", "git clone, in a command")
			if key == "repository" {
				return
			}
		case key == "token":
			j.w.kept(p.key, "checkout token", "the source comes with the stage and needs none", "")
		default:
			j.w.lost(p.key, pending, "checkout "+key, "it has no counterpart", "")
		}
	}
	if j.checked {
		return
	}
	j.checked = true
	if depth, ok := with.get("fetch-depth").number(); ok && depth != 1 {
		j.add(&kdl.Node{Name: "checkout", Origin: j.w.origin(step)}).With("depth", depth)
	}
}

// checkoutSame are refs that are the commit of the run anyway.
var checkoutSame = pattern.Late(`^(\.|\$\{\{ *github\.(repository|ref|sha|workspace|event\.pull_request\.head\.(sha|ref|repo\.full_name)) *\}\})$`)

// cache: the entry is kept by the key, and by the same key for all operating systems
// as a name.
func (j *job) cache(step *item, pending *kdl.Node) {
	key := j.with(step, "key", pending)
	paths := step.get("with", "path").lines()
	if key == "" || len(paths) == 0 {
		j.w.lost(step, pending, "the cache", "its key or its path is made by what has no counterpart", `cache "NAME" key="..." path="..."`)
		return
	}
	if strings.HasSuffix(step.get("uses").str()[:cmp.Or(strings.Index(step.get("uses").str(), "@")+1, len(step.get("uses").str())+1)-1], "/save") && j.stage.Child("cache") != nil {
		return // the restore beside it saves too
	}
	n := &kdl.Node{Name: "cache", Args: []any{j.cacheName(key)}, Origin: j.w.origin(step)}
	if strings.Contains(step.get("uses").str(), "cache/restore@") && !j.item.mentions("actions/cache/save@") {
		n.With("mode", "read")
	}
	n.Add(kdl.New("key", key))
	line := &kdl.Node{Name: "path"}
	for _, p := range paths {
		p, err := fieldText(p, j)
		if err == nil && !strings.HasPrefix(p, "!") {
			line.Args = append(line.Args, strings.TrimPrefix(strings.TrimSuffix(p, "/"), "./"))
			continue
		}
		j.w.lost(step.get("with", "path"), n, "path "+p, "a cache keeps whole paths", "")
	}
	n.Add(line)
	restore := &kdl.Node{Name: "restore"}
	for _, r := range step.get("with", "restore-keys").lines() {
		if text, err := fieldText(r, j); err == nil {
			restore.Args = append(restore.Args, text)
		} else {
			j.w.lost(step.get("with", "restore-keys"), n, "restore-keys "+r, err.Error(), "")
		}
	}
	if len(restore.Args) > 0 {
		n.Add(restore)
	}
	j.add(n)
}

var interpolation = pattern.Late(`\$\{[^}]*\}`)

// cacheName is a name of the plain words of a key.
func (j *job) cacheName(key string) string {
	words := strings.TrimPrefix(slug(strings.TrimPrefix(interpolation().ReplaceAllString(key, "-"), "Linux"), "cache"), "Linux-")
	name := words
	for n := 2; j.hasNamed("cache", name); n++ {
		name = fmt.Sprintf("%s-%d", words, n)
	}
	return name
}

func (j *job) hasNamed(node, name string) bool {
	return slices.ContainsFunc(j.stage.Children, func(n *kdl.Node) bool { return n.Name == node && n.Args[0] == any(name) })
}

// upload: an artifact keeps paths as they are in the workspace.
func (j *job) upload(step *item, pending *kdl.Node) {
	with := step.get("with")
	written := orElse(with.get("name").str(), "artifact")
	name := slug(embedded().ReplaceAllString(written, ""), "artifact")
	if embedded().MatchString(written) {
		j.w.kept(with.get("name"), "artifact "+written, "each cell of a matrix has an artifact of its own under one name", "fetch takes those of all cells, into folders by cell")
	}
	n := &kdl.Node{Name: "artifact", Args: []any{name}, Origin: j.w.origin(step)}
	in, out := &kdl.Node{Name: "path"}, &kdl.Node{Name: "exclude"}
	for _, p := range with.get("path").lines() {
		text, err := workspacePath(p, j)
		if err != nil {
			j.w.lost(with.get("path"), pending, "path "+p+" of artifact "+name, err.Error(), "")
			continue
		}
		if rest, not := strings.CutPrefix(text, "!"); not {
			out.Args = append(out.Args, asGlob(rest))
			continue
		}
		in.Args = append(in.Args, asGlob(text))
	}
	if len(in.Args) == 0 {
		return
	}
	n.Children = []*kdl.Node{in}
	if len(out.Args) > 0 {
		n.Add(out)
	} else if len(in.Args) == 1 {
		n.Children = nil
		n.With("path", in.Args[0])
	}
	if days, ok := with.get("retention-days").number(); ok && days > 0 {
		n.With("expire", fmt.Sprintf("%dd", min(days, 400)))
	}
	if with.get("if-no-files-found").str() != "error" {
		n.With("optional", true)
	}
	if cond := step.get("if").str(); strings.Contains(cond, "always()") || strings.Contains(cond, "!cancelled()") {
		n.With("on", "finished")
	} else if strings.Contains(cond, "failure()") {
		n.With("on", "failed")
	} else if cond != "" {
		j.w.lost(step.get("if"), n, "if: "+cond, "an artifact is kept by how the stage ended", `on="finished"`)
	}
	if j.hasNamed("artifact", name) {
		j.w.lost(step, pending, "artifact "+name, "the stage has one of this name already", "rename one")
		return
	}
	j.uploads[name] = shared(in.Args)
	j.add(n)
}

// workspacePath is a path inside the checkout.
func workspacePath(p string, in *job) (string, error) {
	p = inWorkspace().ReplaceAllString(p, "$1")
	text, err := fieldText(p, in)
	switch {
	case err != nil:
		return "", err
	case strings.HasPrefix(text, "/") || strings.HasPrefix(text, "~"):
		return "", fmt.Errorf("it lies outside the checkout")
	case strings.Contains(text, "${"):
		return globbed().ReplaceAllString(text, "*"), nil
	}
	return text, nil
}

var (
	inWorkspace = pattern.Late(`^(!?)\$\{\{ *(?:github\.workspace|env\.GITHUB_WORKSPACE) *\}\}/`)
	globbed     = pattern.Late(`\$\{[^}]*\}`)
)

// asGlob names the files of a folder; a name with a dot or a * is a file's.
func asGlob(p string) string {
	p = strings.TrimPrefix(p, "./")
	switch {
	case p == "" || p == ".":
		return "**"
	case strings.HasSuffix(p, "/"):
		return p + "**"
	case !strings.Contains(path.Base(p), ".") && !strings.Contains(path.Base(p), "*"):
		return p + "/**"
	}
	return p
}

// shared is the folder that all globs begin with: where GitHub's artifact begins.
func shared(globs []any) string {
	common := ""
	for i, g := range globs {
		folder := g.(string)
		if at := strings.IndexAny(folder, "*?[{"); at >= 0 {
			folder = folder[:at]
		}
		folder = path.Dir(folder + "x")
		if i == 0 {
			common = folder
		}
		for common != "." && folder != common && !strings.HasPrefix(folder, common+"/") {
			common = path.Dir(common)
		}
	}
	return common
}

// download: GitHub's artifact begins at the folder that its paths share, ours at the
// root of the workspace; a command moves what would lie elsewhere.
func (j *job) download(step *item, pending *kdl.Node) {
	with := step.get("with")
	to, err := workspacePath(orElse(with.get("path").str(), "."), j)
	if err != nil || to == "" {
		j.w.lost(step, pending, "download-artifact", "its path "+fmt.Sprint(err), "")
		return
	}
	to = path.Clean(to)
	if with.get("run-id") != nil || with.get("github-token") != nil {
		j.w.lost(step, pending, "download-artifact of another run", "a stage fetches what its own run has made", `on "upstream"`)
		return
	}
	one := slug(embedded().ReplaceAllString(with.get("name").str(), ""), "")
	found := false
	for _, other := range j.upstream(map[string]bool{}) {
		for _, name := range sorted(other.uploads) {
			if one != "" && name != one || with.get("pattern") != nil && !strings.HasPrefix(name, slug(strings.TrimRight(with.get("pattern").str(), "*-"), "")) {
				continue
			}
			found = true
			target := to
			if one == "" && !with.get("merge-multiple").isTrue() {
				target = path.Join(to, name)
			}
			j.fetch(step, name, other, target, pending)
		}
	}
	if !found {
		j.w.lost(step, pending, "download-artifact "+orElse(with.get("name").str(), "of all"), "no job that this one needs uploads it", "")
	}
}

func (j *job) fetch(step *item, name string, other *job, to string, pending *kdl.Node) {
	n := &kdl.Node{Name: "fetch", Args: []any{name}, Origin: j.w.origin(step)}
	from := other.uploads[name]
	if j.hasNamed("fetch", name) {
		return
	}
	j.add(n)
	switch {
	case len(other.axes) > 0:
		n.With("to", path.Join("artifacts", name))
		j.w.lost(step, pending, "where artifact "+name+" lies", "each cell's files lie in a folder by cell, below artifacts/"+name, "move them with a command")
	case from == ".":
		if to != "." {
			n.With("to", to)
		}
	case from != to:
		dir := path.Join(".artifacts", name)
		n.With("to", dir)
		j.add(&kdl.Node{Name: "run", Args: []any{copyInto(sh(path.Join(dir, from)), sh(to))}, Props: []kdl.Prop{{Name: "name", Value: "place artifact " + name}}})
	}
}

// copyInto copies what a folder holds into another one.
func copyInto(from, to string) string {
	line := fmt.Sprintf("cp -R %s/. %s", from, to)
	if to != "." {
		line = "mkdir -p " + to + " && " + line
	}
	return line
}

// upstream are the jobs that a job waits for, through others too.
func (j *job) upstream(seen map[string]bool) []*job {
	var all []*job
	for _, other := range j.w.jobs {
		if slices.Contains(j.item.get("needs").texts(), other.id) && !seen[other.id] && other != j {
			seen[other.id] = true
			all = append(append(all, other.upstream(seen)...), other)
		}
	}
	return all
}

// junit makes the files of a test reporter a report.
func (j *job) junit(step *item, pending *kdl.Node) {
	for _, key := range []string{"report_paths", "path", "files"} {
		for _, p := range step.get("with", key).lines() {
			if text, err := workspacePath(p, j); err == nil {
				j.add(&kdl.Node{Name: "report", Args: []any{"junit"}, Props: []kdl.Prop{{Name: "path", Value: strings.TrimPrefix(text, "./")}}, Origin: j.w.origin(step)})
				return
			}
		}
	}
	j.w.lost(step, pending, "the test report", "its path is made by what has no counterpart", `report "junit" path="..."`)
}

func (j *job) dockerLogin(step *item, pending *kdl.Node) {
	user, err1 := replaceWhole(step.get("with", "username").str(), j)
	password, err2 := replaceWhole(step.get("with", "password").str(), j)
	registry, err3 := replaceWhole(step.get("with", "registry").str(), j)
	if err := cmp.Or(err1, err2, err3); err != nil || !strings.Contains(password, "$") {
		j.w.lost(step, pending, "docker login", "its user or password is made by what has no counterpart", `printf %s "$TOKEN" | docker login -u USER --password-stdin`)
		return
	}
	line := fmt.Sprintf("printf %%s %s | docker login %s -u %s --password-stdin", password, registry, user)
	j.add(&kdl.Node{Name: "run", Args: []any{strings.ReplaceAll(line, " '' ", " ")}, Origin: j.w.origin(step), Props: []kdl.Prop{{Name: "name", Value: "docker login"}}})
}

// dockerBuild builds with the engine of the machine.
func (j *job) dockerBuild(step *item, pending *kdl.Node) {
	with := step.get("with")
	var tags []string
	for _, t := range with.get("tags").lines() {
		for one := range strings.SplitSeq(t, ",") {
			word, err := replaceWhole(strings.TrimSpace(one), j)
			if err != nil {
				j.w.lost(with.get("tags"), pending, "tag "+one, err.Error(), `tags of "$BUILDIT_TAG" and "$BUILDIT_SHORT_SHA"`)
				continue
			}
			tags = append(tags, word)
		}
	}
	if len(tags) == 0 {
		tags = []string{`"$IMAGE"`}
	}
	line := "docker build"
	for _, t := range tags {
		line += " -t " + t
	}
	for _, option := range []struct{ key, flag string }{{"file", "-f"}, {"target", "--target"}, {"build-args", "--build-arg"}} {
		for _, v := range with.get(option.key).lines() {
			if word, err := replaceWhole(v, j); err == nil {
				line += " " + option.flag + " " + word
			} else {
				j.w.lost(with.get(option.key), pending, option.key+": "+v, err.Error(), "")
			}
		}
	}
	context, err := replaceWhole(orElse(with.get("context").str(), "."), j)
	if err != nil {
		context = "."
	}
	for _, key := range []string{"platforms", "outputs", "secrets", "ssh", "load"} {
		if with.get(key) != nil && key != "load" {
			j.w.lost(with.get(key), pending, "docker build "+key, "docker build has it in another form, or an engine with buildx", "")
		}
	}
	n := j.add(&kdl.Node{Name: "run", Args: []any{line + " " + context}, Origin: j.w.origin(step)})
	n.With("name", "docker build")
	if push := with.get("push"); push != nil && push.str() != "false" {
		script := ""
		if !push.isTrue() && push.str() != "true" {
			e, err := onlyExpr(push.str())
			test := ""
			if err == nil {
				test, err = e.test(j)
			}
			if err != nil {
				j.w.lost(push, pending, "push: "+push.str(), err.Error(), "docker push, in a command")
				return
			}
			script = "{ " + test + "; } || exit 0\n"
		}
		for _, t := range tags {
			script += "docker push " + t + "\n"
		}
		j.add(&kdl.Node{Name: "run", Args: []any{strings.TrimSpace(script)}, Origin: j.w.origin(step)}).With("name", "docker push")
	}
}
