// Package forge speaks with GitHub, GitLab and Bitbucket Cloud. Their webhooks are
// bytes and headers in, our Event out: that part is pure (no I/O, no clock). API sets
// what commits show. Neither knows a rule of the product: that a pull request runs a
// pipeline is decided elsewhere.
//
// An Event is a hint. Its commits, branches and numbers say where to look; what is
// there, and who may do what, is asked of the remote, never of the Event.
//
// Verify reads raw bytes only. Identify reads the repository's id out of a body
// whose proof was right and nothing else. Parse runs behind the queue.
package forge

import (
	"net/http"
	"time"
)

// Limits of every body, checked before anything of it is decoded.
const (
	MaxBody     = 5 << 20 // bytes
	MaxDepth    = 64      // of nested objects and arrays
	MaxElements = 20_000  // of one array or object
	MaxChanges  = 256     // refs of one delivery; the reconciler finds the rest
)

// ReplayWindow is how old a signed timestamp may be.
const ReplayWindow = 5 * time.Minute

// Verdict is what a proof is worth.
type Verdict int

// The verdicts.
const (
	Refused  Verdict = iota // missing or wrong
	Stale                   // right, but its timestamp is outside ReplayWindow: good for "look now", not for an event
	Accepted                // right
)

// Identity is the repository that a body speaks of, in the provider's words.
type Identity struct {
	ID   string // never changes, though the repository is renamed
	Name string // owner/name
}

// Provider is one dialect. Its methods may be called concurrently.
type Provider interface {
	// Name is the word in URLs and rows: github, gitlab, bitbucket.
	Name() string
	// Verify checks the delivery's proof over the raw bytes against each of the
	// secrets, all of which hold (two during a rotation). No secret is Refused.
	Verify(header http.Header, body []byte, secrets []string, now time.Time) Verdict
	// Delivery is the id that a redelivery repeats, "" if the provider sent none.
	Delivery(header http.Header) string
	// EventName is the provider's word for the kind of event, "" if it sent none.
	EventName(header http.Header) string
	// Identify reads the repository's identity in one pass over the bytes.
	Identify(body []byte) (Identity, error)
	// Parse reads the fields that we use. A body that is well formed and of no
	// interest is Ignored, not an error.
	Parse(event string, body []byte) (Event, error)
}

// Providers are all dialects by name.
var Providers = map[string]Provider{
	"github":    GitHub{},
	"gitlab":    GitLab{},
	"bitbucket": Bitbucket{},
}
