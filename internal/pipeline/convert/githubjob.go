package convert

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/pattern"
	"github.com/buildit-dev/buildit/internal/pipeline/kdl"
)

// readJobs reads names, needs and outputs of all jobs, which others ask for.
func (w *workflow) readJobs(jobs *item) {
	taken := map[string]bool{}
	for _, p := range jobs.pairs {
		j := &job{w: w, id: p.key.text, name: slug(p.key.text, "job"), item: p.value, outputs: map[string]string{}, own: map[string]bool{}}
		for n := 2; taken[strings.ToLower(j.name)]; n++ {
			j.name = fmt.Sprintf("%s-%d", slug(p.key.text, "job"), n)
		}
		taken[strings.ToLower(j.name)] = true
		j.stage = &kdl.Node{Name: "stage", Args: []any{j.name}, Apart: true, Origin: w.origin(p.key)}
		for _, o := range p.value.get("outputs").entries() {
			if m := stepOutput().FindStringSubmatch(o.value.text); m != nil && variableName().MatchString(m[2]) && p.value.hasCommand(m[1]) {
				j.outputs[o.key.text] = m[2]
			} else {
				w.lost(o.value, j.stage, "output "+o.key.text, "it is no output of a command", `write NAME=value to "$BUILDIT_OUTPUT"`)
			}
		}
		w.jobs = append(w.jobs, j)
	}
}

var stepOutput = pattern.Late(`^\s*\$\{\{\s*steps\.([A-Za-z0-9_-]+)\.outputs\.([A-Za-z0-9_-]+)\s*\}\}\s*$`)

// hasCommand tells whether the step of that id is a command.
func (it *item) hasCommand(id string) bool {
	return slices.ContainsFunc(it.get("steps").items(), func(s *item) bool { return s.get("id").str() == id && s.get("run") != nil })
}

// known are the keys of a job that are converted somewhere.
var known = []string{"name", "needs", "if", "runs-on", "container", "services", "env", "defaults", "outputs", "strategy", "steps", "timeout-minutes", "continue-on-error", "environment", "concurrency"}

func (j *job) convert() {
	j.env, j.secrets, j.hoisted, j.uploads = map[string]string{}, map[string]bool{}, map[string]string{}, map[string]string{}
	if uses := j.item.get("uses"); uses != nil {
		j.lost(uses, "uses: "+uses.str(), "a stage does not call the workflow of another file", "write its jobs as stages, or include a file that holds them")
		j.add(kdl.New("run", `echo "this job called a workflow that is not carried over" >&2`+"\nexit 1"))
		j.conditions()
		return
	}
	for _, p := range j.item.pairs {
		switch {
		case slices.Contains(known, p.key.text):
		case p.key.text == "permissions":
			j.w.kept(p.key, "permissions of "+j.id, "they limit GITHUB_TOKEN, which does not exist here", "")
		default:
			j.lost(p.key, p.key.text, "it is no part of a job that this converter knows", "")
		}
	}
	if name := j.item.get("name"); name != nil && !strings.Contains(name.str(), "${{") && slug(name.str(), "") != j.name {
		j.add(kdl.New("description", escapeField(orElse(name.str(), j.id))))
	}
	j.variables()
	j.conditions()
	j.matrix()
	j.machine()
	j.services()
	j.steps()
	j.limits()
	for _, name := range slices.Sorted(maps.Keys(j.secrets)) {
		if !j.hasSecret(name) {
			j.add(kdl.New("secret", name))
		}
	}
	var outputs []any
	for _, name := range slices.Sorted(maps.Values(j.outputs)) {
		if !slices.Contains(outputs, any(name)) {
			outputs = append(outputs, name)
		}
	}
	if len(outputs) > 0 {
		j.add(kdl.New("output", outputs...))
	}
	inOrder(j.stage)
}

func (j *job) add(n *kdl.Node) *kdl.Node { j.stage.Add(n); return n }

func (j *job) lost(at *item, what, why, do string) { j.w.lost(at, j.stage, what, why, do) }

func (j *job) hasSecret(name string) bool {
	return slices.ContainsFunc(j.stage.Children, func(n *kdl.Node) bool {
		return n.Name == "secret" && len(n.Args) == 1 && n.Args[0] == any(name) && len(n.Props) == 0
	})
}

// order is how the children of a stage stand.
var order = []string{
	"description", "needs", "when", "environment", "approval", "image", "runner", "checkout", "shell", "dir", "matrix", "parallel", "concurrency",
	"env", "secret", "service", "cache", "fetch", "run", "report", "artifact", "output", "allow-failure", "retry", "timeout",
}

