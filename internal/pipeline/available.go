package pipeline

import (
	"fmt"
	"slices"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/problem"
)

// notBuilt are the nodes that no run of this version can have.
var notBuilt = []string{"notify", "image-build", "app", "stack", "oidc", "generate"}

// available refuses a file that asks for what this version cannot do: a run does
// what its file says, or does not start.
func available(p *language.Pipeline, stages []*language.Stage, opt Options) error {
	p.Lacks(notBuilt...)
	var places []problem.Place
	missing := func(pos language.Pos, node string) {
		places = append(places, problem.Place{
			File: pos.File, Line: pos.Line, Column: pos.Column, Code: "not-available",
			Detail: node + " is part of the language but not built yet",
			Help:   "remove it; the file would not do what it says",
		})
	}
	for _, m := range p.Missing {
		missing(m.Pos, m.Node)
	}
	for _, s := range stages {
		missingOf(s, opt, missing)
	}
	if len(places) == 0 {
		return nil
	}
	detail := fmt.Sprintf("%s:%d:%d: %s.", places[0].File, places[0].Line, places[0].Column, places[0].Detail)
	if len(places) > 1 {
		detail = fmt.Sprintf("%s And %d more.", detail, len(places)-1)
	}
	return &problem.Error{Kind: problem.NotAvailable, Detail: detail, At: places}
}

// missingOf reports what of one stage is not built yet, in the order of its fields.
func missingOf(s *language.Stage, opt Options, missing func(language.Pos, string)) {
	for _, m := range s.Missing {
		missing(m.Pos, m.Node)
	}
	if opt.Local && deploys(s) {
		return // shown and skipped, whatever it holds
	}
	for _, service := range s.Services {
		missing(service.Pos, "service")
	}
	if c := s.Runner.Class; c != "" && c != "auto" && c != "process" {
		missing(s.Pos, fmt.Sprintf("runner %q", c))
	}
}

// Approvals names the stages of a run that would wait for a person.
func Approvals(p *language.Pipeline, t Trigger, opt Options) []string {
	stages, err := selectStages(p, opt.Only)
	if err != nil {
		return nil // the start of the run says so
	}
	if opt.Alone {
		stages = slices.DeleteFunc(slices.Clone(stages), func(s *language.Stage) bool { return !slices.Contains(opt.Only, s.Name) })
	}
	g := &Graph{Run: NewRunID(t), Trigger: t, Name: p.Name, Stages: stages, Params: t.Params}
	var names []string
	for _, s := range stages {
		if _, given := opt.Given[StageKey(language.StageKey(s.Name, nil))]; given {
			continue
		}
		if s.Approval == nil || opt.Local && deploys(s) {
			continue
		}
		if truth, err := language.Decide(s.When, t.facts(g)); err == nil && truth == language.False {
			continue
		}
		names = append(names, s.Name)
	}
	return names
}
