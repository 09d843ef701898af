package convert

import (
	"fmt"
	"strings"

	"github.com/buildit-dev/buildit/internal/pattern"
	"github.com/buildit-dev/buildit/internal/pipeline/kdl"
)

// events converts `on`. What starts nothing any more would leave the default events,
// which is more than was asked for: then the pipeline is started by hand.
func (w *workflow) events(d *kdl.Document) {
	on := w.root.get("on")
	if on == nil {
		on = w.root.get("true") // YAML 1.1 reads the word `on` as true
	}
	before := len(d.Nodes)
	var params []*kdl.Node
	switch {
	case on.isMap():
		for _, p := range on.pairs {
			d.Nodes = append(d.Nodes, w.event(p.key, p.value, d.Nodes[0])...)
			if p.key.text == "workflow_dispatch" {
				params = w.inputs(p.value.get("inputs"), d.Nodes[0])
			}
		}
	default:
		for _, it := range on.items() {
			d.Nodes = append(d.Nodes, w.event(it, nil, d.Nodes[0])...)
		}
	}
	if len(d.Nodes) == before {
		d.Nodes = append(d.Nodes, kdl.New("on", "manual"))
	}
	d.Nodes[before].Apart = true
	d.Nodes = append(d.Nodes, params...)
}

// otherEvents are events without a counterpart, and what to do.
var otherEvents = map[string][2]string{
	"pull_request_target": {"it runs code of strangers with secrets", `on "pull-request" { forks "approve"; }`},
	"workflow_call":       {"a pipeline is not called by another one", `put its stages into a file and include "ci/NAME.kdl"`},
	"merge_group":         {"merge queues are not built yet", ""},
	"release":             {"releases are no event; their tags are", `on "tag"`},
	"repository_dispatch": {"runs are started by the API", "buildit start PIPELINE"},
	"create":              {"a new branch or tag is a push", ""},
	"deployment":          {"deployments are stages with an environment", ""},
}

func (w *workflow) event(key, value *item, near *kdl.Node) []*kdl.Node {
	node := func(kind string) *kdl.Node {
		return &kdl.Node{Name: "on", Args: []any{kind}, Inline: true, Origin: w.origin(key)}
	}
	switch key.text {
	case "push":
		return w.push(value, node)
	case "pull_request":
		n := node("pull-request")
		w.filters(n, value, "branches", "branches")
		w.paths(n, value)
		w.types(n, value.get("types"))
		return []*kdl.Node{n}
	case "schedule":
		var all []*kdl.Node
		for _, it := range value.items() {
			n := node("schedule").With("cron", it.get("cron").str())
			n.Origin = w.origin(it)
			if zone := it.get("timezone").str(); zone != "" {
				n.With("tz", zone)
			}
			all = append(all, n)
		}
		return all
	case "workflow_dispatch":
		return []*kdl.Node{node("manual")}
	case "workflow_run":
		return w.upstream(value, node)
	}
	why := otherEvents[key.text]
	w.lost(key, near, "on "+key.text, orElse(why[0], "it is no event of a pipeline"), why[1])
	return nil
}

// push is both pushes of branches and of tags, unless filters say which.
func (w *workflow) push(value *item, node func(string) *kdl.Node) []*kdl.Node {
	has := func(key string) bool { return value.get(key) != nil || value.get(key+"-ignore") != nil }
	var all []*kdl.Node
	if has("branches") || !has("tags") {
		n := node("push")
		w.filters(n, value, "branches", "branches")
		w.paths(n, value)
		all = append(all, n)
	}
	if has("tags") || !has("branches") && !has("paths") {
		n := node("tag")
		w.filters(n, value, "tags", "tags")
		all, w.tags = append(all, n), true
	}
	return all
}

// filters converts KEY and KEY-ignore.
func (w *workflow) filters(n *kdl.Node, value *item, key, ours string) {
	var patterns []any
	for _, it := range value.get(key).items() {
		if p, ok := w.pattern(it, n); ok {
			patterns = append(patterns, p)
		}
	}
	if ignore := value.get(key + "-ignore"); ignore != nil {
		patterns = []any{"**"}
		for _, it := range ignore.items() {
			if p, ok := w.pattern(it, n); ok {
				patterns = append(patterns, "!"+p)
			}
		}
	}
	if len(patterns) > 0 {
		n.Add(&kdl.Node{Name: ours, Args: patterns, Origin: w.origin(value)})
	}
}

