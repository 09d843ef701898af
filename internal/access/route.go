package access

import (
	"net/http"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

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
	// MaxBody is the bytes that a body may have: MaxBody of this package if 0.
	MaxBody int64
	// Raw says that the body is not JSON: the handler reads it as it is.
	Raw bool
	// Secret says that the answer holds a secret: it is not kept under an idempotency key.
	Secret bool
	// Rate replaces the limit on those who call; its zero value is the default.
	Rate Rate
	// Handle answers a value that is encoded as JSON, nil for an empty answer, or
	// an http.Handler that writes the answer itself (streams, upgrades).
	Handle func(r *http.Request, caller Caller) (any, error)
}

// Resource says which thing a route acts on: a wildcard of its pattern, the
// organization itself, or that another proof than a role opens it.
type Resource struct {
	kind resourceKind
	name string // of the wildcard; or why the route is public
}

type resourceKind string

const (
	inPath       resourceKind = "path"
	ofOrg        resourceKind = "organization"
	ofSelf       resourceKind = "self"
	stream       resourceKind = "stream"
	public       resourceKind = "public"
	runner       resourceKind = "runner"
	runnerRenews resourceKind = "runner-renews"
	runnerHello  resourceKind = "runner-hello"
)

// InPath is the thing that the pattern's wildcard names, in the organization that
// {org} names.
func InPath(wildcard string) Resource { return Resource{inPath, wildcard} }

// OfOrg is the organization in the path.
func OfOrg() Resource { return Resource{kind: ofOrg} }

// Self is the caller: any credential of a role opens it.
func Self() Resource { return Resource{kind: ofSelf} }

// Stream is OfOrg for a WebSocket: a browser, which cannot send a header with it,
// may show a ticket as ?ticket= instead.
func Stream() Resource { return Resource{kind: stream} }

// Public opens a route to everybody; why is written beside it, and the
// authorization matrix shows it.
func Public(why string) Resource { return Resource{public, why} }

// Runner opens a route to a supervisor with the token of its attempt, and to
// nobody else.
func Runner() Resource { return Resource{kind: runner} }

// RunnerRenews is Runner for the one call that an expired token still opens: the
// beat, which renews it. The handler must refuse one whose attempt is over
// (trust.md T20); Caller.Job.Expired says that it has expired.
func RunnerRenews() Resource { return Resource{kind: runnerRenews} }

// RunnerHello opens a route to a supervisor that shows the ticket of its attempt,
// for hello. Mux redeems it: Caller.Job is what it is bound to.
func RunnerHello() Resource { return Resource{kind: runnerHello} }

// Kinds of callers.
const (
	KindPerson    = "person"
	KindToken     = "token"
	KindRunner    = "runner"
	KindAnonymous = "anonymous"
)

// Caller is who asks, verified.
type Caller struct {
	Org  platform.Org
	Name string // of the person, token or runner
	Kind string // person, token, runner, anonymous
	Role string
	// Job is set for a runner: what its token is bound to.
	Job JobClaims

	token string    // id of the API token, to check it again
	only  []Action  // what the token is limited to; empty for all of its role
	renew time.Time // from when on a job token is renewed
}

// JobClaims bind a supervisor's token to one attempt.
type JobClaims struct {
	Run      string `json:"run"`
	StageKey string `json:"stage"`
	Attempt  int    `json:"attempt"`
	Epoch    int64  `json:"epoch"`
	// Expired: the token is past its time and opens RunnerRenews alone.
	Expired bool `json:"-"`
}
