package access

import (
	"net/http"
	"slices"
	"time"

	"github.com/buildit-dev/buildit/internal/problem"
)

// ownRoutes are the routes of this package.
func (m *Mux) ownRoutes() []Route {
	return []Route{
		{
			Pattern: "GET /healthz", Action: HealthRead,
			Resource: Public("whoever started it must know when it answers"),
			Summary:  "Whether the server answers",
			Out:      health{},
			Handle:   func(*http.Request, Caller) (any, error) { return health{"ok"}, nil },
		},
		{
			Pattern: "GET /api/openapi.json", Action: DescriptionRead,
			Resource: Public("it describes the API and nobody's data"),
			Summary:  "The API's description, OpenAPI 3.1",
			Handle:   m.getDescription,
		},
		{
			Pattern: "GET /api/v1/self", Action: SelfRead, Resource: Self(),
			Summary: "Who the token makes you",
			Out:     self{},
			Handle:  getSelf,
		},
		{
			Pattern: "POST /api/v1/ws-ticket", Action: StreamOpen, Resource: Self(),
			Summary: "A ticket that opens one WebSocket within 30 seconds",
			Out:     ticketAnswer{},
			Status:  http.StatusCreated,
			Secret:  true,
			Handle:  m.postTicket,
		},
		{
			Pattern: "GET /api/v1/orgs/{org}/tokens", Action: TokenRead, Resource: OfOrg(),
			Summary: "The organization's API tokens, without their secrets",
			Out:     Page[Token]{},
			Query:   WindowQuery(nil),
			Handle:  m.getTokens,
		},
		{
			Pattern: "POST /api/v1/orgs/{org}/tokens", Action: TokenCreate, Resource: OfOrg(),
			Summary: "Make an API token; its secret is in this answer alone",
			In:      tokenRequest{}, Out: tokenAnswer{},
			Status: http.StatusCreated,
			Secret: true,
			Handle: m.postToken,
		},
		{
			Pattern: "DELETE /api/v1/orgs/{org}/tokens/{token}", Action: TokenRevoke, Resource: InPath("token"),
			Summary: "Revoke an API token, at once",
			Status:  http.StatusNoContent,
			Handle:  m.deleteToken,
		},
	}
}

func (m *Mux) getDescription(*http.Request, Caller) (any, error) {
	if m.Describe == nil {
		return nil, errAbsent
	}
	return m.Describe, nil
}

type health struct {
	Status string `json:"status"`
}

type self struct {
	Org     string   `json:"org"`
	Name    string   `json:"name"`
	Role    string   `json:"role"`
	Actions []Action `json:"actions,omitempty"` // what the token is limited to
}

func getSelf(_ *http.Request, caller Caller) (any, error) {
	return self{caller.Org.ID(), caller.Name, caller.Role, caller.only}, nil
}

type ticketAnswer struct {
	Ticket  string    `json:"ticket"`
	Expires time.Time `json:"expires"`
}

func (m *Mux) postTicket(r *http.Request, caller Caller) (any, error) {
	ticket, expires, err := m.Credentials.StreamTicket(r.Context(), caller)
	return ticketAnswer{ticket, expires}, err
}

func (m *Mux) getTokens(r *http.Request, caller Caller) (any, error) {
	window, err := ParseWindow(r)
	if err != nil {
		return nil, err
	}
	return m.Credentials.List(r.Context(), caller.Org, window)
}

type tokenRequest struct {
	Name    string   `json:"name"`
	Role    string   `json:"role"`
	Actions []Action `json:"actions,omitempty"`
	Days    int      `json:"days,omitempty"` // until it expires; 0 is never
}

type tokenAnswer struct {
	Token  Token  `json:"token"`
	Secret string `json:"secret"`
}

func (m *Mux) postToken(r *http.Request, caller Caller) (any, error) {
	in, err := Decode[tokenRequest](r)
	if err != nil {
		return nil, err
	}
	token := Token{Name: in.Name, Role: in.Role, Actions: in.Actions}
	if err := caller.mayGrant(token); err != nil {
		return nil, err
	}
	if in.Days != 0 {
		token.Expires, err = m.expiry(in.Days)
		if err != nil {
			return nil, err
		}
	}
	secret, made, err := m.Credentials.Issue(r.Context(), caller.Org, token)
	return tokenAnswer{made, secret}, err
}

func (m *Mux) deleteToken(r *http.Request, caller Caller) (any, error) {
	return nil, m.Credentials.Revoke(r.Context(), caller.Org, r.PathValue("token"))
}

const maxTokenDays = 3660

func (m *Mux) expiry(days int) (time.Time, error) {
	if days < 1 || days > maxTokenDays {
		return time.Time{}, problem.New(problem.Invalid, "days must be from 1 to %d.", maxTokenDays).InField("days")
	}
	return m.Clock.Now().UTC().Add(time.Duration(days) * 24 * time.Hour), nil
}

// mayGrant holds a new token to the rights of who makes it: nobody can make one
// that may do more than they may themselves.
func (c Caller) mayGrant(t Token) error {
	if IsRole(t.Role) && slices.Index(roles, t.Role) > slices.Index(roles, c.Role) {
		return problem.New(problem.Forbidden, "You are %s and cannot make a token of the role %s.", c.Role, t.Role).InField("role")
	}
	if len(c.only) == 0 {
		return nil
	}
	if len(t.Actions) == 0 {
		return problem.New(problem.Forbidden, "Your token is limited to some actions; name those of the new token.").InField("actions")
	}
	for _, action := range t.Actions {
		if !c.May(action) {
			return problem.New(problem.Forbidden, "Your token does not have %s itself.", action).InField("actions")
		}
	}
	return nil
}
