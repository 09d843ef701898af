package repository

import (
	"regexp"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/repository/git"
)

// Providers of a repository. Plain is any git server, without webhooks.
const (
	Plain     = "plain"
	GitHub    = "github"
	GitLab    = "gitlab"
	Bitbucket = "bitbucket"
)

// Status is how a repository is doing.
type Status string

// The statuses. A repository that is unreachable or gone keeps its runs, and is
// looked at again.
const (
	Active      Status = "active"
	Unreachable Status = "unreachable" // the remote did not answer the last time
	Gone        Status = "gone"        // the remote says that there is no such repository, or hides it
)

// Repository is a connected repository.
type Repository struct {
	ID            string      `json:"id"`
	Name          string      `json:"name"`
	URL           git.RepoURL `json:"url"`
	Provider      string      `json:"provider"`
	ProviderID    string      `json:"provider_id,omitempty"` // the provider's id; bound by the first delivery if it was not given
	DefaultBranch string      `json:"default_branch,omitempty"`
	Status        Status      `json:"status"`
	Banner        string      `json:"banner,omitempty"` // what is wrong and what to do, for people
	RunPipelines  bool        `json:"run_pipelines"`
	Created       time.Time   `json:"created"`
	Looked        time.Time   `json:"looked,omitzero"` // when the remote was asked last
	Hook          *Health     `json:"hook,omitempty"`
	APIURL        string      `json:"api_url,omitempty"` // of the provider's API, where the clone URL does not tell it

	version    int64
	pulls      int // the highest pull request that there was when it was connected
	credential []byte
	hook       hookState
}

// Health is how a webhook is doing.
type Health struct {
	LastDelivery time.Time `json:"last_delivery,omitzero"`
	LastEvent    string    `json:"last_event,omitempty"`
	LastFailure  time.Time `json:"last_failure,omitzero"`
	Failure      string    `json:"failure,omitempty"`
	// How the provider has it, as far as its API tells.
	Looked   time.Time  `json:"looked,omitzero"`
	Reason   HookReason `json:"reason,omitempty"` // why it may not work
	Banner   string     `json:"banner,omitempty"` // the same for people, and what to do
	Repaired time.Time  `json:"repaired,omitzero"`
	Repair   string     `json:"repair,omitempty"` // what was done the last time
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// parseName takes the name that people call a repository by.
func parseName(name string) (string, error) {
	if !nameForm.MatchString(name) {
		return "", problem.New(problem.Invalid, "%q is no name: up to 63 lower-case letters, digits, dots, dashes and underscores, the first a letter or digit.", name).InField("name")
	}
	return name, nil
}

// nameOf proposes a name for a URL: its last part.
func nameOf(at git.RepoURL) string {
	parts := strings.Split(strings.ToLower(at.FullName()), "/")
	name := strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789._-", r) {
			return r
		}
		return '-'
	}, parts[len(parts)-1])
	return strings.TrimLeft(name[:min(len(name), 63)], "._-")
}

// providerOf proposes a provider for a URL: that of the three public hosts.
func providerOf(at git.RepoURL) string {
	switch at.Host() {
	case "github.com":
		return GitHub
	case "gitlab.com":
		return GitLab
	case "bitbucket.org":
		return Bitbucket
	}
	return Plain
}

// tokenUser is the user that a provider wants beside a token.
func tokenUser(provider string) string {
	switch provider {
	case GitHub:
		return "x-access-token"
	case GitLab:
		return "oauth2"
	case Bitbucket:
		return "x-token-auth"
	}
	return "git"
}
