package repository

import (
	"context"
	"errors"
	"fmt"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/repository/git"
)

// enrolled is the row that says which commit's schedules and upstreams are in force.
type enrolled struct {
	branch string
	commit git.CommitSHA // "" if none are
	ticks  bool          // there are schedules
	note   string        // what was left out, and why
}

func enrolledOf(i platform.Item) enrolled {
	return enrolled{i.Text("branch"), git.CommitSHA(i.Text("commit")), i.Bool("ticks"), i.Text("note")}
}

// enrol puts into force what the head of the default branch asks for by itself: its
// schedules, and the pipelines whose end it wants to hear of. Nothing else does, and
// only of a repository whose pipelines are confirmed. It costs one read where nothing
// has changed; called twice, or cut off, it is completed by the next call.
func (s *Service) enrol(ctx context.Context, org platform.Org, r Repository, remote *git.Remote) (err error) {
	item, err := s.home.Table.Get(ctx, enrolledRow(org, r.ID))
	if err != nil && !errors.Is(err, platform.ErrNotFound) {
		return err
	}
	if branch := remote.DefaultBranch(); branch != "" {
		r.DefaultBranch = branch
	}
	was, now := enrolledOf(item), enrolled{branch: r.DefaultBranch}
	if r.RunPipelines {
		now.commit = remote.Head(git.Ref(git.Heads + now.branch))
	}
	switch {
	case now.commit == "" && was.commit == "" && !was.ticks:
		return nil
	case now.commit != "" && now.commit == was.commit && now.branch == was.branch:
		if was.ticks {
			return s.rearm(ctx, org, r.ID)
		}
		return nil
	}
	files, note, err := s.pipelinesAt(ctx, remote, now)
	if err != nil {
		return err
	}
	now.note = note
	ticks, more := schedulesOf(files)
	now.note = join(now.note, more)
	if now.ticks = len(ticks) > 0; now.ticks || was.ticks {
		if err := s.putSchedules(ctx, org, r.ID, ticks); err != nil {
			return err
		}
	}
	if err := s.putListeners(ctx, org, r, listenersOf(r, files)); err != nil {
		return err
	}
	same := platform.Equal{Attribute: "commit", Value: platform.Text(was.commit)}
	write := platform.Update{
		Key: enrolledRow(org, r.ID), If: platform.Any{platform.Absent{Attribute: "commit"}, same},
		Set: platform.Item{
			"branch": platform.Text(now.branch), "commit": platform.Text(now.commit), "ticks": platform.Bool(now.ticks), "note": platform.Text(now.note),
		},
	}
	_, err = s.home.Table.Write(ctx, write)
	if errors.Is(err, platform.ErrConditionFailed) { // somebody saw another head: nobody knows whose rows these are now
		write.If = nil
		write.Set["commit"], write.Set["ticks"] = platform.Text(""), platform.Bool(true)
		_, err = s.home.Table.Write(ctx, write)
		return errors.Join(err, s.lookSoon(ctx, org, r.ID))
	}
	return err
}

// enrolAndLog is enrol for who has something better to do: the reconciler repeats it.
func (s *Service) enrolAndLog(ctx context.Context, org platform.Org, r Repository, remote *git.Remote) {
	if err := s.enrol(ctx, org, r, remote); err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "schedules not taken over", "org", org.ID(), "repository", r.ID, "err", err)
	}
}

// pipelinesAt reads the pipeline files of a commit, without those that are wrong.
func (s *Service) pipelinesAt(ctx context.Context, remote *git.Remote, at enrolled) (files []*language.Pipeline, note string, err error) {
	if at.commit == "" {
		return nil, "", nil
	}
	clone, err := remote.Fetch(ctx, git.Want{Commit: at.commit, Branch: at.branch, Depth: 1})
	if forGood(err) {
		return nil, fmt.Sprintf("%s at %s cannot be read: %v", at.branch, at.commit.Short(), err), nil
	}
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, clone.Close()) }()
	tree, err := clone.Tree(ctx, at.commit)
	if err != nil {
		return nil, "", err
	}
	names, _ := tree.Pipelines()
	top := tree.FS()
	for _, name := range names {
		file, _ := language.Load(top, name)
		if file == nil {
			note = join(note, name+" has errors: its schedules are not in force")
			continue
		}
		files = append(files, file)
	}
	return files, note, nil
}
