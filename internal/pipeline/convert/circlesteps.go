package convert

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/pattern"
	"github.com/buildit-dev/buildit/internal/pipeline/kdl"
)

// maxCommands is how deep commands may use commands.
const maxCommands = 16

// circleVariables are CircleCI's variables under our names.
var circleVariables = map[string]string{
	"CIRCLE_SHA1": "BUILDIT_SHA", "CIRCLE_BRANCH": "BUILDIT_BRANCH", "CIRCLE_TAG": "BUILDIT_TAG", "CIRCLE_BUILD_NUM": "BUILDIT_RUN_NUMBER",
	"CIRCLE_PROJECT_REPONAME": "BUILDIT_REPO_NAME", "CIRCLE_PROJECT_USERNAME": "BUILDIT_REPO_OWNER", "CIRCLE_JOB": "BUILDIT_STAGE",
	"CIRCLE_NODE_INDEX": "BUILDIT_JOB_INDEX", "CIRCLE_NODE_TOTAL": "BUILDIT_JOB_TOTAL", "CIRCLE_WORKING_DIRECTORY": "BUILDIT_WORKSPACE",
	"CIRCLE_WORKFLOW_ID": "BUILDIT_RUN_ID", "CIRCLE_REPOSITORY_URL": "BUILDIT_REPO_URL", "CIRCLE_PR_NUMBER": "BUILDIT_PULL_REQUEST",
	"CIRCLE_USERNAME": "BUILDIT_ACTOR", "CIRCLECI": "BUILDIT",
}

// steps converts a list of steps with the parameters that hold in it.
func (j *flowJob) steps(list *item, values map[string]string, pending *kdl.Node, depth int) {
	if depth > maxCommands {
		j.c.lost(list, pending, "a command", "commands use each other more than 16 levels deep", "")
		return
	}
	outer := j.values
	j.values = values
	defer func() { j.values = outer }()
	for _, step := range list.items() {
		if j.count++; j.count > maxSteps {
			j.c.lost(list, pending, "the steps from here on", fmt.Sprintf("a stage has at most %d commands", maxSteps), "split the job")
			return
		}
		before := len(j.stage.Children)
		name, body := step.str(), &item{}
		if step.isMap() && len(step.pairs) > 0 {
			name, body = step.pairs[0].key.text, step.pairs[0].value
		}
		j.step(name, step, body, pending, depth)
		for _, n := range j.stage.Children[min(before, len(j.stage.Children)):] {
			if n.Name == "run" && len(pending.Comments) > 0 {
				n.Comments, pending.Comments = append(pending.Comments, n.Comments...), nil
			}
		}
	}
}

func (j *flowJob) step(name string, step, body *item, pending *kdl.Node, depth int) {
	switch name {
	case "checkout":
		j.checked = true
	case "run":
		j.run(body, pending)
	case "save_cache":
		j.saveCache(body, pending)
	case "restore_cache":
		j.restoreCache(body, pending)
	case "persist_to_workspace":
		j.persist(body, pending)
	case "attach_workspace":
		j.attach(body, pending)
	case "store_test_results":
		p := strings.TrimSuffix(j.local(body.get("path"), pending), "/")
		if p != "" && path.Ext(p) != ".xml" {
			p = path.Join(p, "**/*.xml")
		}
		if p != "" {
			j.add(&kdl.Node{Name: "report", Args: []any{"junit"}, Props: []kdl.Prop{{Name: "path", Value: p}}, Origin: j.c.origin(step)})
		}
	case "store_artifacts":
		j.store(body, pending)
	case "when", "unless":
		j.conditional(name, body, pending, depth)
	case "setup_remote_docker":
		j.c.kept(step, "setup_remote_docker", "docker in a command uses the engine of the machine, where it has one", "")
	default:
		j.call(name, step, body, pending, depth)
	}
}

