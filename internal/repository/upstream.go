package repository

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/repository/git"
)

// Upstreams brings ends of runs to those who want to hear of them.
const Upstreams = "upstreams"

const (
	maxDepth     = 5   // of runs that start one another: pipelines that name each other in a circle stop there
	maxListeners = 500 // to one pipeline
	heardKept    = 30 * 24 * time.Hour
)

// listener is an `on "upstream"` that is in force.
type listener struct {
	key        string
	repository string // id, of the pipeline that is started
	file       string
	to, name   string // the repository and the pipeline that it listens to, by name
	status     string
	branch     string
}

// listenersOf are what pipeline files of a repository listen to.
func listenersOf(r Repository, files []*language.Pipeline) []listener {
	var list []listener
	for _, file := range files {
		for _, e := range file.Events {
			if e.Kind != "upstream" {
				continue
			}
			l := listener{repository: r.ID, file: file.File, to: r.Name, name: e.Pipeline, status: e.Status, branch: e.Branch}
			if to, name, other := strings.Cut(e.Pipeline, "/"); other {
				l.to, l.name = to, name
			}
			l.key = digest(fmt.Appendf(nil, "%q %q %q %q %q %q", l.repository, l.file, l.to, l.name, l.status, l.branch))[:16]
			list = append(list, l)
		}
	}
	return list
}

// putListeners makes what a repository listens to a list. Its own rows are written
// first and deleted last, so that a call that is cut off leaves nothing unknown.
func (s *Service) putListeners(ctx context.Context, org platform.Org, r Repository, wanted []listener) error {
	p := rows(org, r.ID)
	old := make(map[string]platform.Item)
	for cursor := ""; ; {
		page, err := s.home.Table.Query(ctx, platform.Query{Partition: p, Prefix: p.Rows("listens"), Cursor: cursor})
		if err != nil {
			return err
		}
		for _, row := range page.Rows {
			old[row.Key.Parts()[1]] = row.Item
		}
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	for _, l := range wanted {
		delete(old, l.key)
		item := platform.Item{
			"repository": platform.Text(l.repository), "file": platform.Text(l.file), "to": platform.Text(l.to),
			"name": platform.Text(l.name), "status": platform.Text(l.status), "branch": platform.Text(l.branch),
		}
		for _, key := range []platform.RowKey{listensRow(org, r.ID, l.key), listenerRow(org, l.to, l.name, l.key)} {
			if _, err := s.home.Table.Write(ctx, platform.Put{Key: key, Item: item}); err != nil {
				return err
			}
		}
	}
	for key, item := range old {
		for _, row := range []platform.RowKey{listenerRow(org, item.Text("to"), item.Text("name"), key), listensRow(org, r.ID, key)} {
			if _, err := s.home.Table.Write(ctx, platform.Delete{Key: row}); err != nil {
				return err
			}
		}
	}
	return nil
}

// endMessage is what travels to a listener: the run that ended, as far as it matters.
type endMessage struct {
	V          int    `json:"v"`
	Org        string `json:"org"`
	Repository string `json:"repository"` // id, of the listener
	File       string `json:"file"`
	Same       bool   `json:"same"` // the run is of the same repository
	Run        string `json:"run"`
	What       string `json:"what"` // for people
	Commit     string `json:"commit"`
	Branch     string `json:"branch"`
	Tag        string `json:"tag"`
	Actor      string `json:"actor"`
	Depth      int    `json:"depth"`
}

// tell sends the end of a run to those who listen to its pipeline. Runs of strangers'
// commits, and of pull requests, start nothing: what follows has more rights than they.
func (s *Service) tell(ctx context.Context, org platform.Org, run pipeline.Run) error {
	if run.Trust != "trusted" || run.Event == "pull-request" || run.Status == pipeline.Skipped || run.Pipeline == "" {
		return nil
	}
	r, err := s.Get(ctx, org, run.Repository)
	if problem.Is(err, problem.NotFound) {
		return nil // disconnected
	}
	if err != nil {
		return err
	}
	p := upstreamOf(org, r.Name)
	page, err := s.home.Table.Query(ctx, platform.Query{Partition: p, Prefix: p.Rows("listener", run.Pipeline), Limit: maxListeners})
	if err != nil {
		return err
	}
	for _, row := range page.Rows {
		i := row.Item
		if !(language.Event{Status: i.Text("status"), Branch: i.Text("branch")}).Hears(string(run.Status), run.Branch) {
			continue
		}
		body, err := json.Marshal(endMessage{
			V: 1, Org: org.ID(), Repository: i.Text("repository"), File: i.Text("file"), Same: i.Text("repository") == r.ID,
			Run: string(run.ID), What: fmt.Sprintf("%s #%d of %s", run.Pipeline, run.Number, r.Name),
			Commit: run.Commit, Branch: run.Branch, Tag: run.Tag, Actor: run.Actor, Depth: run.Depth + 1,
		})
		if err != nil {
			return err
		}
		if err := s.home.Queues.Send(ctx, Upstreams, body, 0); err != nil {
			return err
		}
	}
	return nil
}

// HandleEnd is the consumer of ends: it starts the pipeline that listens. In the same
// repository that is at the commit of the run that ended, in another one at the head
// of its default branch. It may be called again, at any point.
func (s *Service) HandleEnd(ctx context.Context, body []byte) (err error) {
	var m endMessage
	if err := json.Unmarshal(body, &m); err != nil || m.V != 1 {
		return fmt.Errorf("a message of another version: %w", platform.ErrInvalid)
	}
	org := platform.System(m.Org, "end of run "+m.Run)
	r, err := s.Get(ctx, org, m.Repository)
	if problem.Is(err, problem.NotFound) || err == nil && !r.RunPipelines {
		return nil
	}
	if err != nil {
		return err
	}
	remote, err := s.ask(ctx, org, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remote.Close()) }()
	t, commit, err := s.endTrigger(ctx, org, r, remote, m)
	if err != nil {
		return err
	}
	run := ""
	if t, err = s.complete(ctx, org, r, remote, commit, t); err == nil {
		run, err = s.runs.Start(ctx, org, t)
	}
	log := s.log.With("org", org.ID(), "repository", r.ID, "file", m.File, "upstream", m.Run)
	switch {
	case forGood(err), errors.Is(err, git.ErrNoCommit):
		log.InfoContext(ctx, "end of run starts nothing", "why", err)
		return nil
	case err == nil:
		log.InfoContext(ctx, "end of run starts a run", "run", run)
	}
	return err
}

