package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/environment"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
)

// Reasons for which a gate ends a stage.
const (
	reasonRejected      = "approval-rejected"
	reasonExpired       = "approval-expired"
	reasonQueueFull     = "queue-full"
	reasonGroupBusy     = "group-busy"    // mode="skip"
	reasonGroupName     = "group-invalid" // its text has come to no name
	reasonGroupOrder    = "group-order"   // two runs could wait for each other
	reasonNoEnvironment = "environment-missing"
	reasonBranch        = "environment-branch"    // its rules do not let the branch in
	reasonEnvUntrusted  = "environment-untrusted" // a stranger's commit, or a pull request, gets nothing of it
	reasonNoDeploy      = "not-deployable"        // it is no commit of a branch or tag
)

// gates is what holds a stage that is ready.
type gates struct {
	end    StageStatus // what becomes of it at once, "" if it may wait
	change change

	rules  []rule
	claims []claim
	mode   string // of its concurrency group
	keep   bool   // its branch is under `except`
	env    *environment.Environment
	digest string // of what people approve
}

// gated tells whether anything but a quota may hold a stage.
func (g *Graph) gated(node int) bool {
	if g.Nodes[node].Kind != Cell {
		return false
	}
	spec := g.spec(node)
	if spec.Matrix != nil && spec.Matrix.MaxParallel > 0 {
		return true
	}
	return !g.Open && (spec.Approval != nil || spec.Environment != nil || spec.Concurrency != nil)
}

// gatesOf works out what holds a stage, by its file, its run, the rules of its
// environment and what the stages above have left behind.
func (s *Service) gatesOf(ctx context.Context, r ref, node int, above upstream) (gates, error) {
	spec, facts := r.graph.spec(node), r.graph.finalFacts(node, above)
	var g gates
	if spec.Matrix != nil && spec.Matrix.MaxParallel > 0 {
		g.claims = append(g.claims, claim{waitMaxParallel, scopeMatrix + string(r.run), spec.Name, spec.Matrix.MaxParallel})
	}
	if !r.graph.Open {
		if spec.Approval != nil {
			g.rules = append(g.rules, rule{kind: waitApproval, who: spec.Approval.Groups, count: spec.Approval.Count, self: spec.Approval.Self})
		}
		if err := s.environmentGates(ctx, r, spec, facts, &g); err != nil || g.end != "" {
			return g, err
		}
		if err := s.groupGates(r, spec, facts, &g); err != nil || g.end != "" {
			return g, err
		}
		g.digest = approvalDigest(r, node, above)
	}
	if len(spec.Run) > 0 {
		limits, err := s.limits(ctx, r.org)
		if err != nil {
			return g, err
		}
		g.claims = append(g.claims, limits.claims(quotaStages)...)
	}
	return g, nil
}

// ends says that a stage is not held but over.
func (g *gates) ends(status StageStatus, reason, format string, args ...any) {
	g.end = status
	g.change = change{reason: reason, why: fmt.Sprintf(format, args...), follow: []string{boxSettle}}
}

// environmentGates adds the rules of the environment that the stage names.
func (s *Service) environmentGates(ctx context.Context, r ref, spec *language.Stage, facts language.Facts, g *gates) error {
	if spec.Environment == nil {
		return nil
	}
	name, err := language.Expand(spec.Environment.NameT, facts)
	if err != nil {
		g.ends(StageErrored, "unresolved", "%v", err)
		return nil
	}
	t := r.graph.Trigger
	if t.Trust != "trusted" || t.Event == "pull-request" {
		if deploys(spec) {
			g.ends(StageSkipped, reasonNoDeploy, "a pull request deploys nothing; what it changes is deployed to %s after the merge", name)
		} else {
			g.ends(StageErrored, reasonEnvUntrusted, "a pull request gets nothing of environment %s; keep the stage out of it with `when`", name)
		}
		return nil
	}
	e, err := s.Environments.Find(ctx, r.org, name)
	if errors.Is(err, platform.ErrNotFound) {
		text, err := s.Environments.Missing(ctx, r.org, name)
		g.ends(StageErrored, reasonNoEnvironment, "%s", text)
		return err
	}
	if err != nil {
		return err
	}
	if at := orText(t.Branch, t.Tag); len(e.Branches) > 0 && !language.MatchBranch(e.Branches, at) {
		g.ends(StageErrored, reasonBranch, "environment %s takes %s, and this is %s", name, strings.Join(e.Branches, ", "), orText(at, "no branch"))
		return nil
	}
	g.env = &e
	if len(e.Approvers) > 0 {
		if len(g.rules) > 0 && len(g.rules[0].who) == 0 {
			g.rules[0].who = e.Approvers
		}
		g.rules = append(g.rules, rule{kind: waitApproval, environment: name, who: e.Approvers, count: e.Count, self: e.Self})
	}
	if !deploys(spec) {
		return nil
	}
	if c := e.Current; c != nil && c.Repository == t.Repository && c.File == t.File && c.RunNumber > r.graph.Number {
		g.rules = append(g.rules, rule{
			kind: waitOlder, environment: name, who: e.Approvers, count: 1, self: true, seen: e.Releases,
			text: fmt.Sprintf("older than what runs: run #%d is deployed to %s", c.RunNumber, name),
		})
	}
	g.claims = append(g.claims, claim{waitEnvironment, scopeEnvironment, name, 1})
	return nil
}

