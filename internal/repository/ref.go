package repository

import (
	"context"
	"errors"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/repository/git"
)

// refState is the row of a ref. Its generation counts the heads that it has had;
// Done is the generation up to which triggers were made.
type refState struct {
	Head       git.CommitSHA // "" of a ref that was deleted
	Previous   git.CommitSHA // the head before
	Generation int64
	Done       int64
	Closed     bool   // a pull request that is closed
	Base       string // branch that a pull request wants to go to, as its last event said
	Branch     string // and the branch that it comes from
	Fork       bool   // and whether that lies in another repository
	Draft      bool   // and whether it is a draft
}

func refFromItem(i platform.Item) refState {
	return refState{
		Head: git.CommitSHA(i.Text("head")), Previous: git.CommitSHA(i.Text("previous")),
		Generation: i.Int("generation"), Done: i.Int("done"),
		Closed: i.Bool("closed"), Base: i.Text("base"), Branch: i.Text("branch"), Fork: i.Bool("fork"), Draft: i.Bool("draft"),
	}
}

func (s *Service) readRef(ctx context.Context, org platform.Org, id string, ref git.Ref) (refState, error) {
	item, err := s.home.Table.Get(ctx, refRowKey(org, id, ref))
	if errors.Is(err, platform.ErrNotFound) {
		return refState{}, nil
	}
	return refFromItem(item), err
}

// moveRef writes the head that the remote has now, with the next generation, on
// condition of the pair that was read; whoever loses reads again. A head that is
// there already moves nothing.
func (s *Service) moveRef(ctx context.Context, org platform.Org, id string, ref git.Ref, head git.CommitSHA) (refState, error) {
	for {
		state, err := s.readRef(ctx, org, id, ref)
		if err != nil || state.Head == head {
			return state, err
		}
		set := platform.Item{
			"head": platform.Text(head), "previous": platform.Text(state.Head),
			"generation": platform.Int(state.Generation + 1), "done": platform.Int(state.Done),
		}
		unmoved := platform.All{
			platform.Equal{Attribute: "head", Value: platform.Text(state.Head)},
			platform.Equal{Attribute: "generation", Value: platform.Int(state.Generation)},
		}
		item, err := s.home.Table.Write(ctx, platform.Update{Key: refRowKey(org, id, ref), Set: set, If: platform.Any{platform.Absent{Attribute: "generation"}, unmoved}})
		if err == nil {
			return refFromItem(item), nil
		}
		if !errors.Is(err, platform.ErrConditionFailed) {
			return state, err
		}
	}
}

// done remembers that the triggers of a generation were made. A newer generation
// is not touched: its finder makes its own.
func (s *Service) done(ctx context.Context, org platform.Org, id string, ref git.Ref, generation int64) error {
	_, err := s.home.Table.Write(ctx, platform.Update{
		Key: refRowKey(org, id, ref), Set: platform.Item{"done": platform.Int(generation)},
		If: platform.All{
			platform.Equal{Attribute: "generation", Value: platform.Int(generation)},
			platform.Less{Attribute: "done", Value: platform.Int(generation)},
		},
	})
	if errors.Is(err, platform.ErrConditionFailed) {
		return nil
	}
	return err
}

// notePull remembers what an event says of a pull request: a hint that helps people
// and conditions, and never decides trust. One whose commit is the same and which
// has become ready, was reopened or wants to go elsewhere gets a new generation, as
// if it had moved: what was skipped before may run now. That a repeated event finds
// the row as it should be makes it harmless.
func (s *Service) notePull(ctx context.Context, org platform.Org, id string, ref git.Ref, head git.CommitSHA, change func(*refState)) (refState, error) {
	for {
		old, err := s.readRef(ctx, org, id, ref)
		if err != nil {
			return old, err
		}
		state := old
		change(&state)
		asks := old.Draft && !state.Draft || old.Closed && !state.Closed || old.Base != "" && old.Base != state.Base
		if asks && !state.Closed && head == old.Head && old.Generation > 0 {
			state.Generation++
		}
		set := platform.Item{
			"closed": platform.Bool(state.Closed), "base": platform.Text(state.Base),
			"branch": platform.Text(state.Branch), "fork": platform.Bool(state.Fork), "draft": platform.Bool(state.Draft),
		}
		same := platform.Condition(platform.Absent{Attribute: "generation"})
		if old.Generation > 0 {
			set["generation"] = platform.Int(state.Generation)
			same = platform.Equal{Attribute: "generation", Value: platform.Int(old.Generation)}
		}
		_, err = s.home.Table.Write(ctx, platform.Update{Key: refRowKey(org, id, ref), Set: set, If: same})
		if !errors.Is(err, platform.ErrConditionFailed) {
			return state, err
		}
	}
}
