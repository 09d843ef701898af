package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/forge"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

const (
	rotation     = 24 * time.Hour      // how long an old secret holds beside a new one
	deliveryKept = 30 * 24 * time.Hour // a redelivery after it is a new one
	maxDelivery  = 128                 // bytes of a delivery's id, as the provider sends it
)

// Accepted is the answer to a delivery. It is the same for a first one, a
// duplicate, and one that nobody will act on.
type Accepted struct {
	Status string `json:"status"`
}

var accepted = Accepted{"accepted"}

// errUnproved is the one answer to a missing or wrong proof, an unknown repository
// and a body of another repository.
func errUnproved() error {
	return problem.New(problem.Unauthorized, "The delivery has no valid proof for this address. Check the secret of the webhook.")
}

// postDelivery takes a delivery, in the order of trust.md 11.1: size, hook, rate
// (access.Mux has taken that of the address), raw bytes, proof, the repository's
// id, blob, row.
func (s *Service) postDelivery(r *http.Request, _ access.Caller) (any, error) {
	if r.ContentLength > forge.MaxBody {
		return nil, problem.New(problem.TooLarge, "A delivery has at most %d MB; the reconciler finds what it was about.", forge.MaxBody>>20)
	}
	ctx := r.Context()
	hook, err := s.hook(ctx, r.PathValue("provider"), r.PathValue("repository"))
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, forge.MaxBody+1))
	if err != nil {
		return nil, err
	}
	if len(body) > forge.MaxBody {
		return nil, problem.New(problem.TooLarge, "A delivery has at most %d MB; the reconciler finds what it was about.", forge.MaxBody>>20)
	}
	verdict := hook.provider.Verify(r.Header, body, hook.secrets, s.home.Clock.Now())
	if verdict == forge.Refused || !hook.known {
		return nil, errUnproved()
	}
	if err := s.belongs(ctx, hook, body); err != nil {
		return nil, err
	}
	if verdict == forge.Stale {
		return accepted, s.lookSoon(ctx, hook.org, hook.id)
	}
	return accepted, s.keep(ctx, hook, r.Header, body)
}

// hook is what the intake knows of the address that was called.
type hook struct {
	known    bool
	org      platform.Org
	id       string
	provider forge.Provider
	secrets  []string
	bound    string // the provider's id of the repository
	name     string // owner/name in its clone URL
}

// hook reads the row of a hook. For an address that does not exist it is one whose
// secret nobody knows, so that the same work leads to the same answer.
func (s *Service) hook(ctx context.Context, provider, id string) (hook, error) {
	dialect, ok := forge.Providers[provider]
	if !ok {
		dialect = forge.GitHub{}
	}
	h := hook{provider: dialect, id: id, secrets: []string{newSecret()}}
	item, err := s.home.Table.Get(ctx, hookRow(id))
	if errors.Is(err, platform.ErrNotFound) || errors.Is(err, platform.ErrInvalid) || (err == nil && item.Text("provider") != provider) {
		return h, nil
	}
	if err != nil {
		return h, err
	}
	h.known, h.bound, h.name = true, item.Text("bound"), item.Text("name")
	h.org = platform.System(item.Text("org"), "delivery of "+provider)
	wrapped := [][]byte{item.Bytes("secret")}
	if item.Time("previous_until").After(s.home.Clock.Now()) {
		wrapped = append(wrapped, item.Bytes("previous"))
	}
	h.secrets = h.secrets[:0]
	for _, w := range wrapped {
		secret, err := s.home.Keys.Unwrap(ctx, w, keyContext(h.org, id, "webhook"))
		if err != nil {
			return h, err
		}
		h.secrets = append(h.secrets, string(secret))
	}
	return h, nil
}

// belongs holds a proved body to the repository that the secret is bound to. A hook
// that is not bound yet is bound by the first body that names its clone URL's path.
func (s *Service) belongs(ctx context.Context, h hook, body []byte) error {
	identity, err := h.provider.Identify(body)
	switch {
	case err != nil, h.bound != "" && identity.ID != h.bound:
		return errUnproved()
	case h.bound != "":
		return nil
	case !strings.EqualFold(identity.Name, h.name) && !strings.HasSuffix(strings.ToLower(h.name), "/"+strings.ToLower(identity.Name)):
		return errUnproved()
	}
	_, err = s.home.Table.Write(ctx, platform.Update{
		Key: hookRow(h.id), Set: platform.Item{"bound": platform.Text(identity.ID)},
		If: platform.Any{
			platform.All{platform.RowIs, platform.Absent{Attribute: "bound"}},
			platform.Equal{Attribute: "bound", Value: platform.Text(identity.ID)},
		},
	})
	if errors.Is(err, platform.ErrConditionFailed) {
		return errUnproved() // another delivery bound it to another repository
	}
	return err
}

// keep stores the body and then the row, each once: a blob without a row is
// collected, a row always has its blob. A duplicate writes nothing.
func (s *Service) keep(ctx context.Context, h hook, header http.Header, body []byte) error {
	id := deliveryID(h.provider.Delivery(header), body)
	key := deliveryRow(h.org, h.id, id)
	_, err := s.home.Table.Get(ctx, key)
	if !errors.Is(err, platform.ErrNotFound) {
		return err
	}
	if _, err := s.home.Blobs.Create(ctx, deliveryBlob(h.org, h.id, id), bytes.NewReader(body)); err != nil && !errors.Is(err, platform.ErrExists) {
		return err
	}
	now := s.home.Clock.Now()
	_, err = s.home.Table.Write(ctx, platform.Put{
		Key: key,
		Item: platform.Item{
			"id": platform.Text(id), "provider": platform.Text(h.provider.Name()), "event": platform.Text(clip(h.provider.EventName(header))),
			"status": platform.Text(Received), "received": platform.Stamp(now), "version": platform.Int(1),
			"expires": platform.Int(now.Add(deliveryKept).Unix()),
		}.InList(deliveriesOf(h.org, h.id).Index(string(platform.Stamp(now)), id)),
		If: platform.NoRow,
	})
	if errors.Is(err, platform.ErrConditionFailed) {
		return nil
	}
	return err
}

// deliveryID is the provider's id, or a hash of the body where it sent none that
// can be used.
func deliveryID(given string, body []byte) string {
	if given != "" && len(given) <= maxDelivery && strings.IndexFunc(given, func(r rune) bool { return r <= ' ' || r > '~' }) < 0 {
		return given
	}
	sum := sha256.Sum256(body)
	return "body-" + hex.EncodeToString(sum[:16])
}

func clip(text string) string { return strings.ToValidUTF8(text[:min(len(text), 64)], "") }
