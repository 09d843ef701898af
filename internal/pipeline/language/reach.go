package language

import (
	"fmt"
	"slices"
	"strings"
)

// When does a stage run? The events of the file are tried in turn, each with the
// branches and tags that the file speaks of and one that it does not; whatever else
// a condition asks is unknown. A stage that no try lets run can never run.

// maxTries is where trying ends: a file with more different branches and events is
// not judged.
const maxTries = 400

// otherName is a branch, tag or base of which no file speaks.
const otherName = "some-other-name"

// reachable holds, for each stage, the tries that let it run.
type reachable struct {
	tries []Facts
	own   [][]bool // by stage: what its own conditions say
	runs  [][]bool // with those that it needs
}

// reach reports stages that can never run, and keeps the tries for the warnings.
func (g *graph) reach() {
	r := &reachable{tries: g.tries()}
	g.tried = r
	if len(r.tries) > maxTries {
		r.tries = nil
		return
	}
	stages := g.pipeline.Stages
	r.own, r.runs = make([][]bool, len(stages)), make([][]bool, len(stages))
	for i, s := range stages {
		r.own[i] = r.decide(s.When)
	}
	for i := range stages {
		g.mayRun(i)
	}
	for i, s := range stages {
		if !slices.Contains(r.runs[i], true) && !g.looped[i] {
			g.neverRuns(i, s)
		}
	}
}

// decide tries a stage's conditions.
func (r *reachable) decide(when []When) []bool {
	may := make([]bool, len(r.tries))
	for i, facts := range r.tries {
		decided, err := Decide(when, facts)
		may[i] = err != nil || decided != False
	}
	return may
}

// mayRun is what a stage's conditions and those of its needs let run.
func (g *graph) mayRun(i int) []bool {
	r := g.tried
	if r.runs[i] != nil {
		return r.runs[i]
	}
	r.runs[i] = slices.Clone(r.own[i])
	for _, need := range g.pipeline.Stages[i].Needs {
		next, ok := g.index[need.Stage]
		if !ok || need.On != "succeeded" {
			continue
		}
		for t, may := range g.mayRun(next) {
			r.runs[i][t] = r.runs[i][t] && may
		}
	}
	return r.runs[i]
}

// neverRuns says why a stage cannot run, unless a need of it cannot either.
func (g *graph) neverRuns(i int, s *Stage) {
	r := g.tried
	n := g.stages[i]
	at, f := argument(n), n.file
	for _, c := range g.effective(n) {
		if c.key != "when" {
			continue
		}
		at, f = c.name, c.file
		if len(c.props) > 0 {
			at = c.props[0].name
		} else if len(c.args) > 0 {
			at = c.args[0].span
		}
		break
	}
	if !slices.Contains(r.own[i], true) {
		f.errorAt(at, "never-runs", fmt.Sprintf("stage %q can never run: %s", s.Name, falseBecause(s.When)), g.missingEvent(s.When))
		return
	}
	var culprit *Stage
	for _, need := range s.Needs {
		next, ok := g.index[need.Stage]
		if !ok || need.On != "succeeded" {
			continue
		}
		if !slices.Contains(r.runs[next], true) {
			return // that one is reported
		}
		together := false
		for t := range r.tries {
			together = together || r.own[i][t] && r.runs[next][t]
		}
		if culprit == nil || !together {
			culprit = g.pipeline.Stages[next]
		}
		if !together {
			break
		}
	}
	if culprit == nil {
		return
	}
	f.errorAt(at, "never-runs", fmt.Sprintf("stage %q can never run: it needs %q, which runs only %s", s.Name, culprit.Name, describe(g.conditionOf(culprit))),
		fmt.Sprintf(`change one condition, or needs %q on="succeeded-or-skipped"`, culprit.Name))
}

// conditionOf is the condition that limits a stage: its own, or that of a need.
func (g *graph) conditionOf(s *Stage) []When {
	for range g.stages {
		if len(s.When) > 0 || len(s.Needs) == 0 {
			return s.When
		}
		s = g.pipeline.Stages[g.index[s.Needs[0].Stage]]
	}
	return nil
}

// falseBecause says what no event of the file has.
func falseBecause(when []When) string {
	var parts []string
	for _, w := range when {
		parts = append(parts, describeOne(w))
	}
	return "no event of this file makes it run " + strings.Join(parts, " or ")
}

