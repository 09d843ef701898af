package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

// warmUp is the rounds that are not counted.
const warmUp = 3

// races are the workloads that other local runners can do as well.
func races() []struct {
	name, aim string
	stages    []stage
} {
	fan := []stage{{name: "first", run: "echo first"}}
	last := stage{name: "last", run: "echo last"}
	for i := range 48 {
		name := fmt.Sprintf("s%02d", i)
		fan = append(fan, stage{name, []string{"first"}, "echo " + name})
		last.needs = append(last.needs, name)
	}
	chain := []stage{{name: "s00", run: "echo s00"}}
	for i := 1; i < 20; i++ {
		name := fmt.Sprintf("s%02d", i)
		chain = append(chain, stage{name, []string{chain[i-1].name}, "echo " + name})
	}
	return []struct {
		name, aim string
		stages    []stage
	}{
		{"diamond of 4", "26 ms", []stage{
			{name: "a", run: "echo a"},
			{"b", []string{"a"}, "echo b"},
			{"c", []string{"a"}, "echo c"},
			{"d", []string{"b", "c"}, "echo d"},
		}},
		{"chain of 20", "43 ms", chain},
		{"fan 1-48-1", "62 ms", append(fan, last)},
		{"200,000 log lines", "311 ms", []stage{{name: "lines", run: "seq 1 200000"}}},
	}
}

// localRaces races `buildit run` against the peers that are here, in rotating
// order within each round, output to a file.
func localRaces(ctx context.Context, b *bench) ([]row, error) {
	var rows []row
	all := peers(b.root)
	for _, race := range races() {
		dir := filepath.Join(b.dir, "race", race.name)
		if err := workload(ctx, dir, race.stages, all); err != nil {
			return rows, err
		}
		took, err := b.race(ctx, dir, all)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", race.name, err)
		}
		ours := median(took[0])
		for i, p := range all {
			r := row{what: race.name + ": " + p.name, measured: "not here"}
			if len(took[i]) > 0 {
				r.measured = fmt.Sprintf("%.1f ms", ms(median(took[i])))
				r.note = fmt.Sprintf("min %.1f; %.2fx ours", ms(slices.Min(took[i])), float64(median(took[i]))/float64(ours))
			}
			if i == 0 {
				r.aim = race.aim
			}
			rows = append(rows, r)
		}
	}
	return rows, nil
}

func (b *bench) race(ctx context.Context, dir string, all []peer) ([][]time.Duration, error) {
	took := make([][]time.Duration, len(all))
	for round := range warmUp + b.rounds {
		for i := range all {
			n := (i + round) % len(all)
			program, here := all[n].find()
			if !here {
				continue
			}
			d, err := timed(ctx, dir, program, all[n].args(dir)...)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", all[n].name, err)
			}
			if round >= warmUp {
				took[n] = append(took[n], d)
			}
		}
	}
	return took, nil
}

// timed runs a program with its output in a file and says how long it took.
func timed(ctx context.Context, dir, program string, args ...string) (took time.Duration, err error) {
	out, err := os.CreateTemp("", "buildit-bench-out-")
	if err != nil {
		return 0, err
	}
	defer func() {
		if closing := out.Close(); err == nil {
			err = closing
		}
		if removal := os.Remove(out.Name()); err == nil {
			err = removal
		}
	}()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	start := time.Now()
	err = cmd.Run()
	took = time.Since(start)
	if err != nil {
		tail := make([]byte, 500)
		n, readErr := out.ReadAt(tail, 0)
		if readErr != nil && readErr != io.EOF {
			return took, readErr
		}
		return took, fmt.Errorf("%w: %s", err, tail[:n])
	}
	return took, nil
}

func median[T cmp.Ordered](d []T) T {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[len(sorted)/2]
}

func percentile(d []time.Duration, p int) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[min(len(sorted)-1, len(sorted)*p/100)]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
