package memory_test

import (
	"testing"

	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func TestKeys(t *testing.T) {
	platformtest.Keys(t, func(*testing.T) platformtest.KeyStore {
		keys := memory.NewKeys()
		return platformtest.KeyStore{Keys: keys, Disable: keys.Disable}
	})
}