// missingEvent is the event that a condition asks for and the file does not have.
func (g *graph) missingEvent(when []When) string {
	has := map[string]bool{}
	for _, e := range g.pipeline.Triggers() {
		has[e.Kind] = true
	}
	for _, w := range when {
		switch {
		case len(w.Tag) > 0 && !has["tag"]:
			return fmt.Sprintf("add on \"tag\" { tags %s; }", quote(w.Tag[0]))
		case len(w.Base) > 0 && !has["pull-request"]:
			return `add on "pull-request"`
		case len(w.Branch) > 0 && !has["push"]:
			return `add on "push"`
		}
		for _, event := range w.Event {
			if !has[event] && slices.Contains(Events, event) {
				return fmt.Sprintf("add on %q", event)
			}
		}
	}
	return "change the condition, or the events of the file"
}

// describe says when a stage runs: "on branch main or on tag v*".
func describe(when []When) string {
	if len(when) == 0 {
		return "at other times"
	}
	var parts []string
	for _, w := range when {
		parts = append(parts, describeOne(w))
	}
	return strings.Join(parts, " or ")
}

func describeOne(w When) string {
	var parts []string
	for _, c := range []struct {
		what   string
		values []string
	}{{"on branch", w.Branch}, {"on tag", w.Tag}, {"on event", w.Event}, {"on base branch", w.Base}, {"when files change in", w.Path}} {
		if len(c.values) > 0 {
			parts = append(parts, c.what+" "+strings.Join(c.values, ", "))
		}
	}
	if w.Expression != "" {
		parts = append(parts, "if "+w.Expression)
	}
	return strings.Join(parts, " and ")
}

// tries are the facts of every event of the file, with the names it speaks of.
func (g *graph) tries() []Facts {
	names := g.spokenOf()
	base := Facts{Pipeline: g.pipeline.Name, open: true}
	var tries []Facts
	add := func(e Event, facts Facts) {
		facts.Event = e.Kind
		if e.refuses(facts) == "" {
			tries = append(tries, facts)
		}
	}
	for _, e := range g.pipeline.Triggers() {
		for _, name := range names {
			facts := base
			switch e.Kind {
			case "tag":
				facts.Tag, facts.Ref = name, "refs/tags/"+name
			case "pull-request":
				facts.Base, facts.Head = name, otherName
				facts.Fork = true
				add(e, facts)
				facts.Fork = false
				if len(g.pipeline.Events) == 0 {
					continue // the default is forks only
				}
			case "merge-group":
				facts.Base = name
			case "upstream": // of a branch, or of a tag
				facts.Tag, facts.Ref = name, "refs/tags/"+name
				add(e, facts)
				facts.Tag, facts.Branch, facts.Ref = "", name, "refs/heads/"+name
			default:
				facts.Branch, facts.Ref = name, "refs/heads/"+name
			}
			add(e, facts)
		}
	}
	return tries
}

// spokenOf are the branches, tags and texts of the file, a sample of each pattern,
// and one name of which it does not speak.
func (g *graph) spokenOf() []string {
	names := []string{otherName}
	patterns := func(list []string) {
		for _, p := range list {
			names = append(names, sample(strings.TrimPrefix(p, "!")))
		}
	}
	for _, e := range g.pipeline.Triggers() {
		patterns(e.Branches)
		patterns(e.Tags)
		patterns([]string{e.Branch})
	}
	for _, s := range g.pipeline.Stages {
		for _, w := range s.When {
			patterns(w.Branch)
			patterns(w.Tag)
			patterns(w.Base)
			if w.expr != nil {
				w.expr.root.texts(&names)
			}
		}
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == "" })
	slices.Sort(names)
	return slices.Compact(names)
}

// texts collects the literal texts of an expression.
func (o *operation) texts(into *[]string) {
	if o.op == "string" {
		*into = append(*into, o.text, strings.TrimPrefix(strings.TrimPrefix(o.text, "refs/heads/"), "refs/tags/"))
	}
	for _, arg := range o.args {
		arg.texts(into)
	}
}

// sample is a text that a glob matches.
func sample(pattern string) string {
	var out strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*':
			if i == 0 || pattern[i-1] != '*' {
				out.WriteByte('1')
			}
		case '?':
			out.WriteByte('1')
		case '[':
			end := strings.IndexByte(pattern[i:], ']')
			if end < 2 {
				return pattern
			}
			class := pattern[i+1 : i+end]
			if class[0] == '!' || class[0] == '^' {
				out.WriteByte('_')
			} else {
				out.WriteByte(class[0])
			}
			i += end
		case '{':
			end := strings.IndexAny(pattern[i:], ",}")
			closing := strings.IndexByte(pattern[i:], '}')
			if end < 0 || closing < 0 {
				return pattern
			}
			out.WriteString(sample(pattern[i+1 : i+end]))
			i += closing
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}
