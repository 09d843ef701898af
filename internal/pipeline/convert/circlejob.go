package convert

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/pipeline/kdl"
)

// flowJobs are the jobs of a workflow, in its order.
func (c *circle) flowJobs(list *item, near *kdl.Node) []*flowJob {
	var all []*flowJob
	taken := map[string]bool{}
	add := func(name string, at, use *item) {
		if len(all) == maxJobs {
			c.lost(at, near, "job "+name, fmt.Sprintf("at most %d jobs of a workflow are converted", maxJobs), "")
			return
		}
		j := &flowJob{c: c, use: use, at: at, def: c.root.get("jobs", name), values: map[string]string{}, axes: map[string]bool{}}
		j.name = slug(orElse(use.get("name").str(), name), "job")
		base := j.name
		for n := 2; taken[strings.ToLower(j.name)]; n++ {
			j.name = fmt.Sprintf("%s-%d", base, n)
		}
		taken[strings.ToLower(j.name)] = true
		j.stage = &kdl.Node{Name: "stage", Args: []any{j.name}, Apart: true, Origin: c.origin(at)}
		all = append(all, j)
	}
	if list.isMap() { // without workflows
		for _, p := range list.pairs {
			add(p.key.text, p.key, &item{})
		}
	}
	if list.isList() {
		for _, it := range list.list {
			switch {
			case it.isScalar():
				add(it.str(), it, &item{})
			case it.isMap() && len(it.pairs) > 0:
				add(it.pairs[0].key.text, it.pairs[0].key, it.pairs[0].value)
			}
		}
	}
	return all
}

func (j *flowJob) lost(at *item, what, why, do string) { j.c.lost(at, j.stage, what, why, do) }

func (j *flowJob) add(n *kdl.Node) *kdl.Node { j.stage.Add(n); return n }

// convert makes the stage. tags says that tags start the pipeline, condition is that
// of the workflow.
func (j *flowJob) convert(tags bool, condition string) {
	j.requires()
	j.filters(tags, condition)
	defer func() { inOrder(j.stage) }()
	if j.use.get("type").str() == "approval" {
		j.add(kdl.New("approval"))
		return
	}
	if j.def == nil {
		j.lost(j.at, "job "+j.at.text, "it is defined by an orb or nowhere", "write its commands")
		j.add(kdl.New("run", `echo "this job is not carried over" >&2`+"\nexit 1"))
		return
	}
	for _, name := range j.use.get("context").texts() {
		j.lost(j.use.get("context"), "context "+name, "what a context holds is not in the file", `secret "NAME" for each variable that the commands use`)
	}
	j.parameters()
	j.executor()
	j.environment(j.def.get("environment"))
	dir := strings.TrimSuffix(j.inline(j.def.get("working_directory").str()), "/")
	if dir != "" && !strings.HasPrefix(dir, "~") && !strings.HasPrefix(dir, "/") && dir != "." {
		j.add(kdl.New("dir", j.field(dir)))
	}
	if n := j.def.get("parallelism"); n != nil {
		if count, ok := (&item{kind: n.kind, text: j.inline(n.str())}).number(); ok && count > 1 {
			j.add(&kdl.Node{Name: "parallel", Args: []any{min(count, 64)}, Origin: j.c.origin(n)})
		}
	}
	pending := &kdl.Node{}
	j.steps(j.use.get("pre-steps"), j.values, pending, 0)
	j.steps(j.def.get("steps"), j.values, pending, 0)
	j.steps(j.use.get("post-steps"), j.values, pending, 0)
	j.stage.Comments = append(j.stage.Comments, pending.Comments...)
	if !j.checked {
		j.add(kdl.New("checkout", "none"))
	}
	j.shell()
}

