package language

import (
	"fmt"
	"slices"
	"strings"
)

// artifacts finds who makes which artifact and checks what is fetched. A name is
// unique in a run.
func (l *loader) artifacts(p *Pipeline, g *graph) {
	g.makers = map[string]int{}
	made := map[string]*node{}
	for i, n := range l.stages {
		for _, c := range l.effective(n) {
			if c.key != "artifact" && c.key != "image-build" || len(c.args) == 0 || c.args[0].broken {
				continue
			}
			name := c.text(0)
			if before := made[name]; before != nil {
				line, _ := before.file.position(before.name.start)
				c.file.errorAt(c.args[0].span, "duplicate-artifact", fmt.Sprintf("there is already an artifact %q (stage %q, line %d)", name, p.Stages[g.makers[name]].Name, line), "rename one")
				continue
			}
			made[name], g.makers[name] = c, i
		}
	}
	for i, n := range l.stages {
		fetched := 0
		for _, c := range l.effective(n) {
			if c.key == "fetch" && len(c.args) > 0 && !c.args[0].broken {
				p.Stages[i].Fetches[fetched].From = l.fetch(c, i, p, g)
			}
			if c.key == "fetch" {
				fetched++
			}
		}
	}
}

// fetch checks one fetch and answers the stage that makes what it fetches.
func (l *loader) fetch(c *node, stage int, p *Pipeline, g *graph) string {
	name := c.text(0)
	maker, ok := g.makers[name]
	if from := c.prop("from"); from != nil && !from.value.broken {
		if _, known := g.index[from.value.text]; !known {
			g.unknownStage(c.file, from.value, p.Stages[stage].Name)
			return from.value.text
		}
		if ok && p.Stages[maker].Name != from.value.text {
			c.file.errorAt(from.value.span, "artifact-not-upstream", fmt.Sprintf("%q is made by stage %q, not by %q", name, p.Stages[maker].Name, from.value.text), fmt.Sprintf("from=%q", p.Stages[maker].Name))
			return from.value.text
		}
	}
	if !ok {
		if !l.lostNames {
			c.file.errorAt(c.args[0].span, "artifact-not-upstream", fmt.Sprintf("no stage makes an artifact %q", name), orElse(suggestName(name, sortedKeys(g.makers), "artifacts here"), fmt.Sprintf(`artifact %q path="..." in the stage that makes it`, name)))
		}
		return ""
	}
	if err := l.upstreamArtifact(name, stage, p, g); err != nil {
		c.file.errorAt(c.args[0].span, err.code, err.message, err.help)
	}
	return orElse(c.optionText("from"), p.Stages[maker].Name)
}

// upstreamArtifact says what is wrong with a stage that uses an artifact.
func (l *loader) upstreamArtifact(name string, stage int, p *Pipeline, g *graph) *expressionError {
	maker, ok := g.makers[name]
	switch {
	case !ok && l.lostNames, g.looped[stage]:
		return nil
	case !ok:
		return &expressionError{code: "artifact-not-upstream", message: fmt.Sprintf("no stage makes an artifact %q", name), help: suggestName(name, sortedKeys(g.makers), "artifacts here")}
	case maker == stage:
		return &expressionError{code: "artifact-not-upstream", message: fmt.Sprintf("%q is made by this stage itself", name), help: "only what a stage upstream has made can be used"}
	case !g.upstream(stage, maker) && !l.brokenNeeds(g, stage):
		return &expressionError{
			code:    "artifact-not-upstream",
			message: fmt.Sprintf("%q is made by stage %q, which %q does not wait for", name, p.Stages[maker].Name, p.Stages[stage].Name),
			help:    fmt.Sprintf("add needs %q", p.Stages[maker].Name),
		}
	}
	return nil
}

// brokenNeeds tells whether a need of the stage is misspelt, so that nobody knows
// what it waits for.
func (l *loader) brokenNeeds(g *graph, stage int) bool {
	return slices.ContainsFunc(g.needsOf(stage), func(ref needRef) bool {
		_, known := g.index[ref.at.text]
		return !known
	})
}

