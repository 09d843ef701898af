package pipeline

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// rule is one demand for people who agree.
type rule struct {
	kind        string   // approval, fork-approval or older-commit
	environment string   // whose rule it is, "" for the stage's own
	who         []string // tokens by name, or roles; none: whoever may run pipelines
	count       int
	self        bool
	seen        int64 // older-commit: the release that must have been known to who agreed
	text        string
}

// vote is what one person has said about a gate.
type vote struct {
	Principal string    `json:"-"`
	By        string    `json:"by"`
	Verdict   string    `json:"verdict"` // approved or rejected
	Comment   string    `json:"comment,omitempty"`
	At        time.Time `json:"at"`
	Counts    bool      `json:"counts"` // false once who gave it has lost the right

	role    string
	digest  string
	seen    int64
	version int64
}

// The verdicts.
const (
	approved = "approved"
	rejected = "rejected"
)

func (v vote) item(key StageKey) platform.Item {
	return platform.Item{
		"principal": platform.Text(v.Principal), "by": platform.Text(v.By), "role": platform.Text(v.role), "verdict": platform.Text(v.Verdict),
		"comment": platform.Text(v.Comment), "digest": platform.Text(v.digest), "seen": platform.Int(v.seen),
		"at": platform.Stamp(v.At), "version": platform.Int(v.version), "key": platform.Text(key),
	}
}

func voteOf(item platform.Item) vote {
	return vote{
		Principal: item.Text("principal"), By: item.Text("by"), role: item.Text("role"), Verdict: item.Text("verdict"),
		Comment: item.Text("comment"), At: item.Time("at"), digest: item.Text("digest"), seen: item.Int("seen"), version: item.Int("version"),
	}
}

