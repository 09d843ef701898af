package git

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing/object"
)

// MaxChanged is how many changed files a list may have; more are unknown.
const MaxChanged = 10_000

// Passed says whether a move of a ref from old to head went over commit: commit is
// an ancestor of head and none of old. known is false where the history that was
// fetched is too short to tell.
func (c *Clone) Passed(commit, old, head CommitSHA) (passed, known bool) {
	if commit == head || commit == old {
		return false, true
	}
	above, whole := c.ancestors(head, old)
	if !above[commit] {
		return false, whole
	}
	below, whole := c.ancestors(old, "")
	return !below[commit], whole || below[commit] || above[old]
}

// ancestors are the commits that from leads to, from among them, not further than
// stop. whole is false where the fetched history ends before its beginning.
func (c *Clone) ancestors(from, stop CommitSHA) (seen map[CommitSHA]bool, whole bool) {
	seen, whole = map[CommitSHA]bool{}, true
	for next := []CommitSHA{from}; len(next) > 0; {
		sha := next[0]
		next = next[1:]
		if seen[sha] || sha == "" {
			continue
		}
		commit, err := c.Commit(sha)
		if err != nil {
			whole = false
			continue
		}
		seen[sha] = true
		if sha != stop {
			next = append(next, commit.Parents...)
		}
	}
	return seen, whole
}

// MergeBase is the newest commit that both lead to, "" if the fetched history does
// not hold one. Where there are several, the one nearest to b.
func (c *Clone) MergeBase(a, b CommitSHA) CommitSHA {
	of, _ := c.ancestors(a, "")
	visited := map[CommitSHA]bool{}
	for next := []CommitSHA{b}; len(next) > 0; {
		sha := next[0]
		next = next[1:]
		if visited[sha] {
			continue
		}
		visited[sha] = true
		if of[sha] {
			return sha
		}
		if commit, err := c.Commit(sha); err == nil {
			next = append(next, commit.Parents...)
		}
	}
	return ""
}

// IsAncestor says whether old is head or below it, as far as the history goes.
func (c *Clone) IsAncestor(old, head CommitSHA) bool {
	above, _ := c.ancestors(head, old)
	return above[old]
}

// Changed lists the files that differ between two commits, by path; a renamed file
// under both of its names. The reason is set where nobody can tell.
func (c *Clone) Changed(ctx context.Context, base, head CommitSHA) (files []string, unknown string, err error) {
	from, err := c.root(base)
	if err != nil {
		return nil, "commit " + base.Short() + " is not at hand", nil
	}
	to, err := c.root(head)
	if err != nil {
		return nil, "", err
	}
	changes, err := object.DiffTreeContext(ctx, from, to)
	if err != nil {
		return nil, "", err
	}
	names := map[string]bool{}
	for _, change := range changes {
		for _, name := range []string{change.From.Name, change.To.Name} {
			if name != "" {
				names[name] = true
			}
		}
	}
	if len(names) > MaxChanged {
		return nil, fmt.Sprintf("more than %d files differ", MaxChanged), nil
	}
	for name := range names {
		files = append(files, name)
	}
	slices.Sort(files)
	return files, "", nil
}

func (c *Clone) root(sha CommitSHA) (*object.Tree, error) {
	commit, err := c.commit(sha)
	if err != nil {
		return nil, err
	}
	return object.GetTree(c.storage, commit.TreeHash)
}
