package repository

import (
	"context"
	"errors"
	"fmt"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/repository/git"
)

// closed makes the triggers of a pull request that was closed, merged or not: for
// the pipelines whose file asks for it (`types "closed"`), and for no other, since
// nobody waits for an answer. Closing moves no ref; its run is known by its subject,
// so that a delivery that comes again finds it.
func (s *Service) closed(ctx context.Context, org platform.Org, r Repository, remote *git.Remote, ref git.Ref, head git.CommitSHA, state refState, h hint) (out outcome, err error) {
	out = outcome{Ref: ref, Generation: state.Generation, Note: "the pull request is closed"}
	if head == "" || !r.RunPipelines {
		return out, nil
	}
	clone, err := remote.Fetch(ctx, git.Want{
		Commit: head, Branch: state.Branch, Depth: history,
		Also: []git.CommitSHA{remote.Head(git.Ref(git.Heads + baseOf(r, state)))},
	})
	if forGood(err) {
		out.Note = fmt.Sprintf("%s at %s is not run: %v", ref, head.Short(), err)
		return out, nil
	}
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, clone.Close()) }()
	m := maker{s: s, org: org, r: r, remote: remote, clone: clone, ref: ref, state: state, hint: h}
	if m.only, err = wanting(ctx, clone, head, (*language.Pipeline).WantsClosed); err != nil || len(m.only) == 0 {
		return out, err
	}
	return out, m.make(ctx, head, &out)
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