// call puts the steps of a command in the place of its use.
func (j *flowJob) call(name string, step, body *item, pending *kdl.Node, depth int) {
	if key, ok := strings.CutPrefix(strings.Trim(name, "<> "), "parameters."); ok && strings.Contains(name, "<<") {
		// a parameter of type steps
		given := j.use.get(key)
		if given == nil {
			given = j.def.get("parameters", key, "default")
		}
		j.steps(given, j.values, pending, depth+1)
		return
	}
	command := j.c.root.get("commands", name)
	if command == nil {
		why, do := "there is no command of this name", ""
		switch {
		case strings.Contains(name, "/"):
			why, do = "it is a command of an orb", "write what it does"
		case name == "add_ssh_keys":
			why, do = "keys come as secrets", `secret "DEPLOY_KEY" file=true`
		}
		j.c.lost(step, pending, orElse(name, "a step"), why, do)
		return
	}
	values := map[string]string{}
	for _, p := range command.get("parameters").all() {
		values[p.key.text] = p.value.get("default").str()
	}
	for _, p := range body.entries() {
		values[p.key.text] = j.inline(p.value.str())
	}
	j.steps(command.get("steps"), values, pending, depth+1)
}

// conditional steps are decided now where the file says enough, else by the shell.
func (j *flowJob) conditional(key string, body *item, pending *kdl.Node, depth int) {
	cond := body.get("condition")
	when, err := j.c.logic(cond, j)
	if err == nil && key == "unless" {
		when = negated(when)
	}
	if err == nil && (when == "true" || when == "false") {
		if when == "true" {
			j.steps(body.get("steps"), j.values, pending, depth+1)
		}
		return
	}
	test, known := "", false
	if err == nil {
		test, known = shellTest(when)
	}
	if !known {
		j.c.lost(cond, pending, key+" in the steps", "its condition has no counterpart in a command", "its steps are left out: say the condition in them")
		return
	}
	before := len(j.stage.Children)
	j.steps(body.get("steps"), j.values, pending, depth+1)
	for _, n := range j.stage.Children[before:] {
		if n.Name == "run" {
			n.Args[0] = test + " || exit 0\n" + n.Args[0].(string)
		} else {
			j.c.lost(cond, pending, key+" "+when+" of "+n.Name, "only commands can have a condition of their own", "")
		}
	}
}

var equality = pattern.Late(`^(!?)(matrix|param|branch|tag)(?:\.([a-z0-9_-]+))?(?: (==|!=) '([^']*)')?$`)

// shellTest says a simple condition of ours in a shell.
func shellTest(when string) (string, bool) {
	m := equality().FindStringSubmatch(when)
	if m == nil {
		return "", false
	}
	variable := map[string]string{"branch": "BUILDIT_BRANCH", "tag": "BUILDIT_TAG"}[m[2]]
	if variable == "" {
		variable = strings.ToUpper(m[2]) + "_" + upper(m[3])
	}
	op, value := map[string]string{"==": "=", "!=": "!=", "": "="}[m[4]], m[5]
	if m[4] == "" {
		value = "true"
		if m[1] == "!" {
			op = "!="
		}
	}
	return fmt.Sprintf(`[ "$%s" %s %s ]`, variable, op, sh(value)), true
}

// run converts a command.
func (j *flowJob) run(body *item, pending *kdl.Node) {
	command := body
	if body.isMap() {
		command = body.get("command")
	}
	script := strings.TrimRight(j.inline(command.str()), "\n ")
	what := "run: " + firstLine(script)
	if strings.TrimSpace(script) == "" {
		return
	}
	script, err := replaceIn(script, angle(), func(found []string) (string, error) {
		m, err := j.c.meaning(found[1], j)
		switch {
		case err != nil:
			return "", err
		case m.constant != nil:
			return inDouble(*m.constant), nil
		}
		return "${" + m.variable + "}", nil
	})
	if err != nil {
		j.c.lost(command, pending, what, err.Error(), "read the value from a variable of the environment")
		return
	}
	script = bashEnv().ReplaceAllString(renamed(script, circleVariables), `echo "$1=$2" >> "$$BUILDIT_ENV"`)
	for _, foreign := range []struct{ word, why, do string }{
		{"BASH_ENV", "it is no file that commands read", `echo "NAME=value" >> "$BUILDIT_ENV"`},
		{"circleci ", "CircleCI's own program is not there", `$BUILDIT_JOB_INDEX and $BUILDIT_JOB_TOTAL choose a part of the tests`},
		{"CIRCLE_", "nothing sets this variable here", ""},
	} {
		if strings.Contains(script, foreign.word) {
			j.c.lost(command, pending, strings.TrimSpace(foreign.word)+" in "+what, foreign.why, foreign.do)
		}
	}
	if when := body.get("when").str(); when == "on_fail" {
		j.c.lost(body.get("when"), pending, what+", when: on_fail", "commands after one that failed do not run", `put it into a stage with needs "`+j.name+`" on="failed"`)
		return
	} else if when == "always" {
		j.c.lost(body.get("when"), pending, "when: always of "+what, "commands after one that failed do not run; it runs when the others succeeded", "")
	}
	if body.get("background").isTrue() {
		j.c.lost(body.get("background"), pending, what+", background", "what a command leaves running ends with it", `service "IMAGE"`)
		return
	}
	exports := ""
	for _, p := range body.get("environment").entries() {
		exports += "export " + p.key.text + "=" + sh(j.inline(p.value.str())) + "\n"
	}
	n := j.add(&kdl.Node{Name: "run", Args: []any{exports + script}, Origin: j.c.origin(command)})
	j.runOptions(n, body)
}

