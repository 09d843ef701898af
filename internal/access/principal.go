package access

import (
	"context"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Principal names the caller for as long as its credential lives: what is kept of who
// did something, so that two callers of one name are told apart.
func (c Caller) Principal() string { return c.principal() }

// Is tells whether a rule that names who means the caller: by the name of its token,
// or by a role that it has or that is below its own.
func (c Caller) Is(who string) bool {
	if IsRole(who) {
		return slices.Index(roles, c.Role) >= slices.Index(roles, who)
	}
	return who != "" && strings.EqualFold(c.Name, who)
}

// Again finds the present rights of a caller by its principal: who has lost its
// credential since is an error of kind problem.Unauthorized.
func (c *Credentials) Again(ctx context.Context, org platform.Org, principal string) (Caller, error) {
	id, isToken := strings.CutPrefix(principal, KindToken+"/")
	if !isToken {
		return Caller{}, errBadCredential
	}
	caller, err := c.again(ctx, Caller{token: id})
	if err == nil && caller.Org.ID() != org.ID() {
		return Caller{}, errBadCredential
	}
	return caller, err
}
