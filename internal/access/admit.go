package access

import (
	"context"
	"net"
	"net/http"
	"strings"

	"github.com/buildit-dev/buildit/internal/problem"
)

// errAbsent is the answer for what is not there and for what is another
// organization's: nobody can tell the two apart.
var errAbsent = problem.New(problem.NotFound, "There is no such thing here, or you may not see it.")

// admit finds out who asks and whether they may: origin, credential, rate,
// organization, role, in this order.
func (m *Mux) admit(route Route, w http.ResponseWriter, r *http.Request) (Caller, error) {
	if err := m.origins.Check(r); err != nil {
		refused := problem.New(problem.Forbidden, "A page of another origin may not write here.")
		refused.Err = err
		return Caller{}, refused
	}
	caller, err := m.identify(r.Context(), route.Resource.kind, r)
	if limited := m.spend(route, caller, r); limited != nil {
		return Caller{}, limited
	}
	if err != nil {
		return Caller{}, err
	}
	return caller, authorize(route, caller, r)
}

// identify checks the credential that the route asks for.
func (m *Mux) identify(ctx context.Context, kind resourceKind, r *http.Request) (Caller, error) {
	if kind == public {
		return Caller{Kind: KindAnonymous}, nil
	}
	if ticket := r.URL.Query().Get("ticket"); ticket != "" && kind == stream {
		return m.Credentials.redeemStream(ctx, ticket)
	}
	credential, ok := bearer(r)
	if !ok {
		return Caller{}, problem.New(problem.Unauthorized, "Send a token as `Authorization: Bearer …`.")
	}
	switch kind {
	case runnerHello:
		return m.Credentials.redeemHello(ctx, credential, r.Header.Get(BootHeader))
	case runner, runnerRenews:
		caller, err := m.Credentials.VerifyJob(ctx, credential)
		if err == nil && caller.Job.Expired && kind == runner {
			return Caller{}, problem.New(problem.Unauthorized, "The job token has expired; a beat renews it.")
		}
		return caller, err
	}
	return m.Credentials.verify(ctx, credential)
}

func bearer(r *http.Request) (string, bool) {
	scheme, credential, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || credential == "" {
		return "", false
	}
	return credential, true
}

// spend takes a call from the limit of the caller, or of the address that has
// shown no good credential.
func (m *Mux) spend(route Route, caller Caller, r *http.Request) error {
	who, rate := caller.principal(), principalRate
	if caller.Kind == "" || caller.Kind == KindAnonymous {
		host, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			host = r.RemoteAddr
		}
		who, rate = "address/"+host, addressRate
	}
	if route.Rate != (Rate{}) {
		who, rate = who+" "+route.Pattern, route.Rate
	}
	if wait := m.limits.take(who, rate); wait > 0 {
		return &problem.Error{
			Kind: problem.TooMany, RetryAfter: wait,
			Detail: "You call too often; wait as long as Retry-After says.",
		}
	}
	return nil
}

// authorize decides by role. The organization in the path must be the caller's:
// another one's and one that does not exist are the same absence.
func authorize(route Route, caller Caller, r *http.Request) error {
	if !route.Resource.needsRole() {
		return nil
	}
	if org := r.PathValue("org"); org != caller.Org.ID() && route.Resource.kind != ofSelf {
		return errAbsent
	}
	if !caller.May(route.Action) {
		return problem.New(problem.Forbidden,
			"This needs %s, which the role %s of your token %q does not have. Ask an owner of the organization.",
			route.Action, caller.Role, caller.Name)
	}
	return nil
}
