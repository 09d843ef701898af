package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// reuse measures a pipeline of which nothing has changed: the run that makes the
// results, and the runs after it that take them, over a tree with many files.
func reuse(ctx context.Context, b *bench) ([]row, error) {
	const files = 2000
	program := filepath.Join(b.root, "bin", "buildit")
	var rows []row
	for _, workload := range []struct {
		name   string
		stages []stage
	}{
		{"diamond of 4", races()[0].stages},
		{"chain of 20", races()[1].stages},
	} {
		dir := filepath.Join(b.dir, "reuse", workload.name)
		if err := reuseTree(ctx, dir, workload.stages, files); err != nil {
			return rows, err
		}
		var first, again []time.Duration
		for round := range warmUp + b.rounds {
			ran, err := timed(ctx, dir, program, "run")
			if err != nil {
				return rows, err
			}
			took, err := timed(ctx, dir, program, "run", "--reuse")
			if err != nil {
				return rows, err
			}
			if round >= warmUp {
				first, again = append(first, ran), append(again, took)
			}
		}
		rows = append(rows, row{
			what:     fmt.Sprintf("unchanged pipeline, %s, %d files", workload.name, files),
			measured: fmt.Sprintf("%.1f ms", ms(median(again))), aim: "less than running it",
			note: fmt.Sprintf("min %.1f; running it %.1f ms", ms(slices.Min(again)), ms(median(first))),
		})
	}
	return rows, nil
}

// reuseTree is a workload in a tree of files.
func reuseTree(ctx context.Context, dir string, stages []stage, files int) error {
	only := []peer{{write: func(dir string, stages []stage) error {
		for i := range files {
			name := filepath.Join(dir, fmt.Sprintf("d%02d", i%40), fmt.Sprintf("f%d.txt", i))
			text := strings.Repeat(fmt.Sprintf("line of file %d\n", i), 100)
			if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
				return err
			}
		}
		return writeKDL(dir, stages)
	}}}
	return workload(ctx, dir, stages, only)
}
