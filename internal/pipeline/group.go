package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// A group has a limited number of places. Concurrency groups, the deployments of an
// environment, the cells of a matrix under max-parallel and the quota of an
// organization are all groups.
//
// Whoever starts takes a place in each group that it needs, all of them in the one
// transaction that starts it, or none: so nobody who waits holds anything. Who finds
// no place writes that it waits, and then looks once more; who gives a place back
// looks afterwards for those who wait. Whichever of the two comes last sees the other.

// The kinds of waits.
const (
	waitApproval    = "approval"
	waitFork        = "fork-approval" // a stranger's commit
	waitOlder       = "older-commit"  // a newer one is deployed
	waitGroup       = "group"
	waitEnvironment = "environment" // another deployment is under way
	waitQuota       = "quota"
	waitMaxParallel = "max-parallel"
)

// Limits of groups.
const (
	maxGroupWaits = 100 // who wait for one concurrency group or environment
	maxGroupName  = 255 // bytes, after replacement
	takeTries     = 20  // places that others take before us, until we wait
)

// claim is one place that somebody needs.
type claim struct {
	kind  string // of the wait for it
	scope string // whose the group is: org, repository/<id>, environment, quota, run/<id>…
	name  string // as people know it
	limit int
}

func (c claim) partition(org platform.Org) platform.Partition {
	return org.Partition("group", c.scope, c.name)
}

// ordered tells whether the first in turn holds up all others.
func (c claim) ordered() bool { return c.kind == waitGroup || c.kind == waitEnvironment }

func (c claim) same(other claim) bool { return c.scope == other.scope && c.name == other.name }

// place is a claim that is held.
type place struct {
	claim
	slot int
}

func (p place) row(org platform.Org) platform.RowKey {
	return p.partition(org).Row("slot", fmt.Sprintf("%03d", p.slot))
}

// runKey stands for the run itself where a stage's key is asked for.
const runKey StageKey = "run"

// member is who holds a place or waits for one: a run, or a stage of it.
type member struct {
	run             RunID
	key             StageKey
	number, attempt int // of the run
	node            int
	repository      string
	keep            bool // its branch is under `except`: a newer run never cancels it
}

func (g *Graph) member(node int) member {
	return member{
		run: g.Run, key: g.Nodes[node].Key, number: g.Number, attempt: max(g.Trigger.Attempt, 1), node: node, repository: g.Trigger.Repository,
	}
}

// asRun is the run of a graph as a member.
func (g *Graph) asRun() member {
	m := g.member(g.end())
	m.key = runKey
	return m
}

// turn is the order of those who wait: the run's number, and within a run that of the
// file. It is the same in every group, so that no two wait for each other.
func (m member) turn() []string {
	return []string{fmt.Sprintf("%010d", m.number), fmt.Sprintf("%03d", m.attempt), string(m.run), fmt.Sprintf("%05d", m.node), string(m.key)}
}

func (m member) before(other member) bool { return slices.Compare(m.turn(), other.turn()) < 0 }

func (m member) is(other member) bool { return m.run == other.run && m.key == other.key }

func (m member) item() platform.Item {
	return platform.Item{
		"run": platform.Text(m.run), "key": platform.Text(m.key), "number": platform.Int(m.number), "attempt": platform.Int(m.attempt),
		"node": platform.Int(m.node), "repository": platform.Text(m.repository), "keep": platform.Bool(m.keep),
	}
}

func memberOf(item platform.Item) member {
	return member{
		run: RunID(item.Text("run")), key: StageKey(item.Text("key")), number: int(item.Int("number")), attempt: int(item.Int("attempt")),
		node: int(item.Int("node")), repository: item.Text("repository"), keep: item.Bool("keep"),
	}
}

func (c claim) waitRow(org platform.Org, m member) platform.RowKey {
	return c.partition(org).Row("wait", m.turn()...)
}

// crowd is a group as it stands: who holds its places, and who waits.
type crowd struct {
	held    map[int]member // by place
	waiting []member       // in their turn
}

func (s *Service) group(ctx context.Context, org platform.Org, c claim) (crowd, error) {
	g := crowd{held: make(map[int]member)}
	for q := (platform.Query{Partition: c.partition(org)}); ; {
		page, err := s.home.Table.Query(ctx, q)
		if err != nil {
			return g, fmt.Errorf("group %s: %w", c.name, err)
		}
		for _, row := range page.Rows {
			parts := row.Key.Parts()
			switch {
			case parts[0] == "wait":
				g.waiting = append(g.waiting, memberOf(row.Item))
			case row.Item.Text("run") != "":
				if slot, err := strconv.Atoi(parts[1]); err == nil {
					g.held[slot] = memberOf(row.Item)
				}
			}
		}
		if q.Cursor = page.Cursor; q.Cursor == "" {
			return g, nil
		}
	}
}

