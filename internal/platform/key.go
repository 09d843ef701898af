package platform

import (
	"context"
	"crypto"
)

// Keys wraps data keys and signs, as KMS does.
//
// Source: AWS KMS Developer Guide (encryption context, ECDSA signatures).
type Keys interface {
	// Wrap encrypts up to 4,096 bytes, bound to context, which is no secret.
	Wrap(ctx context.Context, plaintext []byte, context map[string]string) ([]byte, error)

	// Unwrap opens what Wrap made. Another context, or one changed bit, is
	// ErrDenied; a disabled key too, and says so.
	Unwrap(ctx context.Context, wrapped []byte, context map[string]string) ([]byte, error)

	// Sign signs the SHA-256 digest (32 bytes) with ECDSA P-256; the signature is
	// raw r‖s of 64 bytes, as JWT's ES256 wants it.
	Sign(ctx context.Context, digest []byte) ([]byte, error)

	// Public is the key that verifies what Sign made, without a call.
	Public(ctx context.Context) (crypto.PublicKey, error)
}
