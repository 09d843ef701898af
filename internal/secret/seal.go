package secret

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"

	"github.com/buildit-dev/buildit/internal/platform"
)

const dataKey = 32 // bytes: AES-256

// bound ties a sealed value to its place. It is no secret.
func bound(org platform.Org, scope Scope, name string) map[string]string {
	parts := scope.parts()
	return map[string]string{
		"org": org.ID(), "purpose": "secret", "scope": parts[0], "repository": parts[1], "part": parts[2], "name": name,
	}
}

// sealed is a value at rest: its data key, wrapped, and the ciphertext under it.
type sealed struct{ key, text []byte }

// seal encrypts a value under a new data key that opens for its place alone. The
// ciphertext needs no further binding: the key is used once.
func (s *Service) seal(ctx context.Context, org platform.Org, scope Scope, name, value string) (sealed, error) {
	key := make([]byte, dataKey)
	rand.Read(key) // never fails
	defer clear(key)
	box, err := boxOf(key)
	if err != nil {
		return sealed{}, err
	}
	wrapped, err := s.home.Keys.Wrap(ctx, key, bound(org, scope, name))
	return sealed{wrapped, box.Seal(nil, nil, []byte(value), nil)}, err
}

// open is the only way back to a value.
func (s *Service) open(ctx context.Context, org platform.Org, scope Scope, name string, at sealed) (string, error) {
	key, err := s.home.Keys.Unwrap(ctx, at.key, bound(org, scope, name))
	if err != nil {
		return "", err
	}
	defer clear(key)
	box, err := boxOf(key)
	if err != nil {
		return "", err
	}
	text, err := box.Open(nil, nil, at.text, nil)
	if err != nil {
		return "", fmt.Errorf("the value was changed at rest: %w", platform.ErrDenied)
	}
	return string(text), nil
}

func boxOf(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
