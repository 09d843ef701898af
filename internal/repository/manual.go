package repository

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/repository/git"
)

// StartRequest asks for a run by hand.
type StartRequest struct {
	Repository string            `json:"repository"`       // id or name
	Branch     string            `json:"branch,omitempty"` // the default branch if empty
	File       string            `json:"file,omitempty"`   // .buildit.kdl if empty
	Params     map[string]string `json:"params,omitempty"`
}

// Started is a run that was asked for by hand.
type Started struct {
	ID         string `json:"id"` // of the run
	Repository string `json:"repository"`
	Event      string `json:"event"` // manual
	File       string `json:"file"`
	Branch     string `json:"branch"`
	Commit     string `json:"commit"`
}

// defaultFile is the pipeline that is meant where none is named.
const defaultFile = ".buildit.kdl"

// StartManually makes a run of one pipeline file at the head of a branch. request
// names what was asked: asking again under it finds the same run, if the branch
// has not moved.
func (s *Service) StartManually(ctx context.Context, org platform.Org, in StartRequest, request, actor string) (started Started, err error) {
	if in.Repository == "" {
		return Started{}, problem.New(problem.Invalid, "Name a repository by its id or its name.").InField("repository")
	}
	r, err := s.Get(ctx, org, in.Repository)
	if err != nil {
		return Started{}, err
	}
	remote, err := s.ask(ctx, org, r)
	if err != nil {
		return Started{}, err
	}
	defer func() { err = errors.Join(err, remote.Close()) }()
	if in.Branch == "" {
		in.Branch = remote.DefaultBranch()
	}
	ref, err := git.ParseRef(git.Heads + in.Branch)
	if err != nil {
		return Started{}, problem.New(problem.Invalid, "%q is no branch name.", in.Branch).InField("branch")
	}
	head := remote.Head(ref)
	if head == "" {
		return Started{}, problem.New(problem.Invalid, "%s has no branch %s.", r.Name, in.Branch).InField("branch")
	}
	if in.File == "" {
		in.File = defaultFile
	}
	run, err := s.startAt(ctx, org, r, remote, ref, head, in, request, actor)
	return Started{run, r.Name, "manual", in.File, in.Branch, string(head)}, err
}

func (s *Service) startAt(ctx context.Context, org platform.Org, r Repository, remote *git.Remote, ref git.Ref, head git.CommitSHA, in StartRequest, request, actor string) (run string, err error) {
	t, err := s.complete(ctx, org, r, remote, head, pipeline.Trigger{
		Repository: r.ID, File: in.File, Event: "manual", Subject: request, Trust: "trusted", Actor: actor,
		Ref: string(ref), Branch: in.Branch, Params: in.Params, Why: "started by hand",
	})
	if err != nil {
		return "", err
	}
	if err := s.runs.Check(ctx, org, t); err != nil {
		return "", err // who asks is here to hear of it: no run has to keep it
	}
	return s.runs.Start(ctx, org, t)
}

func filesThatAre(files []string) string {
	if len(files) == 0 {
		return "it has none at all"
	}
	return fmt.Sprintf("it has %s", strings.Join(files[:min(len(files), 10)], ", "))
}

func (s *Service) postRun(r *http.Request, caller access.Caller) (any, error) {
	in, err := access.Decode[StartRequest](r)
	if err != nil {
		return nil, err
	}
	return s.StartManually(r.Context(), caller.Org, in, access.OperationID(r.Context()), caller.Name)
}
