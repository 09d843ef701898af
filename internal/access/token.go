package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Credentials makes and checks tokens and tickets.
type Credentials struct {
	table platform.Table
	keys  platform.Keys
	clock platform.Clock
	ids   platform.IDs
}

// NewCredentials keeps rows in the table and signs with keys.
func NewCredentials(table platform.Table, keys platform.Keys, clock platform.Clock, ids platform.IDs) *Credentials {
	return &Credentials{table, keys, clock, ids}
}

const (
	tokenPrefix  = "bt_"
	idLength     = 26 // of platform.IDs
	secretLength = 2 * idLength
)

// Token is an API token as its owner sees it in a list: without its secret.
type Token struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Role    string    `json:"role"`
	Actions []Action  `json:"actions,omitempty"` // empty: all of the role
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires,omitzero"` // zero: never
}

// Issue makes an API token, bt_<id>_<secret>. The secret has 256 random bits and
// is in no row: the row holds its SHA-256.
func (c *Credentials) Issue(ctx context.Context, org platform.Org, t Token) (secret string, made Token, err error) {
	if err := checkToken(t); err != nil {
		return "", Token{}, err
	}
	t.ID, t.Created = c.ids.New(), c.clock.Now().UTC()
	secret = tokenPrefix + t.ID + "_" + c.ids.New() + c.ids.New()
	_, err = c.table.Write(ctx, platform.Put{Key: tokenRow(t.ID), Item: tokenItem(org, t, secret), If: platform.NoRow})
	if err != nil {
		return "", Token{}, fmt.Errorf("token %s: %w", t.ID, err)
	}
	return secret, t, nil
}

const maxTokenName = 100 // bytes

func checkToken(t Token) error {
	if !IsRole(t.Role) {
		return problem.New(problem.Invalid, "%q is no role; the roles are %s.", t.Role, strings.Join(roles, ", ")).InField("role")
	}
	if t.Name == "" || len(t.Name) > maxTokenName {
		return problem.New(problem.Invalid, "A token needs a name of at most %d bytes, so that you know it again.", maxTokenName).InField("name")
	}
	for _, action := range t.Actions {
		if _, ok := granted[action]; !ok {
			return problem.New(problem.Invalid, "%q is no action that a token can have.", action).InField("actions")
		}
	}
	return nil
}

func tokenItem(org platform.Org, t Token, secret string) platform.Item {
	hash := sha256.Sum256([]byte(secret))
	item := platform.Item{
		"org":     platform.Text(org.ID()),
		"hash":    platform.Bytes(hash[:]),
		"name":    platform.Text(t.Name),
		"role":    platform.Text(t.Role),
		"created": platform.Stamp(t.Created),
	}
	if len(t.Actions) > 0 {
		names := make([]string, len(t.Actions))
		for i, action := range t.Actions {
			names[i] = string(action)
		}
		item["actions"] = platform.TextList(names)
	}
	if !t.Expires.IsZero() {
		item["until"] = platform.Stamp(t.Expires)
		item[platform.ExpiresAttribute] = platform.Int(t.Expires.Unix() + 1)
	}
	return item.InList(tokenList(org).Index(string(platform.Stamp(t.Created)), t.ID))
}

// List returns the tokens of an organization, oldest first, one page.
func (c *Credentials) List(ctx context.Context, org platform.Org, w Window) (Page[Token], error) {
	page, err := c.table.Query(ctx, platform.Query{
		Partition: tokenList(org), Index: platform.List1, Limit: w.Limit, Cursor: w.Cursor,
	})
	if err != nil {
		return Page[Token]{}, w.Error(err)
	}
	tokens := make([]Token, 0, len(page.Rows))
	for _, row := range page.Rows {
		tokens = append(tokens, readToken(row.Key.Parts()[1], row.Item))
	}
	return NewPage(tokens, page.Cursor), nil
}

func readToken(id string, item platform.Item) Token {
	return Token{
		ID: id, Name: item.Text("name"), Role: item.Text("role"), Actions: readActions(item),
		Created: item.Time("created"), Expires: item.Time("until"),
	}
}

func readActions(item platform.Item) []Action {
	var actions []Action
	for _, name := range item.Texts("actions") {
		actions = append(actions, Action(name))
	}
	return actions
}

// Revoke ends a token of the organization, at once.
func (c *Credentials) Revoke(ctx context.Context, org platform.Org, id string) error {
	_, err := c.table.Write(ctx, platform.Delete{
		Key: tokenRow(id),
		If:  platform.Equal{Attribute: "org", Value: platform.Text(org.ID())},
	})
	if errors.Is(err, platform.ErrConditionFailed) || errors.Is(err, platform.ErrInvalid) {
		return problem.New(problem.NotFound, "There is no such token.")
	}
	return err
}

// noHash is compared for a token that is not there, so that both take as long.
var noHash = sha256.Sum256(nil)

// verify answers whose API token it is.
func (c *Credentials) verify(ctx context.Context, token string) (Caller, error) {
	id, ok := tokenID(token)
	if !ok {
		return Caller{}, errBadCredential
	}
	item, err := c.table.Get(ctx, tokenRow(id))
	if err != nil && !errors.Is(err, platform.ErrNotFound) {
		return Caller{}, fmt.Errorf("token %s: %w", id, err)
	}
	stored := item.Bytes("hash")
	if stored == nil {
		stored = noHash[:]
	}
	hash := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(hash[:], stored) != 1 {
		return Caller{}, errBadCredential
	}
	return c.caller(id, item)
}

func (c *Credentials) caller(id string, item platform.Item) (Caller, error) {
	if until := item.Time("until"); !until.IsZero() && !c.clock.Now().Before(until) {
		return Caller{}, errBadCredential
	}
	return Caller{
		Org: platform.Verified(item.Text("org")), Name: item.Text("name"), Kind: KindToken,
		Role: item.Text("role"), token: id, only: readActions(item),
	}, nil
}

// again reads the rights of a caller anew, for what lives longer than a request.
func (c *Credentials) again(ctx context.Context, caller Caller) (Caller, error) {
	item, err := c.table.Get(ctx, tokenRow(caller.token))
	if errors.Is(err, platform.ErrNotFound) {
		return Caller{}, errBadCredential
	}
	if err != nil {
		return Caller{}, err
	}
	return c.caller(caller.token, item)
}

// tokenID takes a token apart; anything else than the exact form is refused.
func tokenID(token string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(token, tokenPrefix)
	if !ok || len(rest) != idLength+1+secretLength || rest[idLength] != '_' {
		return "", false
	}
	id = rest[:idLength]
	return id, isName(id) && isName(rest[idLength+1:])
}

// isName tells whether s is made of the characters of platform.IDs.
func isName(s string) bool {
	return s != "" && !slices.ContainsFunc([]byte(s), func(b byte) bool {
		return (b < 'a' || b > 'z') && (b < '2' || b > '7')
	})
}

// errBadCredential is the one answer to whatever is wrong with a credential.
var errBadCredential = &problem.Error{
	Kind:   problem.Unauthorized,
	Detail: "The token is unknown, expired or revoked. Send a valid one as `Authorization: Bearer …`.",
}