// requires are needs; a need may say how its job must have ended.
func (j *flowJob) requires() {
	plain := &kdl.Node{Name: "needs", Origin: j.c.origin(j.at)}
	if r := j.use.get("requires"); r != nil {
		plain.Origin = j.c.origin(r)
	}
	for _, it := range j.use.get("requires").items() {
		if it.isScalar() {
			plain.Args = append(plain.Args, slug(it.str(), "job"))
			j.needs = append(j.needs, slug(it.str(), "job"))
			continue
		}
		for _, p := range it.pairs {
			ends := p.value.texts()
			on := map[string]string{"success": "succeeded", "failed": "failed", "terminal": "finished"}[strings.Join(ends, "")]
			if slices.Contains(ends, "failed") && slices.Contains(ends, "success") || slices.Contains(ends, "terminal") {
				on = "finished"
			}
			j.needs = append(j.needs, slug(p.key.text, "job"))
			n := &kdl.Node{Name: "needs", Args: []any{slug(p.key.text, "job")}, Origin: j.c.origin(p.key)}
			if on == "" {
				j.lost(p.value, "requires "+p.key.text+": "+strings.Join(ends, ", "), "a need ends in succeeded, failed or finished", "")
			} else {
				n.With("on", on)
			}
			j.add(n)
		}
	}
	if len(plain.Args) > 0 {
		j.add(plain)
	}
}

// filters are conditions on branch and tag.
func (j *flowJob) filters(tags bool, condition string) {
	f := j.use.get("filters")
	if f.isScalar() {
		j.lost(f, "filters: "+f.str(), "only branches and tags are known", "say it with when; until then the stage waits for a person")
		guard(j.stage)
		return
	}
	branch, ok1 := j.filter(f.get("branches"), "branch")
	tag, ok2 := j.filter(f.get("tags"), "tag")
	if condition == "?" || !ok1 || !ok2 {
		guard(j.stage)
		return
	}
	when := branch
	switch {
	case branch == "false" && tag != "":
		when = orElse(tag, "tag != ''")
		if tag == "true" {
			when = "tag != ''"
		}
	case !tags:
	case tag == "" && branch == "":
		when = "tag == ''"
	case tag == "":
	case branch == "":
		if when = "tag == '' || " + tag; tag == "true" {
			when = ""
		}
	default:
		when = branch + " || " + strings.Replace(tag, "true", "tag != ''", 1)
	}
	if condition != "" && condition != "true" {
		if when != "" && when != "true" {
			when = "(" + when + ") && (" + condition + ")"
		} else {
			when = condition
		}
	}
	if when != "" && when != "true" {
		j.add(whenNode(when, j.c.origin(j.at)))
	}
}

// filter is only and ignore of one kind, "" without any.
func (j *flowJob) filter(f *item, name string) (string, bool) {
	if f == nil {
		return "", true
	}
	said := ""
	for _, key := range []string{"only", "ignore"} {
		list := f.get(key)
		if list == nil {
			continue
		}
		var parts, words []string
		for _, text := range list.texts() {
			rx, isRegexp := strings.CutPrefix(text, "/")
			rx = strings.TrimSuffix(rx, "/")
			switch {
			case isRegexp && (rx == ".*" || rx == "^.*$" || rx == "^.*"):
				parts = append(parts, "true")
			case isRegexp:
				if _, err := regexp.Compile(rx); err != nil {
					j.lost(list, key+" "+text, "the pattern is none of RE2", "say it with when; until then the stage waits for a person")
					return "", false
				}
				parts = append(parts, name+" =~ "+literal(anchor(rx)))
			default:
				words = append(words, literal(text))
			}
		}
		if len(words) == 1 {
			parts = append(parts, name+" == "+words[0])
		} else if len(words) > 1 {
			parts = append(parts, name+" in ["+strings.Join(words, ", ")+"]")
		}
		part := strings.Join(parts, " || ")
		if slices.Contains(parts, "true") {
			part = "true"
		}
		if key == "ignore" {
			if part = negated(part); part != "false" {
				part = name + " != '' && " + part
			}
		}
		said = part
	}
	return said, true
}