func inOrder(stage *kdl.Node) {
	slices.SortStableFunc(stage.Children, func(a, b *kdl.Node) int {
		return slices.Index(order, a.Name) - slices.Index(order, b.Name)
	})
}

// variables are those of the job, and those of the workflow that need its names.
func (j *job) variables() {
	n := &kdl.Node{Name: "env", Origin: j.w.origin(j.item)}
	for _, p := range j.w.root.get("env").entries() {
		if !strings.Contains(p.value.str(), "${{") {
			j.env[p.key.text] = p.value.str()
		}
		if _, err := fieldText(p.value.str(), &job{w: j.w}); err != nil || secretIn().MatchString(p.value.str()) {
			j.envValue(n, p)
		}
	}
	for _, p := range j.item.get("env").entries() {
		if !strings.Contains(p.value.str(), "${{") {
			j.env[p.key.text] = p.value.str()
		}
		j.envValue(n, p)
	}
	if len(n.Children) > 0 {
		j.add(n)
	}
}

// envValue sets a variable of the stage: a secret, or text.
func (j *job) envValue(n *kdl.Node, p pair) {
	if e, err := onlyExpr(p.value.str()); err == nil && strings.Contains(p.value.str(), "${{") && e.op == "name" {
		if secretIn().MatchString(e.text) {
			m, _ := j.meaning(e.text)
			if m.variable != "" {
				delete(j.secrets, m.variable)
				secret := &kdl.Node{Name: "secret", Args: []any{m.variable}, Origin: j.w.origin(p.value)}
				if m.variable != p.key.text {
					secret.With("as", p.key.text)
				}
				j.add(secret)
				return
			}
		}
	}
	text, err := fieldText(p.value.str(), j)
	if err != nil {
		j.lost(p.value, p.key.text+": "+p.value.str(), err.Error(), "")
		return
	}
	j.w.variable(n, p, j.reach(text))
}

// conditions are needs and if.
func (j *job) conditions() {
	j.needs = j.item.get("needs").texts()
	on, when := "", ""
	if cond := j.item.get("if"); cond != nil {
		var err error
		if on, when, err = j.condition(cond); err != nil {
			j.lost(cond, "if: "+cond.str(), err.Error(), "say it with when; until then the stage waits for a person")
			guard(j.stage)
		}
	}
	for _, it := range j.item.get("needs").items() {
		n := &kdl.Node{Name: "needs", Args: []any{j.stageOf(it.str())}, Origin: j.w.origin(it)}
		if on != "" {
			n.With("on", on)
		}
		if last := j.stage.Child("needs"); last != nil {
			last.Args = append(last.Args, n.Args...)
			continue
		}
		j.add(n)
	}
	if when != "" && when != "true" {
		j.add(whenNode(when, j.w.origin(j.item.get("if"))))
	}
}

// condition splits an `if` into how its needs must have ended and the rest.
func (j *job) condition(cond *item) (on, when string, err error) {
	e, err := onlyExpr(cond.str())
	if err != nil {
		return "", "", err
	}
	var rest *expr
	for _, part := range e.conjuncts() {
		ends := ""
		switch {
		case part.op == "call" && part.text == "success":
			continue
		case part.op == "call" && part.text == "failure":
			ends = "failed"
		case part.op == "call" && part.text == "always", part.op == "!" && part.args[0].op == "call" && (part.args[0].text == "cancelled" || part.args[0].text == "failure"):
			ends = "finished"
			if part.op == "!" && part.args[0].text == "failure" {
				ends = "succeeded-or-skipped"
			}
		}
		switch {
		case ends != "":
			on = ends
		case rest == nil:
			rest = part
		default:
			rest = &expr{op: "&&", args: []*expr{rest, part}}
		}
	}
	if on == "failed" && len(j.needs) == 0 {
		return "", "", fmt.Errorf("a stage without needs has nothing that could have failed")
	}
	if rest != nil {
		when, err = rest.when(j)
	}
	return on, when, err
}

var isBranch = pattern.Late(`^(branch|tag|event|base) == '([^'*?\[\]{}!]+)'$`)

// whenNode writes a condition as a property where that says the same.
func whenNode(when string, origin int) *kdl.Node {
	n := &kdl.Node{Name: "when", Origin: origin}
	rest := strings.Split(when, " && ")
	for _, part := range rest {
		m := isBranch().FindStringSubmatch(part)
		if m == nil || slices.ContainsFunc(n.Props, func(p kdl.Prop) bool { return p.Name == m[1] }) {
			return &kdl.Node{Name: "when", Args: []any{when}, Origin: origin}
		}
		n.With(m[1], m[2])
	}
	return n
}