// free is a place of the group that m may take, -1 if there is none for it now.
func (g crowd) free(c claim, m member) int {
	switch {
	case len(g.waiting) == 0:
	case c.ordered() && g.waiting[0].before(m) && !g.waiting[0].is(m):
		return -1
	case c.kind == waitQuota && !slices.ContainsFunc(g.waiting, m.is): // whoever comes new waits too
		return -1
	}
	for slot := range c.limit {
		if _, held := g.held[slot]; !held {
			return slot
		}
	}
	return -1
}

// next are those who wait, in the order in which they may start. In a quota the
// repository that has least at work comes first, so that none keeps the others out.
func (g crowd) next(c claim) []member {
	if c.kind != waitQuota {
		return g.waiting
	}
	load := make(map[string]int)
	for _, m := range g.held {
		load[m.repository]++
	}
	type ranked struct {
		member
		load int
	}
	all := make([]ranked, 0, len(g.waiting))
	for _, m := range g.waiting { // in turn within a repository
		all = append(all, ranked{m, load[m.repository]})
		load[m.repository]++
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Compare(a.load, b.load) })
	list := make([]member, len(all))
	for i, r := range all {
		list[i] = r.member
	}
	return list
}

// take starts m with a place in each of its claims, or says which claim has none now.
// start makes the transaction: it adds set to the row that starts and actions behind
// its own, and answers where they begin.
func (s *Service) take(ctx context.Context, org platform.Org, m member, claims, queue []claim, start func(set platform.Item, actions []platform.Action) (first int, err error)) (busy *claim, err error) {
	for range takeTries {
		places, busy, err := s.places(ctx, org, m, claims)
		if busy != nil || err != nil {
			return busy, err
		}
		var actions []platform.Action
		for _, p := range places {
			actions = append(actions, s.hold(org, p, m))
		}
		for _, c := range queue {
			actions = append(actions, platform.Delete{Key: c.waitRow(org, m)})
		}
		set := platform.Item{"holds": placeList(places), "queue": claimList(nil)}
		first, err := start(set, actions)
		again := false
		for i, p := range places {
			again = again || platform.FailedAt(err, first+i)
			if err == nil || platform.FailedAt(err, first+i) {
				s.hint.mark(org, p, true)
			}
		}
		if !again {
			return nil, err
		}
	}
	return &claims[0], nil
}

// hold takes a place, if nobody has it. epoch counts how often the place was taken.
func (s *Service) hold(org platform.Org, p place, m member) platform.Action {
	return platform.Update{
		Key:    p.row(org),
		Set:    s.groupDue(m.item(), m),
		Add:    map[string]int64{"epoch": 1},
		Remove: []string{platform.ExpiresAttribute},
		If:     platform.Any{platform.NoRow, platform.Absent{Attribute: "run"}},
	}
}

// groupLook is how often the sweeper looks at a place that is held, and at who waits:
// at what a crash may have left.
const groupLook = 5 * time.Minute

func (s *Service) groupDue(item platform.Item, m member) platform.Item {
	return item.DueAt(dueKey(m.run, s.home.Clock.Now().Add(groupLook)))
}

// places chooses a free place for each claim.
func (s *Service) places(ctx context.Context, org platform.Org, m member, claims []claim) ([]place, *claim, error) {
	places := make([]place, 0, len(claims))
	for i, c := range claims {
		slot := -1
		if c.kind == waitQuota {
			slot = s.hint.free(org, c)
		}
		if slot < 0 {
			g, err := s.group(ctx, org, c)
			if err != nil {
				return nil, nil, err
			}
			slot = g.free(c, m)
			s.hint.set(org, c, g)
		}
		if slot < 0 {
			return nil, &claims[i], nil
		}
		places = append(places, place{c, slot})
	}
	return places, nil, nil
}

// waitIn are the rows of those who wait for claims.
func (s *Service) waitIn(org platform.Org, m member, claims []claim) []platform.Action {
	var actions []platform.Action
	for _, c := range claims {
		actions = append(actions, platform.Put{Key: c.waitRow(org, m), Item: s.groupDue(m.item(), m)})
	}
	return actions
}

