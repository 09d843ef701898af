package local_test

import (
	"testing"

	"github.com/buildit-dev/buildit/internal/platform/local"
)

// BenchmarkOpenDB opens and closes a file that is there already.
func BenchmarkOpenDB(b *testing.B) {
	dir := b.TempDir()
	for range b.N {
		db, err := local.OpenDB(dir)
		if err != nil {
			b.Fatal(err)
		}
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
