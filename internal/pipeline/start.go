package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Start makes the run of a trigger, once however often it is called: a call that
// was cut off is completed by the next one. A file that is wrong, or asks for what
// is not built yet, makes a run that is errored and carries its problems.
func (s *Service) Start(ctx context.Context, org platform.Org, t Trigger) (Run, error) {
	run, err := s.create(ctx, org, t)
	if err != nil || run.Status != Created {
		return run, err
	}
	if t.Skip != "" {
		return s.skip(ctx, org, run, t.skipReason(), t.Skip)
	}
	tree, err := s.config(ctx, org, t)
	if err != nil {
		return run, err
	}
	file, diagnostics := language.Load(tree, t.File)
	if file == nil {
		return s.refuse(ctx, org, run, configInvalid(t.File, diagnostics))
	}
	return s.StartFile(ctx, org, t, file, Options{})
}

// Check says why a trigger's run would be refused: a file with errors, a parameter
// that there is not, what is not available. nil if it would begin. Nothing is written.
func (s *Service) Check(ctx context.Context, org platform.Org, t Trigger) error {
	tree, err := s.config(ctx, org, t)
	if err != nil {
		return err
	}
	file, diagnostics := language.Load(tree, t.File)
	if file == nil {
		return configInvalid(t.File, diagnostics)
	}
	_, err = compile(file, t, 1, Options{})
	return err
}

// StartFile is Start for a file that has been read already.
func (s *Service) StartFile(ctx context.Context, org platform.Org, t Trigger, file *language.Pipeline, opt Options) (Run, error) {
	run, err := s.create(ctx, org, t)
	if err != nil || run.Status != Created {
		return run, err
	}
	if t.Skip != "" {
		return s.skip(ctx, org, run, t.skipReason(), t.Skip)
	}
	g, err := compile(file, t, run.Number, opt)
	if err != nil {
		return s.refuse(ctx, org, run, err)
	}
	if reason, why := g.unwanted(file, opt); reason != "" {
		return s.skip(ctx, org, run, reason, why)
	}
	if t.Trust != "trusted" && !s.AllowUntrusted {
		return s.skip(ctx, org, run, reasonUntrusted, "it is a stranger's commit, and "+notIsolated)
	}
	if err := s.addTimings(ctx, org, g); err != nil {
		return run, err
	}
	digest, err := s.storeGraph(ctx, org, g)
	if err != nil {
		return run, err
	}
	return s.launch(ctx, ref{org, run.ID, digest, g}, run)
}

// launch lets a run that was created and has its graph begin.
func (s *Service) launch(ctx context.Context, r ref, run Run) (Run, error) {
	if err := s.putStages(ctx, r); err != nil {
		return run, err
	}
	g := r.graph
	return s.admitRun(ctx, r, run, change{set: platform.Item{
		"graph": platform.Text(r.digest), "stages": platform.Int(g.Nodes[g.end()].Waits), "pipeline": platform.Text(g.Name),
	}})
}

// notIsolated is why a stranger's commit does not run here.
const notIsolated = "the only runner class here, process, would run it with the platform's own rights on this machine"

// create puts the run's row, if it is absent, with the next number of its file.
func (s *Service) create(ctx context.Context, org platform.Org, t Trigger) (Run, error) {
	id := NewRunID(t)
	if run, err := s.run(ctx, org, id); !errors.Is(err, platform.ErrNotFound) {
		return run, err
	}
	counter, err := s.home.Table.Write(ctx, platform.Update{
		Key: numberRow(org, t.Repository, t.File), Add: map[string]int64{"next": 1},
	})
	if err != nil {
		return Run{}, fmt.Errorf("number of run %s: %w", id, err)
	}
	now := s.home.Clock.Now()
	run := Run{
		ID: id, Number: int(counter.Int("next")), Attempt: max(t.Attempt, 1), File: t.File, Repository: t.Repository,
		Event: t.Event, Subject: t.Subject, Commit: t.Commit, Branch: t.Branch, Tag: t.Tag,
		Message: firstLine(t.Message), Actor: t.Actor, Trust: t.Trust, Why: t.Why, Depth: t.Depth, Status: Created, Created: now, version: 1,
	}
	item := run.item().
		InList(listOfRuns(org).Index(string(platform.Stamp(now)), string(id))).
		DueAt(dueKey(id, now.Add(rules[Created].deadline)))
	item["org"] = platform.Text(org.ID())
	err = s.transact(ctx,
		platform.Put{Key: runRow(org, id), Item: item, If: platform.NoRow},
		platform.Put{Key: eventRow(org, id, "run", 1), Item: platform.Item{
			"entity": platform.Text("run"), "status": platform.Text(Created), "why": platform.Text(t.Why),
			"version": platform.Int(1), "at": platform.Stamp(now),
		}})
	if lost(err) {
		return s.run(ctx, org, id)
	}
	return run, err
}

const maxSubject = 200 // bytes of the message that the run's row keeps

func firstLine(message string) string {
	line, _, _ := strings.Cut(message, "\n")
	if len(line) > maxSubject {
		line = strings.ToValidUTF8(line[:maxSubject], "")
	}
	return line
}