// full tells which concurrency group, or environment, has no room for one more who waits.
func (s *Service) full(ctx context.Context, org platform.Org, claims []claim) (*claim, error) {
	for i, c := range claims {
		if !c.ordered() {
			continue
		}
		g, err := s.group(ctx, org, c)
		if err != nil {
			return nil, err
		}
		if len(g.waiting) >= maxGroupWaits {
			return &claims[i], nil
		}
	}
	return nil, nil
}

// emptyKeep is how long the row of a place stays that nobody takes again.
const emptyKeep = 90 * 24 * time.Hour

// leave gives back the places of a member that is over, takes it out of the queues it
// waits in, and lets in who is next.
func (s *Service) leave(ctx context.Context, org platform.Org, m member, holds []place, queue []claim) error {
	for _, p := range holds {
		if err := s.giveBack(ctx, org, p, m); err != nil {
			return err
		}
	}
	for _, c := range queue {
		if _, err := s.home.Table.Write(ctx, platform.Delete{Key: c.waitRow(org, m)}); err != nil {
			return fmt.Errorf("group %s: leave the queue: %w", c.name, err)
		}
	}
	var errs []error
	for _, p := range holds {
		errs = append(errs, s.letIn(ctx, org, p.claim))
	}
	for _, c := range queue {
		errs = append(errs, s.letIn(ctx, org, c))
	}
	return errors.Join(errs...)
}

func (s *Service) giveBack(ctx context.Context, org platform.Org, p place, m member) error {
	_, err := s.home.Table.Write(ctx, platform.Update{
		Key:    p.row(org),
		Set:    platform.Item{platform.ExpiresAttribute: platform.Int(s.home.Clock.Now().Add(emptyKeep).Unix())},
		Remove: []string{"run", "key", "number", "attempt", "node", "repository", "keep", platform.DuePartition, platform.DueSort},
		If: platform.All{
			platform.Equal{Attribute: "run", Value: platform.Text(m.run)}, platform.Equal{Attribute: "key", Value: platform.Text(m.key)},
		},
	})
	if err != nil && !lost(err) {
		return fmt.Errorf("group %s: give back a place: %w", p.name, err)
	}
	s.hint.mark(org, p, false)
	return nil
}

// letIn starts who waits for a group, as far as there is room.
func (s *Service) letIn(ctx context.Context, org platform.Org, c claim) error {
	g, err := s.group(ctx, org, c)
	if err != nil || len(g.waiting) == 0 {
		s.hint.set(org, c, g)
		return err
	}
	s.hint.set(org, c, g)
	room := len(g.waiting) // who finds no place says so
	if c.kind == waitQuota {
		limits, err := s.limits(ctx, org)
		if err != nil {
			return err
		}
		if limits.of(c.name) > 0 {
			room = limits.of(c.name) - len(g.held)
		}
	}
	var errs []error
	for _, m := range g.next(c) {
		if room <= 0 {
			break
		}
		found, err := s.enter(ctx, org, c, m)
		errs = append(errs, err)
		switch {
		case found == entered:
			room--
		case found == blocked && c.kind != waitQuota: // the next one would overtake it
			return errors.Join(errs...)
		}
	}
	return errors.Join(errs...)
}

// found is what came of one who waits.
type found int

const (
	blocked found = iota // it waits on
	entered              // it has started, or ended
	left                 // it does not wait any more
)

// enter tries to start one who waits for a group. Who waits no longer is taken out.
func (s *Service) enter(ctx context.Context, org platform.Org, c claim, m member) (found, error) {
	waits, r, err := s.waitsStill(ctx, org, m)
	if err != nil {
		return blocked, err
	}
	if !waits {
		_, err := s.home.Table.Write(ctx, platform.Delete{Key: c.waitRow(org, m)})
		return left, err
	}
	in := false
	if m.key == runKey {
		in, err = s.passRun(ctx, r)
	} else {
		in, err = s.passKey(ctx, r, m.key)
	}
	if in {
		return entered, err
	}
	return blocked, err
}

// waitsStill tells whether a member is gated, or queued.
func (s *Service) waitsStill(ctx context.Context, org platform.Org, m member) (bool, ref, error) {
	r, run, err := s.openRun(ctx, org, m.run)
	switch {
	case errors.Is(err, platform.ErrNotFound):
		return false, r, nil
	case err != nil:
		return false, r, err
	case m.key == runKey:
		return run.Status == Queued, r, nil
	case run.Status.Final() || r.graph == nil:
		return false, r, nil
	}
	st, err := s.stage(ctx, r, m.key)
	return err == nil && st.Status == StageGated, r, err
}

