package secret

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"

	"github.com/buildit-dev/buildit/internal/platform"
)

// sealed is a value at rest: AES-256-GCM under a key of its own, which is wrapped.
type sealed struct{ key, box []byte }

// binding is what a value is bound to; it is no secret.
func binding(org platform.Org, scope Scope, name string) map[string]string {
	parts := scope.parts()
	return map[string]string{"org": org.ID(), "scope": parts[0], "of": parts[1], "file": parts[2], "secret": name}
}

// bound is the binding as the additional data of the value's own seal.
func bound(org platform.Org, scope Scope, name string) []byte {
	return fmt.Appendf(nil, "%q", append(scope.parts(), org.ID(), name))
}

func (s *Service) seal(ctx context.Context, org platform.Org, scope Scope, name, value string) (sealed, error) {
	key := make([]byte, 32)
	rand.Read(key) // never fails: crypto/rand ends the program instead
	box, err := newGCM(key)
	if err != nil {
		return sealed{}, err
	}
	wrapped, err := s.Keys.Wrap(ctx, key, binding(org, scope, name))
	if err != nil {
		return sealed{}, fmt.Errorf("wrap the key of secret %s: %w", name, err)
	}
	return sealed{wrapped, box.Seal(nil, nil, []byte(value), bound(org, scope, name))}, nil
}

func (s *Service) open(ctx context.Context, org platform.Org, scope Scope, name string, at sealed) (string, error) {
	key, err := s.Keys.Unwrap(ctx, at.key, binding(org, scope, name))
	if err != nil {
		return "", fmt.Errorf("unwrap the key of secret %s: %w", name, err)
	}
	box, err := newGCM(key)
	if err != nil {
		return "", err
	}
	value, err := box.Open(nil, nil, at.box, bound(org, scope, name))
	if err != nil {
		return "", fmt.Errorf("open secret %s: %w", name, platform.ErrDenied)
	}
	return string(value), nil
}

// newGCM is AES-GCM that draws its nonce by itself and stores it before the box.
func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}
