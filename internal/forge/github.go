package forge

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// GitHub is the dialect of GitHub and GitHub Enterprise Server.
//
// Source: GitHub Docs, "Webhook events and payloads".
type GitHub struct{}

// Name is github.
func (GitHub) Name() string { return "github" }

// Verify checks X-Hub-Signature-256; the SHA-1 header beside it is not looked at.
func (GitHub) Verify(header http.Header, body []byte, secrets []string, _ time.Time) Verdict {
	return signedHex(header.Get("X-Hub-Signature-256"), body, secrets)
}

// Delivery is X-GitHub-Delivery, the same on a redelivery.
func (GitHub) Delivery(header http.Header) string { return header.Get("X-GitHub-Delivery") }

// EventName is X-GitHub-Event.
func (GitHub) EventName(header http.Header) string { return header.Get("X-GitHub-Event") }

type githubRepository struct {
	ID            id     `json:"id"`
	FullName      string `json:"full_name"`
	DefaultBranch string `json:"default_branch"`
}

type githubUser struct {
	ID    id     `json:"id"`
	Login string `json:"login"`
}

// Identify reads repository.id and .full_name.
func (GitHub) Identify(body []byte) (Identity, error) {
	body, err := unwrapForm(body)
	if err != nil {
		return Identity{}, err
	}
	return identify(body, "repository", func(raw json.RawMessage) (Identity, error) {
		var r githubRepository
		if err := json.Unmarshal(raw, &r); err != nil {
			return Identity{}, badBody("%v", err)
		}
		if r.ID == "" {
			return Identity{}, badBody("its repository has no id")
		}
		return Identity{string(r.ID), r.FullName}, nil
	})
}

// Parse reads one delivery.
func (GitHub) Parse(event string, body []byte) (Event, error) {
	body, err := unwrapForm(body)
	if err != nil {
		return Event{}, err
	}
	var p struct {
		Action     string           `json:"action"`
		Ref        string           `json:"ref"`
		Before     string           `json:"before"`
		After      string           `json:"after"`
		Repository githubRepository `json:"repository"`
		Sender     githubUser       `json:"sender"`
	}
	if err := decode(body, &p); err != nil {
		return Event{}, err
	}
	var e Event
	switch event {
	case "push":
		if p.Ref == "" || (unlessNull(p.Before) == "" && unlessNull(p.After) == "") {
			return Event{}, badBody("a push without ref or commits")
		}
		e.Changes = []Change{ref(p.Ref, p.Before, p.After)}
		e.Kind = kindOf(e.Changes)
	case "pull_request":
		e, err = githubPullRequest(p.Action, body)
	case "merge_group":
		e, err = githubMergeGroup(p.Action, body)
	case "repository":
		e = Event{Kind: Life, Action: p.Action}
	case "ping":
		e = Event{Kind: Ping}
	case "create", "delete":
		e = ignored("%s: the push that comes with it says the same", event)
	default:
		e = ignored("%s events change no commit", event)
	}
	e.Repository = Identity{string(p.Repository.ID), p.Repository.FullName}
	e.DefaultBranch = p.Repository.DefaultBranch
	e.ActorID, e.ActorName = string(p.Sender.ID), p.Sender.Login
	return e, err
}

// githubActions are the actions after which a pull request may want a run.
var githubActions = map[string]string{
	"opened": Opened, "synchronize": Updated, "reopened": Reopened,
	"ready_for_review": Ready, "closed": Closed, "edited": Retargeted,
}

type githubSide struct {
	SHA  string            `json:"sha"`
	Ref  string            `json:"ref"`
	Repo *githubRepository `json:"repo"` // null if the fork is gone
}

func (s githubSide) side() Side {
	side := Side{Branch: s.Ref, Commit: s.SHA}
	if s.Repo != nil {
		side.Repository = string(s.Repo.ID)
	}
	return side
}

func githubPullRequest(action string, body []byte) (Event, error) {
	var p struct {
		Number  int `json:"number"`
		Changes struct {
			Base json.RawMessage `json:"base"`
		} `json:"changes"`
		PullRequest struct {
			Head  githubSide `json:"head"`
			Base  githubSide `json:"base"`
			Draft bool       `json:"draft"`
			User  githubUser `json:"user"`
		} `json:"pull_request"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return Event{}, badBody("%v", err)
	}
	ours, known := githubActions[action]
	if !known || (ours == Retargeted && p.Changes.Base == nil) {
		return ignored("pull_request %s changes neither commit nor base", action), nil
	}
	if p.Number < 1 {
		return Event{}, badBody("a pull request without a number")
	}
	return Event{Kind: PullRequest, Action: ours, PullRequest: PullRequestChange{
		Number: p.Number, Head: p.PullRequest.Head.side(), Base: p.PullRequest.Base.side(),
		Draft: p.PullRequest.Draft, AuthorID: string(p.PullRequest.User.ID),
	}}, nil
}

func githubMergeGroup(action string, body []byte) (Event, error) {
	var p struct {
		MergeGroup struct {
			HeadSHA string `json:"head_sha"`
			HeadRef string `json:"head_ref"`
			BaseSHA string `json:"base_sha"`
			BaseRef string `json:"base_ref"`
		} `json:"merge_group"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return Event{}, badBody("%v", err)
	}
	if action != "checks_requested" {
		return ignored("merge_group %s asks for nothing", action), nil
	}
	g := p.MergeGroup
	base, isBranch := strings.CutPrefix(g.BaseRef, "refs/heads/")
	if !isBranch || g.HeadRef == "" || unlessNull(g.HeadSHA) == "" {
		return Event{}, badBody("a merge group without head or base")
	}
	return Event{Kind: MergeGroup, Base: base, Changes: []Change{ref(g.HeadRef, g.BaseSHA, g.HeadSHA)}}, nil
}

// unwrapForm takes the JSON out of a form, which is what GitHub sends where the
// hook was left at its default content type. The proof covers the form's bytes.
func unwrapForm(body []byte) ([]byte, error) {
	encoded, isForm := bytes.CutPrefix(body, []byte("payload="))
	if !isForm {
		return body, nil
	}
	text, err := url.QueryUnescape(strings.SplitN(string(encoded), "&", 2)[0])
	if err != nil {
		return nil, badBody("%v", err)
	}
	return []byte(text), nil
}
