package memory

import "github.com/buildit-dev/buildit/internal/platform/softkey"

// NewKeys is the key port over a new secret, which ends with the process.
func NewKeys() *softkey.Keys { return softkey.New(softkey.NewSecret()) }
