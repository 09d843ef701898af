package language

import (
	"fmt"
	"slices"
	"strings"
)

// warnings reports what is allowed and probably not meant, of a file without errors.
func (l *loader) warnings(p *Pipeline, g *graph) {
	for i, n := range l.stages {
		s := p.Stages[i]
		l.withoutEngine(n, s)
		if g.tried.tries == nil {
			continue
		}
		l.deployOfAnyBranch(n, s, g.tried, g.tried.runs[i])
		l.secretInFork(n, g.tried, g.tried.runs[i])
	}
	l.unused()
}

// dockerCommand is a command that needs an engine.
var dockerCommand = newLateRegexp(`(^|[;&|\n(]|\bsudo )\s*(docker|podman)\s`)

// withoutEngine warns of docker where no engine is (pipelines.md 7).
func (l *loader) withoutEngine(n *node, s *Stage) {
	if !slices.Contains([]string{"lambda", "fargate", "pool"}, s.Runner.Class) {
		return
	}
	for _, c := range l.effective(n) {
		if c.key == "run" && len(c.args) > 0 && dockerCommand.MatchString(c.text(0)) {
			c.file.warnAt(c.args[0].span, "docker-without-engine", fmt.Sprintf("runner %q has no engine for docker", s.Runner.Class), `use image-build "app", or another runner`)
		}
	}
}

// deployOfAnyBranch warns of a deployment that every branch reaches.
func (l *loader) deployOfAnyBranch(n *node, s *Stage, tried *reachable, runs []bool) {
	if s.Environment == nil || s.Environment.Use {
		return
	}
	for t, facts := range tried.tries {
		if runs[t] && (facts.Event == "push" && facts.Branch == otherName || facts.Event == "pull-request") {
			at, f := argument(n), n.file
			for _, c := range l.effective(n) {
				if c.key == "environment" {
					at, f = c.name, c.file
				}
			}
			f.warnAt(at, "deploy-without-condition", fmt.Sprintf("stage %q deploys from every branch", s.Name), `when branch="main"`)
			return
		}
	}
}

// secretInFork warns of a stage that asks for secrets in the pull request of a fork,
// which gets none, so that it ends in an error.
func (l *loader) secretInFork(n *node, tried *reachable, runs []bool) {
	for t, facts := range tried.tries {
		if !runs[t] || facts.Event != "pull-request" || !facts.Fork {
			continue
		}
		for _, c := range l.effective(n) {
			if c.key == "secret" {
				c.file.warnAt(c.name, "secret-in-fork-run", "pull requests of forks get no secrets, so this stage fails there", `when "!fork" keeps it out`)
				return
			}
		}
	}
}

// unused warns of definitions that nothing uses.
func (l *loader) unused() {
	templates, caches := map[string]bool{}, map[string]bool{}
	for _, n := range l.top {
		for _, v := range n.option("use") {
			templates[v.text] = true
		}
		for _, c := range n.children {
			if c.key == "cache" && (n.key == "stage" || n.key == "template") {
				caches[c.text(0)] = true
			}
		}
	}
	params := map[string]bool{}
	for _, u := range l.check.uses {
		if u.expr != nil {
			u.expr.root.params(params)
		} else if name, ok := strings.CutPrefix(u.ref.name, "param."); ok {
			params[name] = true
		}
	}
	for _, n := range l.top {
		name := n.text(0)
		switch {
		case n.key == "template" && !templates[name]:
			n.file.warnAt(n.args[0].span, "unused-template", fmt.Sprintf("no stage uses template %q", name), fmt.Sprintf("stage \"...\" use=%q, or remove it", name))
		case n.key == "cache" && !caches[name]:
			n.file.warnAt(n.args[0].span, "unused-cache", fmt.Sprintf("no stage uses cache %q", name), fmt.Sprintf("cache %q inside a stage, or remove it", name))
		case n.key == "param" && !params[name] && !l.mentions("PARAM_"+upperName(name)):
			n.file.warnAt(n.args[0].span, "unused-param", fmt.Sprintf("nothing here uses param %q", name), fmt.Sprintf("commands find it in $PARAM_%s", upperName(name)))
		}
	}
}

// mentions tells whether a value of the pipeline holds the word, as a command does
// that uses a variable.
func (l *loader) mentions(word string) bool {
	return slices.ContainsFunc(l.top, func(n *node) bool { return n.mentions(word) })
}

func (n *node) mentions(word string) bool {
	return slices.ContainsFunc(n.args, func(v value) bool { return strings.Contains(v.text, word) }) ||
		slices.ContainsFunc(n.props, func(p property) bool { return strings.Contains(p.value.text, word) }) ||
		slices.ContainsFunc(n.children, func(c *node) bool { return c.mentions(word) })
}

// params collects the parameters that an expression asks for.
func (o *operation) params(into map[string]bool) {
	if o.op == "name" {
		if name, ok := strings.CutPrefix(o.text, "param."); ok {
			into[name] = true
		}
	}
	for _, arg := range o.args {
		arg.params(into)
	}
}
