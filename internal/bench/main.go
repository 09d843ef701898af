// Command bench measures the figures that BuildIt promises (DESIGN: "What it must
// reach") on this machine and prints them as one table: medians, beside the aim,
// and beside a peer where one is here. Nothing in it passes or fails: machines are
// noisy, and a figure is for people to judge.
//
// It drives the built programs from outside, as a user would, so run it by
// `make bench`, which builds them first.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"
)

// row is one line of the table.
type row struct {
	what, measured, aim, note string
}

// figure measures something and answers with rows.
type figure struct {
	name    string
	measure func(ctx context.Context, b *bench) ([]row, error)
}

// bench is what figures share.
type bench struct {
	root   string // the checkout, with bin/
	dir    string // for everything that is written
	rounds int
	shared *platform // nil until the first figure wants it
}

var figures = []figure{
	{"run", localRaces},
	{"reuse", reuse},
	{"table", goBenchmarks},
	{"first line", onPlatform(firstLine)},
	{"overhead, chain", onPlatform(chainOverhead)},
	{"overhead, wide", onPlatform(wideOverhead)},
	{"random graphs", onPlatform(randomGraphs)},
	{"pending runs", onPlatform(pendingRuns)},
	{"webhooks", webhooks},
	{"log", logFigures},
	{"caches, artifacts", onPlatform(keptFigures)},
}

func main() {
	only := flag.String("only", ".", "measure the figures whose name matches: "+names())
	rounds := flag.Int("rounds", 15, "rounds of each race")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := measure(ctx, *only, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(ctx context.Context, only string, rounds int) (err error) {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "buildit-bench-")
	if err != nil {
		return err
	}
	b := &bench{root: root, dir: dir, rounds: rounds}
	defer func() { err = errors.Join(err, b.stop(), os.RemoveAll(dir)) }()
	fmt.Printf("%s, %d CPUs, load %s, %s\n\n", runtime.Version(), runtime.NumCPU(), load(), time.Now().UTC().Format(time.DateOnly))
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "what\tmeasured\taim\tnote")
	for _, f := range figures {
		if !wanted.MatchString(f.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring %s … ", f.name)
		begin := time.Now()
		rows, err := f.measure(ctx, b)
		fmt.Fprintf(os.Stderr, "%.0f s\n", time.Since(begin).Seconds())
		for _, r := range rows {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", r.what, r.measured, r.aim, r.note)
		}
		if err != nil {
			fmt.Fprintf(table, "%s\tnot measured\t\t%v\n", f.name, err)
		}
	}
	return table.Flush()
}

// names are those of all figures.
func names() string {
	var all []string
	for _, f := range figures {
		all = append(all, f.name)
	}
	return strings.Join(all, "; ")
}

// load is the machine's load average over the last minute, where it tells.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	average, _, _ := strings.Cut(string(text), " ")
	return average
}
