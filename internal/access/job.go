package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Job tokens, btj_<claims>.<signature>, both base64url. The claims are fields with
// their length in front, so that no two claims have the same bytes; the signature
// is ECDSA P-256 over SHA-256 of a label and the claims, by the key port. There is
// one algorithm and no header that could name another (trust.md T7).
const (
	jobPrefix = "btj_"
	jobLabel  = "buildit job token v1"

	// JobLife is how long a job token lives. Every beat renews one that is past
	// half of it.
	JobLife = 15 * time.Minute

	// jobRenewable is how long after its making an expired token can still be
	// renewed: the longest attempt, with room for its end.
	jobRenewable = 25 * time.Hour

	maxJobToken = 2 << 10 // bytes
)

// MintJob makes the token of an attempt.
func (c *Credentials) MintJob(ctx context.Context, org platform.Org, job JobClaims) (token string, expires time.Time, err error) {
	now := c.clock.Now()
	payload := frame(org.ID(), job.Run, job.StageKey, strconv.Itoa(job.Attempt),
		strconv.FormatInt(job.Epoch, 10), strconv.FormatInt(now.Unix(), 10))
	signature, err := c.keys.Sign(ctx, jobDigest(payload))
	if err != nil {
		return "", time.Time{}, fmt.Errorf("job token: %w", err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	return jobPrefix + encode(payload) + "." + encode(signature), now.Add(JobLife), nil
}

// VerifyJob answers what a job token is bound to. One that has expired says so in
// its claims; only a beat may still be made with it.
func (c *Credentials) VerifyJob(ctx context.Context, token string) (Caller, error) {
	payload, err := c.openJob(ctx, token)
	if err != nil {
		return Caller{}, err
	}
	org, job, issued, err := readJob(payload)
	if err != nil {
		return Caller{}, errBadCredential
	}
	age := c.clock.Now().Sub(issued)
	if age < -time.Minute || age > jobRenewable {
		return Caller{}, errBadCredential
	}
	job.Expired = age >= JobLife
	return Caller{
		Org: platform.Verified(org), Kind: KindRunner, Job: job, renew: issued.Add(JobLife / 2),
		Name: fmt.Sprintf("%s/%s/%d", job.Run, job.StageKey, job.Attempt),
	}, nil
}

// RenewJob answers a new token where the caller's is past half of its life, and ""
// where it is not. The caller's attempt must be open: ask the row first.
func (c *Credentials) RenewJob(ctx context.Context, caller Caller) (token string, expires time.Time, err error) {
	if c.clock.Now().Before(caller.renew) {
		return "", time.Time{}, nil
	}
	return c.MintJob(ctx, caller.Org, caller.Job)
}

// openJob returns the claims of a token whose signature is right.
func (c *Credentials) openJob(ctx context.Context, token string) ([]byte, error) {
	rest, ok := strings.CutPrefix(token, jobPrefix)
	claims, mac, found := strings.Cut(rest, ".")
	if !ok || !found || len(token) > maxJobToken {
		return nil, errBadCredential
	}
	decode := base64.RawURLEncoding.Strict().DecodeString
	payload, errClaims := decode(claims)
	signature, errSignature := decode(mac)
	if errClaims != nil || errSignature != nil || len(signature) != 64 {
		return nil, errBadCredential
	}
	public, err := c.keys.Public(ctx)
	if err != nil {
		return nil, fmt.Errorf("job token: %w", err)
	}
	key, ok := public.(*ecdsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("job token: the key port's public key is a %T, not ECDSA", public)
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(key, jobDigest(payload), r, s) {
		return nil, errBadCredential
	}
	return payload, nil
}

func jobDigest(payload []byte) []byte {
	digest := sha256.Sum256(append(frame(jobLabel), payload...))
	return digest[:]
}

// frame joins fields with their length in front: other fields, other bytes.
func frame(fields ...string) []byte {
	var b []byte
	for _, field := range fields {
		b = binary.BigEndian.AppendUint32(b, uint32(len(field)))
		b = append(b, field...)
	}
	return b
}

var errFrame = errors.New("not a frame")

// unframe takes apart what frame joined, into exactly n fields.
func unframe(b []byte, n int) ([]string, error) {
	fields := make([]string, 0, n)
	for len(b) > 0 {
		if len(b) < 4 || len(fields) == n {
			return nil, errFrame
		}
		size := binary.BigEndian.Uint32(b)
		b = b[4:]
		if uint64(size) > uint64(len(b)) {
			return nil, errFrame
		}
		fields, b = append(fields, string(b[:size])), b[size:]
	}
	if len(fields) != n {
		return nil, errFrame
	}
	return fields, nil
}

func readJob(payload []byte) (org string, job JobClaims, issued time.Time, err error) {
	fields, err := unframe(payload, 6)
	if err != nil {
		return "", JobClaims{}, time.Time{}, err
	}
	attempt, errAttempt := strconv.Atoi(fields[3])
	epoch, errEpoch := strconv.ParseInt(fields[4], 10, 64)
	at, errAt := strconv.ParseInt(fields[5], 10, 64)
	if err := errors.Join(errAttempt, errEpoch, errAt); err != nil {
		return "", JobClaims{}, time.Time{}, err
	}
	return fields[0], JobClaims{Run: fields[1], StageKey: fields[2], Attempt: attempt, Epoch: epoch}, time.Unix(at, 0), nil
}