// bashEnv is the usual way to set a variable for later steps.
var bashEnv = pattern.Late(`echo ["']export ([A-Za-z_][A-Za-z0-9_]*)=([^"'$]*)["'] *>> *"?\$\{?BASH_ENV\}?"?`)

func (j *flowJob) runOptions(n *kdl.Node, body *item) {
	if name := j.inline(body.get("name").str()); name != "" && !strings.Contains(name, "<<") {
		n.With("name", escapeField(name)[:min(200, len(escapeField(name)))])
	}
	if dir := body.get("working_directory"); dir != nil {
		text := strings.TrimSuffix(strings.TrimPrefix(strings.TrimPrefix(j.inline(dir.str()), "~/project/"), "./"), "/")
		switch {
		case strings.HasPrefix(text, "~") || strings.HasPrefix(text, "/"):
			j.c.lost(dir, n, "working_directory: "+dir.str(), "a command runs inside the checkout", "cd in the command")
		case text != "" && text != ".":
			n.With("dir", j.field(text))
		}
	}
	switch shell := body.get("shell").str(); {
	case shell == "" || strings.Contains(shell, "bash") || strings.HasSuffix(shell, "/sh"):
	default:
		j.c.lost(body.get("shell"), n, "shell: "+shell, "a stage has one shell", "split the stage")
	}
	if idle := body.get("no_output_timeout").str(); idle != "" {
		j.c.kept(body.get("no_output_timeout"), "no_output_timeout: "+idle, "a stage without output for 30 minutes is ended", `timeout "1h" idle="`+idle+`"`)
	}
}

var keyTemplate = pattern.Late(`\{\{\s*(?:checksum\s+"([^"]+)"|([.A-Za-z]+))\s*\}\}`)

var keyNames = map[string]string{
	".Branch": "${git.branch}", ".Revision": "${git.sha}", ".BuildNum": "${run.number}", "arch": "${arch}", "epoch": "${run.id}", ".CheckoutKey": "", ".WorkflowId": "${run.id}",
}

// cacheKey is a key with its templates as ours.
func (j *flowJob) cacheKey(text string, at *item, pending *kdl.Node) string {
	text = j.field(j.inline(text))
	return keyTemplate().ReplaceAllStringFunc(text, func(s string) string {
		m := keyTemplate().FindStringSubmatch(s)
		if m[1] != "" {
			return "${hash:" + strings.TrimPrefix(m[1], "./") + "}"
		}
		if ours, known := keyNames[m[2]]; known {
			return ours
		}
		j.c.lost(at, pending, s+" in a key", "it is no value of a key", "")
		return ""
	})
}

// cacheNamed is the plain words of a key.
func cacheNamed(key string) string {
	return slug(interpolation().ReplaceAllString(key, "-"), "cache")
}

func (j *flowJob) saveCache(body *item, pending *kdl.Node) {
	key := j.cacheKey(body.get("key").str(), body.get("key"), pending)
	n := j.cacheNode(key, body)
	n.Props = slices.DeleteFunc(n.Props, func(p kdl.Prop) bool { return p.Name == "mode" })
	var paths []any
	for _, p := range body.get("paths").texts() {
		paths = append(paths, cachePath(j.field(j.inline(p))))
	}
	n.Children = slices.DeleteFunc(n.Children, func(c *kdl.Node) bool { return c.Name == "key" || c.Name == "path" })
	n.Children = append([]*kdl.Node{kdl.New("key", key), kdl.New("path", paths...)}, n.Children...)
	n.Children = slices.DeleteFunc(n.Children, func(c *kdl.Node) bool { // the key itself is looked for first
		if c.Name == "restore" {
			c.Args = slices.DeleteFunc(c.Args, func(a any) bool { return a == any(key) })
		}
		return c.Name == "restore" && len(c.Args) == 0
	})
	slices.SortStableFunc(n.Children, func(a, b *kdl.Node) int {
		return slices.Index([]string{"key", "restore", "path"}, a.Name) - slices.Index([]string{"key", "restore", "path"}, b.Name)
	})
}