// foreign are the systems that stages do not run on.
var foreign = pattern.Late(`(?i)windows|macos|osx`)

// matrix converts a strategy. Cells of other systems are left out.
func (j *job) matrix() {
	strategy := j.item.get("strategy")
	m := strategy.get("matrix")
	if m == nil {
		return
	}
	if !m.isMap() {
		j.lost(m, "matrix", "it is made by an expression while the workflow runs", "write its values")
		return
	}
	n := &kdl.Node{Name: "matrix", Origin: j.w.origin(m)}
	if most, ok := strategy.get("max-parallel").number(); ok {
		n.With("max-parallel", most)
	}
	if fast := strategy.get("fail-fast"); fast.isScalar() && fast.str() == "false" {
		n.With("fail-fast", false)
	}
	for _, p := range m.pairs {
		if p.key.text != "include" && p.key.text != "exclude" {
			j.axis(n, p)
		}
	}
	for _, p := range m.pairs {
		if p.key.text == "include" || p.key.text == "exclude" {
			j.entries(n, p)
		}
	}
	if len(n.Children) > 0 {
		j.add(n)
	}
}

func (j *job) axis(n *kdl.Node, p pair) {
	line := &kdl.Node{Name: axis(p.key.text), Origin: j.w.origin(p.key)}
	if !p.value.isList() {
		j.lost(p.value, "axis "+p.key.text, "its values are made by an expression while the workflow runs", "write its values")
		return
	}
	for _, v := range p.value.list {
		switch text, err := fieldText(v.str(), j); {
		case !v.isScalar() || err != nil || strings.Contains(text, "${"):
			j.lost(v, "a value of axis "+p.key.text, "a value is a text, a number, true or false", "give each part an axis, or use include")
		case foreign().MatchString(text) && j.isMachine(p.key.text):
			j.lost(v, p.key.text+" "+text, "stages run on Linux", "")
		case !slices.Contains(line.Args, any(text)):
			line.Args = append(line.Args, text)
		}
	}
	if len(line.Args) > 0 {
		j.axes = append(j.axes, line.Name)
		n.Add(line)
	}
}

// isMachine tells whether an axis chooses what the job runs on.
func (j *job) isMachine(name string) bool {
	return name == "os" || name == "platform" || name == "runner" || strings.Contains(j.item.get("runs-on").str(), "matrix."+name)
}

func (j *job) entries(n *kdl.Node, p pair) {
	if !p.value.isList() {
		j.lost(p.value, p.key.text, "it is made by an expression while the workflow runs", "write its entries")
		return
	}
	for _, entry := range p.value.list {
		line := &kdl.Node{Name: p.key.text, Origin: j.w.origin(entry)}
		skip := false
		for _, e := range entry.entries() {
			if foreign().MatchString(e.value.str()) && j.isMachine(e.key.text) {
				skip = true
				if p.key.text == "include" {
					j.lost(entry, "include "+e.value.str(), "stages run on Linux", "")
				}
			}
			if text, err := fieldText(e.value.str(), j); err == nil {
				line.With(axis(e.key.text), text)
			}
		}
		if !skip && len(line.Props) > 0 {
			n.Add(line)
		}
	}
}

// machine converts runs-on and container.
func (j *job) machine() {
	on := j.item.get("runs-on")
	for _, label := range on.texts() {
		switch {
		case foreign().MatchString(label):
			j.lost(on, "runs-on: "+label, "stages run on Linux", "the whole job is left out")
			j.dropped = true
		case strings.Contains(label, "-arm"):
			j.add(kdl.New("runner", "auto").With("arch", "arm64"))
		case label == "self-hosted":
			j.lost(on, "runs-on: self-hosted", "runners are chosen by class, size and architecture", `runner "auto" size="4x8"`)
		}
	}
	container := j.item.get("container")
	image := container
	if container.isMap() {
		image = container.get("image")
		for _, p := range container.pairs {
			switch p.key.text {
			case "image":
			case "env":
				env := &kdl.Node{Name: "env"}
				for _, e := range p.value.entries() {
					j.envValue(env, e)
				}
				j.stage.Children = append(j.stage.Children, env)
			default:
				j.lost(p.key, "container "+p.key.text, "a stage has an image and nothing else of a container", "")
			}
		}
	}
	if image == nil {
		return
	}
	if text, err := fieldText(image.str(), j); err != nil {
		j.lost(image, "container: "+image.str(), err.Error(), "")
	} else if text != "" {
		j.add(&kdl.Node{Name: "image", Args: []any{text}, Origin: j.w.origin(image)})
	}
}

