package memory_test

import (
	"testing"

	"github.com/buildit-dev/buildit/internal/asl/engine"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func TestFlow(t *testing.T) {
	t.Parallel()
	platformtest.Flow(t, func(t *testing.T, s platformtest.FlowSetup) platform.Flow {
		f, err := memory.NewFlow(t.Context(), engine.Options{Machines: s.Machines, Clock: s.Clock, CallLimit: s.CallLimit})
		if err != nil {
			t.Fatal(err)
		}
		f.SetFunctions(s.Functions)
		platformtest.RunUntilEnd(t, f.Run)
		return f
	})
}

func BenchmarkFlow(b *testing.B) {
	platformtest.BenchmarkFlow(b, func(b *testing.B, s platformtest.FlowSetup) platform.Flow {
		f, err := memory.NewFlow(b.Context(), engine.Options{Machines: s.Machines})
		if err != nil {
			b.Fatal(err)
		}
		f.SetFunctions(s.Functions)
		platformtest.RunUntilEnd(b, f.Run)
		return f
	})
}
