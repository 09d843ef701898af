package memory_test

import (
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
)

func BenchmarkTransact3(b *testing.B) {
	ctx := b.Context()
	table := memory.NewTable(nil)
	p := platform.System("acme", "bench").Partition("run", "1")
	stage, event, outbox := p.Row("stage", "a"), p.Row("event", "a"), p.Row("outbox", "a")
	for b.Loop() {
		err := table.Transact(ctx, "",
			platform.Update{Key: stage, Add: map[string]int64{"version": 1}, Set: platform.Item{"status": platform.Text("running")}},
			platform.Put{Key: event, Item: platform.Item{"type": platform.Text("stage.started"), "at": platform.Text("now")}},
			platform.Put{Key: outbox, Item: platform.Item{"what": platform.Text("start"), "body": platform.Text("x")}},
		)
		if err != nil {
			b.Fatal(err)
		}
	}
}