// services converts containers beside the job.
func (j *job) services() {
	services := j.item.get("services")
	if !services.isMap() {
		return
	}
	for _, p := range services.pairs {
		image := p.value
		if p.value.isMap() {
			image = p.value.get("image")
		}
		text, err := fieldText(image.str(), j)
		if err != nil || text == "" {
			j.lost(p.value, "service "+p.key.text, "its image is made by an expression", "write the image")
			continue
		}
		n := &kdl.Node{Name: "service", Args: []any{text}, Origin: j.w.origin(p.key)}
		j.add(n.With("as", slug(p.key.text, "service")))
		j.service(n, p)
	}
}

func (j *job) service(n *kdl.Node, p pair) {
	for _, e := range p.value.pairs {
		switch e.key.text {
		case "image":
		case "env":
			env := &kdl.Node{Name: "env"}
			for _, v := range e.value.entries() {
				text, err := fieldText(v.value.str(), j)
				if err != nil {
					j.w.lost(v.value, n, v.key.text, err.Error(), "")
					continue
				}
				j.w.variable(env, v, text)
			}
			n.Add(env)
		case "ports":
			ports := &kdl.Node{Name: "port"}
			for _, port := range e.value.texts() {
				if i := strings.LastIndex(port, ":"); i >= 0 {
					port = port[i+1:]
				}
				if number, ok := (&item{kind: e.key.kind, text: strings.TrimSuffix(port, "/tcp")}).number(); ok {
					ports.Args = append(ports.Args, number)
				}
			}
			if len(ports.Args) > 0 {
				n.Add(ports)
			}
		case "options":
			j.ready(n, e.value)
		default:
			j.w.lost(e.key, n, "service "+p.key.text+" "+e.key.text, "a service has an image, variables, ports and a command that says when it is ready", "")
		}
	}
}

var healthCommand = pattern.Late(`--health-cmd[ =]+(?:"([^"]+)"|'([^']+)'|(\S+))`)

func (j *job) ready(n *kdl.Node, options *item) {
	m := healthCommand().FindStringSubmatch(options.str())
	if m == nil {
		j.w.lost(options, n, "options "+options.str(), "only --health-cmd has a counterpart", "")
		return
	}
	n.Add(kdl.New("ready", m[1]+m[2]+m[3]))
}

// reach replaces localhost by the name of the service that listens there.
func (j *job) reach(text string) string {
	services := j.item.get("services")
	if !services.isMap() {
		return text
	}
	for _, p := range services.pairs {
		for _, port := range p.value.get("ports").texts() {
			host, inside, mapped := strings.Cut(port, ":")
			if !mapped {
				inside = host
			}
			text = regexp.MustCompile(`\b(localhost|127\.0\.0\.1):`+regexp.QuoteMeta(host)+`\b`).ReplaceAllLiteralString(text, slug(p.key.text, "service")+":"+inside)
		}
	}
	return text
}

// limits are timeout, failure, group and environment.
func (j *job) limits() {
	if t := j.item.get("timeout-minutes"); t != nil {
		if minutes, ok := t.number(); ok && minutes > 0 {
			j.add(&kdl.Node{Name: "timeout", Args: []any{fmt.Sprintf("%dm", min(minutes, 24*60))}, Origin: j.w.origin(t)})
		} else {
			j.lost(t, "timeout-minutes: "+t.str(), "a timeout is a whole number of minutes", `timeout "30m"`)
		}
	}
	switch c := j.item.get("continue-on-error"); {
	case c.isTrue():
		j.add(kdl.New("allow-failure"))
	case c != nil && c.str() != "false":
		j.lost(c, "continue-on-error: "+c.str(), "whether a failure is allowed is no question of an expression here", "split the stage; allow-failure stands in one of them")
	}
	if c := j.item.get("concurrency"); c != nil {
		if n := j.w.concurrency(c, j, j.stage); n != nil {
			j.add(n)
		}
	}
	environment := j.item.get("environment")
	name, url := environment, (*item)(nil)
	if environment.isMap() {
		name, url = environment.get("name"), environment.get("url")
	}
	if name.str() == "" {
		return
	}
	text, err := fieldText(name.str(), j)
	if err != nil {
		j.lost(name, "environment: "+name.str(), err.Error(), "")
		return
	}
	n := j.add(&kdl.Node{Name: "environment", Args: []any{text}, Origin: j.w.origin(name)})
	if url != nil {
		if text, err := fieldText(url.str(), j); err == nil {
			n.With("url", text)
		} else {
			j.lost(url, "url: "+url.str(), err.Error(), "")
		}
	}
}
