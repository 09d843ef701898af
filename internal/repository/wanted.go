package repository

import (
	"context"
	"errors"
	"fmt"

	"github.com/buildit-dev/buildit/internal/forge"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/repository/git"
)

// closed makes the triggers of a pull request that was closed, merged or not: for
// the pipelines whose file asks for it (`types "closed"`), and for no other, since
// nobody waits for an answer. Closing moves no ref; its run is known by its subject,
// so that a delivery that comes again finds it.
func (s *Service) closed(ctx context.Context, org platform.Org, r Repository, remote *git.Remote, ref git.Ref, head git.CommitSHA, state refState, h hint) (outcome, error) {
	out := outcome{Ref: ref, Generation: state.Generation, Note: "the pull request is closed"}
	m := maker{s: s, org: org, r: r, remote: remote, ref: ref, state: state, hint: h}
	err := m.makeWanted(ctx, head, &out, (*language.Pipeline).WantsClosed)
	return out, err
}

// group makes the triggers of a branch that a merge queue has made, for the pipelines
// that ask for it (`on "merge-group"`). Its name holds what it was made of, so it has
// no generation; the push that comes with it is a push like any other.
func (s *Service) group(ctx context.Context, org platform.Org, r Repository, remote *git.Remote, e forge.Event) (outcome, error) {
	ref, err := git.ParseRef(e.Changes[0].Ref)
	if err != nil || ref.Branch() == "" || validBranch(e.Base) == "" {
		return outcome{Note: fmt.Sprintf("%q is no branch of a merge queue", clip(e.Changes[0].Ref))}, nil
	}
	out, head := outcome{Ref: ref}, remote.Head(ref)
	if head == "" {
		out.Note = "the merge queue has removed its branch already"
		return out, nil
	}
	m := maker{s: s, org: org, r: r, remote: remote, ref: ref, hint: hint{actor: e.ActorName, onto: e.Base}}
	err = m.makeWanted(ctx, head, &out, (*language.Pipeline).WantsGroups)
	return out, err
}

// makeWanted makes the triggers of the pipeline files of a commit that are of a kind.
func (m maker) makeWanted(ctx context.Context, head git.CommitSHA, out *outcome, kind func(*language.Pipeline) bool) (err error) {
	if head == "" || !m.r.RunPipelines {
		return nil
	}
	m.clone, err = m.remote.Fetch(ctx, git.Want{
		Commit: head, Branch: branchOf(m.ref, m.state), Depth: history,
		Also: []git.CommitSHA{m.remote.Head(git.Ref(git.Heads + baseOf(m.r, m.state)))},
	})
	if forGood(err) {
		out.Note = fmt.Sprintf("%s at %s is not run: %v", m.ref, head.Short(), err)
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.clone.Close()) }()
	if m.only, err = wanting(ctx, m.clone, head, kind); err != nil || len(m.only) == 0 {
		return err
	}
	return m.make(ctx, head, out)
}

// wanting are the pipeline files of a commit that are right and of a kind.
func wanting(ctx context.Context, clone *git.Clone, commit git.CommitSHA, kind func(*language.Pipeline) bool) (map[string]bool, error) {
	tree, err := clone.Tree(ctx, commit)
	if err != nil {
		return nil, err
	}
	files, _ := tree.Pipelines()
	only, top := make(map[string]bool), tree.FS()
	for _, file := range files {
		if p, _ := language.Load(top, file); p != nil && kind(p) {
			only[file] = true
		}
	}
	return only, nil
}
