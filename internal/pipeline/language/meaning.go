package language

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of a pipeline.
const (
	maxStages    = 1000
	maxEdges     = 10_000
	maxNeeds     = 200
	maxEvents    = 20
	maxCommands  = 100
	maxVariables = 400
	maxVariable  = 128 << 10 // bytes of all variables of a stage
)

// stageLimits are how often a child may make up a stage.
var stageLimits = []struct {
	node, noun string
	most       int
}{
	{"run", "commands", maxCommands},
	{"service", "services", 10},
	{"cache", "caches", 8},
	{"artifact", "artifacts", 50},
	{"secret", "secrets", 50},
	{"output", "outputs", 64},
}

// meaning checks what the nodes say together: names that refer to each other, the
// graph, limits.
func (l *loader) meaning(p *Pipeline) {
	g := newGraph(l, p)
	l.eventLimit()
	l.componentUses()
	for _, n := range l.topTemplates() {
		l.templateUse(n, n)
	}
	for i, n := range l.stages {
		l.stage(n, p.Stages[i], g)
	}
	g.size()
	g.needs()
	g.cycles()
	l.artifacts(p, g)
	l.resolveUses(p, g)
	if l.problems.broken() {
		return
	}
	g.reach()
	if !l.problems.broken() {
		l.warnings(p, g)
	}
}

func (l *loader) eventLimit() {
	count := 0
	for _, n := range l.top {
		if n.key != "on" && n.key != "trigger" {
			continue
		}
		if count++; count == maxEvents+1 {
			n.file.errorAt(n.name, "limit", fmt.Sprintf("a pipeline has at most %d on nodes", maxEvents), "join some: an on takes several branches and paths")
		}
	}
}

func (l *loader) componentUses() {
	for _, name := range sortedKeys(l.parts) {
		n := l.parts[name]
		for _, v := range n.option("uses") {
			l.component(n, v, name)
		}
	}
}

func (l *loader) component(n *node, v value, self string) {
	if v.broken || l.lostNames && l.parts[v.text] == nil {
		return
	}
	switch {
	case v.text == self:
		n.file.errorAt(v.span, "cycle", fmt.Sprintf("component %q uses itself", self), "remove it")
	case l.parts[v.text] == nil:
		n.file.errorAt(v.span, "unknown-component", fmt.Sprintf("there is no component %q", v.text), orElse(suggestName(v.text, sortedKeys(l.parts), "components here"), fmt.Sprintf(`component %q path="..." at the top level`, v.text)))
	}
}

// suggestName is suggest for the names of a file, where a part of a name is near too.
func suggestName(word string, words []string, what string) string {
	return orElse(nearName(word, words), listed(words, what))
}

// nearName asks whether the nearest of names was meant, "" if none is near.
func nearName(word string, words []string) string {
	if nearest := Nearest(word, words); nearest != "" {
		return meant(nearest)
	}
	for _, w := range words {
		if len(w) > 1 && len(word) > 1 && (strings.HasPrefix(w, word) || strings.HasPrefix(word, w)) {
			return meant(w)
		}
	}
	return ""
}

// topTemplates are the template nodes in file order.
func (l *loader) topTemplates() []*node {
	var list []*node
	for _, n := range l.top {
		if n.key == "template" && len(n.args) > 0 {
			list = append(list, n)
		}
	}
	return list
}

// stage checks one stage by itself.
func (l *loader) stage(n *node, s *Stage, g *graph) {
	children := l.effective(n)
	l.doesSomething(n, children)
	if component := n.prop("component"); component != nil {
		l.component(n, component.value, "")
	}
	l.templateUse(n, n)
	l.with(n)
	l.stageLimits(children)
	manualTwice(n)
	servicesOnce(children)
	cellsTwice(children)
	l.variables(n, s, children)
	for _, c := range children {
		if c.key == "cache" {
			l.cacheUse(c)
		}
	}
}

// manualTwice reports an approval beside manual=true, which is short for one.
func manualTwice(n *node) {
	manual, approval := n.prop("manual"), n.child("approval")
	if manual != nil && manual.value.text == "true" && approval != nil {
		line, _ := n.file.position(manual.name.start)
		approval.file.errorAt(approval.name, "duplicate-node", fmt.Sprintf("manual=true is an approval too (line %d)", line), "remove manual=true")
	}
}

// servicesOnce reports two services that commands could not tell apart.
func servicesOnce(children []*node) {
	first := map[string]*node{}
	for _, c := range children {
		if c.key != "service" || len(c.args) == 0 || c.args[0].broken {
			continue
		}
		name := buildService(c).Name
		if before := first[name]; before != nil {
			line, _ := before.file.position(before.name.start)
			c.file.errorAt(c.args[0].span, "duplicate-node", fmt.Sprintf("there is already a service %q (line %d)", name, line), fmt.Sprintf("as=%q", name+"-2"))
			continue
		}
		first[name] = c
	}
}

// cellsTwice reports `parallel` beside a matrix: both make the cells of the stage.
func cellsTwice(children []*node) {
	var matrix, parallel *node
	for _, c := range children {
		switch c.key {
		case "matrix":
			matrix = c
		case "parallel":
			parallel = c
		}
	}
	if matrix != nil && parallel != nil {
		line, _ := matrix.file.position(matrix.name.start)
		parallel.file.errorAt(parallel.name, "bad-value", fmt.Sprintf("a stage with a matrix has its cells already (line %d)", line), "write two stages")
	}
}

// work are the children that give a stage something to do.
var work = []string{"run", "image-build", "approval", "environment", "app", "stack", "generate"}

