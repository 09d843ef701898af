package convert

import (
	"fmt"
	"strings"

	"github.com/buildit-dev/buildit/internal/pattern"
	"github.com/buildit-dev/buildit/internal/pipeline/kdl"
)

// circle is a configuration of CircleCI; each of its workflows is a pipeline.
type circle struct {
	report
	root   *item
	params map[string]string // pipeline parameter -> type
}

// flowJob is a job as a workflow uses it, on its way to a stage.
type flowJob struct {
	c       *circle
	name    string
	use     *item // its parameters in the workflow
	def     *item // its definition, nil of an approval or an orb's
	at      *item
	stage   *kdl.Node
	values  map[string]string // parameters
	axes    map[string]bool   // those that are axes
	needs   []string
	keeps   []kept // what it persists
	after   map[string]*flowJob
	checked bool
	count   int // of steps, with those of commands
}

// kept is what persist_to_workspace keeps: the artifact, and the root it counts from.
type kept struct{ artifact, root string }

// CircleCI converts a configuration. file is its name in losses.
func CircleCI(file string, source []byte) (Result, error) {
	root, err := parseYAML(source)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", file, err)
	}
	c := &circle{report: report{file: file}, root: root, params: map[string]string{}}
	if !root.get("jobs").isMap() && !root.get("workflows").isMap() {
		return Result{}, fmt.Errorf("%s: a configuration needs jobs or workflows; this file has none", file)
	}
	var result Result
	head := c.top()
	for _, w := range c.workflows() {
		d := &kdl.Document{Head: []string{"Converted from " + file[strings.LastIndex(file, "/")+1:] + " by buildit import."}}
		name := slug(w.key.text, "pipeline")
		d.Nodes = append(d.Nodes, &kdl.Node{Name: "pipeline", Args: []any{name}, Apart: true, Comments: head})
		c.workflow(d, w)
		something(d)
		text, err := c.settle(d)
		if err != nil {
			return Result{Losses: c.sorted()}, err
		}
		result.Pipelines = append(result.Pipelines, Pipeline{Name: name, From: file, Text: text})
	}
	result.Losses = c.sorted()
	return result, nil
}

// top lists what stands above the jobs; its comments stand in each pipeline.
func (c *circle) top() []string {
	near := &kdl.Node{}
	for _, p := range c.root.pairs {
		switch p.key.text {
		case "version", "jobs", "workflows", "executors", "commands", "parameters":
		case "orbs":
			for _, o := range p.value.entries() {
				c.lost(o.key, near, "orb "+o.key.text+": "+o.value.str(), "an orb is code that lives elsewhere", "write what its commands do")
			}
		case "setup":
			c.lost(p.key, near, "setup", "a pipeline is one file and makes no other", "component, path conditions and include say what a setup workflow computes")
		default:
			if !strings.HasPrefix(p.key.text, "x-") && !anchored(p.value) {
				c.lost(p.key, near, p.key.text, "it is no part of a configuration that this converter knows", "")
			}
		}
	}
	return near.Comments
}

// anchored tells whether a top-level key is only a place for anchors: lists and maps
// that CircleCI ignores.
func anchored(it *item) bool { return it.isMap() || it.isList() }

// workflows are those of the file; without any, the job `build`.
func (c *circle) workflows() []pair {
	var all []pair
	if w := c.root.get("workflows"); w.isMap() {
		for _, p := range w.pairs {
			if p.value.isMap() && p.key.text != "version" {
				all = append(all, p)
			}
		}
	}
	if len(all) == 0 {
		jobs := c.root.get("jobs")
		all = []pair{{&item{text: "build", line: 1, column: 1}, &item{kind: jobs.kind, pairs: []pair{{&item{text: "jobs"}, jobs}}}}}
	}
	return all
}