// anchor matches the whole name, as CircleCI does.
func anchor(rx string) string {
	rx = strings.TrimSuffix(strings.TrimPrefix(rx, "^"), "$")
	if strings.Contains(rx, "|") {
		rx = "(?:" + rx + ")"
	}
	return "^" + rx + "$"
}

// parameters are given by the workflow, by a matrix, or the definition's defaults.
func (j *flowJob) parameters() {
	params := j.def.get("parameters")
	if params.isMap() {
		for _, p := range params.pairs {
			j.values[p.key.text] = p.value.get("default").str()
		}
	}
	for _, p := range j.use.entries() {
		if params.get(p.key.text) != nil {
			j.values[p.key.text] = p.value.str()
		}
	}
	m := j.use.get("matrix")
	if m == nil {
		return
	}
	n := &kdl.Node{Name: "matrix", Origin: j.c.origin(m)}
	if axes := m.get("parameters"); axes.isMap() {
		for _, p := range axes.pairs {
			line := &kdl.Node{Name: axis(p.key.text), Origin: j.c.origin(p.key)}
			for _, v := range p.value.texts() {
				line.Args = append(line.Args, escapeField(v))
			}
			j.values[p.key.text] = "<< matrix." + p.key.text + " >>"
			j.axes[axis(p.key.text)] = true
			n.Add(line)
		}
	}
	for _, e := range m.get("exclude").items() {
		line := &kdl.Node{Name: "exclude", Origin: j.c.origin(e)}
		for _, p := range e.entries() {
			line.With(axis(p.key.text), p.value.str())
		}
		n.Add(line)
	}
	j.add(n.With("fail-fast", false))
}

// inline replaces << parameters.X >> by the text that the file gives it.
func (j *flowJob) inline(text string) string { return inlined(text, j.values) }

func inlined(text string, values map[string]string) string {
	return angle().ReplaceAllStringFunc(text, func(s string) string {
		name := angle().FindStringSubmatch(s)[1]
		if key, ok := strings.CutPrefix(name, "parameters."); ok {
			if v, known := values[key]; known {
				return v
			}
		}
		return s
	})
}

// field is text of a field; what has no counterpart is listed.
func (j *flowJob) field(text string) string {
	var out strings.Builder
	last := 0
	for _, at := range angle().FindAllStringSubmatchIndex(text, -1) {
		out.WriteString(escapeField(text[last:at[0]]))
		last = at[1]
		m, err := j.c.meaning(text[at[2]:at[3]], j)
		switch {
		case err == nil && m.constant != nil:
			out.WriteString(*m.constant)
		case err == nil && m.text != "":
			out.WriteString(m.text)
		default:
			j.lost(j.at, text[at[0]:at[1]], "it has no counterpart in a field", "")
		}
	}
	return out.String() + escapeField(text[last:])
}

var sizes = map[string]string{
	"small": "1x2", "medium": "2x4", "medium+": "3x6", "large": "4x8", "xlarge": "8x16", "2xlarge": "16x32",
	"arm.medium": "2x8", "arm.large": "4x16", "arm.xlarge": "8x32",
}

// executor is image, services and size, of the job or of the executor that it names.
func (j *flowJob) executor() {
	from := j.def
	if e := j.def.get("executor"); e != nil {
		name, values := e.str(), map[string]string{}
		if e.isMap() {
			name = e.get("name").str()
		}
		name = j.inline(name)
		found := j.c.root.get("executors", name)
		if found == nil {
			j.lost(e, "executor "+name, "it is defined by an orb or nowhere", `image "..."`)
			return
		}
		for _, p := range found.get("parameters").all() {
			values[p.key.text] = p.value.get("default").str()
		}
		for _, p := range e.entries() {
			values[p.key.text] = j.inline(p.value.str())
		}
		merged := maps.Clone(j.values)
		maps.Copy(merged, values)
		before := j.values
		j.values = merged
		defer func() { j.values = before }()
		j.environment(found.get("environment"))
		from = found
	}
	j.machine(from)
	size := j.inline(orElse(j.def.get("resource_class").str(), from.get("resource_class").str()))
	if size == "" || size == "medium" {
		return
	}
	if ours := sizes[size]; ours != "" {
		n := j.add(kdl.New("runner", "auto")).With("size", ours)
		if strings.HasPrefix(size, "arm.") {
			n.With("arch", "arm64")
		}
		return
	}
	j.lost(j.def, "resource_class: "+size, "a size is vCPU x GiB", `runner "auto" size="4x8"`)
}

