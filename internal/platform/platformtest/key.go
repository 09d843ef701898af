package platformtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"math/big"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
)

// KeyStore is a driver under test, with a key of its own.
type KeyStore struct {
	platform.Keys
	Disable func() // what the owner of the key would do
}

// Keys checks everything that platform.Keys promises. open returns a driver with a
// new key, once for each case.
func Keys(t *testing.T, open func(t *testing.T) KeyStore) {
	run(t, open, []Case[KeyStore]{
		{"key/wrap-unwrap-context", keyContext},
		{"key/tampered", keyTampered},
		{"key/bounds", wrapBounds},
		{"key/disabled", keyDisabled},
		{"key/sign-verify-offline", keySign},
		{"key/wrong-signature", keyWrongSignature},
	})
	t.Run("key/another-key", func(t *testing.T) { keyAnother(t, open(t), open(t)) })
}

var secretOf = map[string]string{"org": "acme", "purpose": "secret"}

func wrap(t *testing.T, k platform.Keys, plaintext string, context map[string]string) []byte {
	t.Helper()
	wrapped, err := k.Wrap(t.Context(), []byte(plaintext), context)
	noError(t, err)
	return wrapped
}

func keyContext(t *testing.T, k KeyStore) {
	for _, context := range []map[string]string{nil, {}, secretOf} {
		wrapped := wrap(t, k, "data key", context)
		plaintext, err := k.Unwrap(t.Context(), wrapped, context)
		noError(t, err)
		equal(t, "plaintext", string(plaintext), "data key")
	}
	wrapped := wrap(t, k, "data key", secretOf)
	for name, other := range map[string]map[string]string{
		"none":           nil,
		"another value":  {"org": "globex", "purpose": "secret"},
		"one less":       {"org": "acme"},
		"one more":       {"org": "acme", "purpose": "secret", "x": ""},
		"names swapped":  {"purpose": "acme", "org": "secret"},
		"borders moved":  {"or": "gacme", "purpose": "secret"},
		"one long field": {"org": "acmepurposesecret"},
	} {
		if plaintext, err := k.Unwrap(t.Context(), wrapped, other); err == nil || plaintext != nil {
			t.Errorf("context with %s: opened %q", name, plaintext)
		} else {
			isError(t, err, platform.ErrDenied)
		}
	}
	if bytes.Equal(wrapped, wrap(t, k, "data key", secretOf)) {
		t.Error("wrapping twice gives the same bytes")
	}
}

func keyTampered(t *testing.T, k KeyStore) {
	wrapped := wrap(t, k, "data key", secretOf)
	for i := range wrapped {
		for bit := range 8 {
			changed := bytes.Clone(wrapped)
			changed[i] ^= 1 << bit
			if plaintext, err := k.Unwrap(t.Context(), changed, secretOf); err == nil || len(plaintext) > 0 {
				t.Fatalf("byte %d, bit %d flipped: opened %q", i, bit, plaintext)
			} else {
				isError(t, err, platform.ErrDenied)
			}
		}
	}
	for _, cut := range [][]byte{nil, {}, wrapped[:1], wrapped[:len(wrapped)-1], append(bytes.Clone(wrapped), 0)} {
		_, err := k.Unwrap(t.Context(), cut, secretOf)
		isError(t, err, platform.ErrDenied)
	}
}

func wrapBounds(t *testing.T, k KeyStore) {
	largest := string(make([]byte, 4096))
	plaintext, err := k.Unwrap(t.Context(), wrap(t, k, largest, nil), nil)
	noError(t, err)
	equal(t, "plaintext", string(plaintext), largest)
	_, err = k.Wrap(t.Context(), []byte(largest+"x"), nil)
	isError(t, err, platform.ErrInvalid)
	_, err = k.Wrap(t.Context(), nil, nil)
	isError(t, err, platform.ErrInvalid)
	for _, digest := range [][]byte{nil, make([]byte, 31), make([]byte, 33), make([]byte, 64)} {
		_, err := k.Sign(t.Context(), digest)
		isError(t, err, platform.ErrInvalid)
	}
}

func keyDisabled(t *testing.T, k KeyStore) {
	wrapped := wrap(t, k, "data key", nil)
	k.Disable()
	_, err := k.Unwrap(t.Context(), wrapped, nil)
	isError(t, err, platform.ErrDenied)
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("disabled")) {
		t.Errorf("err = %v: it does not say that the key is disabled", err)
	}
	_, err = k.Wrap(t.Context(), []byte("x"), nil)
	isError(t, err, platform.ErrDenied)
	_, err = k.Sign(t.Context(), make([]byte, 32))
	isError(t, err, platform.ErrDenied)
}

func public(t *testing.T, k platform.Keys) *ecdsa.PublicKey {
	t.Helper()
	key, err := k.Public(t.Context())
	noError(t, err)
	p256, ok := key.(*ecdsa.PublicKey)
	if !ok || p256.Curve != elliptic.P256() {
		t.Fatalf("the public key is %T, want one of ECDSA P-256", key)
	}
	return p256
}

// verify checks a raw signature, r and s of 32 bytes each.
func verify(key *ecdsa.PublicKey, digest, raw []byte) bool {
	if len(raw) != 64 {
		return false
	}
	return ecdsa.Verify(key, digest, new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:]))
}

func keySign(t *testing.T, k KeyStore) {
	key := public(t, k)
	for i := range 50 { // some of which have a leading zero in r or s
		digest := sha256.Sum256([]byte{byte(i)})
		raw, err := k.Sign(t.Context(), digest[:])
		noError(t, err)
		if !verify(key, digest[:], raw) {
			t.Fatalf("signature %x of %x does not verify", raw, digest)
		}
	}
}

func keyWrongSignature(t *testing.T, k KeyStore) {
	digest, other := sha256.Sum256([]byte("this")), sha256.Sum256([]byte("that"))
	raw, err := k.Sign(t.Context(), digest[:])
	noError(t, err)
	if verify(public(t, k), other[:], raw) {
		t.Error("the signature of one digest verifies another")
	}
	raw[40] ^= 1
	if verify(public(t, k), digest[:], raw) {
		t.Error("a changed signature verifies")
	}
}

func keyAnother(t *testing.T, k, other KeyStore) {
	_, err := other.Unwrap(t.Context(), wrap(t, k, "data key", nil), nil)
	isError(t, err, platform.ErrDenied)
	if public(t, k).Equal(public(t, other)) {
		t.Error("two keys are one")
	}
}
