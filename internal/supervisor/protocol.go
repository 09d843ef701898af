package supervisor

import (
	"net/http"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// The protocol /runner/v1: JSON over HTTP, a POST for each call. Organization, run,
// stage, attempt and epoch come from the bearer token, never from a body. Calls are
// idempotent by attempt and sequence; a server accepts the version before its own
// and the one after.
const (
	Protocol       = 1
	ProtocolHeader = "Buildit-Protocol"

	PathHello   = "/runner/v1/hello" // the bearer is the ticket of the task
	PathSecrets = "/runner/v1/secrets"
	PathGrants  = "/runner/v1/grants"
	PathLog     = "/runner/v1/log"
	PathBeat    = "/runner/v1/beat" // the one call that an expired token still opens
	PathFinish  = "/runner/v1/finish"

	// MaxBody is the longest body of a call, in bytes: a batch of log parts as JSON.
	MaxBody = 4 << 20
	// MaxGrants is how many objects one call may ask for.
	MaxGrants = 100
)

// Settled is the answer to a call for an attempt that is over: 409, and ErrSettled
// at the supervisor.
var Settled = problem.Kind{Type: "attempt-settled", Title: "The attempt is over", Status: http.StatusConflict}

// Renewal is a new job token, "" if the old one is still good for long.
type Renewal struct {
	Token   string    `json:"token,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
}

// HelloAnswer is the job with its token, or Nothing for an idle supervisor of a
// pool, which then asks again.
type HelloAnswer struct {
	Job     *Job `json:"job,omitempty"`
	Nothing bool `json:"nothing,omitempty"`
	Renewal
}

// SecretsRequest asks for the values of the job's secrets.
type SecretsRequest struct{}

// SecretsAnswer is the values by name.
type SecretsAnswer struct {
	Values map[string]string `json:"values"`
}

// GrantRequest asks to read (GET) or to store (PUT) one object that the job
// declares.
type GrantRequest struct {
	Object Object `json:"object"`
	Method string `json:"method"`
}

// Grant is the answer to one GrantRequest: a signed request, or that the store has
// the object already (PUT), or why it is refused. Missing says that there is no such
// object (GET).
type Grant struct {
	Request *platform.SignedRequest `json:"request,omitempty"`
	Have    bool                    `json:"have,omitempty"`
	Missing bool                    `json:"missing,omitempty"`
	Refused string                  `json:"refused,omitempty"`
}

// GrantsRequest asks for up to MaxGrants objects.
type GrantsRequest struct {
	Objects []GrantRequest `json:"objects"`
}

// GrantsAnswer has one grant for each request, in its order.
type GrantsAnswer struct {
	Grants []Grant `json:"grants"`
}

// LogRequest carries parts in order.
type LogRequest struct {
	Parts []LogPart `json:"parts"`
}

// LogAnswer is the segment that the server wants next; it has all before.
type LogAnswer struct {
	Next int `json:"next"`
}

// BeatAnswer is what the platform wants, and perhaps a new token.
type BeatAnswer struct {
	Order Order `json:"order"`
	Renewal
}

// FinishAnswer says that the platform has the result for good. An attempt that was
// settled before is answered with Settled instead.
type FinishAnswer struct {
	Accepted bool `json:"accepted"`
}
