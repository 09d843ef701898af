package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// onPlatform measures on the one platform that figures share.
func onPlatform(measure func(context.Context, *platform) ([]row, error)) func(context.Context, *bench) ([]row, error) {
	return func(ctx context.Context, b *bench) ([]row, error) {
		if b.shared == nil {
			p, err := startPlatform(ctx, b, "shared")
			if err != nil {
				return nil, err
			}
			b.shared = p
		}
		return measure(ctx, b.shared)
	}
}

// stop ends the platform that figures shared.
func (b *bench) stop() error {
	if b.shared == nil {
		return nil
	}
	return b.shared.stop()
}

// firstLine measures from the request that starts a run to the first byte of its
// log at a WebSocket client.
func firstLine(ctx context.Context, p *platform) ([]row, error) {
	if err := p.repository(ctx, "first-line", []stage{{name: "hello", run: "echo hello"}}); err != nil {
		return nil, err
	}
	var took []time.Duration
	for range 100 {
		begin := time.Now()
		id, err := p.start(ctx, "first-line")
		if err != nil {
			return nil, err
		}
		if err := p.awaitLine(ctx, id); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begin))
		if _, err := p.finished(ctx, id); err != nil {
			return nil, err
		}
	}
	return []row{{
		"trigger to first log line", fmt.Sprintf("%.0f ms", ms(median(took))), "150 ms p50",
		fmt.Sprintf("100 runs; p95 %.0f ms; process class", ms(percentile(took, 95))),
	}}, nil
}

// chainOverhead measures a run of stages one behind the other.
func chainOverhead(ctx context.Context, p *platform) ([]row, error) {
	stages := []stage{{name: "s00", run: "true"}}
	for i := 1; i < 100; i++ {
		stages = append(stages, stage{fmt.Sprintf("s%02d", i), []string{stages[i-1].name}, "true"})
	}
	return overhead(ctx, p, "chain", stages)
}

// wideOverhead measures a run of stages side by side.
func wideOverhead(ctx context.Context, p *platform) ([]row, error) {
	var stages []stage
	for i := range 100 {
		stages = append(stages, stage{name: fmt.Sprintf("s%02d", i), run: "true"})
	}
	return overhead(ctx, p, "wide", stages)
}

// overhead measures runs of stages that do nothing, less what their shells need.
func overhead(ctx context.Context, p *platform, shape string, stages []stage) ([]row, error) {
	floor, err := shells(ctx, p.dir, len(stages))
	if err != nil {
		return nil, err
	}
	if err := p.repository(ctx, shape, stages); err != nil {
		return nil, err
	}
	var took []time.Duration
	for range 5 {
		d, err := p.timeRun(ctx, shape)
		if err != nil {
			return nil, err
		}
		took = append(took, d)
	}
	each := (median(took) - floor) / time.Duration(len(stages))
	return []row{{
		fmt.Sprintf("overhead a stage, %d x true, %s", len(stages), shape), fmt.Sprintf("%.1f ms", ms(each)), "5 ms",
		fmt.Sprintf("run %.0f ms (min %.0f); %d x sh -c true %.0f ms", ms(median(took)), ms(slices.Min(took)), len(stages), ms(floor)),
	}}, nil
}

func shells(ctx context.Context, dir string, n int) (time.Duration, error) {
	begin := time.Now()
	for range n {
		if err := command(ctx, dir, "sh", "-e", "-c", "true"); err != nil {
			return 0, err
		}
	}
	return time.Since(begin), nil
}

// timeRun starts a run and answers how long it ran, by its own clock.
func (p *platform) timeRun(ctx context.Context, repository string) (time.Duration, error) {
	id, err := p.start(ctx, repository)
	if err != nil {
		return 0, err
	}
	run, err := p.finished(ctx, id)
	if err == nil && run.Status != "succeeded" {
		err = fmt.Errorf("run %s of %s %s: %s", id, repository, run.Status, run.Reason)
	}
	return run.EndedAt.Sub(run.StartedAt), err
}

// randomGraphs compare runs of 100 sleeping stages with their critical path.
func randomGraphs(ctx context.Context, p *platform) ([]row, error) {
	var ratios []time.Duration // in thousandths, so that they sort like durations
	for seed := range uint64(5) {
		stages, critical := randomGraph(seed)
		name := fmt.Sprintf("graph-%d", seed)
		if err := p.repository(ctx, name, stages); err != nil {
			return nil, err
		}
		took, err := p.timeRun(ctx, name)
		if err != nil {
			return nil, err
		}
		ratios = append(ratios, took*1000/critical)
	}
	return []row{{
		"random DAG of 100 stages, over its critical path", fmt.Sprintf("%.2fx", float64(median(ratios))/1000), "1.15x",
		fmt.Sprintf("5 seeds; worst %.2fx", float64(percentile(ratios, 100))/1000),
	}}, nil
}

// randomGraph makes 100 stages that sleep 50 to 500 ms and need up to three earlier
// ones, and says how long their critical path is.
func randomGraph(seed uint64) ([]stage, time.Duration) {
	r := rand.New(rand.NewPCG(seed, 1))
	stages := make([]stage, 100)
	ends := make([]time.Duration, 100)
	var critical time.Duration
	for i := range stages {
		sleep := time.Duration(50+r.IntN(451)) * time.Millisecond
		s := stage{name: fmt.Sprintf("s%02d", i), run: fmt.Sprintf("sleep %.3f", sleep.Seconds())}
		var ready time.Duration
		for range min(i, r.IntN(4)) {
			need := r.IntN(i)
			if slices.Contains(s.needs, fmt.Sprintf("s%02d", need)) {
				continue
			}
			s.needs = append(s.needs, fmt.Sprintf("s%02d", need))
			ready = max(ready, ends[need])
		}
		stages[i], ends[i] = s, ready+sleep
		critical = max(critical, ends[i])
	}
	return stages, critical
}

// pendingRuns starts 120 runs at once and looks when the last of them has started.
func pendingRuns(ctx context.Context, p *platform) ([]row, error) {
	if err := p.repository(ctx, "pending", []stage{{name: "hello", run: "true"}}); err != nil {
		return nil, err
	}
	begin := time.Now()
	ids := make([]string, 120)
	for i := range ids {
		id, err := p.start(ctx, "pending")
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	asked := time.Since(begin)
	var waited []time.Duration
	for _, id := range ids {
		run, err := p.finished(ctx, id)
		if err != nil {
			return nil, err
		}
		waited = append(waited, run.Stages[0].StartedAt.Sub(run.CreatedAt))
	}
	return []row{{
		"120 pending runs, until each has started", fmt.Sprintf("%.0f ms", ms(percentile(waited, 99))), "5 s p99",
		fmt.Sprintf("median %.0f ms; asked for within %.1f s", ms(median(waited)), asked.Seconds()),
	}}, nil
}
