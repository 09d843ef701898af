package access

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/buildit-dev/buildit/internal/platform"
)

// The rows of this package. Tokens and tickets are asked for before an
// organization is known, so they are in the reserved range, by an id that says
// nothing; the list of an organization's tokens is in GSI1.
//
//	token        -#token#             token#<id>#
//	ticket       -#ticket#            ticket#<SHA-256 of the ticket>#
//	organization <org>#organization#  organization#
//	idempotency  <org>#idempotency#<principal>#  key#<key>#
//
//	GSI1         <org>#token#         <created>#<id>#

func tokenRow(id string) platform.RowKey {
	return platform.Global("token").Row("token", id)
}

func ticketRow(ticket string) platform.RowKey {
	hash := sha256.Sum256([]byte(ticket))
	return platform.Global("ticket").Row("ticket", hex.EncodeToString(hash[:]))
}

func organizationRow(org platform.Org) platform.RowKey {
	return org.Partition("organization").Row("organization")
}

func idempotencyRow(caller Caller, key string) platform.RowKey {
	return caller.Org.Partition("idempotency", caller.principal()).Row("key", key)
}

func tokenList(org platform.Org) platform.Partition { return org.Partition("token") }

// principal names the caller in limits and keys: two callers never share it.
func (c Caller) principal() string {
	switch c.Kind {
	case KindRunner:
		return c.Kind + "/" + c.Org.ID() + "/" + c.Job.Run + "/" + c.Job.StageKey
	case KindAnonymous:
		return c.Kind
	}
	return c.Kind + "/" + c.token
}
