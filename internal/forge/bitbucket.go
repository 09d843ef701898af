package forge

import (
	"encoding/json"
	"net/http"
	"time"
)

// Bitbucket is the dialect of Bitbucket Cloud. Bitbucket Data Center speaks another.
//
// Source: Bitbucket Cloud, "Event payloads", "Manage webhooks".
type Bitbucket struct{}

// Name is bitbucket.
func (Bitbucket) Name() string { return "bitbucket" }

// Verify checks X-Hub-Signature, which holds a SHA-256 here.
func (Bitbucket) Verify(header http.Header, body []byte, secrets []string, _ time.Time) Verdict {
	return signedHex(header.Get("X-Hub-Signature"), body, secrets)
}

// Delivery is X-Request-UUID, the same for each attempt.
func (Bitbucket) Delivery(header http.Header) string { return header.Get("X-Request-UUID") }

// EventName is X-Event-Key.
func (Bitbucket) EventName(header http.Header) string { return header.Get("X-Event-Key") }

type bitbucketRepository struct {
	UUID     id     `json:"uuid"`
	FullName string `json:"full_name"`
}

// Identify reads repository.uuid and .full_name.
func (Bitbucket) Identify(body []byte) (Identity, error) {
	return identify(body, "repository", func(raw json.RawMessage) (Identity, error) {
		var r bitbucketRepository
		if err := json.Unmarshal(raw, &r); err != nil {
			return Identity{}, badBody("%v", err)
		}
		if r.UUID == "" {
			return Identity{}, badBody("its repository has no uuid")
		}
		return Identity{string(r.UUID), r.FullName}, nil
	})
}

// Parse reads one delivery.
func (Bitbucket) Parse(event string, body []byte) (Event, error) {
	var p struct {
		Repository bitbucketRepository `json:"repository"`
		Actor      struct {
			UUID id     `json:"uuid"`
			Name string `json:"nickname"`
		} `json:"actor"`
	}
	if err := decode(body, &p); err != nil {
		return Event{}, err
	}
	var e Event
	var err error
	switch event {
	case "repo:push":
		e, err = bitbucketPush(body)
	case "pullrequest:created":
		e, err = bitbucketPullRequest(Opened, body)
	case "pullrequest:updated": // it does not say what changed
		e, err = bitbucketPullRequest(Updated, body)
	case "pullrequest:fulfilled", "pullrequest:rejected":
		e, err = bitbucketPullRequest(Closed, body)
	case "repo:updated", "repo:transfer", "repo:deleted":
		e = Event{Kind: Life, Action: event}
	case "diagnostics:ping":
		e = Event{Kind: Ping}
	default:
		e = ignored("%s events change no commit", event)
	}
	e.Repository = Identity{string(p.Repository.UUID), p.Repository.FullName}
	e.ActorID, e.ActorName = string(p.Actor.UUID), p.Actor.Name
	return e, err
}

// bitbucketRef is an end of a change: null if the ref is new, or gone.
type bitbucketRef struct {
	Type   string `json:"type"`
	Name   string `json:"name"`
	Target struct {
		Hash string `json:"hash"`
	} `json:"target"`
}

func (r *bitbucketRef) full() string {
	switch {
	case r == nil || r.Name == "":
		return ""
	case r.Type == "tag" || r.Type == "annotated_tag":
		return "refs/tags/" + r.Name
	}
	return "refs/heads/" + r.Name
}

func (r *bitbucketRef) commit() string {
	if r == nil {
		return ""
	}
	return r.Target.Hash
}

func bitbucketPush(body []byte) (Event, error) {
	var p struct {
		Push struct {
			Changes []struct {
				Old *bitbucketRef `json:"old"`
				New *bitbucketRef `json:"new"`
			} `json:"changes"`
		} `json:"push"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return Event{}, badBody("%v", err)
	}
	var e Event
	for _, c := range p.Push.Changes {
		name := c.New.full()
		if name == "" {
			name = c.Old.full()
		}
		if name == "" {
			return Event{}, badBody("a change without a ref")
		}
		if len(e.Changes) == MaxChanges {
			e.Cut = true
			break
		}
		e.Changes = append(e.Changes, ref(name, c.Old.commit(), c.New.commit()))
	}
	if len(e.Changes) == 0 {
		return ignored("a push of no ref"), nil
	}
	e.Kind = kindOf(e.Changes)
	return e, nil
}

func bitbucketPullRequest(action string, body []byte) (Event, error) {
	type side struct {
		Branch struct {
			Name string `json:"name"`
		} `json:"branch"`
		Commit struct {
			Hash string `json:"hash"`
		} `json:"commit"`
		Repository bitbucketRepository `json:"repository"` // null if the fork is gone
	}
	var p struct {
		PullRequest struct {
			Number      int  `json:"id"`
			Draft       bool `json:"draft"`
			Source      side `json:"source"`
			Destination side `json:"destination"`
			Author      struct {
				UUID id `json:"uuid"`
			} `json:"author"`
		} `json:"pullrequest"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return Event{}, badBody("%v", err)
	}
	if p.PullRequest.Number < 1 {
		return Event{}, badBody("a pull request without a number")
	}
	end := func(s side) Side { return Side{s.Branch.Name, s.Commit.Hash, string(s.Repository.UUID)} }
	return Event{Kind: PullRequest, Action: action, PullRequest: PullRequestChange{
		Number: p.PullRequest.Number, Draft: p.PullRequest.Draft, AuthorID: string(p.PullRequest.Author.UUID),
		Head: end(p.PullRequest.Source), Base: end(p.PullRequest.Destination),
	}}, nil
}
