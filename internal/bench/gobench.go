package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// measured are Go benchmarks whose figures belong in the table: what a line of
// their output says is shown as it is.
var measured = []struct{ pkg, pattern, aim string }{
	{"./internal/pipeline/language", "Benchmark(Validate|Load)", "500 lines 5 ms; 1,000 stages 50 ms"},
	{"./internal/platform/memory", "Benchmark", ""},
	{"./internal/platform/local", "Benchmark", ""},
	{"./internal/asl/...", "Benchmark", ""},
	{"./internal/mask", "Benchmark", "20 MB/s with 200 needles"},
	{"./internal/repository/...", "BenchmarkScan", "5,000 files 200 ms"},
}

// goBenchmarks runs the packages' own benchmarks: table operations, transitions of
// the interpreter, masking, the scanner, the language.
func goBenchmarks(ctx context.Context, b *bench) ([]row, error) {
	var rows []row
	for _, m := range measured {
		cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", m.pattern, "-benchtime", "0.5s", m.pkg)
		cmd.Dir = b.root
		out, err := cmd.CombinedOutput()
		if err != nil {
			return rows, fmt.Errorf("%s: %w: %s", m.pkg, err, out)
		}
		rows = append(rows, benchmarkRows(out, m.pkg, m.aim)...)
	}
	return rows, nil
}

// benchmarkRows reads lines such as "BenchmarkPut-2  1000  912 ns/op  3 allocs/op".
func benchmarkRows(out []byte, pkg, aim string) []row {
	var rows []row
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(fields[0], "Benchmark"), "-")
		rows = append(rows, row{
			what:     strings.TrimPrefix(pkg, "./internal/") + ": " + name,
			measured: fields[2] + " " + fields[3],
			aim:      aim,
			note:     strings.Join(fields[4:], " "),
		})
	}
	return rows
}