// scope answers what names mean in one stage, or outside of stages.
type scope struct {
	*loader
	graph *graph
	stage int // -1 outside
}

func (s scope) model() *Stage { return s.graph.pipeline.Stages[s.stage] }

func (s scope) param(name string) (types, bool) {
	n := s.params[name]
	if n == nil {
		return anyType, s.lostNames
	}
	switch n.optionText("type") {
	case "int":
		return ofInt, true
	case "bool":
		return ofBool, true
	}
	return ofString, true
}

func (s scope) matrix(name string) bool {
	return slices.Contains(s.words("matrix"), name)
}

func (s scope) words(root string) []string {
	switch root {
	case "param":
		return sortedKeys(s.params)
	case "with":
		if s.stage >= 0 {
			return sortedKeys(s.model().With)
		}
	case "matrix":
		if s.stage < 0 || s.model().Matrix == nil {
			return nil
		}
		var words []string
		for _, axis := range s.model().Matrix.Axes {
			words = append(words, axis.Name)
		}
		for _, include := range s.model().Matrix.Include {
			for _, p := range include {
				if !slices.Contains(words, p.Key) {
					words = append(words, p.Key)
				}
			}
		}
		return words
	}
	return nil
}

// output checks that a stage is upstream and has that output; without a name the
// question is its status.
func (s scope) output(stage, name string) *expressionError {
	g := s.graph
	at, known := g.index[stage]
	switch {
	case !known && s.lostNames:
		return nil
	case !known && name == "":
		return &expressionError{code: "unknown-stage", message: fmt.Sprintf("there is no stage %q", stage), help: suggestName(stage, g.names(), "stages here")}
	case !known:
		return &expressionError{code: "output-not-upstream", message: fmt.Sprintf("there is no stage %q", stage), help: suggestName(stage, g.names(), "stages here")}
	case s.stage < 0:
		return &expressionError{code: "output-not-upstream", message: "outputs have a value inside stages only", help: "use it in the stage that needs it"}
	case g.looped[s.stage] || s.brokenNeeds(g, s.stage):
		return nil
	case !g.upstream(s.stage, at):
		return &expressionError{
			code: "output-not-upstream", message: fmt.Sprintf("stage %q does not wait for %q", s.model().Name, stage), help: fmt.Sprintf("add needs %q", stage),
		}
	case name != "" && !slices.Contains(g.pipeline.Stages[at].Outputs, name) && !g.stages[at].hasLost:
		return &expressionError{
			code: "output-not-upstream", message: fmt.Sprintf("stage %q has no output %q", stage, name),
			help: orElse(suggestName(name, g.pipeline.Stages[at].Outputs, "its outputs"), fmt.Sprintf("output %q inside stage %q", name, stage)),
		}
	}
	return nil
}

// resolveUses checks every ${…} and expression that speaks of things of this file,
// in each stage that it becomes a part of.
func (l *loader) resolveUses(p *Pipeline, g *graph) {
	byChild := map[*node][]use{}
	for _, u := range l.check.uses {
		byChild[u.child] = append(byChild[u.child], u)
	}
	for _, n := range l.top {
		for _, u := range byChild[n] {
			l.resolve(u, scope{l, g, -1})
		}
	}
	for i, n := range l.stages {
		for _, c := range l.effective(n) {
			for _, u := range byChild[c] {
				l.resolve(u, scope{l, g, i})
			}
		}
	}
}

func (l *loader) resolve(u use, in scope) {
	c := &checker{loader: l, file: u.file}
	v := *u.value // a template is checked in every stage that uses it
	if u.expr != nil {
		t, err := u.expr.root.check(in)
		if err == nil && t&ofBool == 0 {
			err = &expressionError{end: len(v.text), message: fmt.Sprintf("this is %s; a condition is true or false", t), help: u.expr.root.wantHelp(ofBool)}
		}
		if err != nil {
			c.expressionError(&v, err)
		}
		return
	}
	switch err := u.resolve(in); {
	case err == nil:
	case err.whole:
		c.errorAt(&v, err.code, err.message, err.help)
	default:
		c.errorIn(&v, u.ref.offset, u.ref.end, err.code, err.message, err.help)
	}
}

