package forge

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// GitLab is the dialect of gitlab.com and GitLab Self-Managed.
//
// Source: GitLab Docs, "Webhook events", "Webhooks".
type GitLab struct{}

// Name is gitlab.
func (GitLab) Name() string { return "gitlab" }

// Verify checks the signature if the repository has a secret that signs, and then
// no plain token will do; else X-Gitlab-Token.
func (GitLab) Verify(header http.Header, body []byte, secrets []string, now time.Time) Verdict {
	if slices.ContainsFunc(secrets, SigningSecret) {
		return signedStandard(header, body, secrets, now)
	}
	return sameToken(header.Get("X-Gitlab-Token"), secrets)
}

// Delivery is Idempotency-Key (GitLab 17.4 and later), else the event's UUID.
func (GitLab) Delivery(header http.Header) string {
	if key := header.Get("Idempotency-Key"); key != "" {
		return key
	}
	return header.Get("X-Gitlab-Event-UUID")
}

// EventName is X-Gitlab-Event.
func (GitLab) EventName(header http.Header) string { return header.Get("X-Gitlab-Event") }

type gitlabProject struct {
	ID            id     `json:"id"`
	Path          string `json:"path_with_namespace"`
	DefaultBranch string `json:"default_branch"`
}

// Identify reads project.id and .path_with_namespace.
func (GitLab) Identify(body []byte) (Identity, error) {
	return identify(body, "project", func(raw json.RawMessage) (Identity, error) {
		var p gitlabProject
		if err := json.Unmarshal(raw, &p); err != nil {
			return Identity{}, badBody("%v", err)
		}
		if p.ID == "" {
			return Identity{}, badBody("its project has no id")
		}
		return Identity{string(p.ID), p.Path}, nil
	})
}

// Parse reads one delivery. A system hook's names (push, tag_push) are not taken:
// they belong to the whole server.
func (GitLab) Parse(event string, body []byte) (Event, error) {
	var p struct {
		Ref      string        `json:"ref"`
		Before   string        `json:"before"`
		After    string        `json:"after"`
		UserID   id            `json:"user_id"`
		UserName string        `json:"user_username"`
		Project  gitlabProject `json:"project"`
		User     struct {
			ID   id     `json:"id"`
			Name string `json:"username"`
		} `json:"user"`
	}
	if err := decode(body, &p); err != nil {
		return Event{}, err
	}
	var e Event
	var err error
	switch event {
	case "Push Hook", "Tag Push Hook":
		if p.Ref == "" || (unlessNull(p.Before) == "" && unlessNull(p.After) == "") {
			return Event{}, badBody("a push without ref or commits")
		}
		e.Changes = []Change{ref(p.Ref, p.Before, p.After)}
		e.Kind = kindOf(e.Changes)
		e.ActorID, e.ActorName = string(p.UserID), p.UserName
	case "Merge Request Hook":
		e, err = gitlabMergeRequest(body)
		e.ActorID, e.ActorName = string(p.User.ID), p.User.Name
	default:
		e = ignored("%s events change no commit", event)
	}
	e.Repository = Identity{string(p.Project.ID), p.Project.Path}
	e.DefaultBranch = p.Project.DefaultBranch
	return e, err
}

func gitlabMergeRequest(body []byte) (Event, error) {
	var p struct {
		Attributes struct {
			Number     int    `json:"iid"`
			Action     string `json:"action"`
			OldRev     string `json:"oldrev"`
			Source     string `json:"source_branch"`
			Target     string `json:"target_branch"`
			SourceID   id     `json:"source_project_id"`
			TargetID   id     `json:"target_project_id"`
			Draft      bool   `json:"draft"`
			AuthorID   id     `json:"author_id"`
			LastCommit struct {
				ID string `json:"id"`
			} `json:"last_commit"`
		} `json:"object_attributes"`
		Changes struct {
			Target json.RawMessage `json:"target_branch"`
			Draft  struct {
				Current json.RawMessage `json:"current"`
			} `json:"draft"`
		} `json:"changes"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return Event{}, badBody("%v", err)
	}
	a := p.Attributes
	if a.Number < 1 {
		return Event{}, badBody("a merge request without a number")
	}
	action := ""
	switch {
	case a.Action == "open":
		action = Opened
	case a.Action == "reopen":
		action = Reopened
	case a.Action == "close", a.Action == "merge":
		action = Closed
	case a.Action == "update" && a.OldRev != "":
		action = Updated
	case a.Action == "update" && p.Changes.Target != nil:
		action = Retargeted
	case a.Action == "update" && bytes.Equal(p.Changes.Draft.Current, []byte("false")):
		action = Ready
	default:
		return ignored("merge request %s changes neither commit nor target", a.Action), nil
	}
	return Event{Kind: PullRequest, Action: action, PullRequest: PullRequestChange{
		Number: a.Number, Draft: a.Draft, AuthorID: string(a.AuthorID),
		Head: Side{a.Source, a.LastCommit.ID, string(a.SourceID)},
		Base: Side{a.Target, "", string(a.TargetID)},
	}}, nil
}
