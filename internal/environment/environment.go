package environment

import (
	"time"

	"github.com/buildit-dev/buildit/internal/pattern"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Environment is a place that is deployed to, with its rules.
type Environment struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Branches    []string `json:"branches,omitempty"`  // patterns of branches and tags that may be deployed; none: all
	Approvers   []string `json:"approvers,omitempty"` // tokens by name, or roles, of whom Count must agree; none: nobody must
	Count       int      `json:"count,omitempty"`     // different people; 1 if there are approvers
	// Self lets the author of the commit, and who started the run, be one of them.
	Self    bool      `json:"self,omitempty"`
	Created time.Time `json:"created_at"`
	// Releases counts what was deployed; Current is the newest of it.
	Releases int64    `json:"releases"`
	Current  *Release `json:"current,omitempty"`
}

// Release is one deployment to an environment.
type Release struct {
	Number     int64     `json:"number"` // of the environment, from 1
	Run        string    `json:"run"`
	RunNumber  int       `json:"run_number"`
	Stage      string    `json:"stage"`
	Repository string    `json:"repository"`
	File       string    `json:"file"`
	Commit     string    `json:"commit"`
	Branch     string    `json:"branch,omitempty"`
	Tag        string    `json:"tag,omitempty"`
	Actor      string    `json:"actor,omitempty"`
	URL        string    `json:"url,omitempty"`
	Artifacts  []Pin     `json:"artifacts,omitempty"`
	At         time.Time `json:"at"`
}

// Pin is an artifact of a release: its digest, or what it refers to.
type Pin struct {
	Name   string `json:"name"`
	Stage  string `json:"stage"`
	Digest string `json:"digest,omitempty"`
	Value  string `json:"value,omitempty"`
}

// Limits of an environment.
const (
	MaxPins        = 100 // artifacts that a release names
	maxDescription = 500 // bytes
	maxPatterns    = 50
	maxPattern     = 250 // bytes
	maxApprovers   = 50
	maxCount       = 10
)

var (
	validName    = pattern.Late(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	validPattern = pattern.Late(`^!?[^\s\x00-\x1f\x7f\\]+$`)
)

// check says what of an environment is wrong.
func (e Environment) check() error {
	switch {
	case !validName().MatchString(e.Name):
		return problem.New(problem.Invalid, "%q is no name of an environment: letters, digits, dots, dashes and underscores, at most 63, a letter or digit first.", e.Name).InField("name")
	case len(e.Description) > maxDescription:
		return problem.New(problem.Invalid, "A description has at most %d bytes.", maxDescription).InField("description")
	case len(e.Branches) > maxPatterns:
		return problem.New(problem.Invalid, "There may be %d patterns of branches.", maxPatterns).InField("branches")
	case len(e.Approvers) > maxApprovers:
		return problem.New(problem.Invalid, "There may be %d approvers.", maxApprovers).InField("approvers")
	case e.Count < 0 || e.Count > maxCount:
		return problem.New(problem.Invalid, "The number of people who must agree is 1 to %d, not %d.", maxCount, e.Count).InField("count")
	case e.Count > 0 && len(e.Approvers) == 0:
		return problem.New(problem.Invalid, "Who are the %d that must agree? Name approvers: tokens, or roles.", e.Count).InField("approvers")
	}
	for _, pattern := range e.Branches {
		if len(pattern) > maxPattern || !validPattern().MatchString(pattern) {
			return problem.New(problem.Invalid, "%q is no pattern of branches; write main, or release/*.", pattern).InField("branches")
		}
	}
	for _, who := range e.Approvers {
		if who == "" || len(who) > maxPattern {
			return problem.New(problem.Invalid, "An approver is the name of a token, or a role.").InField("approvers")
		}
	}
	return nil
}