// resolve says what is wrong with ${…} in a stage.
func (u use) resolve(in scope) *expressionError {
	root, rest, _ := strings.Cut(u.ref.name, ".")
	unknown := func(code, message, help string) *expressionError {
		return &expressionError{code: code, message: message, help: help}
	}
	switch root {
	case "matrix":
		switch {
		case in.stage < 0:
			return unknown("unknown-interpolation", fmt.Sprintf("${%s} has a value inside stages only", u.ref.name), "use it in the stage that has the matrix")
		case in.model().Matrix == nil:
			return unknown("unknown-interpolation", fmt.Sprintf("there is no ${%s}: the stage has no matrix", u.ref.name), fmt.Sprintf(`matrix { %s "..."; }`, rest))
		case !in.matrix(rest):
			return unknown("unknown-interpolation", fmt.Sprintf("there is no ${%s}", u.ref.name), interpolationHelp(root, rest, in.words(root)))
		}
	case "with":
		if in.stage < 0 {
			return unknown("unknown-interpolation", fmt.Sprintf("${%s} has a value inside stages only", u.ref.name), "use it in a template")
		}
		if _, ok := in.model().With[rest]; !ok && !in.lostNames {
			return unknown("unknown-param", fmt.Sprintf("the template has no param %q", rest), orElse(interpolationHelp(root, rest, in.words(root)), fmt.Sprintf(`param %q in the template`, rest)))
		}
	case "param":
		return u.resolveParam(rest, in)
	case "outputs":
		if u.text.noOutputs {
			return unknown("untrusted-interpolation", fmt.Sprintf("${%s} is written by a stage and may not %s", u.ref.name, u.text.deed), "use a param with choices")
		}
		stage, output := splitOutput(rest)
		return in.output(stage, output)
	case "artifact":
		if u.text.noOutputs {
			return unknown("untrusted-interpolation", fmt.Sprintf("${%s} is written by a stage and may not %s", u.ref.name, u.text.deed), "use a param with choices")
		}
		if in.stage < 0 {
			return unknown("artifact-not-upstream", "artifacts have a value inside stages only", "use it in the stage that needs it")
		}
		return in.upstreamArtifact(rest, in.stage, in.graph.pipeline, in.graph)
	}
	return nil
}

func (u use) resolveParam(name string, in scope) *expressionError {
	n := in.params[name]
	if n == nil {
		if in.lostNames {
			return nil
		}
		return &expressionError{
			code: "unknown-param", message: fmt.Sprintf("there is no param %q", name),
			help: orElse(interpolationHelp("param", name, in.words("param")), fmt.Sprintf(`param %q at the top level`, name)),
		}
	}
	kind := orElse(n.optionText("type"), "string")
	if u.text.deed == "" || kind != "string" {
		return nil
	}
	verb, object, _ := strings.Cut(u.text.deed, " ")
	_, noun, _ := strings.Cut(object, " ")
	return &expressionError{
		whole:   true, // the value itself is somebody else's
		code:    "untrusted-interpolation",
		message: fmt.Sprintf("param %q has no choices, so anyone who starts a run could %s any %s", name, verb, noun),
		help:    fmt.Sprintf(`param %q type="choice" { choices "staging" "production"; }`, name),
	}
}

func interpolationHelp(root, name string, words []string) string {
	if nearest := Nearest(name, words); nearest != "" {
		return fmt.Sprintf("did you mean ${%s.%s}?", root, nearest)
	}
	if len(words) == 0 || len(words) > 12 {
		return ""
	}
	return "there are " + strings.Join(words, ", ")
}