// groupGates adds the concurrency group of the stage.
func (s *Service) groupGates(r ref, spec *language.Stage, facts language.Facts, g *gates) error {
	if spec.Concurrency == nil {
		return nil
	}
	c, err := groupClaim(spec.Concurrency, r.graph.Trigger.Repository, facts)
	if err != nil {
		g.ends(StageErrored, reasonGroupName, "%v", err)
		return nil
	}
	g.mode, g.keep = modeOf(spec.Concurrency, facts)
	whole, err := r.graph.runClaims()
	if err != nil {
		return err
	}
	for _, held := range whole {
		if held.same(c) { // the run has a place for all its stages; they take turns in it
			c.scope = scopeRun + string(r.run)
			g.mode = ""
			g.claims = append(g.claims, c)
			return nil
		}
	}
	if len(whole) > 0 && c.order() < whole[len(whole)-1].order() {
		g.ends(StageErrored, reasonGroupOrder,
			"its group %s is known only now and comes before %s, which the run holds: two runs could wait for each other. Give it a name that comes later", c.name, whole[len(whole)-1].name)
		return nil
	}
	g.claims = append(g.claims, c)
	return nil
}

// groupClaim is the place that a `concurrency` node asks for. org: in front of its
// name makes the group the organization's.
func groupClaim(c *language.Concurrency, repository string, facts language.Facts) (claim, error) {
	name, err := language.Expand(c.GroupT, facts)
	if err != nil {
		return claim{}, err
	}
	scope := scopeRepository + repository
	if rest, wide := strings.CutPrefix(name, "org:"); wide {
		scope, name = scopeOrg, rest
	}
	if name = strings.TrimSpace(name); name == "" || len(name) > maxGroupName {
		return claim{}, fmt.Errorf("the concurrency group has a name of %d bytes; it needs 1 to %d", len(name), maxGroupName)
	}
	return claim{waitGroup, scope, name, max(c.Limit, 1)}, nil
}

// order is the one order in which groups are taken.
func (c claim) order() string { return c.name + "\x00" + c.scope }

// modeOf is what a newcomer does with a group, and whether newer ones leave it alone:
// branches of `except` only queue.
func modeOf(c *language.Concurrency, facts language.Facts) (mode string, keep bool) {
	at := orText(facts.Branch, facts.Tag)
	if c.Except != "" && at != "" && language.MatchBranch([]string{c.Except}, at) {
		return "queue", true
	}
	return orText(c.Mode, "queue"), false
}

// passKey is pass for a stage by its key.
func (s *Service) passKey(ctx context.Context, r ref, key StageKey) (bool, error) {
	node, err := r.graph.node(key)
	if err != nil {
		return false, err
	}
	st, err := s.stage(ctx, r, key)
	if err != nil {
		return false, err
	}
	in, err := s.pass(ctx, r, node, st)
	if lost(err) {
		return false, nil // somebody else has decided it, and carries on from there
	}
	return in, err
}