var (
	manyDigits = pattern.Late(`(\[[^\]]+\])\+`)
	foreignPat = pattern.Late(`[?+\\]`)
)

// pattern converts a pattern of GitHub, in which ? and + repeat what stands before.
func (w *workflow) pattern(it *item, near *kdl.Node) (string, bool) {
	p := manyDigits().ReplaceAllString(it.str(), "$1*")
	if p != it.str() {
		w.kept(it, it.str(), "+ repeats what stands before it; a pattern has only *, which matches more", "")
	}
	if p == "" || foreignPat().MatchString(p) {
		w.lost(it, near, orElse(it.str(), "an empty pattern"), "? and + repeat what stands before them, which a pattern does not know", `when "branch =~ '^REGEXP$'" in the stages`)
		return "", false
	}
	return p, true
}

func (w *workflow) paths(n *kdl.Node, value *item) {
	for _, key := range []string{"paths", "paths-ignore"} {
		var globs []any
		for _, it := range value.get(key).items() {
			if p, ok := w.pattern(it, n); ok {
				globs = append(globs, strings.TrimPrefix(strings.TrimPrefix(p, "./"), "/"))
			}
		}
		if len(globs) > 0 {
			n.Add(&kdl.Node{Name: key, Args: globs, Origin: w.origin(value.get(key))})
		}
	}
}

var pullTypes = map[string]string{
	"opened": "opened", "synchronize": "updated", "reopened": "reopened", "ready_for_review": "ready", "closed": "closed",
}

func (w *workflow) types(n *kdl.Node, types *item) {
	var words []any
	for _, it := range types.items() {
		if ours := pullTypes[it.str()]; ours != "" {
			words = append(words, ours)
		} else {
			w.lost(it, n, "type "+it.str(), "a pull request starts a run when it is opened, updated, reopened, ready or closed", "")
		}
	}
	if len(words) > 0 {
		n.Add(kdl.New("types", words...))
	}
}

func (w *workflow) upstream(value *item, node func(string) *kdl.Node) []*kdl.Node {
	var all []*kdl.Node
	for _, it := range value.get("workflows").items() {
		n := node("upstream").With("pipeline", slug(it.str(), "pipeline")).With("status", "finished")
		if b := value.get("branches").texts(); len(b) == 1 {
			n.With("branch", b[0])
		}
		all = append(all, n)
	}
	return all
}

var inputTypes = map[string]string{"boolean": "bool", "number": "int", "choice": "choice"}

// inputs are parameters of manual runs.
func (w *workflow) inputs(inputs *item, near *kdl.Node) []*kdl.Node {
	var all []*kdl.Node
	if !inputs.isMap() {
		return nil
	}
	for i, p := range inputs.pairs {
		kind := orElse(inputTypes[p.value.get("type").str()], "string")
		w.params[axis(p.key.text)] = kind
		n := &kdl.Node{Name: "param", Args: []any{axis(p.key.text)}, Apart: i == 0, Origin: w.origin(p.key)}
		if kind != "string" {
			n.With("type", kind)
		}
		w.inputDefault(n, p.value, kind)
		if p.value.get("required").isTrue() && p.value.get("default").isNull() {
			n.With("required", true)
		}
		if text := p.value.get("description").str(); text != "" {
			n.Add(kdl.New("description", escapeField(text)))
		}
		if kind == "choice" {
			var words []any
			for _, word := range p.value.get("options").texts() {
				words = append(words, word)
			}
			n.Add(kdl.New("choices", words...))
		}
		all = append(all, n)
	}
	return all
}

func (w *workflow) inputDefault(n *kdl.Node, value *item, kind string) {
	standard := value.get("default")
	number, whole := standard.number()
	switch {
	case standard.isNull():
	case kind == "bool":
		n.With("default", standard.str() == "true")
	case kind == "int" && whole && number >= 0:
		n.With("default", number)
	case kind == "int":
		w.lost(standard, n, "default "+standard.str(), "an int is a whole number", "")
	default:
		n.With("default", fmt.Sprint(standard.str()))
	}
}
