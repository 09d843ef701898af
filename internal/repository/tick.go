package repository

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/repository/git"
)

// HandleTick is the consumer of ticks: it starts the run of one, and sets the timer of
// the next. It may be called again, at any point: the row knows which tick is next,
// and at which commit it runs, so that one tick makes one run. Of the ticks that an
// outage has kept from coming the first is made up for, and no other.
func (s *Service) HandleTick(ctx context.Context, body []byte) error {
	var m tickMessage
	if err := json.Unmarshal(body, &m); err != nil || m.V != 1 {
		return fmt.Errorf("a message of another version: %w", platform.ErrInvalid)
	}
	org := platform.System(m.Org, "schedule "+m.Schedule)
	item, err := s.home.Table.Get(ctx, scheduleRow(org, m.Repository, m.Schedule))
	if errors.Is(err, platform.ErrNotFound) {
		return nil // the head of the default branch does not ask for it any more
	}
	if err != nil {
		return err
	}
	sched := scheduleOf(item)
	if !sched.Next.Equal(m.Tick) { // it was acted on; its successor may have no timer yet
		return s.setTimer(ctx, org, m.Repository, sched, sched.Next)
	}
	r, err := s.Get(ctx, org, m.Repository)
	if problem.Is(err, problem.NotFound) {
		return nil // disconnected
	}
	if err != nil {
		return err
	}
	now := s.home.Clock.Now()
	sched.LastTick, sched.Late = sched.Next, now.Sub(sched.Next) > lateAfter
	sched.LastRun, sched.Note, err = s.tick(ctx, org, r, sched)
	if err != nil {
		return fmt.Errorf("tick %s of %s:%d: %w", sched.Next.Format(time.RFC3339), sched.File, sched.Line, err)
	}
	return s.moveOn(ctx, org, m.Repository, sched, now)
}

// moveOn writes what became of a tick, and which is the next: the first after now,
// however many an outage has cost.
func (s *Service) moveOn(ctx context.Context, org platform.Org, id string, sched Schedule, now time.Time) error {
	acted := sched.Next
	if now.Before(acted) {
		now = acted
	}
	var err error
	if sched.Next, err = language.NextTick(sched.Cron, sched.Zone, now); err != nil {
		return err
	}
	_, err = s.home.Table.Write(ctx, platform.Update{
		Key: scheduleRow(org, id, sched.Key),
		Set: platform.Item{
			"next": platform.Stamp(sched.Next), "last_tick": platform.Stamp(acted), "last_run": platform.Text(sched.LastRun),
			"late": platform.Bool(sched.Late), "note": platform.Text(sched.Note),
		},
		Remove: []string{"commit"},
		If:     platform.Equal{Attribute: "next", Value: platform.Stamp(acted)},
	})
	if errors.Is(err, platform.ErrConditionFailed) {
		return nil // somebody else did, or it was removed
	}
	if err != nil {
		return err
	}
	s.log.InfoContext(ctx, "tick", "org", org.ID(), "repository", id, "file", sched.File, "tick", acted, "late", sched.Late, "run", sched.LastRun, "note", sched.Note)
	return s.setTimer(ctx, org, id, sched, sched.Next)
}

// tick starts the run of a schedule at the head of its branch. A note says why there
// is none; an error that trying again may help.
func (s *Service) tick(ctx context.Context, org platform.Org, r Repository, sched Schedule) (run, note string, err error) {
	if !r.RunPipelines {
		return "", "pipelines of this repository are not confirmed", nil
	}
	remote, err := s.ask(ctx, org, r)
	if err != nil {
		return "", "", err
	}
	defer func() { err = errors.Join(err, remote.Close()) }()
	branch := cmp.Or(sched.Branch, remote.DefaultBranch(), r.DefaultBranch)
	head, err := s.tickCommit(ctx, org, r.ID, sched, remote.Head(git.Ref(git.Heads+branch)))
	if err != nil {
		return "", "", err
	}
	if head == "" {
		return "", fmt.Sprintf("there is no branch %s", branch), nil
	}
	t := pipeline.Trigger{
		Repository: r.ID, File: sched.File, Event: "schedule", Subject: sched.Next.UTC().Format(time.RFC3339) + " " + branch,
		Trust: "trusted", Actor: "schedule", Ref: git.Heads + branch, Branch: branch,
		Why: fmt.Sprintf("scheduled by %s:%d (%s, %s)", sched.File, sched.Line, sched.Cron, sched.Zone),
	}
	if sched.Late {
		t.Why = join(t.Why, "late: it was due at "+sched.Next.UTC().Format(time.RFC3339))
	}
	if t, err = s.complete(ctx, org, r, remote, head, t); err == nil {
		run, err = s.runs.Start(ctx, org, t)
	}
	if forGood(err) || errors.Is(err, git.ErrNoCommit) {
		return "", fmt.Sprintf("%s at %s is not run: %v", branch, head.Short(), err), nil
	}
	return run, "", err
}

// tickCommit keeps which commit a tick runs, so that a repeat of it, at which the
// branch may have moved, runs the same.
func (s *Service) tickCommit(ctx context.Context, org platform.Org, id string, sched Schedule, head git.CommitSHA) (git.CommitSHA, error) {
	if sched.commit != "" || head == "" {
		return git.CommitSHA(cmp.Or(sched.commit, string(head))), nil
	}
	_, err := s.home.Table.Write(ctx, platform.Update{
		Key: scheduleRow(org, id, sched.Key), Set: platform.Item{"commit": platform.Text(head)},
		If: platform.All{platform.Equal{Attribute: "next", Value: platform.Stamp(sched.Next)}, platform.Absent{Attribute: "commit"}},
	})
	if errors.Is(err, platform.ErrConditionFailed) {
		return "", fmt.Errorf("schedule %s is acted on by somebody else: %w", sched.Key, platform.ErrConflict)
	}
	return head, err
}

// complete adds to a trigger that names file and ref what their commit holds, and
// makes its source bundle. A commit that lacks the file is an Invalid problem.
func (s *Service) complete(ctx context.Context, org platform.Org, r Repository, remote *git.Remote, head git.CommitSHA, t pipeline.Trigger) (_ pipeline.Trigger, err error) {
	clone, err := remote.Fetch(ctx, git.Want{Commit: head, Branch: t.Branch, Depth: s.options.Depth})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, clone.Close()) }()
	info, err := clone.Commit(head)
	if err != nil {
		return t, err
	}
	src, err := s.source(ctx, org, r, clone, head)
	if err != nil {
		return t, err
	}
	if !slices.Contains(src.pipelines, t.File) {
		return t, problem.New(problem.Invalid, "Commit %s of %s has no pipeline file %s; %s.",
			head.Short(), r.Name, t.File, filesThatAre(src.pipelines)).InField("file")
	}
	t.RepoOwner, t.RepoName = splitName(r.URL.FullName())
	t.RepoURL, t.DefaultBranch, t.Commit, t.Head, t.Attempt = string(r.URL), r.DefaultBranch, string(head), string(head), 1
	t.Message, t.Author, t.CommitTime = info.Message, info.Author, info.When
	t.Why = join(t.Why, src.remarks())
	t.Source, t.SourceSHA256, t.SourceSize, t.Config = src.parts, src.sha256, src.size, src.config
	return t, nil
}

func sortSchedules(list []Schedule) {
	slices.SortFunc(list, func(a, b Schedule) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key))
	})
}

func (s *Service) getSchedules(r *http.Request, caller access.Caller) (any, error) {
	return s.Schedules(r.Context(), caller.Org, r.PathValue("repository"))
}
