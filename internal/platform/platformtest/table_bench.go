package platformtest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
)

// BenchmarkTable measures what the platform does most, alone and eight at a time,
// with writes that wait for the disk and with relaxed ones.
func BenchmarkTable(b *testing.B, open func(*testing.B) platform.Table) {
	for _, w := range workloads {
		for _, callers := range []int{1, 8} {
			name := fmt.Sprintf("%s/callers=%d", w.name, callers)
			b.Run(name+"/full", func(b *testing.B) { w.run(b, b.Context(), callers, open(b)) })
			if !w.reads {
				b.Run(name+"/relaxed", func(b *testing.B) { w.run(b, platform.Relaxed(b.Context()), callers, open(b)) })
			}
		}
	}
}

// workload is one kind of call. do makes the nth call; no two calls have one n.
type workload struct {
	name  string
	reads bool
	do    func(ctx context.Context, table platform.Table, n int) error
}

var workloads = []workload{
	{name: "put", do: benchPut},
	{name: "update-if", do: benchUpdate},
	{name: "transact-3", do: benchTransact},
	{name: "get", reads: true, do: benchGet},
	{name: "query-20", reads: true, do: benchQuery},
}

func (w workload) run(b *testing.B, ctx context.Context, callers int, table platform.Table) {
	if w.reads {
		fillForReading(b, table)
	}
	var n atomic.Int64
	b.SetParallelism(max(1, callers/2)) // times GOMAXPROCS, 2 on the machine of the targets
	b.ReportAllocs()
	b.ResetTimer()
	if callers == 1 {
		for range b.N {
			if err := w.do(ctx, table, int(n.Add(1))); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := w.do(ctx, table, int(n.Add(1))); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// benchRun is the partition of the nth call: runs of a hundred stages.
func benchRun(n int) platform.Partition {
	return acme.Partition("run", fmt.Sprintf("%06d", n/100))
}

func benchStage(n int) platform.RowKey { return benchRun(n).Row("stage", fmt.Sprintf("%02d", n%100)) }

// benchItem is a row as the pipeline writes them: some 300 bytes.
func benchItem(n int) platform.Item {
	return platform.Item{
		"status":  text("queued"),
		"name":    text("build the images of every service"),
		"version": number(n),
		"commit":  text("8f14e45fceea167a5a36dedd4bea2543ab3f9e10"),
		"started": text("2026-03-01T12:00:00.000000000Z"),
		"needs":   platform.List{text("0123456789abcdef"), text("fedcba9876543210")},
		"runner":  platform.Map{"class": text("process"), "size": text("2x4"), "arch": text("amd64")},
	}
}

func benchPut(ctx context.Context, table platform.Table, n int) error {
	_, err := table.Write(ctx, platform.Put{Key: benchStage(n), Item: benchItem(n), If: platform.NoRow})
	return err
}

// benchUpdate moves one of a thousand rows on condition of what it is at.
func benchUpdate(ctx context.Context, table platform.Table, n int) error {
	_, err := table.Write(ctx, platform.Update{
		Key: benchStage(n % 1000),
		Set: platform.Item{"status": text("running")},
		Add: map[string]int64{"version": 1},
		If:  platform.Not{Of: platform.Equal{Attribute: "status", Value: text("canceled")}},
	})
	return err
}

// benchTransact is a status change as it always is: row, event, outbox.
func benchTransact(ctx context.Context, table platform.Table, n int) error {
	id := fmt.Sprintf("%08d", n)
	return table.Transact(
		ctx, "",
		platform.Update{Key: benchStage(n % 1000), Set: benchItem(n), If: platform.Not{Of: platform.Equal{Attribute: "status", Value: text("canceled")}}},
		platform.Put{Key: benchRun(n).Row("event", id), Item: platform.Item{"type": text("stage.started"), "stage": text(id)}, If: platform.NoRow},
		platform.Put{Key: benchRun(n).Row("outbox", id), Item: platform.Item{"what": text("start"), "body": text(id)}},
	)
}

// readable is how many rows there are to read.
const readable = 2000

func fillForReading(b *testing.B, table platform.Table) {
	rows := make([]platform.Row, readable)
	for n := range rows {
		rows[n] = platform.Row{Key: benchStage(n), Item: benchItem(n)}
	}
	if err := table.PutMany(b.Context(), rows); err != nil {
		b.Fatal(err)
	}
}

func benchGet(ctx context.Context, table platform.Table, n int) error {
	_, err := table.Get(ctx, benchStage(n%readable))
	return err
}

func benchQuery(ctx context.Context, table platform.Table, n int) error {
	page, err := table.Query(ctx, platform.Query{Partition: benchRun(n % readable), Prefix: stages, Limit: 20})
	if err == nil && len(page.Rows) != 20 {
		err = fmt.Errorf("%d rows, want 20", len(page.Rows))
	}
	return err
}
