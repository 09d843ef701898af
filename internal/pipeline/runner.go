package pipeline

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// Runner serves /runner/v1, the protocol of supervisors. Organization, run, stage
// and attempt come from the token, never from a body.
type Runner struct {
	Service     *Service
	Credentials *access.Credentials
}

// Routes are the calls of the protocol.
func (h *Runner) Routes() []access.Route {
	call := func(path, summary string, resource access.Resource) access.Route {
		return access.Route{
			Pattern: "POST " + path, Action: access.JobWork, Resource: resource, Summary: summary, Handle: h.serve,
		}
	}
	return []access.Route{
		call(supervisor.PathHello, "A supervisor asks for its job", access.RunnerHello()),
		call(supervisor.PathSecrets, "The values of the secrets that the job names", access.Runner()),
		call(supervisor.PathGrants, "Signed requests for objects that the job declares", access.Runner()),
		call(supervisor.PathLog, "Parts of the attempt's log", access.Runner()),
		call(supervisor.PathBeat, "A sign of life; the answer brings orders", access.RunnerRenews()),
		call(supervisor.PathCacheFind, "Which entry of a cache to restore", access.Runner()),
		call(supervisor.PathCacheSave, "A new entry of a cache, of objects that are stored", access.Runner()),
		call(supervisor.PathCacheFault, "An object of a cache came damaged", access.Runner()),
		call(supervisor.PathFinish, "The attempt's result", access.Runner()),
	}
}

func (h *Runner) serve(r *http.Request, caller access.Caller) (any, error) {
	job := caller.Job
	key := StageKey(job.StageKey)
	attempt, err := h.Service.Attempt(r.Context(), caller.Org, RunID(job.Run), key, job.Attempt)
	if err != nil {
		return nil, err
	}
	return supervisor.Serve(r, supervisor.Side{
		Control: attempt,
		Grant:   attempt.Grants,
		Renew: func(ctx context.Context, hello bool) (supervisor.Renewal, error) {
			renew := h.Credentials.RenewJob
			if hello {
				renew = func(ctx context.Context, c access.Caller) (string, time.Time, error) {
					return h.Credentials.MintJob(ctx, c.Org, c.Job)
				}
			}
			token, expires, err := renew(ctx, caller)
			return supervisor.Renewal{Token: token, Expires: expires}, err
		},
	})
}

// Ticket makes what the task of an attempt says hello with (Parts.Ticket).
func Ticket(credentials *access.Credentials) func(context.Context, LogName) (string, error) {
	return func(ctx context.Context, log LogName) (string, error) {
		return credentials.HelloTicket(ctx, log.Org, access.JobClaims{
			Run: string(log.Run), StageKey: string(log.Key), Attempt: log.Attempt, Epoch: 1,
		})
	}
}

// grantLife is how long a signed request can be sent.
const grantLife = 5 * time.Minute

// Grants signs requests for objects that the job declares; each of the others is
// refused by itself.
func (a *Attempt) Grants(ctx context.Context, requests []supervisor.GrantRequest) ([]supervisor.Grant, error) {
	grants := make([]supervisor.Grant, len(requests))
	for i, request := range requests {
		grant, err := a.grant(ctx, request)
		var refused *problem.Error
		switch {
		case errors.As(err, &refused):
			grant.Refused = refused.Detail
			a.s.Log.WarnContext(ctx, "grant refused", "org", a.r.org.ID(), "run", a.r.run, "stage", a.key,
				"kind", request.Object.Kind, "name", request.Object.Name)
		case err != nil:
			return nil, err
		}
		grants[i] = grant
	}
	return grants, nil
}

// isPiece tells whether an object is one of those that another one lists, which is
// stored after them: it makes them last.
func isPiece(o supervisor.Object) bool {
	return o.Kind == "blob" || o.Kind == "cache" && o.Name != supervisor.CacheIndex
}

func (a *Attempt) grant(ctx context.Context, request supervisor.GrantRequest) (supervisor.Grant, error) {
	write := request.Method == http.MethodPut
	if !write && request.Method != http.MethodGet {
		return supervisor.Grant{}, problem.New(problem.Invalid, "A grant is for GET or PUT, not %q.", request.Method)
	}
	key, err := a.place(ctx, request.Object, write)
	if err != nil {
		return supervisor.Grant{}, err
	}
	if write {
		if err := a.s.spare(ctx, a.r.org, request.Object); err != nil {
			return supervisor.Grant{}, err
		}
	}
	_, err = a.s.home.Blobs.Stat(ctx, key)
	switch {
	case err != nil && !errors.Is(err, platform.ErrNotFound):
		return supervisor.Grant{}, err
	case write && err == nil:
		return supervisor.Grant{Have: true}, nil
	case !write && err != nil:
		return supervisor.Grant{Missing: true}, nil
	}
	wanted := platform.Grant{Key: key, Method: request.Method, Expire: grantLife}
	if write { // what is read is as it is; what is written is bound to its bytes
		wanted.Size, wanted.SHA256 = request.Object.Size, request.Object.SHA256
		wanted.Relaxed = isPiece(request.Object)
	}
	signed, err := a.s.home.Blobs.Presign(ctx, wanted)
	if err != nil {
		return supervisor.Grant{}, err
	}
	return supervisor.Grant{Request: &signed}, nil
}