// approvalDigest names what people agree to: this attempt of this run of this commit,
// this stage, its parameters and what the stages above have made. Anything else is
// another digest, and voids what was said.
func approvalDigest(r ref, node int, above upstream) string {
	h := sha256.New()
	put := func(parts ...string) {
		for _, part := range parts {
			fmt.Fprintf(h, "%d:%s", len(part), part)
		}
	}
	t := r.graph.Trigger
	put(string(r.run), fmt.Sprint(max(t.Attempt, 1)), t.Commit, r.digest)
	if node >= 0 {
		put(string(r.graph.Nodes[node].Key))
	}
	for _, i := range slices.Sorted(keysOf(above.ends)) {
		put(string(r.graph.Nodes[i].Key), string(above.ends[i].Status))
		for _, name := range slices.Sorted(keysOf(above.ends[i].Outputs)) {
			put(name, above.ends[i].Outputs[name])
		}
		made := slices.Clone(above.artifacts[i])
		slices.SortFunc(made, func(a, b Artifact) int { return cmp.Compare(a.Name, b.Name) })
		for _, a := range made {
			put(a.Name, a.Value, a.SHA256)
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}

func keysOf[K comparable, V any](m map[K]V) func(yield func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// openRule is a rule that not enough people have satisfied.
type openRule struct {
	rule
	have int
}

// say is what a rule waits for.
func (o openRule) say() string {
	if o.kind == waitOlder {
		return o.text + "; somebody must agree"
	}
	text := fmt.Sprintf("waits for approval (%d of %d)", o.have, max(o.count, 1))
	switch {
	case len(o.who) > 0:
		text += " by " + strings.Join(o.who, ", ")
	case o.kind == waitFork:
		text += ": it is a stranger's commit"
	}
	if o.environment != "" {
		text += ", as environment " + o.environment + " asks"
	}
	return text
}

// openRules are the rules that are not satisfied yet. Who has lost the right since
// counts no more.
func (s *Service) openRules(ctx context.Context, r ref, key StageKey, g gates) ([]openRule, error) {
	if len(g.rules) == 0 {
		return nil, nil
	}
	votes, err := s.votes(ctx, r, key)
	if err != nil {
		return nil, err
	}
	var open []openRule
	for _, rule := range g.rules {
		have := 0
		for _, v := range votes {
			ok, err := s.counts(ctx, r, rule, v, g.digest)
			if err != nil {
				return nil, err
			}
			if ok {
				have++
			}
		}
		if have < max(rule.count, 1) {
			open = append(open, openRule{rule, have})
		}
	}
	return open, nil
}

func (s *Service) votes(ctx context.Context, r ref, key StageKey) ([]vote, error) {
	rows, err := s.rows(ctx, r.org, r.run, "vote", string(key))
	if err != nil {
		return nil, err
	}
	votes := make([]vote, 0, len(rows))
	for _, row := range rows {
		votes = append(votes, voteOf(row.Item))
	}
	return votes, nil
}

// counts tells whether a vote counts for a rule, now.
func (s *Service) counts(ctx context.Context, r ref, rule rule, v vote, digest string) (bool, error) {
	if v.Verdict != approved || v.digest != digest || rule.seen > v.seen {
		return false, nil
	}
	if s.Rights == nil {
		return rule.refuses(access.Caller{Name: v.By, Role: v.role, Kind: access.KindToken}, r.graph.Trigger) == "", nil
	}
	caller, err := s.Rights(ctx, r.org, v.Principal)
	if problem.Is(err, problem.Unauthorized) {
		return false, nil
	}
	return err == nil && rule.refuses(caller, r.graph.Trigger) == "", err
}

// refuses is why a caller does not count for a rule, "" if it does.
func (rule rule) refuses(caller access.Caller, t Trigger) string {
	needs := access.GateApprove
	if rule.kind == waitFork {
		needs = access.RunApprove
	}
	switch {
	case !caller.May(needs):
		return fmt.Sprintf("this needs %s, which the role %s of %q does not have", needs, caller.Role, caller.Name)
	case len(rule.who) > 0 && !slices.ContainsFunc(rule.who, caller.Is):
		return fmt.Sprintf("only %s may approve it, and you are %q with the role %s", strings.Join(rule.who, ", "), caller.Name, caller.Role)
	case len(rule.who) == 0 && !caller.May(access.PipelineRun):
		return fmt.Sprintf("who approves it must be allowed to run pipelines, and %q is not", caller.Name)
	case !rule.self && isAuthor(caller, t):
		return fmt.Sprintf("%q has written the commit or started the run, and somebody else must agree (self=true would allow it)", caller.Name)
	}
	return ""
}

// isAuthor tells whether a caller has written the commit or started the run, as far as
// names show it.
func isAuthor(caller access.Caller, t Trigger) bool {
	name, rest, _ := strings.Cut(t.Author, "<")
	mail := strings.TrimSuffix(strings.TrimSpace(rest), ">")
	for _, other := range []string{t.Actor, t.Author, strings.TrimSpace(name), mail} {
		if other != "" && strings.EqualFold(other, caller.Name) {
			return true
		}
	}
	return false
}

// Decision is what a person says about a gate.
type Decision struct {
	Comment string `json:"comment,omitempty"`
	// Commit and Digest, if given, must be those that are asked about: what the person
	// has seen. The stage's view has both.
	Commit string `json:"commit,omitempty"`
	Digest string `json:"digest,omitempty"`
	// Skip makes a rejected stage skipped instead of failed.
	Skip bool `json:"skip,omitempty"`
}

const maxComment = 1000 // bytes

func (d Decision) check(commit, digest string) error {
	switch {
	case len(d.Comment) > maxComment:
		return problem.New(problem.Invalid, "A comment has at most %d bytes.", maxComment).InField("comment")
	case d.Commit != "" && !strings.HasPrefix(commit, d.Commit):
		return problem.New(problem.Conflict, "The run is of commit %s, not of %s: look at it again.", commit, d.Commit).InField("commit")
	case d.Digest != "" && d.Digest != digest:
		return problem.New(problem.Conflict, "What is asked for has changed since: its digest is %s. Look at it again.", digest).InField("digest")
	}
	return nil
}

// Approve notes that a caller agrees that a stage, of that key or name, starts.
func (s *Service) Approve(ctx context.Context, caller access.Caller, id RunID, stage string, d Decision) (Stage, error) {
	for {
		at, err := s.gateAt(ctx, caller.Org, id, stage)
		if err != nil {
			return Stage{}, err
		}
		if err := at.admits(caller, d, false); err != nil {
			return Stage{}, err
		}
		err = s.vote(ctx, at, caller, d)
		if lost(err) {
			continue
		}
		if err != nil {
			return Stage{}, err
		}
		return s.stageView(ctx, at.r, at.row.Key)
	}
}

// Reject ends a stage that waits for approval: it has failed, or is skipped.
func (s *Service) Reject(ctx context.Context, caller access.Caller, id RunID, stage string, d Decision) (Stage, error) {
	for {
		at, err := s.gateAt(ctx, caller.Org, id, stage)
		if err != nil {
			return Stage{}, err
		}
		if err := at.admits(caller, d, true); err != nil {
			return Stage{}, err
		}
		to := StageFailed
		if d.Skip {
			to = StageSkipped
		}
		err = s.step(ctx, at.r, at.row, to, change{
			reason: reasonRejected, why: withComment("rejected by "+caller.Name, d.Comment), follow: []string{boxSettle},
			with: s.voteRows(at.r, at.row.Key, caller, d, rejected, at.gates, vote{}),
		})
		if lost(err) {
			continue
		}
		if err != nil {
			return Stage{}, err
		}
		return s.stageView(ctx, at.r, at.row.Key)
	}
}

func withComment(text, comment string) string {
	if comment == "" {
		return text
	}
	return text + ": " + comment
}

// atGate is a stage that waits for people.
type atGate struct {
	r     ref
	node  int
	row   Stage
	gates gates
}

// gateAt finds a stage that waits for people.
func (s *Service) gateAt(ctx context.Context, org platform.Org, id RunID, word string) (atGate, error) {
	r, run, err := s.openRun(ctx, org, id)
	if err != nil {
		return atGate{}, asNotFound(err, id)
	}
	if r.graph == nil {
		return atGate{}, problem.New(problem.NotFound, "Run %s has no stages.", id)
	}
	at := atGate{r: r}
	if at.node, err = r.graph.named(word); err != nil {
		return at, err
	}
	if at.row, err = s.stage(ctx, r, r.graph.Nodes[at.node].Key); err != nil {
		return at, err
	}
	if run.Status != Running || at.row.Status != StageGated {
		return at, problem.New(problem.Conflict, "The run is %s and stage %q is %s: it does not wait for anybody now.", run.Status, at.row.Name, at.row.Status)
	}
	above, err := s.above(ctx, r, at.node)
	if err != nil {
		return at, err
	}
	at.gates, err = s.gatesOf(ctx, r, at.node, above)
	if err == nil && len(at.gates.rules) == 0 {
		err = problem.New(problem.Conflict, "Stage %q waits for no approval: %s.", at.row.Name, at.row.Why)
	}
	return at, err
}

// named finds a cell by its key or its name.
func (g *Graph) named(word string) (int, error) {
	var names []string
	for i, n := range g.Nodes {
		if n.Kind != Cell {
			continue
		}
		if word == string(n.Key) || word == n.Name {
			return i, nil
		}
		names = append(names, n.Name)
	}
	help := ""
	if nearest := language.Nearest(word, names); nearest != "" {
		help = fmt.Sprintf("; did you mean %q?", nearest)
	}
	return 0, problem.New(problem.NotFound, "The run has no stage %q%s", word, orText(help, "."))
}

// admits checks what a caller says. Who rejects may be the author.
func (at atGate) admits(caller access.Caller, d Decision, rejects bool) error {
	if err := d.check(at.r.graph.Trigger.Commit, at.gates.digest); err != nil {
		return err
	}
	why := ""
	for _, rule := range at.gates.rules {
		rule.self = rule.self || rejects
		if why = rule.refuses(caller, at.r.graph.Trigger); why == "" {
			return nil
		}
	}
	return problem.New(problem.Forbidden, "You may not decide about stage %q: %s.", at.row.Name, why)
}

// vote writes what a caller says, while the stage still waits for it, and looks
// whether it was enough.
func (s *Service) vote(ctx context.Context, at atGate, caller access.Caller, d Decision) error {
	var before vote
	item, err := s.home.Table.Get(ctx, voteRow(at.r.org, at.r.run, at.row.Key, caller.Principal()))
	switch {
	case err == nil:
		before = voteOf(item)
	case !errors.Is(err, platform.ErrNotFound):
		return err
	}
	row := at.row
	row.version++ // of the outbox row's name alone: two votes do not meet in one
	b, put := s.boxPut(at.r, boxEnter+"-"+caller.Principal(), row, 0)
	put.Item["kind"], b.kind = platform.Text(boxEnter), boxEnter
	actions := append(s.voteRows(at.r, at.row.Key, caller, d, approved, at.gates, before), put, platform.Check{
		Key: stageRow(at.r.org, at.r.run, at.row.Key), If: s.asRead(at.row),
	})
	if err := s.transact(ctx, actions...); err != nil {
		return err
	}
	if s.Observe != nil {
		s.Observe.StageChanged(at.r.run, at.row)
	}
	if err := s.carryOut(ctx, at.r, []box{b}); err != nil {
		s.Log.ErrorContext(ctx, "an approved stage starts late", "run", at.r.run, "stage", at.row.Name, "err", err) // the outbox repeats it
	}
	return nil
}

// voteRows are a vote and its event.
func (s *Service) voteRows(r ref, key StageKey, caller access.Caller, d Decision, verdict string, g gates, before vote) []platform.Action {
	v := vote{
		Principal: caller.Principal(), By: caller.Name, Verdict: verdict, Comment: d.Comment, At: s.home.Clock.Now(),
		role: caller.Role, digest: g.digest, version: before.version + 1,
	}
	if g.env != nil {
		v.seen = g.env.Releases
	}
	same := platform.NoRow
	if before.version > 0 {
		same = platform.Equal{Attribute: "version", Value: platform.Int(before.version)}
	}
	entity := "vote-" + string(key) + "-" + v.Principal
	if verdict == rejected { // with the step of the stage: whoever has approved before may reject
		same, entity = nil, "reject-"+string(key)
	}
	return []platform.Action{
		platform.Put{Key: voteRow(r.org, r.run, key, v.Principal), Item: v.item(key), If: same},
		platform.Put{Key: eventRow(r.org, r.run, entity, v.version), Item: platform.Item{
			"entity": platform.Text("approval"), "key": platform.Text(key), "status": platform.Text(verdict), "from": platform.Text(before.Verdict),
			"why": platform.Text(withComment("by "+v.By, v.Comment)), "version": platform.Int(v.version), "at": platform.Stamp(v.At),
		}},
	}
}

// expire ends a stage for which not enough people have agreed in time.
func (s *Service) expire(ctx context.Context, r ref, node int, row Stage) (bool, error) {
	if row.expires.IsZero() || s.home.Clock.Now().Before(row.expires) {
		return false, nil
	}
	above, err := s.above(ctx, r, node)
	if err != nil {
		return false, err
	}
	g, err := s.gatesOf(ctx, r, node, above)
	if err != nil {
		return false, err
	}
	open, err := s.openRules(ctx, r, row.Key, g)
	if err != nil || len(open) == 0 {
		return false, err
	}
	return true, s.step(ctx, r, row, StageTimedOut, change{
		reason: reasonExpired, why: "nobody has decided in time: it " + open[0].say(), follow: []string{boxSettle},
	})
}

// ApprovalView is what a stage asks of people, and what they have said.
type ApprovalView struct {
	Who     []string  `json:"who,omitempty"` // tokens by name, or roles; none: whoever may run pipelines
	Count   int       `json:"count"`
	Self    bool      `json:"self,omitempty"`
	Message string    `json:"message,omitempty"`
	Expires time.Time `json:"expires_at,omitzero"`
	Digest  string    `json:"digest,omitempty"` // of what is asked for, once it is known
	Votes   []vote    `json:"votes,omitempty"`
}

// approvalView is what a stage asks of people; nil if it asks nobody. Stages show it
// from the beginning of their run on.
func (s *Service) approvalView(ctx context.Context, r ref, node int, st Stage, g gates) (*ApprovalView, error) {
	spec := r.graph.spec(node)
	if spec.Approval == nil && len(g.rules) == 0 || r.graph.Open {
		return nil, nil
	}
	view := &ApprovalView{Count: 1, Expires: st.expires, Digest: g.digest}
	if a := spec.Approval; a != nil {
		view.Who, view.Count, view.Self = a.Groups, max(a.Count, 1), a.Self
		view.Message = a.MessageT
		if text, err := language.Expand(a.MessageT, r.graph.finalFacts(node, upstream{})); err == nil {
			view.Message = text
		}
	} else {
		view.Who, view.Count, view.Self = g.rules[0].who, max(g.rules[0].count, 1), g.rules[0].self
	}
	if st.Status == StageBlocked {
		return view, nil
	}
	votes, err := s.votes(ctx, r, st.Key)
	if err != nil {
		return nil, err
	}
	for _, v := range votes {
		v.Counts = st.Status.Final() && v.Verdict == approved
		for _, rule := range g.rules {
			ok, err := s.counts(ctx, r, rule, v, g.digest)
			if err != nil {
				return nil, err
			}
			v.Counts = v.Counts || ok
		}
		view.Votes = append(view.Votes, v)
	}
	return view, nil
}
