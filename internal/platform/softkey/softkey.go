// Package softkey wraps and signs with a secret that this process holds: the key
// port of the homes that have no key service.
//
// Everything is derived from one secret of 32 bytes by HKDF-SHA256 with a label for
// each purpose: the AES-256-GCM key that wraps, the P-256 key that signs, and what
// Derive gives to other parts of a home. Source: RFC 5869; NIST SP 800-38D; RFC 7518
// section 3.4 (raw signatures).
package softkey

import (
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/buildit-dev/buildit/internal/platform"
)

// SecretSize is the length of a secret in bytes.
const SecretSize = 32

// maxPlaintext is what Wrap takes at most, as KMS does.
const maxPlaintext = 4096

// format is the first byte of everything that Wrap makes.
const format = 1

// Keys implements platform.Keys.
type Keys struct {
	secret   []byte
	wrapping cipher.AEAD
	signing  *ecdsa.PrivateKey
	disabled atomic.Bool
}

// NewSecret makes a random secret.
func NewSecret() []byte {
	secret := make([]byte, SecretSize)
	rand.Read(secret) // never fails: crypto/rand ends the program instead
	return secret
}

// New derives the keys of a secret, which has SecretSize bytes.
func New(secret []byte) *Keys {
	k := &Keys{secret: slices.Clone(secret)}
	block, err := aes.NewCipher(k.Derive("wrap"))
	if err != nil {
		panic(err) // a key of 32 bytes is always right
	}
	// A random nonce of 96 bits is safe for 2^32 messages under one key: data keys
	// are wrapped a few times a day.
	k.wrapping, err = cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // an AES block always fits
	}
	k.signing = k.deriveSigner()
	return k
}

// Derive makes a key of 32 bytes for another purpose. Different purposes make keys
// that tell nothing about each other, nor about the secret.
func (k *Keys) Derive(purpose string) []byte {
	key, err := hkdf.Key(sha256.New, k.secret, nil, "buildit "+purpose, SecretSize)
	if err != nil {
		panic(err) // only for lengths above 255 hashes
	}
	return key
}

// deriveSigner tries labels until one gives a scalar of the curve's order: the first
// does, but for one secret in 2^32.
func (k *Keys) deriveSigner() *ecdsa.PrivateKey {
	for i := 0; ; i++ {
		signer, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), k.Derive("sign "+strconv.Itoa(i)))
		if err == nil {
			return signer
		}
	}
}

// Disable makes Wrap, Unwrap and Sign fail with ErrDenied from now on.
func (k *Keys) Disable() { k.disabled.Store(true) }

func (k *Keys) enabled() error {
	if k.disabled.Load() {
		return fmt.Errorf("the key is disabled: %w", platform.ErrDenied)
	}
	return nil
}

// Wrap implements platform.Keys.
func (k *Keys) Wrap(_ context.Context, plaintext []byte, bound map[string]string) ([]byte, error) {
	if err := k.enabled(); err != nil {
		return nil, err
	}
	if len(plaintext) == 0 || len(plaintext) > maxPlaintext {
		return nil, fmt.Errorf("wrap %d bytes, 1 to %d: %w", len(plaintext), maxPlaintext, platform.ErrInvalid)
	}
	return k.wrapping.Seal([]byte{format}, nil, plaintext, associated(bound)), nil
}

// Unwrap implements platform.Keys.
func (k *Keys) Unwrap(_ context.Context, wrapped []byte, bound map[string]string) ([]byte, error) {
	if err := k.enabled(); err != nil {
		return nil, err
	}
	if len(wrapped) == 0 || wrapped[0] != format {
		return nil, fmt.Errorf("unwrap: not made by this key: %w", platform.ErrDenied)
	}
	plaintext, err := k.wrapping.Open(nil, nil, wrapped[1:], associated(bound))
	if err != nil {
		return nil, fmt.Errorf("unwrap: another key, another context, or changed bytes: %w", platform.ErrDenied)
	}
	return plaintext, nil
}

// Sign implements platform.Keys.
func (k *Keys) Sign(_ context.Context, digest []byte) ([]byte, error) {
	if err := k.enabled(); err != nil {
		return nil, err
	}
	if len(digest) != sha256.Size {
		return nil, fmt.Errorf("sign a digest of %d bytes, must be %d: %w", len(digest), sha256.Size, platform.ErrInvalid)
	}
	r, s, err := ecdsa.Sign(rand.Reader, k.signing, digest)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	raw := make([]byte, 64)
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	return raw, nil
}

// Public implements platform.Keys.
func (k *Keys) Public(context.Context) (crypto.PublicKey, error) { return k.signing.Public(), nil }

// associated is a context as bytes: names in order, each name and value with its
// length before it, so that no two contexts are the same bytes.
func associated(bound map[string]string) []byte {
	data := []byte{format}
	for _, name := range slices.Sorted(maps.Keys(bound)) {
		data = appendField(data, name)
		data = appendField(data, bound[name])
	}
	return data
}

func appendField(data []byte, field string) []byte {
	return append(binary.BigEndian.AppendUint32(data, uint32(len(field))), field...)
}