func (l *loader) doesSomething(n *node, children []*node) {
	manual := n.prop("manual")
	if n.partial || len(n.args) == 0 || manual != nil && manual.value.text == "true" {
		return
	}
	for _, c := range children {
		if slices.Contains(work, c.key) {
			return
		}
	}
	for _, c := range n.children {
		if stageRule.child(c.key) == nil {
			return // an unknown node, perhaps meant as one of them
		}
	}
	if use := n.optionText("use"); use != "" && l.templates[use] == nil || n.broken && n.block.end == 0 {
		return
	}
	unknown := slices.ContainsFunc(n.props, func(p property) bool { return stageRule.prop(p.key) == nil })
	if n.hasLost || unknown {
		return
	}
	n.file.errorAt(n.args[0].span, "empty-stage", fmt.Sprintf("stage %q has nothing to do", n.text(0)), "add a run, an image-build, an approval or an environment")
}

// templateUse checks that the template that n uses is there, and no ring.
func (l *loader) templateUse(n, start *node) {
	uses := n.option("use")
	if len(uses) == 0 || uses[0].broken {
		return
	}
	v := uses[0]
	if template := l.templates[v.text]; template == nil {
		if !l.lostNames {
			n.file.errorAt(v.span, "unknown-template", fmt.Sprintf("there is no template %q", v.text), orElse(suggestName(v.text, sortedKeys(l.templates), "templates here"), fmt.Sprintf(`template %q { ... } at the top level`, v.text)))
		}
		return
	}
	if n.key != "template" {
		return
	}
	way := []string{n.text(0)}
	for at := l.templates[v.text]; at != nil && len(way) <= len(l.templates); at = l.templates[at.optionText("use")] {
		way = append(way, at.text(0))
		if at == start {
			n.file.errorAt(v.span, "cycle", "these templates use each other: "+strings.Join(way, " -> "), "remove one of the uses")
			return
		}
	}
}

// with checks the parameters that a stage gives to its template.
func (l *loader) with(stage *node) {
	chain := l.templatesOf(stage)
	wanted := map[string]*node{}
	for _, template := range chain {
		for _, c := range template.children {
			if c.key == "param" && len(c.args) > 0 {
				wanted[c.text(0)] = c
			}
		}
	}
	given := map[string]bool{}
	for _, with := range stage.children {
		if with.key != "with" {
			continue
		}
		if len(stage.option("use")) == 0 {
			with.file.errorAt(with.name, "unknown-param", "with gives values to a template, and this stage uses none", fmt.Sprintf(`stage %q use="TEMPLATE"`, stage.text(0)))
			return
		}
		l.givenParams(with, wanted, given, len(chain) > 0)
	}
	for _, name := range sortedKeys(wanted) {
		if wanted[name].prop("default") == nil && !given[name] {
			v := stage.option("use")[0]
			stage.file.errorAt(v.span, "template-param-missing", fmt.Sprintf("template %q needs param %q", v.text, name), fmt.Sprintf(`with %s="..."`, name))
		}
	}
}

func (l *loader) givenParams(with *node, wanted map[string]*node, given map[string]bool, known bool) {
	report := func(at span, key string) {
		given[key] = true
		if known && wanted[key] == nil {
			with.file.errorAt(at, "unknown-param", fmt.Sprintf("the template has no param %q", key), suggestName(key, sortedKeys(wanted), "its params"))
		}
	}
	for _, p := range with.props {
		report(p.name, p.key)
	}
	for _, c := range with.children {
		report(c.name, c.key)
	}
}

// stageLimits counts the children that make up a stage.
func (l *loader) stageLimits(children []*node) {
	for _, limit := range stageLimits {
		count := 0
		for _, c := range children {
			if c.key != limit.node {
				continue
			}
			before := count
			if count++; c.key == "secret" || c.key == "output" {
				count = before + len(c.args)
			}
			if count > limit.most && before <= limit.most {
				c.file.errorAt(c.name, "limit", fmt.Sprintf("a stage has at most %d %s", limit.most, limit.noun), "split the stage")
			}
		}
	}
}

// variables checks number and size of a stage's variables.
func (l *loader) variables(n *node, s *Stage, children []*node) {
	total := 0
	for key, v := range s.Env {
		total += len(key) + len(v)
	}
	var last *node
	for _, c := range children {
		if c.key == "env" {
			last = c
		}
	}
	switch {
	case last == nil:
	case len(s.Env) > maxVariables:
		last.file.errorAt(last.name, "limit", fmt.Sprintf("a stage has at most %d variables; this one has %d", maxVariables, len(s.Env)), "put them into a file of the repository")
	case total > maxVariable:
		last.file.errorAt(last.name, "limit", fmt.Sprintf("the variables of a stage have at most %d bytes together; these have %d", maxVariable, total), "put them into a file of the repository")
	}
}

// cacheUse checks that a cache that is used by name is defined.
func (l *loader) cacheUse(n *node) {
	if len(n.args) == 0 || n.args[0].broken || l.lostNames || l.caches[n.text(0)] != nil {
		return
	}
	if len(n.option("key"))+len(n.option("path"))+len(n.option("restore")) > 0 || n.partial {
		return // it defines itself
	}
	n.file.errorAt(n.args[0].span, "unknown-cache", fmt.Sprintf("there is no cache %q", n.text(0)), orElse(suggestName(n.text(0), sortedKeys(l.caches), "caches here"), fmt.Sprintf(`cache %q key="..." path="..."`, n.text(0))))
}
