package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/buildit-dev/buildit/internal/access"
)

// The stage whose log is measured: 1 GB in 10 million lines.
const (
	logLines   = 10_000_000
	logLine    = 108 // bytes, see writeLines
	lineInside = 777_777
)

// logFigures measure what a stage prints, on a platform of its own, whose memory is
// one of the figures.
func logFigures(ctx context.Context, b *bench) (rows []row, err error) {
	p, err := startPlatform(ctx, b, "log")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	for _, measure := range []func(context.Context, *platform) ([]row, error){logDelay, logOpening, logThroughput} {
		more, err := measure(ctx, p)
		rows = append(rows, more...)
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// logDelay measures from a clock value that a command prints to a WebSocket client
// that has the line.
func logDelay(ctx context.Context, p *platform) ([]row, error) {
	const script = "i=0; while [ $i -lt 200 ]; do date +%s%N; sleep 0.03; i=$((i+1)); done"
	if err := p.repository(ctx, "log-delay", []stage{{name: "clock", run: script}}); err != nil {
		return nil, err
	}
	run, err := p.start(ctx, "log-delay")
	if err != nil {
		return nil, err
	}
	var took []time.Duration
	var open []byte
	followed := ""
	err = p.follow(ctx, run, func(conn *websocket.Conn, frame access.Frame) (bool, error) {
		now := time.Now()
		if followed == "" && len(frame.Stages) > 0 && frame.Stages[0].Attempt > 0 {
			followed = fmt.Sprintf("%s/%s/1", run, frame.Stages[0].Key)
			return false, subscribe(ctx, conn, access.Frame{Log: followed})
		}
		if frame.Log == "" {
			return false, nil
		}
		open = append(open, frame.Payload()...)
		for {
			line, rest, whole := bytes.Cut(open, []byte("\n"))
			if !whole {
				break
			}
			open = rest
			if at, err := strconv.ParseInt(string(line), 10, 64); err == nil {
				took = append(took, now.Sub(time.Unix(0, at)))
			}
		}
		return frame.End, nil
	})
	if err != nil {
		return nil, err
	}
	if len(took) == 0 {
		return nil, errors.New("no line with a clock value came")
	}
	return []row{{
		"log line from process to client", fmt.Sprintf("%.0f ms p95", ms(percentile(took, 95))), "300 ms p95",
		fmt.Sprintf("%d lines with a clock value; median %.0f ms", len(took), ms(median(took))),
	}}, nil
}

// logOpening measures how long a log of a million lines takes to open in its middle,
// while it is in live parts and once it is sealed.
func logOpening(ctx context.Context, p *platform) ([]row, error) {
	stage, _, err := p.printed(ctx, "log-opening", "seq 1 1000000")
	if err != nil {
		return nil, err
	}
	live, err := p.opening(ctx, stage)
	if err != nil {
		return nil, err
	}
	if err := p.sealed(ctx, stage); err != nil {
		return nil, err
	}
	sealed, err := p.opening(ctx, stage)
	if err != nil {
		return nil, err
	}
	return []row{{
		"open a log of 1,000,000 lines at a line", fmt.Sprintf("%.1f ms", ms(live)), "1 s",
		fmt.Sprintf("median of 20, in live parts; sealed %.1f ms", ms(sealed)),
	}}, nil
}

// opening is the median time until 100 lines from the middle are there.
func (p *platform) opening(ctx context.Context, log string) (time.Duration, error) {
	var took []time.Duration
	for range 20 {
		begin := time.Now()
		text, err := p.text(ctx, fmt.Sprintf("%s?line=%d&lines=100", log, lineInside))
		if err != nil {
			return 0, err
		}
		took = append(took, time.Since(begin))
		if strings.Count(text, "\n") != 100 {
			return 0, fmt.Errorf("%d lines came of 100", strings.Count(text, "\n"))
		}
	}
	return median(took), nil
}

// sealed waits until a log is in chunks.
func (p *platform) sealed(ctx context.Context, log string) error {
	for until := time.Now().Add(3 * time.Minute); time.Now().Before(until); {
		var index struct {
			Chunks []json.RawMessage `json:"chunks"`
		}
		if err := p.call(ctx, http.MethodGet, log+"?format=index", nil, &index); err != nil {
			return err
		}
		if len(index.Chunks) > 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
	return errors.New("the log is not sealed within three minutes")
}

// logThroughput prints a file of 1 GB in a stage, and wants it back byte for byte.
func logThroughput(ctx context.Context, p *platform) ([]row, error) {
	path := filepath.Join(p.dir, "lines")
	if err := writeLines(path); err != nil {
		return nil, err
	}
	runner := make(chan int, 1)
	watching, stop := context.WithCancel(ctx)
	go func() { runner <- p.runnerPeak(watching) }()
	log, run, err := p.printed(ctx, "log-throughput", "cat "+path)
	stop()
	supervisor := <-runner
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	exact, err := p.sameBytes(ctx, log, path)
	if err != nil {
		return nil, err
	}
	read := time.Since(begin)
	writing := peakMemory(p.process.Process.Pid)
	if err := p.sealed(ctx, log); err != nil {
		return nil, err
	}
	again, err := p.sameBytes(ctx, log, path)
	if err != nil {
		return nil, err
	}
	const size = float64(logLines*logLine) / 1e6
	took := run.EndedAt.Sub(run.Stages[0].StartedAt)
	server := peakMemory(p.process.Process.Pid)
	return []row{
		{
			"log of 1 GB, 10,000,000 lines", fmt.Sprintf("%.0f MB/s", size/took.Seconds()), "20 MB/s",
			fmt.Sprintf("%.1f s; read back at %.0f MB/s, %s; sealed, %s", took.Seconds(), size/read.Seconds(), exact, again),
		},
		{"its supervisor's peak memory", fmt.Sprintf("%d MB", supervisor), "128 MB", "VmHWM"},
		{"the server's peak memory", fmt.Sprintf("%d MB", server), "200 MB", fmt.Sprintf("VmHWM; %d MB before sealing", writing)},
	}, nil
}

func writeLines(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(file, 1<<20)
	filler := strings.Repeat("compiled ", 10) // 90 bytes
	for i := range logLines {
		fmt.Fprintf(out, "%012d %s 12 ", i, filler) // bufio keeps the error
		out.WriteByte('\n')
	}
	return errors.Join(out.Flush(), file.Close())
}

// printed runs a stage to its end, and answers the path of its log.
func (p *platform) printed(ctx context.Context, repository, script string) (log string, run runOf, err error) {
	if err := p.repository(ctx, repository, []stage{{name: "print", run: script}}); err != nil {
		return "", run, err
	}
	id, err := p.start(ctx, repository)
	if err != nil {
		return "", run, err
	}
	run, err = p.finished(ctx, id)
	if err == nil && run.Status != "succeeded" {
		err = fmt.Errorf("run %s of %s %s: %s", id, repository, run.Status, run.Reason)
	}
	if err != nil {
		return "", run, err
	}
	return "/runs/" + id + "/stages/" + run.Stages[0].Key + "/log", run, nil
}

// open is the body of a GET below the organization.
func (p *platform) open(ctx context.Context, path string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/orgs/default"+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+p.token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("GET %s: %s", path, answer.Status), answer.Body.Close())
	}
	return answer.Body, nil
}

func (p *platform) text(ctx context.Context, path string) (string, error) {
	body, err := p.open(ctx, path)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(body)
	return string(text), errors.Join(err, body.Close())
}

// sameBytes says whether the command's part of the log is a file.
func (p *platform) sameBytes(ctx context.Context, log, path string) (verdict string, err error) {
	var index struct {
		Groups []struct{ First, Last int }
	}
	if err := p.call(ctx, http.MethodGet, log+"?format=index", nil, &index); err != nil {
		return "", err
	}
	if len(index.Groups) != 1 {
		return "", fmt.Errorf("the log has %d commands", len(index.Groups))
	}
	group := index.Groups[0]
	body, err := p.open(ctx, fmt.Sprintf("%s?line=%d&lines=%d", log, group.First, group.Last-group.First+1))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	got, want := make([]byte, 1<<20), make([]byte, 1<<20)
	for at := 0; ; {
		n, gotErr := io.ReadFull(body, got)
		m, wantErr := io.ReadFull(file, want)
		if !bytes.Equal(got[:n], want[:m]) {
			return fmt.Sprintf("OTHER BYTES after %d", at), nil
		}
		at += n
		if gotErr != nil || wantErr != nil {
			return "byte-exact", nil
		}
	}
}

// runnerPeak watches the supervisors that the server starts, until ctx ends, and
// answers the most that one had in memory, in MB.
func (p *platform) runnerPeak(ctx context.Context) int {
	most := 0
	for {
		for _, pid := range childrenOf(p.process.Process.Pid) {
			most = max(most, peakMemory(pid))
		}
		select {
		case <-ctx.Done():
			return most
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// childrenOf are the processes that a process has started.
func childrenOf(parent int) []int {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil
	}
	var found []int
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ") // pid (name) status ppid
		fields := strings.Fields(rest)
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			found = append(found, pid)
		}
	}
	return found
}

// peakMemory is the most that a process had in memory, in MB; 0 if it is gone.
func peakMemory(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		text, is := strings.CutPrefix(line, "VmHWM:")
		if kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(text), " kB")); is && err == nil {
			return kb >> 10
		}
	}
	return 0
}