// workflow converts one.
func (c *circle) workflow(d *kdl.Document, w pair) {
	d.Nodes = append(d.Nodes, c.events(w, d.Nodes[0])...)
	d.Nodes = append(d.Nodes, c.parameters(d.Nodes[0])...)
	jobs := c.flowJobs(w.value.get("jobs"), d.Nodes[0])
	condition := c.workflowCondition(w.value, d.Nodes[0])
	tags := false
	for _, j := range jobs {
		tags = tags || j.use.get("filters", "tags") != nil
	}
	if tags && w.value.get("triggers") == nil {
		d.Nodes = append(d.Nodes, &kdl.Node{Name: "on", Args: []any{"push"}, Apart: true}, kdl.New("on", "tag"), kdl.New("on", "manual"))
	}
	for _, j := range jobs {
		j.after = map[string]*flowJob{}
		for _, other := range jobs {
			j.after[other.name] = other
		}
		j.convert(tags, condition)
		d.Nodes = append(d.Nodes, j.stage)
	}
	used, _ := d.Write()
	for i := len(d.Nodes) - 1; i > 0; i-- { // a parameter that this workflow does not use is none of its own
		if n := d.Nodes[i]; n.Name == "param" && !strings.Contains(used, "param."+n.Args[0].(string)) && !strings.Contains(used, "PARAM_"+upper(n.Args[0].(string))) {
			d.Nodes = append(d.Nodes[:i], d.Nodes[i+1:]...)
		}
	}
}

// events are schedules; pushes are the default.
func (c *circle) events(w pair, near *kdl.Node) []*kdl.Node {
	var all []*kdl.Node
	for _, t := range w.value.get("triggers").items() {
		s := t.get("schedule")
		if s == nil {
			c.lost(t, near, "a trigger", "only schedules are known", "")
			continue
		}
		branches := s.get("filters", "branches", "only").texts()
		if len(branches) == 0 {
			branches = []string{""}
		}
		for _, b := range branches {
			n := &kdl.Node{Name: "on", Args: []any{"schedule"}, Apart: len(all) == 0, Origin: c.origin(s)}
			n.With("cron", s.get("cron").str())
			if b != "" {
				n.With("branch", b)
			}
			all = append(all, n)
		}
	}
	return all
}

// parameters are those of the pipeline, which who starts it by the API sets.
func (c *circle) parameters(near *kdl.Node) []*kdl.Node {
	var all []*kdl.Node
	params := c.root.get("parameters")
	if !params.isMap() {
		return nil
	}
	kinds := map[string]string{"boolean": "bool", "integer": "int", "enum": "choice"}
	for _, p := range params.pairs {
		kind := orElse(kinds[p.value.get("type").str()], "string")
		key := axis(p.key.text)
		c.params[p.key.text] = kind
		n := &kdl.Node{Name: "param", Args: []any{key}, Apart: len(all) == 0, Origin: c.origin(p.key)}
		if kind != "string" {
			n.With("type", kind)
		}
		(&workflow{report: report{file: c.file}}).inputDefault(n, p.value, kind)
		if text := p.value.get("description").str(); text != "" {
			n.Add(kdl.New("description", escapeField(text)))
		}
		if kind == "choice" {
			choices := kdl.New("choices")
			for _, word := range p.value.get("enum").texts() {
				choices.Args = append(choices.Args, word)
			}
			n.Add(choices)
		}
		all = append(all, n)
	}
	return all
}

// pipelineNames are what CircleCI knows of a pipeline, under our names.
var pipelineNames = map[string]meaning{
	"pipeline.number":            {text: "${run.number}", variable: "BUILDIT_RUN_NUMBER"},
	"pipeline.id":                {text: "${run.id}", variable: "BUILDIT_RUN_ID"},
	"pipeline.git.revision":      {text: "${git.sha}", variable: "BUILDIT_SHA"},
	"pipeline.git.branch":        {when: "branch", text: "${git.branch}", variable: "BUILDIT_BRANCH"},
	"pipeline.git.tag":           {when: "tag", text: "${git.tag}", variable: "BUILDIT_TAG"},
	"pipeline.project.git_url":   {variable: "BUILDIT_REPO_URL"},
	"pipeline.git.base_revision": {variable: "BUILDIT_BASE_SHA"},
	"pipeline.project.type":      constant("github"),
}

// workflowCondition is the when or unless of a workflow.
func (c *circle) workflowCondition(w *item, near *kdl.Node) string {
	for _, key := range []string{"when", "unless"} {
		cond := w.get(key)
		if cond == nil {
			continue
		}
		when, err := c.logic(cond, nil)
		if err != nil {
			c.lost(cond, near, key+" of the workflow", err.Error(), "say it with when in the stages; until then they wait for a person")
			return "?"
		}
		if key == "unless" {
			when = negated(when)
		}
		return when
	}
	return ""
}

var angle = pattern.Late(`<<\s*([A-Za-z0-9_.-]+)\s*>>`)

