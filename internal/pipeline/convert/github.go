package convert

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/pattern"
	"github.com/buildit-dev/buildit/internal/pipeline/kdl"
)

// workflow is a workflow of GitHub Actions on its way to a pipeline.
type workflow struct {
	report
	root   *item
	jobs   []*job
	params map[string]string // input -> type
	tags   bool              // tags start it
}

// job is a job on its way to a stage.
type job struct {
	w     *workflow
	id    string
	name  string // of the stage
	item  *item
	stage *kdl.Node

	env     map[string]string // plain values, of workflow and job
	secrets map[string]bool   // already in the stage
	axes    []string
	outputs map[string]string // of the job -> of a step
	own     map[string]bool   // outputs of steps that later steps of the job ask for
	hoisted map[string]string // variables of steps that became the stage's
	tools   []string          // set up by actions
	uploads map[string]string // artifact -> folder that its paths share
	checked bool              // it has a checkout
	needs   []string
	dropped bool // it is no stage at all
}

// GitHub converts a workflow. file is its name in losses.
func GitHub(file string, source []byte) (Result, error) {
	root, err := parseYAML(source)
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", file, err)
	}
	w := &workflow{report: report{file: file}, root: root, params: map[string]string{}}
	jobs := root.get("jobs")
	if !jobs.isMap() || len(jobs.pairs) == 0 {
		return Result{}, fmt.Errorf("%s: a workflow needs jobs; this file has none", file)
	}
	if len(jobs.pairs) > maxJobs {
		return Result{}, fmt.Errorf("%s: the workflow has %d jobs; at most %d are converted", file, len(jobs.pairs), maxJobs)
	}
	name := slug(orElse(root.get("name").str(), strings.TrimSuffix(path.Base(file), path.Ext(file))), "pipeline")
	d := &kdl.Document{Head: []string{"Converted from " + path.Base(file) + " by buildit import."}}
	d.Nodes = append(d.Nodes, &kdl.Node{Name: "pipeline", Args: []any{name}, Apart: true})
	w.top(d)
	w.readJobs(jobs)
	for _, j := range w.jobs {
		j.convert()
		if j.dropped {
			d.Tail = append(d.Tail, j.stage.Comments...)
			continue
		}
		d.Nodes = append(d.Nodes, j.stage)
	}
	something(d)
	w.carryOver(d)
	text, err := w.settle(d)
	if err != nil {
		return Result{Losses: w.sorted()}, err
	}
	return Result{Pipelines: []Pipeline{{Name: name, From: file, Text: text}}, Losses: w.sorted()}, nil
}

// slug makes a name of words.
func slug(text, otherwise string) string {
	s := strings.Trim(notName().ReplaceAllString(text, "-"), "-._")
	return orElse(strings.Trim(s[:min(len(s), 63)], "-._"), otherwise)
}

var notName = pattern.Late(`[^A-Za-z0-9._]+`)

// axis is a name of an axis, a parameter: small letters first.
func axis(name string) string {
	s := strings.ToLower(strings.Trim(notAxis().ReplaceAllString(name, "-"), "-"))
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		s = "x-" + s
	}
	if s == "include" || s == "exclude" {
		s += "-value"
	}
	return s[:min(len(s), 63)]
}

var notAxis = pattern.Late(`[^A-Za-z0-9_-]+`)

// upper is a name as part of a variable's.
func upper(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, name)
}

// top converts what stands above the jobs.
func (w *workflow) top(d *kdl.Document) {
	for _, p := range w.root.pairs {
		switch p.key.text {
		case "name", "jobs", "on", "true", "defaults", "env":
		case "run-name":
			w.kept(p.key, "run-name", "a run is named by its pipeline, number and commit", "")
		case "permissions":
			w.kept(p.key, "permissions", "they limit GITHUB_TOKEN, which does not exist here", "give a token of your own the rights that it needs")
		case "concurrency":
		default:
			w.lost(p.key, d.Nodes[0], p.key.text, "it is no part of a workflow that this converter knows", "")
		}
	}
	w.events(d)
	if c := w.root.get("concurrency"); c != nil {
		if n := w.concurrency(c, &job{w: w}, d.Nodes[0]); n != nil {
			n.Apart = true
			d.Nodes = append(d.Nodes, n)
		}
	}
	if n := w.env(d); n != nil {
		d.Nodes = append(d.Nodes, n)
	}
}

