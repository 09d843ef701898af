package language

import (
	"fmt"
	"slices"
	"strings"
)

// defaultEvents are those of a file without `on`: one commit runs once, since the
// pull request of a branch here is covered by the push of that branch.
var defaultEvents = []Event{{Kind: "push"}, {Kind: "pull-request", Forks: "no-secrets"}, {Kind: "manual"}}

// Triggers are the events that make runs: those written, or the default ones.
func (p *Pipeline) Triggers() []Event {
	if len(p.Events) == 0 {
		return defaultEvents
	}
	return p.Events
}

// Answer is what the `on` nodes of a pipeline say to an event.
type Answer struct {
	Runs bool
	Why  string // it does not
	// Approve says that a fork's commit runs once a person has allowed exactly it, and
	// NoForks that it does not run because it is a fork's.
	Approve, NoForks bool
}

// Answer says whether an event of this kind, with these facts, makes a run, by the
// pipeline's `on` nodes (or the default events). A manual start always does. Of
// several nodes that want the event, the first says how.
func (p *Pipeline) Answer(facts Facts) Answer {
	if facts.Event == "manual" {
		return Answer{Runs: true}
	}
	if len(p.Events) == 0 && facts.Event == "pull-request" && !facts.Fork {
		return Answer{Why: "the push of its branch runs this pipeline (there is no on \"pull-request\")"}
	}
	a := Answer{Why: fmt.Sprintf("the pipeline has no on %q", facts.Event)}
	for _, event := range p.Triggers() {
		if event.Kind != facts.Event {
			continue
		}
		if a.Why = event.refuses(facts); a.Why == "" {
			return Answer{Runs: true, Approve: facts.Fork && event.Forks == "approve"}
		}
		a.NoForks = a.Why == notForForks
	}
	return a
}

// Matches is Answer for who wants to know no more.
func (p *Pipeline) Matches(facts Facts) (bool, string) {
	a := p.Answer(facts)
	return a.Runs, a.Why
}

const notForForks = "not run for forks"

// Hears tells whether an `on "upstream"` wants to know of a run that ended with this
// status on this branch ("" for none). A run that was skipped did nothing, and nobody
// hears of it.
func (e Event) Hears(status, branch string) bool {
	if e.Branch != "" && !matchPatterns([]string{e.Branch}, branch) {
		return false
	}
	switch status {
	case "succeeded":
		return e.Status != "failed"
	case "failed", "errored", "timed_out":
		return e.Status != "succeeded"
	case "canceled":
		return e.Status == "finished"
	}
	return false
}

// WantsClosed tells whether a pull request that is closed makes a run.
func (p *Pipeline) WantsClosed() bool {
	return slices.ContainsFunc(p.Events, func(e Event) bool { return e.Kind == "pull-request" && e.wantsType("closed") })
}

// ComponentChanged says whether a file of a component has changed, or one of what it
// uses, however far away. It is true where the changed files are not known, and of
// no component ("").
func (p *Pipeline) ComponentChanged(name string, facts Facts) bool {
	if name == "" || !facts.FilesKnown {
		return true
	}
	seen := map[string]bool{name: true}
	for open := []string{name}; len(open) > 0; open = open[1:] {
		for _, c := range p.Components {
			if c.Name != open[0] {
				continue
			}
			if matchFiles(c.Paths, facts.Changed) {
				return true
			}
			for _, used := range c.Uses {
				if !seen[used] {
					seen[used] = true
					open = append(open, used)
				}
			}
		}
	}
	return false
}

// refuses is why the event does not match, or "".
func (e Event) refuses(facts Facts) string {
	switch e.Kind {
	case "pull-request":
		if why := e.refusesPullRequest(facts); why != "" {
			return why
		}
		if len(e.Branches) > 0 && !matchPatterns(e.Branches, facts.Base) {
			return fmt.Sprintf("base branch %s is not of %s", facts.Base, strings.Join(e.Branches, ", "))
		}
	case "tag":
		if len(e.Tags) > 0 && !matchPatterns(e.Tags, facts.Tag) {
			return fmt.Sprintf("tag %s is not of %s", facts.Tag, strings.Join(e.Tags, ", "))
		}
	case "schedule":
		if e.Branch != "" && facts.Branch != "" && e.Branch != facts.Branch {
			return fmt.Sprintf("the schedule runs branch %s", e.Branch)
		}
	default:
		if len(e.Branches) > 0 && !matchPatterns(e.Branches, facts.Branch) {
			return fmt.Sprintf("branch %s is not of %s", facts.Branch, strings.Join(e.Branches, ", "))
		}
	}
	return e.refusesFiles(facts)
}

func (e Event) refusesPullRequest(facts Facts) string {
	switch {
	case facts.Fork && e.Forks == "never":
		return notForForks
	case facts.Draft && e.Draft == "skip":
		return "not run for drafts"
	case facts.Action != "" && !e.wantsType(facts.Action):
		return fmt.Sprintf("not run when a pull request is %s", facts.Action)
	}
	return ""
}

func (e Event) wantsType(action string) bool {
	if len(e.Types) == 0 {
		return action != "closed"
	}
	for _, t := range e.Types {
		if t == action {
			return true
		}
	}
	return false
}

// refusesFiles applies the path filters. Unknown files match everything.
func (e Event) refusesFiles(facts Facts) string {
	if !facts.FilesKnown {
		return ""
	}
	if len(e.Paths) > 0 && !matchFiles(e.Paths, facts.Changed) {
		return "no changed file matches " + strings.Join(e.Paths, ", ")
	}
	if len(e.PathsIgnore) > 0 && countFiles(e.PathsIgnore, facts.Changed) == len(facts.Changed) {
		return "every changed file matches paths-ignore " + strings.Join(e.PathsIgnore, ", ")
	}
	return ""
}
