package repository

import (
	"context"
	"fmt"
	"strings"

	"github.com/buildit-dev/buildit/internal/forge"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/repository/git"
)

// maker turns one commit of a ref into triggers, one for each pipeline file.
type maker struct {
	s      *Service
	org    platform.Org
	r      Repository
	remote *git.Remote
	clone  *git.Clone
	ref    git.Ref
	state  refState
	hint   hint
	only   map[string]bool // of the commit's pipeline files; nil is all
}

func (m maker) make(ctx context.Context, commit git.CommitSHA, out *outcome) error {
	info, err := m.clone.Commit(commit)
	if err != nil {
		return err
	}
	src, err := m.s.source(ctx, m.org, m.r, m.clone, commit)
	if err != nil {
		return err
	}
	if len(src.pipelines) == 0 {
		out.Note = "the commit has no pipeline file"
		return nil
	}
	t, err := m.trigger(ctx, info)
	if err != nil {
		return err
	}
	t.Why = join(t.Why, src.remarks())
	t.Source, t.SourceSHA256, t.SourceSize, t.Config = src.parts, src.sha256, src.size, src.config
	for _, file := range src.pipelines {
		if m.only != nil && !m.only[file] {
			continue
		}
		t.File = file
		run, err := m.s.runs.Start(ctx, m.org, t)
		if err != nil {
			return fmt.Errorf("start of %s at %s: %w", file, commit.Short(), err)
		}
		out.Runs = append(out.Runs, run)
	}
	return nil
}

// trigger is all of a trigger but its file.
func (m maker) trigger(ctx context.Context, info git.Commit) (pipeline.Trigger, error) {
	owner, name := splitName(m.r.URL.FullName())
	t := pipeline.Trigger{
		Repository: m.r.ID, Commit: string(info.SHA), Generation: m.state.Generation, Attempt: 1,
		Actor: m.hint.actor, RepoName: name, RepoOwner: owner, RepoURL: string(m.r.URL), DefaultBranch: m.r.DefaultBranch,
		Ref: string(m.ref), Head: string(info.SHA), Message: info.Message, Author: info.Author, CommitTime: info.When,
		Trust: m.trust(info.SHA), Why: m.hint.why,
	}
	var unknown string
	var err error
	switch {
	case m.ref.Branch() != "":
		t.Event, t.Branch, t.Subject = "push", m.ref.Branch(), m.ref.Branch()
		t.Changed, unknown, err = m.pushed(ctx, info.SHA)
	case m.ref.Tag() != "":
		t.Event, t.Tag, t.Subject = "tag", m.ref.Tag(), m.ref.Tag()
		unknown = "a tag has no commit that it could be compared with"
	default:
		t.Event, t.PullRequest = "pull-request", m.ref.PullRequest()
		t.Subject = fmt.Sprint(t.PullRequest)
		if m.hint.action == forge.Closed { // a run of its own, at a head that may have run already
			t.Subject += " closed"
		}
		t.Head, t.Base, t.Fork = m.state.Branch, baseOf(m.r, m.state), m.state.Fork || t.Trust != "trusted"
		t.Action, t.Draft = m.hint.action, m.state.Draft
		var base git.CommitSHA
		t.Changed, base, unknown, err = m.proposed(ctx, info.SHA, t.Base)
		t.BaseSHA = string(base)
	}
	t.FilesKnown = unknown == ""
	if unknown != "" && t.Event != "tag" {
		t.Why = join(t.Why, "changed files are unknown: "+unknown)
	}
	if t.Event != "tag" && asksToSkip(info.Message) {
		t.Skip = "the commit's message asks for it: [skip ci]"
	}
	return t, err
}

// trust is the level of what runs. A branch or a tag of the repository itself was
// pushed by somebody who may write to it. A pull request is trusted only where git
// shows that its head is that of a branch of the repository itself; what an event
// says of it can only take trust away.
func (m maker) trust(commit git.CommitSHA) string {
	if m.ref.PullRequest() == 0 {
		return "trusted"
	}
	if !m.state.Fork && m.remote.HasBranchAt(m.state.Branch, commit) {
		return "trusted"
	}
	return "untrusted"
}

// pushed lists what a push changed: since the head before, or, for a new branch and
// a forced push, since the branch left the default branch.
func (m maker) pushed(ctx context.Context, commit git.CommitSHA) (files []string, unknown string, err error) {
	before := m.state.Previous
	if before != "" && m.clone.IsAncestor(before, commit) {
		return m.clone.Changed(ctx, before, commit)
	}
	tip := m.remote.Head(git.Ref(git.Heads + m.r.DefaultBranch))
	if m.ref.Branch() == m.r.DefaultBranch || tip == "" {
		if before == "" {
			return nil, "it is the first commit that was seen of the default branch", nil
		}
		return nil, fmt.Sprintf("%s is not among the last %d commits, as after a forced push", before.Short(), history), nil
	}
	base := m.clone.MergeBase(tip, commit)
	if base == "" {
		return nil, fmt.Sprintf("no commit in common with %s among the last %d", m.r.DefaultBranch, history), nil
	}
	return m.clone.Changed(ctx, base, commit)
}

// proposed lists what a pull request changes, since it left its base.
func (m maker) proposed(ctx context.Context, commit git.CommitSHA, branch string) (files []string, base git.CommitSHA, unknown string, err error) {
	base = m.remote.Head(git.Ref(git.Heads + branch))
	if base == "" {
		return nil, "", fmt.Sprintf("there is no branch %s", branch), nil
	}
	from := m.clone.MergeBase(base, commit)
	if from == "" {
		return nil, base, fmt.Sprintf("no commit in common with %s among the last %d", branch, history), nil
	}
	files, unknown, err = m.clone.Changed(ctx, from, commit)
	return files, base, unknown, err
}

func asksToSkip(message string) bool {
	return strings.Contains(message, "[skip ci]") || strings.Contains(message, "[ci skip]")
}

func splitName(full string) (owner, name string) {
	i := strings.LastIndex(full, "/")
	return full[:max(0, i)], full[i+1:]
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "; " + b
}
