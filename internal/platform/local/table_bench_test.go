package local_test

import (
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
	"github.com/buildit-dev/buildit/internal/platform/system"
)

func BenchmarkTable(b *testing.B) {
	platformtest.BenchmarkTable(b, func(b *testing.B) platform.Table {
		db, err := local.OpenDB(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := db.Close(); err != nil {
				b.Error(err)
			}
		})
		return local.NewTable(db, system.Clock{})
	})
}
