package local_test

import (
	"testing"

	"github.com/buildit-dev/buildit/internal/asl/engine"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func openFlow(t testing.TB, db *local.DB, s platformtest.FlowSetup) *engine.Flow {
	t.Helper()
	f, err := local.NewFlow(t.Context(), db, engine.Options{Machines: s.Machines, Clock: s.Clock, CallLimit: s.CallLimit, History: true})
	if err != nil {
		t.Fatal(err)
	}
	f.SetFunctions(s.Functions)
	return f
}

func TestFlow(t *testing.T) {
	t.Parallel()
	platformtest.Flow(t, func(t *testing.T, s platformtest.FlowSetup) platform.Flow {
		f := openFlow(t, openDB(t, t.TempDir()), s)
		platformtest.RunUntilEnd(t, f.Run)
		return f
	})
}

func BenchmarkFlow(b *testing.B) {
	platformtest.BenchmarkFlow(b, func(b *testing.B, s platformtest.FlowSetup) platform.Flow {
		f, err := local.NewFlow(b.Context(), openDB(b, b.TempDir()), engine.Options{Machines: s.Machines})
		if err != nil {
			b.Fatal(err)
		}
		f.SetFunctions(s.Functions)
		platformtest.RunUntilEnd(b, f.Run)
		return f
	})
}