// letNext lets in who waits behind a member that has just started.
func (s *Service) letNext(ctx context.Context, r ref, key StageKey) error {
	var holds []place
	if key == runKey {
		run, err := s.run(ctx, r.org, r.run)
		if err != nil {
			return err
		}
		holds = run.holds
	} else {
		st, err := s.stage(ctx, r, key)
		if err != nil {
			return err
		}
		holds = st.holds
	}
	var errs []error
	for _, p := range holds {
		if p.ordered() && p.limit > 1 {
			errs = append(errs, s.letIn(ctx, r.org, p.claim))
		}
	}
	return errors.Join(errs...)
}

// sweepGroup looks at one row of a group: a place whose holder is over is given back,
// one who waits is tried again.
func (s *Service) sweepGroup(ctx context.Context, org platform.Org, row platform.Row) error {
	parents, parts, m := row.Key.Parents(), row.Key.Parts(), memberOf(row.Item)
	if len(parents) != 4 || m.run == "" {
		return nil
	}
	_, err := s.home.Table.Write(ctx, platform.Update{ // looked at again later, whatever comes of it
		Key: row.Key, Set: s.groupDue(platform.Item{}, m), If: platform.Equal{Attribute: "run", Value: platform.Text(m.run)},
	})
	if err != nil {
		if lost(err) {
			return nil
		}
		return err
	}
	c := claim{scope: parents[2], name: parents[3], limit: 1}
	c.kind = kindOf(c.scope)
	if parts[0] == "wait" {
		_, err := s.enter(ctx, org, c, m)
		return err
	}
	over, err := s.isOver(ctx, org, m)
	if err != nil || !over {
		return err
	}
	slot, err := strconv.Atoi(parts[1])
	if err != nil {
		return fmt.Errorf("place %q: %w", parts[1], err)
	}
	return s.leave(ctx, org, m, []place{{c, slot}}, nil)
}

// isOver tells whether who holds a place has ended.
func (s *Service) isOver(ctx context.Context, org platform.Org, m member) (bool, error) {
	run, err := s.run(ctx, org, m.run)
	switch {
	case errors.Is(err, platform.ErrNotFound):
		return true, nil
	case err != nil || m.key == runKey || run.Status.Final():
		return run.Status.Final(), err
	}
	st, err := s.stage(ctx, ref{org: org, run: m.run}, m.key)
	return err == nil && st.Status.Final(), err
}

// The scopes of groups.
const (
	scopeOrg         = "org"
	scopeRepository  = "repository/"
	scopeEnvironment = "environment"
	scopeQuota       = "quota"
	scopeMatrix      = "matrix/"
	scopeRun         = "run/" // a group that the run holds, among its own stages
)

func kindOf(scope string) string {
	switch {
	case scope == scopeEnvironment:
		return waitEnvironment
	case scope == scopeQuota:
		return waitQuota
	case len(scope) > len(scopeMatrix) && scope[:len(scopeMatrix)] == scopeMatrix:
		return waitMaxParallel
	}
	return waitGroup
}

// Claims and places as attributes of the row of who has them.

func claimList(claims []claim) platform.List {
	list := make(platform.List, len(claims))
	for i, c := range claims {
		list[i] = platform.TextList([]string{c.kind, c.scope, c.name, strconv.Itoa(c.limit)})
	}
	return list
}

func placeList(places []place) platform.List {
	list := make(platform.List, len(places))
	for i, p := range places {
		list[i] = platform.TextList([]string{p.kind, p.scope, p.name, strconv.Itoa(p.limit), strconv.Itoa(p.slot)})
	}
	return list
}

func placesOf(item platform.Item, name string) []place {
	list, isList := item[name].(platform.List)
	if !isList {
		return nil
	}
	var places []place
	for _, v := range list {
		texts := (platform.Item{"p": v}).Texts("p")
		if len(texts) < 4 {
			continue
		}
		limit, err := strconv.Atoi(texts[3])
		p := place{claim: claim{texts[0], texts[1], texts[2], limit}}
		if err == nil && len(texts) > 4 {
			p.slot, err = strconv.Atoi(texts[4])
		}
		if err == nil {
			places = append(places, p)
		}
	}
	return places
}

func claimsOf(item platform.Item, name string) []claim {
	var claims []claim
	for _, p := range placesOf(item, name) {
		claims = append(claims, p.claim)
	}
	return claims
}

// randomSlot spreads those who look for a place, so that they seldom meet.
func randomSlot(limit int) int { return rand.IntN(limit) }