// putStages writes the rows of all nodes that are not there yet.
func (s *Service) putStages(ctx context.Context, r ref) error {
	const atOnce = 100
	before, puts, err := s.carried(ctx, r)
	if err != nil {
		return err
	}
	for i, n := range r.graph.Nodes {
		item := r.graph.firstRow(i).item()
		if n.Carried {
			item = before[n.Key]
		}
		puts = append(puts, platform.Put{Key: stageRow(r.org, r.run, n.Key), Item: item, If: platform.NoRow})
	}
	for len(puts) > 0 {
		n := min(len(puts), atOnce)
		err := s.transact(ctx, puts[:n]...)
		if lost(err) { // a call before this one was cut off: put what is missing, one by one
			for _, put := range puts[:n] {
				if _, err := s.home.Table.Write(ctx, put); err != nil && !lost(err) {
					return fmt.Errorf("run %s: put a stage: %w", r.run, err)
				}
			}
		} else if err != nil {
			return fmt.Errorf("run %s: put stages: %w", r.run, err)
		}
		puts = puts[n:]
	}
	return nil
}

// firstRow is the row of a node as its run begins.
func (g *Graph) firstRow(node int) Stage {
	n := g.Nodes[node]
	st := Stage{Key: n.Key, Name: n.Name, Status: StageBlocked, kind: n.Kind, open: int64(g.opens(node)), version: 1}
	if n.Kind != Cell {
		return st
	}
	for _, need := range g.spec(node).Needs {
		st.Needs = append(st.Needs, need.Stage)
	}
	for _, notice := range notices(g.spec(node)) {
		st.Notices = append(st.Notices, Notice(notice))
	}
	if n.Skip != "" {
		st.Status, st.Reason, st.Why = StageSkipped, n.Skip, n.Why
	}
	return st
}

// refuse ends a run whose file cannot be run. What is no problem of the file is
// returned, and the run stays as it is, to be tried again.
func (s *Service) refuse(ctx context.Context, org platform.Org, run Run, err error) (Run, error) {
	var wrong *problem.Error
	if !errors.As(err, &wrong) {
		return run, err
	}
	body, jsonErr := json.Marshal(wrong.At)
	if jsonErr != nil {
		return run, errors.Join(err, jsonErr)
	}
	next, _, err := s.moveRun(ctx, ref{org: org, run: run.ID}, run, Errored, change{
		reason: wrong.Kind.Type, why: wrong.Detail, set: platform.Item{"problems": platform.Bytes(body)},
	})
	if lost(err) {
		return s.run(ctx, org, run.ID)
	}
	next.Problems = wrong.At
	return next, err
}

// Why a run is skipped.
const (
	reasonNoMatch = "no-match"        // no `on` of its file wants the event
	reasonAsked   = "skip-ci"         // the commit's message asks for it
	reasonCircle  = "upstream-circle" // too many runs have started one another
	reasonNoForks = "not-forks"       // its file does not want forks: neither good nor bad
	// A stranger's commit, such as that of a pull request from a fork, would run in a
	// class that does not isolate it from this machine.
	reasonUntrusted = "untrusted"
)

// unwanted is why the `on` nodes of its file do not want a run, "" if they do. Where
// they want it approved first, the run is held.
func (g *Graph) unwanted(file *language.Pipeline, opt Options) (reason, why string) {
	if g.Trigger.Event == "schedule" && !opt.Local {
		return "", "" // asked for by the default branch, whatever the file of this branch says
	}
	answer := file.Answer(g.facts)
	switch {
	case answer.NoForks:
		return reasonNoForks, answer.Why
	case !answer.Runs:
		return reasonNoMatch, answer.Why
	case answer.Approve && g.Trigger.Hold == "":
		g.Trigger.Hold = HoldFork
	}
	return "", ""
}

// skip ends a run that its file, or its commit, does not want: green, with the reason.
func (s *Service) skip(ctx context.Context, org platform.Org, run Run, reason, why string) (Run, error) {
	next, _, err := s.moveRun(ctx, ref{org: org, run: run.ID}, run, Skipped, change{reason: reason, why: why})
	if lost(err) {
		return s.run(ctx, org, run.ID)
	}
	return next, err
}

// Problem is the problem that keeps an errored run from starting, nil if there is none.
func (r Run) Problem() error {
	for _, kind := range []problem.Kind{problem.BadConfig, problem.NotAvailable, problem.Invalid} {
		if r.Status == Errored && r.Reason == kind.Type {
			return &problem.Error{Kind: kind, Detail: r.Why, At: r.Problems}
		}
	}
	return nil
}

// configInvalid is the problem of a file with errors.
func configInvalid(file string, diagnostics []language.Diagnostic) error {
	p := &problem.Error{Kind: problem.BadConfig}
	for _, d := range diagnostics {
		if d.Severity != "error" {
			continue
		}
		p.At = append(p.At, problem.Place{File: d.File, Line: d.Line, Column: d.Column, Code: d.Code, Detail: d.Message, Help: d.Help})
	}
	p.Detail = file + " cannot be read."
	if len(p.At) > 0 {
		first := p.At[0]
		p.Detail = fmt.Sprintf("%s:%d:%d: %s.", first.File, first.Line, first.Column, first.Detail)
	}
	return p
}

func asNotFound(err error, run RunID) error {
	if errors.Is(err, platform.ErrNotFound) {
		return problem.New(problem.NotFound, "There is no run %s.", run)
	}
	return err
}
