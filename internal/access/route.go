package access

import (
	"net/http"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Action is what a caller wants to do: resource:verb (trust.md 8).
type Action string

// Route is one operation of the API. Domains declare them; Mux registers each as
// a huma operation and refuses one that lacks an action or a resource. Pattern is
// Go's ("POST /api/v1/orgs/{org}/runs/{run}/cancel").
type Route struct {
	Pattern  string
	Action   Action
	Resource Resource
	Summary  string // one line, for OpenAPI and the CLI's help
	// In and Out are zero values of the request's and the answer's body, for
	// OpenAPI; nil for none. Query names the query parameters, with a sentence each.
	In, Out any
	Query   map[string]string
	// Status of success: 200 if 0.
	Status int
	// Handle answers a value that is encoded as JSON, nil for an empty answer, or
	// an http.Handler that writes the answer itself (streams, upgrades).
	Handle func(r *http.Request, caller Caller) (any, error)
}

// Resource says which thing a route acts on: a wildcard of its pattern, the
// organization itself, or (Public, Runner) that another proof than a bearer token
// opens it.
type Resource struct {
	kind string // path, org, public, runner
	name string
}

// InPath is the thing that the pattern's wildcard names.
func InPath(wildcard string) Resource { return Resource{"path", wildcard} }

// OfOrg is the organization in the path.
func OfOrg() Resource { return Resource{"org", ""} }

// Public opens a route to everybody; why is written beside it, and the authorization matrix shows it.
func Public(why string) Resource { return Resource{"public", why} }

// Runner opens a route to a supervisor with the token of its attempt, and to nobody else.
func Runner() Resource { return Resource{"runner", ""} }

// Caller is who asks, verified.
type Caller struct {
	Org  platform.Org
	Name string // of the person, token or runner
	Kind string // person, token, runner, anonymous
	Role string
	// Job is set for a runner: what its token is bound to.
	Job JobClaims
}

// JobClaims bind a supervisor's token to one attempt.
type JobClaims struct {
	Run      string `json:"run"`
	StageKey string `json:"stage"`
	Attempt  int    `json:"attempt"`
	Epoch    int64  `json:"epoch"`
}