// env converts the workflow's variables; those that need a job's names go there.
func (w *workflow) env(d *kdl.Document) *kdl.Node {
	n := &kdl.Node{Name: "env", Apart: true}
	for _, p := range w.root.get("env").entries() {
		if text, err := fieldText(p.value.str(), &job{w: w}); err == nil && !secretIn().MatchString(p.value.str()) {
			w.variable(n, p, text)
		}
	}
	if len(n.Children) == 0 {
		return nil
	}
	return n
}

// entries are the pairs of a map that hold scalars.
func (it *item) entries() []pair {
	var all []pair
	if it.isMap() {
		for _, p := range it.pairs {
			if p.value.isScalar() {
				all = append(all, p)
			}
		}
	}
	return all
}

var secretIn = pattern.Late(`(?i)\bsecrets\.|github\.token`)

func (w *workflow) variable(n *kdl.Node, p pair, text string) {
	if n.Child(p.key.text) != nil {
		return
	}
	n.Add(&kdl.Node{Name: p.key.text, Args: []any{text}, Origin: w.origin(p.key)})
}

// concurrency converts a group.
func (w *workflow) concurrency(c *item, j *job, near *kdl.Node) *kdl.Node {
	group, cancel := c, (*item)(nil)
	if c.isMap() {
		group, cancel = c.get("group"), c.get("cancel-in-progress")
	}
	text, err := fieldText(pullOrRef().ReplaceAllString(group.str(), "${{ github.ref }}"), j)
	if err != nil || text == "" {
		w.lost(c, near, "concurrency", fmt.Sprint(orElse(fmt.Sprint(err), "it has no group")), `concurrency "NAME-${git.ref}" mode="cancel-older"`)
		return nil
	}
	if pullOrRef().MatchString(group.str()) {
		w.kept(group, "concurrency group "+group.str(), "a pull request has a ref of its own, so the group is ${git.ref}", "")
	}
	n := &kdl.Node{Name: "concurrency", Args: []any{text}, Origin: w.origin(c)}
	switch {
	case cancel.isTrue():
		n.With("mode", "cancel-older")
	case cancel.isNull() || cancel.str() == "false":
	default:
		if m := notBranch().FindStringSubmatch(cancel.str()); m != nil {
			return n.With("mode", "cancel-older").With("except", m[1])
		}
		if m := onlyPulls().MatchString(cancel.str()); m {
			return n.With("mode", "cancel-older").With("except", "**")
		}
		w.lost(cancel, near, "cancel-in-progress: "+cancel.str(), "whether runs are canceled is no question of an expression here; the group queues", `mode="cancel-older" except="main"`)
	}
	return n
}

var (
	pullOrRef = pattern.Late(`\$\{\{\s*(?:github\.head_ref|github\.event\.pull_request\.number|github\.event\.number|github\.ref_name)\s*(?:\|\|\s*(?:github\.ref|github\.ref_name|github\.sha|github\.run_id)\s*)?\}\}`)
	notBranch = pattern.Late(`^\$\{\{\s*github\.ref(?:_name)?\s*!=\s*'(?:refs/heads/)?([A-Za-z0-9._/-]+)'\s*\}\}$`)
	onlyPulls = pattern.Late(`^\$\{\{\s*github\.event_name\s*==\s*'pull_request'\s*\}\}$`)
)

// something makes a file of which no job is left one that says so.
func something(d *kdl.Document) {
	if !slices.ContainsFunc(d.Nodes, func(n *kdl.Node) bool { return n.Name == "stage" }) {
		d.Nodes = append(d.Nodes, (&kdl.Node{Name: "stage", Args: []any{"nothing"}, Apart: true}).Add(kdl.New("run", "true")).Note("No job could be carried over."))
	}
}
