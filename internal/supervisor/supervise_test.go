package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/supervisor/proctable"
)

// As a child of a test this binary is a supervisor's process.
func init() {
	if len(os.Args) != 2 || os.Args[1] != "supervise" {
		return
	}
	if err := syscall.SetNonblock(3, true); err != nil {
		os.Exit(ExitUnreported)
	}
	syscall.CloseOnExec(3)
	syscall.CloseOnExec(4)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	code := Supervise(ctx, os.NewFile(3, "start"), os.NewFile(4, "ended"), "test", os.Environ(), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if status, err := os.ReadFile("/proc/self/status"); err != nil || os.WriteFile(os.Getenv("PEAK"), status, 0o600) != nil {
		os.Exit(ExitUnreported)
	}
	os.Exit(code)
}

// peak is the most memory that an ended supervisor had, in MB. What the kernel says of
// a child that has ended counts the memory of the parent that it was forked from.
func (c child) peak(t testing.TB) int64 {
	t.Helper()
	status, err := os.ReadFile(filepath.Join(c.dir, "peak"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kB int64
	if _, err := fmt.Sscan(rest, &kB); err != nil {
		t.Fatalf("no peak in %s: %v", status, err)
	}
	return kB >> 10
}

// child is a supervisor as a process.
type child struct {
	*exec.Cmd
	dir, exit    string
	start, ended *os.File
}

// spawn starts a supervisor that waits for a start.
func spawn(t testing.TB) child {
	t.Helper()
	read, start, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ended, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := child{exec.Command(os.Args[0], "supervise"), dir, filepath.Join(dir, "exit"), start, ended}
	c.ExtraFiles, c.Stderr = []*os.File{read, write}, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	c.Env = append(os.Environ(), "PEAK="+filepath.Join(dir, "peak"))
	if err := errors.Join(c.Start(), read.Close(), write.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ended.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// begin gives it the attempt of s.
func (c child) begin(t testing.TB, s *server, more bool) {
	t.Helper()
	start, err := json.Marshal(Start{URL: s.URL, Ticket: ticket, Class: "process", Dir: filepath.Join(c.dir, "attempt"), Exit: c.exit, More: more})
	if err == nil {
		_, err = c.start.Write(start)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// supervise starts a supervisor for the attempt of s.
func (s *server) supervise(t testing.TB) child {
	t.Helper()
	c := spawn(t)
	c.begin(t, s, false)
	if err := c.start.Close(); err != nil {
		t.Fatal(err)
	}
	return c
}

// wait answers the exit code.
func (c child) wait(t testing.TB) int {
	t.Helper()
	if err := c.Wait(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode()
}

// What a command orphans in a session of its own, without our pipe, ends all the same.
func TestSuperviseAdoptsOrphans(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		script, reason string
		code           int
	}{
		"left behind": {`setsid sh -c 'trap "" TERM; sleep 321 >/dev/null 2>&1 & echo pid $!'; echo done`, ReasonOK, ExitOK},
		"at the timeout": {`i=0; while [ $i -lt 50 ]; do setsid sh -c 'trap "" TERM; sleep 322 >/dev/null 2>&1 & echo pid $!'; i=$((i+1)); done
trap "" TERM; sleep 300`, ReasonTimeout, ExitStage},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &home{job: jobOf(t, tt.script)}
			h.job.Timeout, h.job.Grace = time.Second, 300*time.Millisecond
			if tt.reason == ReasonOK {
				h.job.Timeout = time.Minute
			}
			c := serveHTTP(t, h).supervise(t)
			if code := c.wait(t); code != tt.code {
				t.Errorf("exit code %d", code)
			}
			want(t, h, h.ended(), tt.reason)
			pids := pidsIn(t, h.text())
			if len(pids) == 0 {
				t.Fatalf("log %q", h.text())
			}
			for _, pid := range pids {
				if p, ok := proctable.Read(pid); ok && p.Status != 'Z' && p.Command == "sleep" {
					t.Errorf("%+v still runs", p)
				}
			}
			text, err := os.ReadFile(c.exit)
			var exit Exit
			if err = errors.Join(err, json.Unmarshal(text, &exit)); err != nil || exit.Code != tt.code {
				t.Errorf("recorded %q, %v", text, err)
			}
		})
	}
}

// F13, KilledMidCommand: what was printed before is at the platform.
func TestF13KilledMidCommand(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "echo begun; sleep 3")}
	c := serveHTTP(t, h).supervise(t)
	h.awaitText(t, "begun")
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if code := c.wait(t); code != -1 || h.text() != "begun\n" || h.ended().Reason != "" {
		t.Errorf("exit code %d, log %q, result %+v", code, h.text(), h.ended())
	}
}

// F11: SIGTERM at any time ends the attempt within its grace, and it is reported
// once there was a job.
func TestF11SignalsAtRandomTimes(t *testing.T) {
	t.Parallel()
	for i := range 12 {
		h := &home{job: jobOf(t, "echo one", "sleep 0.02; echo two", "sleep 0.02; echo three")}
		c := serveHTTP(t, h).supervise(t)
		delay := time.Duration(rand.IntN(120)) * time.Millisecond
		stop := time.AfterFunc(delay, func() {
			if err := c.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Error(err)
			}
		})
		code := c.wait(t)
		stop.Stop()
		h.mu.Lock()
		switch {
		case h.result == nil && len(h.parts) > 0:
			t.Errorf("%d, after %v: exit code %d and no result", i, delay, code)
		case h.result != nil && h.result.Reason != ReasonOK && h.result.Reason != ReasonInterrupted:
			t.Errorf("%d, after %v: %+v", i, delay, h.result)
		}
		h.mu.Unlock()
	}
}

// An idle supervisor ends when its descriptor closes, and when it is told to.
func TestIdleSupervisorEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *exec.Cmd, start *os.File) error{
		"closed":  func(_ *exec.Cmd, start *os.File) error { return start.Close() },
		"SIGTERM": func(c *exec.Cmd, _ *os.File) error { return c.Process.Signal(syscall.SIGTERM) },
	} {
		c := spawn(t)
		if err := errors.Join(end(c.Cmd, c.start), c.Wait()); err != nil && name == "closed" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// OneGigabyteByteExact, in small: every byte comes, and memory stays flat.
func TestF26OneGigabyteByteExact(t *testing.T) {
	t.Parallel()
	rate, rss := largeLog(t, 5_000_000)
	t.Logf("%.0f MB/s, %d MB at most", rate, rss)
	if rss > 128 {
		t.Errorf("the supervisor took %d MB", rss)
	}
}

// BenchmarkOneGigabyte is a stage that prints 1 GB in 10 million lines and more.
func BenchmarkOneGigabyte(b *testing.B) {
	for b.Loop() {
		rate, rss := largeLog(b, 112_000_000)
		b.ReportMetric(rate, "MB/s")
		b.ReportMetric(float64(rss), "MB-RSS")
	}
}

// largeLog prints lines numbers and compares the log with what was printed.
func largeLog(t testing.TB, lines int) (mbPerSecond float64, maxRSS int64) {
	script := fmt.Sprintf("seq 1 %d", lines)
	h := &home{sum: sha256.New(), secrets: map[string]string{"token": "hunter2-4711"}}
	h.job = Job{
		V: 1, Workspace: t.TempDir(), Shell: []string{"sh", "-e", "-c"}, Commands: []Command{{Script: script}},
		Timeout: time.Hour, Beat: time.Second, Secrets: []SecretUse{{Name: "token", As: "TOKEN"}},
	}
	began := time.Now()
	c := serveHTTP(t, h).supervise(t)
	if code := c.wait(t); code != ExitOK {
		t.Fatalf("exit code %d, %+v", code, h.ended())
	}
	took := time.Since(began)
	expect := sha256.New()
	printed := exec.Command("sh", "-c", script)
	printed.Stdout = expect
	if err := printed.Run(); err != nil {
		t.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if got, want := fmt.Sprintf("%x", h.sum.Sum(nil)), fmt.Sprintf("%x", expect.Sum(nil)); got != want {
		t.Errorf("%d bytes came, and they are others", h.size)
	}
	if h.result.Reason != ReasonOK {
		t.Fatalf("ended with %s", h.result.Reason)
	}
	return float64(h.size) / (1 << 20) / took.Seconds(), c.peak(t)
}
