package secret

import (
	"strings"

	"github.com/buildit-dev/buildit/internal/pattern"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Scope is where a secret holds. Its zero value is the whole organization.
type Scope struct {
	Repository  string `json:"repository,omitempty"`  // id
	Pipeline    string `json:"pipeline,omitempty"`    // path of a pipeline file of Repository
	Environment string `json:"environment,omitempty"` // name; of the organization
}

// names are what a pipeline file can call a secret, and environments.
var names = pattern.Late(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

const maxPath = 512 // bytes

func (s Scope) check() error {
	switch {
	case s.Environment != "" && (s.Repository != "" || s.Pipeline != ""):
		return problem.New(problem.Invalid, "A secret holds in an environment or in a repository, not in both.").InField("environment")
	case s.Environment != "" && !names().MatchString(s.Environment):
		return problem.New(problem.Invalid, "%.80q cannot be the name of an environment.", s.Environment).InField("environment")
	case s.Pipeline != "" && s.Repository == "":
		return problem.New(problem.Invalid, "A pipeline is one of a repository: name that too.").InField("repository")
	case len(s.Repository) > maxPath || strings.ContainsAny(s.Repository, "#\x00"):
		return problem.New(problem.Invalid, "%.80q is no id of a repository.", s.Repository).InField("repository")
	case s.Pipeline != "" && (len(s.Pipeline) > maxPath || !strings.HasSuffix(s.Pipeline, ".kdl") || strings.ContainsAny(s.Pipeline, "#\x00")):
		return problem.New(problem.Invalid, "%.80q is no path of a pipeline file: .buildit.kdl, or one that ends so.", s.Pipeline).InField("pipeline")
	}
	return nil
}

// parts name the scope in a row's key.
func (s Scope) parts() []string {
	switch {
	case s.Environment != "":
		return []string{"environment", s.Environment, ""}
	case s.Pipeline != "":
		return []string{"pipeline", s.Repository, s.Pipeline}
	case s.Repository != "":
		return []string{"repository", s.Repository, ""}
	}
	return []string{"organization", "", ""}
}

// String names the scope for people.
func (s Scope) String() string {
	switch {
	case s.Environment != "":
		return "environment " + s.Environment
	case s.Pipeline != "":
		return "pipeline " + s.Pipeline
	case s.Repository != "":
		return "repository"
	}
	return "organization"
}
