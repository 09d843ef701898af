package forge

import (
	"fmt"
	"strings"
)

// Kind is what an Event is about.
type Kind string

// The kinds.
const (
	Push        Kind = "push"         // branches moved (and, in one delivery of Bitbucket, tags too)
	Tag         Kind = "tag"          // tags moved
	PullRequest Kind = "pull-request" // opened, updated, retargeted, closed
	MergeGroup  Kind = "merge-group"  // a merge queue has made a branch and wants to know how it does
	Life        Kind = "life"         // of the repository: renamed, transferred, deleted, archived
	Ping        Kind = "ping"         // the provider tries the hook
	Ignored     Kind = "ignored"      // nothing that we act on; Why says so
)

// Event is a delivery in our words.
type Event struct {
	Kind   Kind
	Why    string // of Ignored
	Action string // of PullRequest: one of the constants below; of Life: the provider's word

	Repository    Identity
	DefaultBranch string // "" if the body does not say

	ActorID   string // the provider's id of who did it
	ActorName string // for people to read

	Changes     []Change // of Push and Tag, in the body's order; of MergeGroup its branch
	Base        string   // of MergeGroup: the branch that it is to become, short
	PullRequest PullRequestChange
	// Cut says that the provider or we left out changes: look at every ref.
	Cut bool
}

// Change is one ref that moved. Before is "" for a new ref, After for a deleted one.
type Change struct {
	Ref           string // full name, refs/heads/… or refs/tags/…
	Before, After string // commit or tag object
}

// The actions of a pull request.
const (
	Opened     = "opened"
	Updated    = "updated" // new commits
	Reopened   = "reopened"
	Ready      = "ready" // no draft any more
	Retargeted = "retargeted"
	Closed     = "closed" // merged or not
)

// PullRequestChange is a pull request (GitLab: merge request) as its event says.
type PullRequestChange struct {
	Number     int
	Head, Base Side
	Draft      bool
	AuthorID   string
}

// Side is one end of a pull request.
type Side struct {
	Branch     string // short name
	Commit     string // "" where the body does not say
	Repository string // the provider's id; "" if the fork is gone
}

// Fork says whether the head lives in another repository than the base, or in one
// that is gone.
func (p PullRequestChange) Fork() bool { return p.Head.Repository != p.Base.Repository }

// ref is a change of a ref, with git's null id read as "".
func ref(name, before, after string) Change {
	return Change{Ref: name, Before: unlessNull(before), After: unlessNull(after)}
}

func unlessNull(id string) string {
	if strings.Trim(id, "0") == "" {
		return ""
	}
	return id
}

// kindOf is Tag if every change is of a tag.
func kindOf(changes []Change) Kind {
	for _, c := range changes {
		if !strings.HasPrefix(c.Ref, "refs/tags/") {
			return Push
		}
	}
	return Tag
}

func ignored(format string, args ...any) Event {
	return Event{Kind: Ignored, Why: fmt.Sprintf(format, args...)}
}
