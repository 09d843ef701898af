package access

import "slices"

// Action is what a caller wants to do: resource:verb (trust.md 8).
type Action string

// The actions. A route names one of them; a name that is not here stops the start.
const (
	OrganizationRead  Action = "organization:read"
	RepositoryRead    Action = "repository:read"
	RepositoryScan    Action = "repository:scan"
	RepositoryConnect Action = "repository:connect"
	PipelineRead      Action = "pipeline:read"
	PipelineRun       Action = "pipeline:run"
	RunRead           Action = "run:read"
	RunCancel         Action = "run:cancel"
	RunRerun          Action = "run:rerun"
	RunForceCancel    Action = "run:force_cancel"
	LogRead           Action = "log:read"
	ArtifactRead      Action = "artifact:read"
	ArtifactDownload  Action = "artifact:download"
	SecretRead        Action = "secret:read" // names, scopes and uses; nobody reads a value
	SecretWrite       Action = "secret:write"
	CacheRead         Action = "cache:read"
	CacheDelete       Action = "cache:delete"
	CachePublish      Action = "cache:publish" // runs of forks may read it
	TokenRead         Action = "token:read"
	TokenCreate       Action = "token:create"
	TokenRevoke       Action = "token:revoke"
	JobWork           Action = "job:work"         // a supervisor, for its own attempt
	WebhookDeliver    Action = "webhook:deliver"  // a git provider, with its own proof
	DescriptionRead   Action = "description:read" // the API's own description
	HealthRead        Action = "health:read"      // does it answer
	SelfRead          Action = "self:read"        // who am I
	StreamOpen        Action = "stream:open"      // each subscription is checked again
)

// The actions of gates: what holds a run or a stage until people agree or there is room.
const (
	RunApprove         Action = "run:approve"  // a run that is held as a whole: a stranger's commit
	GateApprove        Action = "gate:approve" // a stage, where its rules name the caller
	QuotaRead          Action = "quota:read"
	QuotaWrite         Action = "quota:write"
	EnvironmentRead    Action = "environment:read"
	EnvironmentProtect Action = "environment:protect"
)

// Roles, from the smallest. Each may do what the one before it may.
const (
	Viewer    = "viewer"
	Developer = "developer"
	Deployer  = "deployer"
	Admin     = "admin"
	Owner     = "owner"
)

var roles = []string{Viewer, Developer, Deployer, Admin, Owner}

// granted is the smallest role that may do an action. What is not in it nobody
// may do by a role: routes for supervisors, providers and everybody say so in
// their resource.
var granted = map[Action]string{
	OrganizationRead:  Viewer,
	SelfRead:          Viewer,
	StreamOpen:        Viewer,
	RepositoryRead:    Viewer,
	PipelineRead:      Viewer,
	RunRead:           Viewer,
	LogRead:           Viewer,
	ArtifactRead:      Viewer,
	CacheRead:         Viewer,
	CacheDelete:       Developer,
	CachePublish:      Admin,
	RepositoryScan:    Developer,
	PipelineRun:       Developer,
	RunCancel:         Developer,
	RunRerun:          Developer,
	ArtifactDownload:  Developer,
	SecretRead:        Developer,
	SecretWrite:       Admin,
	RepositoryConnect: Admin,
	RunForceCancel:    Admin,
	TokenRead:         Admin,
	TokenCreate:       Admin,
	TokenRevoke:       Admin,

	RunApprove:         Deployer,
	GateApprove:        Developer,
	QuotaRead:          Viewer,
	QuotaWrite:         Admin,
	EnvironmentRead:    Viewer,
	EnvironmentProtect: Admin,
}

// unroled are the actions that another proof than a role opens.
var unroled = []Action{JobWork, WebhookDeliver, DescriptionRead, HealthRead}

func (a Action) known() bool {
	_, ok := granted[a]
	return ok || slices.Contains(unroled, a)
}

// IsRole tells whether name is a role.
func IsRole(name string) bool { return slices.Contains(roles, name) }

// May tells whether the caller's role, and the list of its token if there is one,
// allow the action on things of its organization.
func (c Caller) May(action Action) bool {
	if c.Kind != KindToken && c.Kind != KindPerson {
		return false
	}
	needs, ok := granted[action]
	if !ok || slices.Index(roles, c.Role) < slices.Index(roles, needs) {
		return false
	}
	return len(c.only) == 0 || slices.Contains(c.only, action) || slices.Contains(always, action)
}

// always are the actions that reach nothing by themselves, so that a token limited
// to others has them too.
var always = []Action{SelfRead, StreamOpen}
