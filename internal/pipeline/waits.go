package pipeline

import (
	"context"
	"fmt"
	"slices"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Wait is one thing that a queued run or a gated stage waits for.
type Wait struct {
	Kind     string `json:"kind"`               // approval, fork-approval, older-commit, group, environment, quota, max-parallel
	Group    string `json:"group,omitempty"`    // its name
	Position int    `json:"position,omitempty"` // among those who wait, from 1
	Holder   RunID  `json:"holder,omitempty"`   // a run that has a place
	Text     string `json:"text"`               // a sentence for people
}

// look remembers the groups that one view has read: of a large matrix all cells wait
// for the same.
type look map[claim]crowd

func (l look) group(ctx context.Context, s *Service, org platform.Org, c claim) (crowd, error) {
	if g, known := l[c]; known {
		return g, nil
	}
	g, err := s.group(ctx, org, c)
	if err == nil {
		g.waiting = g.next(c)
		l[c] = g
	}
	return g, err
}

// waitsIn are the places that a member waits for, with its position in each queue.
func (s *Service) waitsIn(ctx context.Context, org platform.Org, m member, claims []claim, l look) ([]Wait, error) {
	var waits []Wait
	for _, c := range claims {
		g, err := l.group(ctx, s, org, c)
		if err != nil {
			return nil, err
		}
		position := slices.IndexFunc(g.waiting, m.is) + 1
		if position == 0 {
			continue
		}
		if position == 1 && len(g.held) < c.limit && len(claims) > 1 {
			continue // it is another one that has no room
		}
		w := Wait{Kind: c.kind, Group: c.name, Position: position, Text: fmt.Sprintf("%s, number %d in line", whyBusy(c), position)}
		for _, held := range g.held {
			if w.Holder == "" || string(held.run) < string(w.Holder) {
				w.Holder = held.run
				if c.limit == 1 {
					w.Text += fmt.Sprintf(", behind run #%d", held.number)
				}
			}
		}
		waits = append(waits, w)
	}
	return waits, nil
}

// addWaits says what a queued run waits for.
func (s *Service) addWaits(ctx context.Context, org platform.Org, run *Run) error {
	if run.Status != Queued {
		return nil
	}
	r, _, err := s.openRun(ctx, org, run.ID)
	if err != nil || r.graph == nil {
		return err
	}
	held, err := s.held(ctx, r)
	if err != nil {
		return err
	}
	for _, o := range held {
		run.Waits = append(run.Waits, Wait{Kind: o.kind, Text: o.say()})
	}
	waits, err := s.waitsIn(ctx, org, r.graph.asRun(), run.queue, look{})
	run.Waits = append(run.Waits, waits...)
	return err
}

// addGate says what a stage asks of people, and what it waits for if it is gated.
func (s *Service) addGate(ctx context.Context, r ref, node int, st *Stage, l look) error {
	if !r.graph.gated(node) && len(st.queue) == 0 {
		return nil
	}
	spec := r.graph.spec(node)
	if spec.Environment != nil {
		st.Environment = spec.Environment.NameT
		if name, err := language.Expand(spec.Environment.NameT, r.graph.cellFacts(node, "")); err == nil {
			st.Environment = name
		}
	}
	var g gates
	if st.Status == StageGated {
		if spec.Approval != nil || spec.Environment != nil {
			above, err := s.above(ctx, r, node)
			if err != nil {
				return err
			}
			if g, err = s.gatesOf(ctx, r, node, above); err != nil {
				return err
			}
		}
		open, err := s.openRules(ctx, r, st.Key, g)
		if err != nil {
			return err
		}
		for _, o := range open {
			st.Waits = append(st.Waits, Wait{Kind: o.kind, Group: o.environment, Text: o.say()})
		}
		waits, err := s.waitsIn(ctx, r.org, r.graph.member(node), st.queue, l)
		if err != nil {
			return err
		}
		st.Waits = append(st.Waits, waits...)
		if len(st.Waits) > 0 {
			st.Why = st.Waits[0].Text
		}
	}
	var err error
	st.Approval, err = s.approvalView(ctx, r, node, *st, g)
	return err
}

// stageView reads one stage as people see it.
func (s *Service) stageView(ctx context.Context, r ref, key StageKey) (Stage, error) {
	st, err := s.stage(ctx, r, key)
	if err != nil {
		return st, err
	}
	node, err := r.graph.node(key)
	if err == nil {
		err = s.addGate(ctx, r, node, &st, look{})
	}
	return st, err
}

// unlessOver leaves out that there is nothing left to cancel.
func unlessOver(err error) error {
	if problem.Is(err, problem.Conflict) {
		return nil
	}
	return err
}