func cachePath(p string) string {
	p = strings.TrimPrefix(strings.TrimPrefix(p, "~/project/"), "./")
	p = strings.TrimSuffix(strings.TrimPrefix(p, "/root/"), "/")
	return regexp.MustCompile(`^/home/circleci/(project/)?`).ReplaceAllStringFunc(p, func(s string) string {
		if strings.HasSuffix(s, "project/") {
			return ""
		}
		return "~/"
	})
}

// cacheNode is the cache of the stage whose name a key makes, a new one at need.
func (j *flowJob) cacheNode(key string, at *item) *kdl.Node {
	for _, n := range j.stage.Children {
		if n.Name == "cache" && n.Args[0] == any(cacheNamed(key)) {
			return n
		}
	}
	return j.add(&kdl.Node{Name: "cache", Args: []any{cacheNamed(key)}, Origin: j.c.origin(at)})
}

// restoreCache: the paths are those of the save with that key, here or elsewhere.
func (j *flowJob) restoreCache(body *item, pending *kdl.Node) {
	var keys []string
	for _, it := range append(body.get("key").items(), body.get("keys").items()...) {
		keys = append(keys, j.cacheKey(it.str(), it, pending))
	}
	if len(keys) == 0 {
		return
	}
	paths := j.c.savedPaths(keys[0], j)
	if len(paths) == 0 {
		j.c.lost(body, pending, "restore_cache "+keys[0], "no job saves a cache of this key, so its paths are not known", "")
		return
	}
	n := j.cacheNode(keys[0], body).With("mode", "read")
	n.Add(kdl.New("key", keys[0]))
	if len(keys) > 1 {
		line := &kdl.Node{Name: "restore"}
		for _, k := range keys[1:] {
			line.Args = append(line.Args, k)
		}
		n.Add(line)
	}
	n.Add(kdl.New("path", paths...))
}

// savedPaths are the paths of the first save_cache whose key makes the same name.
func (c *circle) savedPaths(key string, j *flowJob) []any {
	var found []any
	var look func(it *item)
	look = func(it *item) {
		if it == nil || found != nil {
			return
		}
		if save := it.get("save_cache"); save != nil && cacheNamed(j.cacheKey(save.get("key").str(), save, &kdl.Node{})) == cacheNamed(key) {
			for _, p := range save.get("paths").texts() {
				found = append(found, cachePath(j.field(j.inline(p))))
			}
		}
		for _, one := range it.list {
			look(one)
		}
		for _, p := range it.pairs {
			look(p.value)
		}
	}
	look(j.def.get("steps"))
	look(c.root.get("jobs"))
	look(c.root.get("commands"))
	return found
}

// local is a path inside the checkout, "" with a loss for all others.
func (j *flowJob) local(it *item, pending *kdl.Node) string {
	p := cachePath(j.inline(it.str()))
	if strings.HasPrefix(p, "/") || strings.HasPrefix(p, "~") || strings.Contains(p, "<<") || strings.Contains(p, "..") {
		j.c.lost(it, pending, "path "+it.str(), "it lies outside the checkout", "copy it there with a command")
		return ""
	}
	return p
}

func (j *flowJob) store(body *item, pending *kdl.Node) {
	p := j.local(body.get("path"), pending)
	if p == "" {
		return
	}
	name := slug(path.Base(orElse(j.inline(body.get("destination").str()), p)), "files")
	name = slug(j.name+"-"+name, "files")
	if slices.ContainsFunc(j.stage.Children, func(n *kdl.Node) bool { return n.Name == "artifact" && n.Args[0] == any(name) }) {
		return
	}
	n := &kdl.Node{Name: "artifact", Args: []any{name}, Origin: j.c.origin(body)}
	j.add(n.With("path", asGlob(p)).With("on", "finished").With("optional", true))
}

