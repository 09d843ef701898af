package repository

import (
	"context"
	"errors"
	"fmt"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/repository/git"
)

// outcome is what became of one ref, for the row of the delivery that asked.
type outcome struct {
	Ref        git.Ref
	Generation int64
	Runs       []string
	Note       string // why there is no run, or something else to know
}

// hint is what somebody knows who looks at a ref. Nothing of it decides trust.
type hint struct {
	after  git.CommitSHA // the head that an event spoke of, "" if nobody did
	actor  string
	action string        // what happened to a pull request
	why    string        // shown on the run
	onto   string        // of a merge queue's branch: the branch that it is to become
	head   git.CommitSHA // of a subject that is no ref of the remote (Bitbucket's pull requests)
}

// look compares a ref with its row, moves the row, and makes the triggers that its
// generation lacks. It may be called at any time, by anybody, any number of times.
func (s *Service) look(ctx context.Context, org platform.Org, r Repository, remote *git.Remote, ref git.Ref, h hint) (outcome, error) {
	head := remote.Head(ref)
	if h.head != "" {
		head = h.head
	}
	state, err := s.moveRef(ctx, org, r.ID, ref, head)
	out := outcome{Ref: ref, Generation: state.Generation}
	if err != nil {
		return out, err
	}
	passed := h.after != "" && h.after != head && string(ref) == git.Heads+r.DefaultBranch
	if state.Done >= state.Generation && !passed {
		out.Note = already(state.Generation)
		return out, nil
	}
	switch {
	case head == "":
		out.Note = "the ref was deleted; its queued runs are canceled"
		if state.Generation > 0 {
			err = s.runs.CancelQueued(ctx, org, r.ID, string(ref), fmt.Sprintf("%s was deleted.", ref))
		}
	case !r.RunPipelines:
		out.Note = "pipelines of this repository are not confirmed yet; `buildit repo confirm` does it"
	default:
		err = s.start(ctx, org, r, remote, ref, state, h, passed, &out)
		if forGood(err) {
			out.Note = fmt.Sprintf("%s at %s is not run: %v", ref, state.Head.Short(), err)
			err = s.noteHookFailure(ctx, org, r.ID, out.Note)
		}
	}
	if err != nil {
		return out, err
	}
	return out, s.done(ctx, org, r.ID, ref, state.Generation)
}

// forGood says that a commit will never be taken: it is too large, or nothing that a
// tree may be. Looking again would bring the same answer, and hold up other refs.
func forGood(err error) bool {
	return problem.Is(err, problem.TooLarge) || problem.Is(err, problem.Invalid)
}

func already(generation int64) string {
	if generation == 1 {
		return "the commit was there before the repository was connected, or was handled already"
	}
	return "the commit was handled already"
}

// start makes the triggers of a ref's head, and of the commit that an event spoke
// of if the last move of the default branch went over it.
func (s *Service) start(ctx context.Context, org platform.Org, r Repository, remote *git.Remote, ref git.Ref, state refState, h hint, passed bool, out *outcome) (err error) {
	tip := remote.Head(git.Ref(git.Heads + r.DefaultBranch))
	base := remote.Head(git.Ref(git.Heads + baseOf(r, state)))
	want := git.Want{
		Commit: state.Head, Branch: branchOf(ref, state), Depth: history,
		Also: []git.CommitSHA{state.Previous, tip, base},
	}
	clone, err := remote.Fetch(ctx, want)
	if problem.Is(err, problem.TooLarge) { // perhaps only what lies behind the head is: without it, nobody knows what changed
		clone, err = remote.Fetch(ctx, git.Want{Commit: want.Commit, Branch: want.Branch, Depth: s.options.Depth})
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, clone.Close()) }()
	m := maker{s: s, org: org, r: r, remote: remote, clone: clone, ref: ref, state: state, hint: h}
	if passed {
		if over, known := clone.Passed(h.after, state.Previous, state.Head); over && known {
			if err := m.make(ctx, h.after, out); err != nil {
				return err
			}
		} else {
			out.Note = "superseded: the head is " + state.Head.Short() + " by now"
		}
	}
	if state.Done >= state.Generation {
		return nil
	}
	return m.make(ctx, state.Head, out)
}

// history is how many commits below the heads are fetched, to tell what changed.
const history = 32

func baseOf(r Repository, state refState) string {
	if state.Base != "" {
		return state.Base
	}
	return r.DefaultBranch
}

func branchOf(ref git.Ref, state refState) string {
	if branch := ref.Branch(); branch != "" {
		return branch
	}
	return state.Branch
}
