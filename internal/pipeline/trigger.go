package pipeline

import "time"

// Trigger is an event that wants a run of one pipeline file at one commit.
// repository makes it; Start turns it into a run. Everything in it that a pusher
// chose is data and never decides trust.
type Trigger struct {
	Repository string `json:"repository"` // id
	File       string `json:"file"`       // path of the pipeline file in the tree
	Event      string `json:"event"`      // push, tag, pull-request, schedule, manual, …
	Subject    string `json:"subject"`    // branch, tag, pull-request number, schedule tick, request id
	Commit     string `json:"commit"`     // 40 or 64 hex
	Generation int64  `json:"generation"` // of the ref; 0 for a subject that is no ref
	Attempt    int    `json:"attempt"`    // 1; a rerun adds one

	Trust string `json:"trust"` // trusted or untrusted: the control plane's word
	Actor string `json:"actor"`

	RepoName, RepoOwner, RepoURL, DefaultBranch string
	Ref, Branch, Tag, Base, Head, BaseSHA       string
	PullRequest                                 int
	Fork, Draft                                 bool
	Action                                      string // of a pull request: opened, updated, reopened, ready; "" if nobody knows
	Message, Author                             string
	CommitTime                                  time.Time
	Params                                      map[string]string

	// Changed are the files that differ, by git; FilesKnown is false where nobody can tell.
	Changed    []string
	FilesKnown bool
	// Why is shown on the run: "found by reconciliation", why the files are unknown, …
	Why string

	// Skip, if set, says why the run is recorded as skipped and nothing of it starts:
	// the head commit's message asks for it, or runs have started one another in a circle.
	Skip string

	// NoCache has the run's stages restore no cache: asked for with a rerun.
	NoCache bool `json:"no_cache,omitempty"`

	// Hold, if set, keeps a run that is compiled from beginning until a person allows
	// it: HoldForkApproval.
	Hold string `json:"hold,omitempty"`

	// Depth counts the runs that led to this one by `on "upstream"`; 0 for a run that
	// no other has started.
	Depth int `json:"depth,omitempty"`

	// Source is the key parts of the bundle of the commit, and Config those of the
	// pipeline files of that commit (a tar.gz of every *.kdl that may be included):
	// org.Blob(Source[0], Source[1:]...).
	Source       []string
	SourceSHA256 string
	SourceSize   int64
	Config       []string
}

// HoldForkApproval holds the run of a fork's commit until somebody who may approve
// has allowed exactly that commit.
const HoldForkApproval = "fork-approval"

func (t Trigger) skipReason() string {
	if t.Event == "upstream" {
		return reasonCircle
	}
	return reasonAsked
}
