package access

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

const (
	idempotencyLife = 24 * time.Hour
	// idempotencyLease is how long a request keeps others with its key waiting. A
	// server that died in the middle is repeated after it.
	idempotencyLease  = time.Minute
	maxIdempotencyKey = 128       // bytes
	maxKeptAnswer     = 200 << 10 // bytes; a larger answer is not kept
)

type operationKey struct{}

// OperationID names the operation that a request asks for, in its organization:
// the same for every repeat under one idempotency key, and the request's own id
// without one. Whoever makes something derives its id from it, so that a repeat
// after a crash makes nothing twice.
func OperationID(ctx context.Context) string {
	id, _ := ctx.Value(operationKey{}).(string)
	return id
}

func withOperation(r *http.Request, id string) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), operationKey{}, id))
}

// once runs a POST under its idempotency key: the first answer that is no error is
// kept for a day, with the hash of the request, and replayed. An error changed
// nothing, is not kept, and may be tried again.
func (m *Mux) once(route Route, caller Caller, key string, w http.ResponseWriter, r *http.Request) {
	if len(key) > maxIdempotencyKey {
		m.fail(w, r, problem.New(problem.Invalid, "An Idempotency-Key has at most %d bytes.", maxIdempotencyKey))
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		m.fail(w, r, err)
		return
	}
	claim := m.claim(caller, key, r, body)
	kept, err := claim.take(r.Context())
	if err != nil {
		m.fail(w, r, err)
		return
	}
	if kept != nil {
		w.Header().Set("Idempotency-Replayed", "true")
		kept.send(m, w, r)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	result, err := route.Handle(withOperation(r, claim.operation), caller)
	given := m.answer(route, result, err)
	// The caller may have hung up; what was done must be kept all the same.
	if err := claim.settle(context.WithoutCancel(r.Context()), given); err != nil {
		m.Log.ErrorContext(r.Context(), "idempotent answer not kept", "request", w.Header().Get("X-Request-Id"), "err", err)
	}
	given.send(m, w, r)
}

// claim is one request's hold on its key.
type claim struct {
	table     platform.Table
	row       platform.RowKey
	hash      platform.Bytes
	now       time.Time
	operation string
}

func (m *Mux) claim(caller Caller, key string, r *http.Request, body []byte) claim {
	hash := sha256.Sum256(frame(r.Method, r.URL.Path, r.URL.RawQuery, string(body)))
	operation := sha256.Sum256(frame("operation", caller.principal(), key))
	return claim{
		table: m.Table, row: idempotencyRow(caller, key), hash: hash[:], now: m.Clock.Now(),
		operation: fmt.Sprintf("%x", operation[:13]),
	}
}

// take claims the key, or returns the answer that was kept under it.
func (c claim) take(ctx context.Context) (*answer, error) {
	_, err := c.table.Write(ctx, platform.Put{
		Key: c.row,
		Item: platform.Item{
			"hash": c.hash, "lease": platform.Stamp(c.now.Add(idempotencyLease)),
			platform.ExpiresAttribute: platform.Int(c.now.Add(idempotencyLife).Unix()),
		},
		If: platform.Any{platform.NoRow, c.expired(), c.abandoned()},
	})
	if err == nil {
		return nil, nil
	}
	if !errors.Is(err, platform.ErrConditionFailed) {
		return nil, fmt.Errorf("idempotency key: %w", err)
	}
	return c.read(platform.OldRow(err, 0))
}

// expired is a row that is over and not yet swept.
func (c claim) expired() platform.Condition {
	return platform.Less{Attribute: platform.ExpiresAttribute, Value: platform.Int(c.now.Unix() + 1)}
}

// abandoned is a row of the same request whose server died before it was done.
func (c claim) abandoned() platform.Condition {
	return platform.All{
		platform.Equal{Attribute: "hash", Value: c.hash},
		platform.Absent{Attribute: "status"},
		platform.Less{Attribute: "lease", Value: platform.Stamp(c.now)},
	}
}

func (c claim) read(row platform.Item) (*answer, error) {
	if !bytes.Equal(row.Bytes("hash"), c.hash) {
		return nil, problem.New(problem.Mismatch, "The key belongs to another request. Use a new key for a new request.")
	}
	if _, settled := row["status"]; !settled {
		return nil, &problem.Error{
			Kind: problem.Unavailable, RetryAfter: time.Second,
			Detail: "A request with this key is under way. Ask again for its answer.",
		}
	}
	return &answer{status: int(row.Int("status")), body: row.Bytes("body")}, nil
}

// settle keeps the answer, or frees the key where there is nothing to keep.
func (c claim) settle(ctx context.Context, given answer) error {
	ours := platform.Equal{Attribute: "hash", Value: c.hash}
	if given.err != nil || given.writes != nil || len(given.body) > maxKeptAnswer {
		_, err := c.table.Write(ctx, platform.Delete{Key: c.row, If: ours})
		return err
	}
	kept := platform.Item{"status": platform.Int(given.status)}
	if given.body != nil {
		kept["body"] = platform.Bytes(given.body)
	}
	_, err := c.table.Write(ctx, platform.Update{Key: c.row, Set: kept, If: ours})
	return err
}
