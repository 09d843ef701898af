package pipeline

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/report"
)

// View is a run as people see it: with its stages in the order of the file, and
// what they left behind.
type View struct {
	Run
	Stages    []Stage    `json:"stages"`
	Artifacts []Artifact `json:"artifacts"`
	// Tests are the counts of all stages together, nil where none has reported any.
	Tests *report.Totals `json:"tests,omitempty"`
	// What the run began with, once its file is read: enough to repeat it elsewhere.
	Params map[string]string `json:"params,omitempty"`
	Facts  *Facts            `json:"facts,omitempty"`
	// Notices are of the run, as those of a stage are of it.
	Notices []Notice `json:"notices,omitempty"`
}

// Facts are what the event of a run said of its commit, beyond the row of the run.
type Facts struct {
	Ref           string    `json:"ref,omitempty"`
	Base          string    `json:"base,omitempty"` // branch that a pull request goes into
	Head          string    `json:"head,omitempty"` // and the one that it comes from
	BaseSHA       string    `json:"base_commit,omitempty"`
	DefaultBranch string    `json:"default_branch,omitempty"`
	PullRequest   int       `json:"pull_request,omitempty"`
	Fork          bool      `json:"fork,omitempty"`
	Draft         bool      `json:"draft,omitempty"`
	Action        string    `json:"action,omitempty"`
	Message       string    `json:"message,omitempty"` // all of it
	Author        string    `json:"author,omitempty"`
	CommitTime    time.Time `json:"commit_time,omitzero"`
	RepoName      string    `json:"repository_name,omitempty"`
	RepoOwner     string    `json:"repository_owner,omitempty"`
	RepoURL       string    `json:"repository_url,omitempty"`
}

func (t Trigger) factsView() *Facts {
	return &Facts{
		Ref: t.Ref, Base: t.Base, Head: t.Head, BaseSHA: t.BaseSHA, DefaultBranch: t.DefaultBranch,
		PullRequest: t.PullRequest, Fork: t.Fork, Draft: t.Draft, Action: t.Action,
		Message: t.Message, Author: t.Author, CommitTime: t.CommitTime,
		RepoName: t.RepoName, RepoOwner: t.RepoOwner, RepoURL: t.RepoURL,
	}
}

// View reads a run.
func (s *Service) View(ctx context.Context, org platform.Org, id RunID) (View, error) {
	r, run, err := s.openRun(ctx, org, id)
	if err != nil {
		return View{}, asNotFound(err, id)
	}
	view := View{Run: run, Stages: []Stage{}, Artifacts: []Artifact{}}
	rows, err := s.rows(ctx, org, id, "stage")
	if err != nil {
		return View{}, err
	}
	if err := s.addWaits(ctx, org, &view.Run); err != nil {
		return View{}, err
	}
	groups := look{}
	for _, row := range rows {
		st := stageOf(row.Item)
		if st.kind != Cell {
			continue
		}
		if r.graph != nil {
			if err := s.addGate(ctx, r, r.graph.byKey[st.Key], &st, groups); err != nil {
				return View{}, err
			}
		}
		view.Stages = append(view.Stages, st)
	}
	if r.graph != nil {
		view.Params, view.Facts = r.graph.Params, r.graph.Trigger.factsView()
		slices.SortFunc(view.Stages, func(a, b Stage) int {
			return cmp.Compare(r.graph.byKey[a.Key], r.graph.byKey[b.Key])
		})
	}
	view.Tests = testsOf(view.Stages)
	if view.Notices, err = s.runNotices(ctx, org, id); err != nil {
		return View{}, err
	}
	view.Artifacts, err = s.Artifacts(ctx, org, id)
	return view, err
}

// Artifacts are what the stages of a run have left behind, by name.
func (s *Service) Artifacts(ctx context.Context, org platform.Org, id RunID) ([]Artifact, error) {
	rows, err := s.rows(ctx, org, id, "artifact")
	if err != nil {
		return nil, err
	}
	list := make([]Artifact, 0, len(rows))
	for _, row := range rows {
		list = append(list, artifactOf(row.Item))
	}
	return list, nil
}