func (it *item) all() []pair {
	if it.isMap() {
		return it.pairs
	}
	return nil
}

func (j *flowJob) machine(from *item) {
	for _, key := range []string{"macos", "windows"} {
		if it := from.get(key); it != nil {
			j.lost(it, key, "stages run on Linux", "the stage waits for a person")
			guard(j.stage)
		}
	}
	if m := from.get("machine"); m != nil {
		j.c.kept(m, "machine", "a stage has an image; here it gets ubuntu:24.04, or the machine of its runner", "")
		j.add(kdl.New("image", "ubuntu:24.04"))
	}
	for i, container := range from.get("docker").items() {
		image := &kdl.Node{Name: "image", Args: []any{j.field(j.inline(container.get("image").str()))}, Origin: j.c.origin(container)}
		if container.get("auth") != nil || container.get("aws_auth") != nil {
			j.lost(container, "auth of "+container.get("image").str(), "registries are set up for the organization", "")
		}
		if i == 0 {
			j.add(image)
			j.environment(container.get("environment"))
			continue
		}
		image.Name = "service"
		image.With("as", slug(orElse(container.get("name").str(), serviceName(container.get("image").str())), "service"))
		if container.get("name") == nil {
			j.c.kept(container, "service "+container.get("image").str(), "it is reached as "+image.Props[0].Value.(string)+", not as localhost", "")
		}
		env := &kdl.Node{Name: "env"}
		for _, p := range container.get("environment").entries() {
			env.Add(kdl.New(p.key.text, j.field(j.inline(p.value.str()))))
		}
		if len(env.Children) > 0 {
			image.Add(env)
		}
		command := &kdl.Node{Name: "command"}
		for _, w := range container.get("command").texts() {
			command.Args = append(command.Args, j.inline(w))
		}
		if len(command.Args) > 0 {
			image.Add(command)
		}
		j.add(image)
	}
}

// serviceName is the last part of an image's name.
func serviceName(image string) string {
	name, _, _ := strings.Cut(path.Base(image), ":")
	return name
}

// environment adds variables to the stage.
func (j *flowJob) environment(env *item) {
	if !env.isMap() {
		return
	}
	n := j.stage.Child("env")
	if n == nil {
		n = &kdl.Node{Name: "env", Origin: j.c.origin(env)}
		defer func() {
			if len(n.Children) > 0 {
				j.add(n)
			}
		}()
	}
	for _, p := range env.entries() {
		value := j.inline(p.value.str())
		if old := n.Child(p.key.text); old != nil {
			old.Args = []any{j.field(value)}
			continue
		}
		n.Add(&kdl.Node{Name: p.key.text, Args: []any{j.field(value)}, Origin: j.c.origin(p.key)})
	}
}

// shell is bash -eo pipefail at CircleCI; sh does the same for what has no pipe.
func (j *flowJob) shell() {
	if j.stage.Child("shell") != nil || strings.Contains(fmt.Sprint(j.stage.Child("image")), "alpine") {
		return
	}
	for _, n := range j.stage.Children {
		if n.Name == "run" && (bashisms().MatchString(n.Args[0].(string)) || pipes().MatchString(n.Args[0].(string))) {
			j.add(kdl.New("shell", "bash"))
			return
		}
	}
}