// logic is a condition of CircleCI: a value, or and, or, not, equal, matches.
func (c *circle) logic(it *item, j *flowJob) (string, error) {
	if it.isScalar() {
		return c.truth(it, j)
	}
	if !it.isMap() || len(it.pairs) != 1 {
		return "", fmt.Errorf("it is no condition")
	}
	key, value := it.pairs[0].key.text, it.pairs[0].value
	switch key {
	case "and", "or":
		return c.joined(key, value, j)
	case "not":
		inner, err := c.logic(value, j)
		if err != nil {
			return "", err
		}
		return negated(inner), nil
	case "equal":
		return c.equal(value, j)
	case "matches":
		term, err := c.term(value.get("value"), j)
		return term + " =~ " + literal(value.get("pattern").str()), err
	}
	return "", fmt.Errorf("%s has no counterpart", key)
}

func (c *circle) joined(key string, value *item, j *flowJob) (string, error) {
	op := map[string]string{"and": "&&", "or": "||"}[key]
	said := ""
	for _, one := range value.items() {
		part, err := c.logic(one, j)
		switch {
		case err != nil:
			return "", err
		case part == "true" && op == "&&" || part == "false" && op == "||":
			continue
		case part == "true" || part == "false":
			return part, nil
		}
		if strings.Contains(part, "||") || strings.Contains(part, "&&") {
			part = "(" + part + ")"
		}
		if said != "" {
			said += " " + op + " "
		}
		said += part
	}
	return orElse(said, fmt.Sprint(op == "&&")), nil
}

func (c *circle) equal(value *item, j *flowJob) (string, error) {
	var terms []string
	for _, one := range value.items() {
		t, err := c.term(one, j)
		if err != nil {
			return "", err
		}
		if strings.HasPrefix(t, "'") {
			terms = append(terms, t) // constants behind names
		} else {
			terms = append([]string{t}, terms...)
		}
	}
	if len(terms) != 2 {
		return "", fmt.Errorf("equal compares two values")
	}
	if strings.HasPrefix(terms[0], "'") {
		return fmt.Sprint(terms[0] == terms[1]), nil
	}
	if name, ok := strings.CutPrefix(terms[0], "param."); ok {
		for param, kind := range c.params {
			if axis(param) == name && kind == "bool" {
				return map[bool]string{true: terms[0], false: "!" + terms[0]}[terms[1] == "'true'"], nil
			} else if axis(param) == name && kind == "int" {
				terms[1] = strings.Trim(terms[1], "'")
			}
		}
	}
	return terms[0] + " == " + terms[1], nil
}

// term is a value of a comparison.
func (c *circle) term(it *item, j *flowJob) (string, error) {
	text := it.str()
	if j != nil {
		text = j.inline(text)
	}
	m := angle().FindStringSubmatch(text)
	if m == nil {
		return literal(text), nil
	}
	if m[0] != strings.TrimSpace(text) {
		return "", fmt.Errorf("it mixes text with << %s >>", m[1])
	}
	found, err := c.meaning(m[1], j)
	switch {
	case err != nil:
		return "", err
	case found.constant != nil:
		return literal(*found.constant), nil
	case found.when == "":
		return "", fmt.Errorf("a condition cannot ask for %s", m[1])
	}
	return found.when, nil
}

// meaning of what stands between << and >>.
func (c *circle) meaning(name string, j *flowJob) (meaning, error) {
	if key, ok := strings.CutPrefix(name, "pipeline.parameters."); ok && c.params[key] != "" {
		return meaning{when: "param." + axis(key), bool: c.params[key] == "bool", text: "${param." + axis(key) + "}", variable: "PARAM_" + upper(axis(key))}, nil
	}
	if key, ok := strings.CutPrefix(name, "matrix."); ok && j != nil {
		return meaning{when: "matrix." + axis(key), text: "${matrix." + axis(key) + "}", variable: "MATRIX_" + upper(axis(key))}, nil
	}
	if m, known := pipelineNames[name]; known {
		return m, nil
	}
	return meaning{}, fmt.Errorf("<< %s >> has no counterpart", name)
}

func (c *circle) truth(it *item, j *flowJob) (string, error) {
	text := it.str()
	if j != nil {
		text = j.inline(text)
	}
	if m := angle().FindStringSubmatch(text); m != nil && m[0] == strings.TrimSpace(text) {
		found, err := c.meaning(m[1], j)
		switch {
		case err != nil:
			return "", err
		case found.when == "":
			return "", fmt.Errorf("a condition cannot ask for %s", m[1])
		case found.bool:
			return found.when, nil
		}
		return found.when + " != ''", nil
	}
	return fmt.Sprint(text != "" && text != "false" && text != "0"), nil
}