// persist keeps files for later jobs. A root outside the checkout is copied into it.
func (j *flowJob) persist(body *item, pending *kdl.Node) {
	root := path.Clean(cachePath(orElse(j.inline(body.get("root").str()), ".")))
	name := slug(j.name+"-workspace", "workspace")
	if len(j.keeps) > 0 {
		name = fmt.Sprintf("%s-%d", name, len(j.keeps)+1)
	}
	base := root
	if strings.HasPrefix(root, "/") || strings.HasPrefix(root, "~") || strings.HasPrefix(root, "..") {
		base = ".workspace"
		j.add(kdl.New("run", copyInto(shellPath(root), base))).With("name", "keep "+root)
	}
	line := &kdl.Node{Name: "path"}
	for _, p := range body.get("paths").texts() {
		p = j.inline(p)
		if p = path.Join(base, p); p == "." || p == base && base != "." {
			p = path.Join(p, "**")
		}
		glob := asGlob(p)
		line.Args = append(line.Args, glob)
		if glob == p+"/**" && !slices.Contains(line.Args, any(p)) {
			line.Args = append(line.Args, p) // a file without a dot
		}
	}
	if len(line.Args) == 0 {
		return
	}
	j.keeps = append(j.keeps, kept{name, root})
	j.add((&kdl.Node{Name: "artifact", Args: []any{name}, Origin: j.c.origin(body)}).With("expire", "1d").Add(line))
}

// shellPath is a path as a word of a shell, ~ as home.
func shellPath(p string) string {
	if rest, ok := strings.CutPrefix(p, "~"); ok {
		return `"$HOME` + inDouble(rest) + `"`
	}
	return sh(p)
}

// attach fetches what the jobs before this one have kept.
func (j *flowJob) attach(body *item, pending *kdl.Node) {
	at := path.Clean(cachePath(j.inline(body.get("at").str())))
	found := false
	for _, other := range j.before(map[string]bool{}) {
		for _, k := range other.persists() {
			found = true
			fetch := &kdl.Node{Name: "fetch", Args: []any{k.artifact}, Origin: j.c.origin(body)}
			if slices.ContainsFunc(j.stage.Children, func(n *kdl.Node) bool { return n.Name == "fetch" && n.Args[0] == fetch.Args[0] }) {
				continue
			}
			j.add(fetch)
			from := k.root
			if strings.HasPrefix(from, "/") || strings.HasPrefix(from, "~") || strings.HasPrefix(from, "..") {
				from = ".workspace"
			}
			if other.use.get("matrix") != nil {
				j.c.lost(body, pending, "where the files of "+other.name+" lie", "each cell's files lie in a folder by cell", "move them with a command")
			}
			if from == at {
				continue
			}
			j.add(kdl.New("run", copyInto(sh(from), shellPath(at)))).With("name", "attach the files of "+other.name)
		}
	}
	if !found {
		j.c.lost(body, pending, "attach_workspace", "no job that this one requires keeps anything", "")
	}
}

// persists is what a job keeps, whether it was converted already or not.
func (j *flowJob) persists() []kept {
	if j.keeps != nil || j.def == nil || len(j.stage.Children) > 0 && j.stage.Child("run") != nil {
		return j.keeps
	}
	probe := &flowJob{c: &circle{report: report{file: j.c.file}, root: j.c.root, params: j.c.params}, name: j.name, use: j.use, def: j.def, at: j.at, stage: &kdl.Node{}, values: maps.Clone(j.values), axes: map[string]bool{}}
	for _, step := range j.def.get("steps").items() {
		if body := step.get("persist_to_workspace"); body != nil {
			probe.persist(body, &kdl.Node{})
		}
	}
	return probe.keeps
}

// before are the jobs that this one waits for, through others too.
func (j *flowJob) before(seen map[string]bool) []*flowJob {
	var all []*flowJob
	needs := j.needs
	if needs == nil {
		for _, it := range j.use.get("requires").items() {
			needs = append(needs, slug(it.str(), "job"))
		}
	}
	for _, name := range needs {
		other := j.after[name]
		if other == nil || seen[name] || other == j {
			continue
		}
		seen[name] = true
		if other.after == nil {
			other.after = j.after
		}
		all = append(append(all, other.before(seen)...), other)
	}
	return all
}