// pass starts a stage whose needs let it, or holds it at its gate: until people have
// agreed, then until there is a place for it in each of its groups. It answers whether
// the stage waits no longer. It may be called at any time, and again.
func (s *Service) pass(ctx context.Context, r ref, node int, row Stage) (in bool, err error) {
	if row.Status != StageBlocked && row.Status != StageGated {
		return true, nil
	}
	above, err := s.above(ctx, r, node)
	if err != nil {
		return false, err
	}
	g, err := s.gatesOf(ctx, r, node, above)
	if err != nil {
		return false, err
	}
	if g.end != "" {
		return true, s.step(ctx, r, row, g.end, g.change)
	}
	open, err := s.openRules(ctx, r, row.Key, g)
	if err != nil {
		return false, err
	}
	if len(open) > 0 {
		return false, s.await(ctx, r, node, row, open)
	}
	busy, err := s.admit(ctx, r, node, row, g)
	switch {
	case lost(err) && !platform.FailedAt(err, 0): // not the stage but its environment has moved on
		return s.passKey(ctx, r, row.Key)
	case busy == nil || err != nil:
		return err == nil, err
	}
	return s.standInLine(ctx, r, node, row, g, *busy)
}

// await holds a stage until people have agreed. One that waited for places does so no
// more: somebody has lost the right that counted.
func (s *Service) await(ctx context.Context, r ref, node int, row Stage, open []openRule) error {
	if row.Status == StageBlocked {
		set := platform.Item{}
		if a := r.graph.spec(node).Approval; a != nil {
			set["decide_until"] = platform.Stamp(s.home.Clock.Now().Add(orDefault(a.Timeout, defaultApproval)))
		} else {
			set["decide_until"] = platform.Stamp(s.home.Clock.Now().Add(defaultApproval))
		}
		return s.step(ctx, r, row, StageGated, change{reason: open[0].kind, why: open[0].say(), set: set})
	}
	if len(row.queue) == 0 {
		return nil
	}
	m := r.graph.member(node)
	_, err := s.home.Table.Write(ctx, platform.Update{
		Key: stageRow(r.org, r.run, row.Key), Set: platform.Item{"queue": claimList(nil)}, If: s.asRead(row),
	})
	if err != nil {
		return err
	}
	return s.leave(ctx, r.org, m, nil, row.queue)
}

// defaultApproval is how long people have where the file says nothing.
const defaultApproval = 7 * 24 * time.Hour

func (s *Service) asRead(row Stage) platform.Condition {
	return platform.All{
		platform.Equal{Attribute: "status", Value: platform.Text(row.Status)}, platform.Equal{Attribute: "version", Value: platform.Int(row.version)},
	}
}

// admit takes the places of a stage and starts it; or says where there is none.
func (s *Service) admit(ctx context.Context, r ref, node int, row Stage, g gates) (busy *claim, err error) {
	spec, m := r.graph.spec(node), r.graph.member(node)
	m.keep = g.keep
	to, c := StageQueued, s.queued(r, row.Key, 1, nil)
	switch {
	case len(spec.Run) > 0:
	case deploys(spec) && !r.graph.Open:
		to, c = StageRunning, change{follow: []string{boxDeploy}}
	default:
		to, c = StageSucceeded, change{why: whyNoCommands(spec), follow: []string{boxSettle}}
	}
	if g.env != nil {
		c.with = append(c.with, environment.Unmoved(r.org, *g.env))
	}
	if len(row.queue) > 0 {
		c.follow = append(c.follow, boxNext) // behind it others may find a place too
	}
	var boxes []box
	busy, err = s.take(ctx, r.org, m, g.claims, row.queue, func(set platform.Item, actions []platform.Action) (first int, err error) {
		_, boxes, err = s.move(ctx, r, row, to, c.and(set, actions))
		return moveActions + len(c.with), err
	})
	if busy != nil || err != nil {
		return busy, err
	}
	return nil, s.carryOut(ctx, r, boxes)
}

// and is a change with more to set, and more actions behind its own.
func (c change) and(set platform.Item, actions []platform.Action) change {
	all := platform.Item{}
	maps.Copy(all, c.set)
	maps.Copy(all, set)
	c.set, c.with = all, slices.Concat(c.with, actions)
	return c
}

// moveActions is where move puts the actions of its change: after row and event.
const moveActions = 2