// endTrigger is the trigger of a listener, as far as its commit does not say it.
func (s *Service) endTrigger(ctx context.Context, org platform.Org, r Repository, remote *git.Remote, m endMessage) (pipeline.Trigger, git.CommitSHA, error) {
	t := pipeline.Trigger{
		Repository: r.ID, File: m.File, Event: "upstream", Subject: m.Run, Trust: "trusted", Actor: m.Actor, Depth: m.Depth,
		Branch: m.Branch, Tag: m.Tag, Ref: git.Heads + m.Branch, Why: "started by the end of " + m.What,
	}
	if m.Depth > maxDepth {
		t.Skip = fmt.Sprintf("%d runs have started one another; the pipelines name each other in a circle", m.Depth)
	}
	if m.Same {
		if m.Branch == "" {
			t.Ref = git.Tags + m.Tag
		}
		return t, git.CommitSHA(m.Commit), nil
	}
	t.Branch, t.Tag = cmp.Or(remote.DefaultBranch(), r.DefaultBranch), ""
	t.Ref = git.Heads + t.Branch
	commit, err := s.heard(ctx, org, r.ID, m, remote.Head(git.Ref(t.Ref)))
	if err == nil && commit == "" {
		err = problem.New(problem.Invalid, "%s has no branch yet.", r.Name)
	}
	return t, commit, err
}

// heard keeps which commit the end of a run has started, so that a repeat of the
// message, at which the branch may have moved, starts the same.
func (s *Service) heard(ctx context.Context, org platform.Org, id string, m endMessage, head git.CommitSHA) (git.CommitSHA, error) {
	key := heardRow(org, id, m.Run, m.File)
	item := platform.Item{"commit": platform.Text(head), platform.ExpiresAttribute: platform.Int(s.home.Clock.Now().Add(heardKept).Unix())}
	_, err := s.home.Table.Write(ctx, platform.Put{Key: key, Item: item, If: platform.NoRow})
	if errors.Is(err, platform.ErrConditionFailed) {
		item, err = s.home.Table.Get(ctx, key)
	}
	return git.CommitSHA(item.Text("commit")), err
}
