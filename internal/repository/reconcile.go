package repository

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/repository/git"
)

// Looked is what looking at a repository without a delivery found.
type Looked struct {
	Status Status   `json:"status"`
	Banner string   `json:"banner,omitempty"`
	Refs   int      `json:"refs"` // that had moved
	Runs   []string `json:"runs"`
	Notes  []string `json:"notes,omitempty"` // of refs that moved and started nothing
}

// Reconcile compares the heads of the remote with the rows of the refs and makes
// the triggers that are missing. A remote that does not answer is a status of the
// repository, not an error: what was fetched before still runs.
func (s *Service) Reconcile(ctx context.Context, org platform.Org, idOrName, why string) (Looked, error) {
	r, err := s.Get(ctx, org, idOrName)
	if err != nil {
		return Looked{}, err
	}
	remote, err := s.ask(ctx, org, r)
	if err != nil {
		if err := s.noteFailure(ctx, org, r, err); !isProblem(err) {
			return Looked{}, err
		}
		r, err = s.Get(ctx, org, r.ID)
		return Looked{Status: r.Status, Banner: r.Banner, Runs: []string{}}, err
	}
	out, err := s.compare(ctx, org, r, remote, why)
	if err == nil {
		err = s.noteSuccess(ctx, org, r, remote)
	}
	return out, errors.Join(err, remote.Close())
}

func isProblem(err error) bool {
	var p *problem.Error
	return errors.As(err, &p)
}

func (s *Service) compare(ctx context.Context, org platform.Org, r Repository, remote *git.Remote, why string) (Looked, error) {
	out := Looked{Status: Active, Runs: []string{}}
	if branch := remote.DefaultBranch(); branch != "" {
		r.DefaultBranch = branch
	}
	s.enrolAndLog(ctx, org, r, remote)
	known, err := s.refs(ctx, org, r.ID)
	if err != nil {
		return out, err
	}
	refs := remote.Refs()
	for ref := range known {
		if remote.Head(ref) == "" && known[ref].Head != "" && ref.PullRequest() == 0 {
			refs = append(refs, ref) // deleted
		}
	}
	for _, ref := range refs {
		state, seen := known[ref]
		if n := ref.PullRequest(); n > 0 && (state.Closed || (!seen && n <= r.pulls)) {
			continue // closed, or as old as the connection: nobody can tell without the provider's API
		}
		if seen && state.Head == remote.Head(ref) && state.Done >= state.Generation {
			continue
		}
		found, err := s.look(ctx, org, r, remote, ref, hint{why: why})
		if err != nil {
			return out, fmt.Errorf("%s: %w", ref, err)
		}
		out.Refs++
		out.Runs = append(out.Runs, found.Runs...)
		if found.Note != "" {
			out.Notes = append(out.Notes, found.Note)
			s.log.InfoContext(ctx, "ref looked at", "org", org.ID(), "repository", r.ID, "ref", string(ref), "note", found.Note)
		}
	}
	return out, nil
}

// refs reads the rows of all refs.
func (s *Service) refs(ctx context.Context, org platform.Org, id string) (map[git.Ref]refState, error) {
	p, all := rows(org, id), map[git.Ref]refState{}
	for cursor := ""; ; {
		page, err := s.home.Table.Query(ctx, platform.Query{Partition: p, Prefix: p.Rows("ref"), Cursor: cursor})
		if err != nil {
			return nil, err
		}
		for _, row := range page.Rows {
			all[git.Ref(row.Key.Parts()[1])] = refFromItem(row.Item)
		}
		if cursor = page.Cursor; cursor == "" {
			return all, nil
		}
	}
}

// noteSuccess has a repository be active, and takes over its default branch.
func (s *Service) noteSuccess(ctx context.Context, org platform.Org, r Repository, remote *git.Remote) error {
	branch := remote.DefaultBranch()
	if branch == "" {
		branch = r.DefaultBranch
	}
	_, err := s.update(ctx, org, r.ID, "reachable", func(now *Repository, set platform.Item) bool {
		changed := now.Status != Active || now.DefaultBranch != branch || now.Banner != ""
		now.Status, now.DefaultBranch, now.Banner = Active, branch, ""
		set["status"], set["default_branch"], set["banner"] = platform.Text(Active), platform.Text(branch), platform.Text("")
		set["looked"] = platform.Stamp(s.home.Clock.Now())
		return changed
	})
	return err
}

// noteFailure keeps why a remote did not answer, for people, and returns the cause.
func (s *Service) noteFailure(ctx context.Context, org platform.Org, r Repository, cause error) error {
	if !isProblem(cause) {
		return cause
	}
	status, banner := Unreachable, cause.Error()
	if errors.Is(cause, git.ErrGone) {
		status, banner = Gone, cause.Error()+" Runs that have started go on; pushes are not seen until it is back."
	}
	_, err := s.update(ctx, org, r.ID, "unreachable", func(now *Repository, set platform.Item) bool {
		changed := now.Status != status || now.Banner != banner
		now.Status, now.Banner = status, banner
		set["status"], set["banner"] = platform.Text(status), platform.Text(banner)
		return changed
	})
	if err != nil {
		return err
	}
	return cause
}

// nextLook is when a repository is looked at next: spread, so that a restart does
// not ask every provider at one moment.
func (s *Service) nextLook(r Repository) time.Time {
	every := s.options.LookEvery
	if r.Provider == Plain {
		every = s.options.LookPlain
	}
	return s.home.Clock.Now().Add(every - every/16 + s.spread(every))
}

// spread is a random part of an interval, up to an eighth.
func (s *Service) spread(every time.Duration) time.Duration {
	return time.Duration(digest([]byte(s.home.IDs.New()))[0]) * every / 1024
}

// lookSoon has the reconciler look at its next round.
func (s *Service) lookSoon(ctx context.Context, org platform.Org, id string) error {
	return s.schedule(ctx, org, id, s.home.Clock.Now())
}

func (s *Service) schedule(ctx context.Context, org platform.Org, id string, at time.Time) error {
	_, err := s.home.Table.Write(ctx, platform.Update{
		Key: repositoryRow(org, id), Set: platform.Item{}.DueAt(dueAt(at)), If: platform.RowIs,
	})
	if errors.Is(err, platform.ErrConditionFailed) {
		return nil // disconnected
	}
	return err
}

// ReconcileDue looks at the repositories whose time has come, and sets their next
// one before, so that one that fails is not looked at in a loop.
func (s *Service) ReconcileDue(ctx context.Context) error {
	now := dueAt(s.home.Clock.Now()).SK()
	var failures error
	var reached []hookOf
	for cursor := ""; ; {
		page, err := s.home.Table.Query(ctx, platform.Query{Partition: due(), Index: platform.Due, Until: now, Limit: 100, Cursor: cursor})
		if err != nil {
			return errors.Join(failures, err)
		}
		for _, row := range page.Rows {
			parents := row.Key.Parents()
			org, r := platform.System(parents[0], "reconciler"), fromItem(row.Item)
			if err := s.schedule(ctx, org, r.ID, s.nextLook(r)); err != nil {
				return errors.Join(failures, err)
			}
			looked, err := s.Reconcile(ctx, org, r.ID, foundByReconciliation)
			if err != nil {
				failures = errors.Join(failures, fmt.Errorf("repository %s: %w", r.Name, err))
			} else if looked.Status == Active {
				reached = append(reached, hookOf{org, r})
			}
		}
		if cursor = page.Cursor; cursor == "" {
			s.lookAtHooks(ctx, reached) // last: no remote waits for a provider's API
			return failures
		}
	}
}

const foundByReconciliation = "found by reconciliation"