func whyNoCommands(spec *language.Stage) string {
	if spec.Approval != nil {
		return "it was approved"
	}
	return "it has no commands"
}

// standInLine has a stage wait for the places that it lacks, and look once more.
func (s *Service) standInLine(ctx context.Context, r ref, node int, row Stage, g gates, busy claim) (bool, error) {
	m := r.graph.member(node)
	m.keep = g.keep
	switch {
	case len(row.queue) > 0: // it does already
		if g.mode == "cancel-older" {
			return false, s.cancelOlder(ctx, r, g.claims, m)
		}
		return false, nil
	case busy.kind == waitGroup && g.mode == "skip":
		return true, s.step(ctx, r, row, StageSkipped, change{reason: reasonGroupBusy, why: whySkipped(busy), follow: []string{boxSettle}})
	}
	full, err := s.full(ctx, r.org, g.claims)
	if err != nil {
		return false, err
	}
	if full != nil {
		return true, s.step(ctx, r, row, StageErrored, change{reason: reasonQueueFull, why: whyFull(*full), follow: []string{boxSettle}})
	}
	wait := s.waitIn(r.org, m, g.claims)
	queue := platform.Item{"queue": claimList(g.claims)}
	if row.Status == StageBlocked {
		err = s.step(ctx, r, row, StageGated, change{
			reason: busy.kind, why: whyBusy(busy), set: queue, with: wait, follow: []string{boxEnter},
		})
	} else if err = s.transact(ctx, append(wait, platform.Update{Key: stageRow(r.org, r.run, row.Key), Set: queue, If: s.asRead(row)})...); err == nil {
		_, err = s.passKey(ctx, r, row.Key)
	}
	return false, err
}

func whyFull(c claim) string {
	return fmt.Sprintf("%d wait for %s already", maxGroupWaits, c.say())
}

func whyBusy(c claim) string { return "waits for " + c.say() }

// say names what a claim is a place in.
func (c claim) say() string {
	switch c.kind {
	case waitEnvironment:
		return "the deployment to " + c.name + " that is under way"
	case waitQuota:
		return fmt.Sprintf("the quota of the organization: %d %s at once", c.limit, c.name)
	case waitMaxParallel:
		return fmt.Sprintf("max-parallel: %d cells of %q at once", c.limit, c.name)
	}
	return "concurrency group " + c.name
}

// cancelOlder cancels the older runs of a group, waiting or at work, but never one
// with a deployment that has begun: that one is waited for.
func (s *Service) cancelOlder(ctx context.Context, r ref, claims []claim, m member) error {
	var errs []error
	for _, c := range claims {
		if c.kind != waitGroup || strings.HasPrefix(c.scope, scopeRun) {
			continue
		}
		g, err := s.group(ctx, r.org, c)
		if err != nil {
			return err
		}
		older := g.waiting
		for _, held := range g.held {
			older = append(older, held)
		}
		for _, o := range older {
			if o.run == m.run || !o.before(m) || o.keep {
				continue
			}
			begun, err := s.deployBegun(ctx, r.org, o.run)
			if err == nil && !begun {
				_, err = s.Cancel(ctx, r.org, o.run, "superseded", fmt.Sprintf("run #%d is newer", m.number))
				err = unlessOver(err)
			}
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// deployBegun tells whether a stage of the run that deploys has begun.
func (s *Service) deployBegun(ctx context.Context, org platform.Org, id RunID) (bool, error) {
	r, _, err := s.openRun(ctx, org, id)
	if err != nil || r.graph == nil {
		return false, err
	}
	var nodes []int
	for i, n := range r.graph.Nodes {
		if n.Kind == Cell && deploys(r.graph.spec(i)) {
			nodes = append(nodes, i)
		}
	}
	if len(nodes) == 0 {
		return false, nil
	}
	rows, err := s.stages(ctx, r, nodes)
	if err != nil {
		return false, err
	}
	for _, st := range rows {
		switch st.Status {
		case StageBlocked, StageGated, StageSkipped, StageCanceled:
		case StageErrored: // it may have been stopped at its gate
			if !st.Started.IsZero() {
				return true, nil
			}
		default:
			return true, nil
		}
	}
	return false, nil
}
