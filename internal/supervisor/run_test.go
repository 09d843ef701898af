package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/supervisor/proctable"
)

func TestCommandsRunInOrder(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "echo one; echo two >&2", "printf three", "cat; echo four")}
	result := h.run(t)
	want(t, h, result, ReasonOK)
	if got := h.text(); got != "one\ntwo\nthreefour\n" {
		t.Errorf("log %q", got)
	}
	for i, lines := range [][2]int64{{1, 2}, {3, 3}, {3, 3}} {
		if c := result.Commands[i]; c.FirstLine != lines[0] || c.LastLine != lines[1] {
			t.Errorf("command %d has lines %d to %d, want %v", i, c.FirstLine, c.LastLine, lines)
		}
	}
	if last := h.parts[len(h.parts)-1]; !last.Final || result.LogLines != 3 || result.LogBytes != 18 {
		t.Errorf("last part %+v, %d lines, %d bytes", last, result.LogLines, result.LogBytes)
	}
}

func TestExitReasons(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		script, reason string
		code           int
		signal         string
		change         func(*Job)
	}{
		"ok":             {script: "true", reason: ReasonOK},
		"code":           {script: "exit 7", reason: ReasonExit, code: 7},
		"first error":    {script: "false; echo un''reached", reason: ReasonExit, code: 1},
		"signal":         {script: "kill -SEGV $$", reason: ReasonSignal, code: 139, signal: "SIGSEGV"},
		"no command":     {script: "no-such-command", reason: ReasonExit, code: 127},
		"no shell":       {script: "true", reason: ReasonClassUnfit, code: 127, change: func(j *Job) { j.Shell = []string{"no-such-shell", "-c"} }},
		"no folder":      {script: "true", reason: ReasonExit, code: 127, change: func(j *Job) { j.Dir = "missing" }},
		"outside":        {script: "true", reason: ReasonExit, code: 127, change: func(j *Job) { j.Dir = "../.." }},
		"no secret":      {script: "true", reason: ReasonSecretMissing, change: func(j *Job) { j.Secrets = []SecretUse{{Name: "a", As: "A"}} }},
		"log limit":      {script: "yes", reason: ReasonLogLimit, code: 143, signal: "SIGTERM", change: func(j *Job) { j.LogLimit = 1 << 20 }},
		"workspace gone": {script: `rm -rf "$BUILDIT_WORKSPACE" "$HOME"; mkdir -p "$HOME"; cd /; exit 3`, reason: ReasonExit, code: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &home{job: jobOf(t, tt.script)}
			if tt.change != nil {
				tt.change(&h.job)
			}
			result := h.run(t)
			want(t, h, result, tt.reason)
			if result.ExitCode != tt.code || result.Signal != tt.signal {
				t.Errorf("code %d, signal %q, want %d, %q", result.ExitCode, result.Signal, tt.code, tt.signal)
			}
			if strings.Contains(h.text(), "unreached") {
				t.Errorf("log %q", h.text())
			}
			if tt.reason != ReasonOK && (result.Detail == "" || !strings.Contains(h.text(), result.Detail)) {
				t.Errorf("detail %q is not in the log", result.Detail)
			}
		})
	}
}

// The job deletes its workspace: later commands fail clearly, the supervisor does not.
func TestWorkspaceDeleted(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, `rm -rf "$BUILDIT_WORKSPACE"`, "true")}
	result := h.run(t)
	want(t, h, result, ReasonExit)
	if result.Command != 1 || !strings.Contains(result.Detail, "could not start in its folder") {
		t.Errorf("%+v", result)
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, `test "$A" = job; test "$CI" = true; test "$BASE" = image; test "$TERM" = xterm-256color
test -d "$HOME"; test -d "$BUILDIT_TMP"; test "$BUILDIT_WORKSPACE" = "$PWD"; test -z "$(ls -A "$HOME")"
cat; echo done`)}
	h.job.Env = map[string]string{"A": "job", "CI": "true", "BUILDIT_WORKSPACE": "/nonsense"}
	opt := options(t)
	opt.Env = append(opt.Env, "A=image", "BASE=image")
	result, err := Run(t.Context(), h, opt)
	if err != nil {
		t.Fatal(err)
	}
	want(t, h, result, ReasonOK)
	if _, err := os.Stat(opt.Dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}

func TestEnvBetweenCommands(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t,
		`echo "A=one two" >> "$BUILDIT_ENV"; echo PATH=/nowhere >> "$BUILDIT_ENV"; printf 'B<<END\nx\ny\nEND\n' >> "$BUILDIT_ENV"`,
		`test "$A" = "one two"; test "$B" = "x
y"; echo fine`)}
	result := h.run(t)
	want(t, h, result, ReasonOK)
	if len(result.Notices) != 2 || result.Notices[0].Code != "variable-refused" {
		t.Errorf("notices %+v", result.Notices)
	}
}

func TestOutputs(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, `echo version=1.2.3 >> "$BUILDIT_OUTPUT"; echo other=x >> "$BUILDIT_OUTPUT"; echo "leak=$TOKEN" >> "$BUILDIT_OUTPUT"`)}
	h.job.Outputs = []string{"version", "leak"}
	h.job.Secrets = []SecretUse{{Name: "token", As: "TOKEN"}}
	h.secrets = map[string]string{"token": "hunter2-4711"}
	result := h.run(t)
	want(t, h, result, ReasonOK)
	if len(result.Outputs) != 1 || result.Outputs["version"] != "1.2.3" {
		t.Errorf("outputs %v", result.Outputs)
	}
	codes := map[string]bool{}
	for _, n := range result.Notices {
		codes[n.Code] = true
	}
	if !codes["output-undeclared"] || !codes["output-secret"] {
		t.Errorf("notices %+v", result.Notices)
	}
}

// SecretInOutputDropped, SecretAcrossCommands, in the log and wherever words go.
func TestSecretsAreMaskedEverywhere(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-4711"
	h := &home{job: jobOf(t, "printf 'x hunter2-'", "printf '4711 '; printf '%s' \"$TOKEN\" | base64; cat \"$FILE\"; stat -c %a \"$FILE\"; exit 3")}
	h.job.Commands[1].Name = "uses " + secret
	h.job.Secrets = []SecretUse{{Name: "token", As: "TOKEN"}, {Name: "token", As: "FILE", File: true}}
	h.secrets = map[string]string{"token": secret}
	result := h.run(t)
	want(t, h, result, ReasonExit)
	if got := h.text(); !strings.HasPrefix(got, "x *** ***") || !strings.Contains(got, "***600\n") {
		t.Errorf("log %q", got)
	}
	if all := fmt.Sprintf("%+v", result) + h.text(); strings.Contains(all, secret) || strings.Contains(all, "aHVudGVyMi00NzEx") {
		t.Errorf("the secret stands in %s", all)
	}
}

func TestTimeoutKillsGrandchildren(t *testing.T) {
	t.Parallel()
	for _, alone := range []bool{false} { // alone: see TestSuperviseAdoptsOrphans
		h := &home{job: jobOf(t, `trap "" TERM; (trap "" TERM; sleep 301 & echo pid $!; setsid sleep 302 & echo pid $!; wait) & sleep 303`)}
		h.job.Timeout, h.job.Grace = 400*time.Millisecond, 200*time.Millisecond
		opt := options(t)
		opt.Alone = alone
		began := time.Now()
		result, err := Run(t.Context(), h, opt)
		if err != nil {
			t.Fatal(err)
		}
		want(t, h, result, ReasonTimeout)
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("it took %v", took)
		}
		pids := pidsIn(t, h.text())
		if len(pids) != 2 {
			t.Fatalf("log %q", h.text())
		}
		for _, pid := range pids {
			if p, ok := proctable.Read(pid); ok && p.Status != 'Z' && p.Command == "sleep" {
				t.Errorf("%+v still runs", p)
			}
		}
		for _, words := range []string{"timeout of 400ms", "Command 1 (trap", "last output was", "sleep 303"} {
			if !strings.Contains(h.text(), words) {
				t.Errorf("%q is not in the log:\n%s", words, h.text())
			}
		}
	}
}

// pidsIn are the numbers of lines "pid N".
func pidsIn(t *testing.T, log string) (pids []int) {
	t.Helper()
	for line := range strings.SplitSeq(log, "\n") {
		if text, ok := strings.CutPrefix(line, "pid "); ok {
			pid, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestIdleTimeoutNamesCommand(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "echo busy", "echo begin; sleep 300")}
	h.job.Commands[1].Name = "the quiet one"
	h.job.Idle = 300 * time.Millisecond
	result := h.run(t)
	want(t, h, result, ReasonIdleTimeout)
	if !strings.Contains(result.Detail, `"the quiet one"`) || result.Command != 1 {
		t.Errorf("%+v", result)
	}
}

func TestCommandTimeout(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "true", "sleep 300")}
	h.job.Commands[1].Timeout = 200 * time.Millisecond
	result := h.run(t)
	want(t, h, result, ReasonTimeout)
	if len(result.Commands) != 2 || result.Command != 1 || result.Commands[1].Signal != "SIGTERM" {
		t.Errorf("%+v", result)
	}
}

// A command that ends in its grace has its last words in the log.
func TestCancelByOrder(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, `trap 'echo cleaned; exit 9' TERM; echo begun; while :; do sleep 0.05; done`, "echo un''reached")}
	h.job.Beat = 20 * time.Millisecond
	go func() {
		h.awaitText(t, "begun")
		h.mu.Lock()
		defer h.mu.Unlock()
		h.order = Order{Cancel: true, Cause: "superseded", Grace: 10 * time.Second}
	}()
	result := h.run(t)
	want(t, h, result, ReasonCanceled)
	if !strings.Contains(h.text(), "cleaned") || strings.Contains(h.text(), "unreached") || !strings.Contains(result.Detail, "superseded") {
		t.Errorf("%+v, log %q", result, h.text())
	}
}

// The task port's stop is the end of the context: the platform is asked why.
func TestStopAsksWhy(t *testing.T) {
	t.Parallel()
	for cause, reason := range map[string]string{"": ReasonInterrupted, "user": ReasonCanceled} {
		ctx, stop := context.WithCancel(t.Context())
		h := &home{job: jobOf(t, "echo begun; sleep 300"), order: Order{Cancel: cause != "", Cause: cause}}
		go func() {
			h.awaitText(t, "begun")
			stop()
		}()
		result, err := Run(ctx, h, options(t))
		if err != nil {
			t.Fatal(err)
		}
		want(t, h, result, reason)
		if h.result == nil || !h.parts[len(h.parts)-1].Final {
			t.Error("the end was not reported")
		}
		stop()
	}
}

func TestChildLeftBehind(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "sleep 311 & echo pid $!", "echo second; kill -0 $(cat pid 2>/dev/null || echo $$)")}
	result := h.run(t)
	want(t, h, result, ReasonOK)
	if len(result.Notices) == 0 || result.Notices[0].Code != "left-over-processes" || !strings.Contains(result.Notices[0].Text, "sleep 311") {
		t.Errorf("notices %+v", result.Notices)
	}
	for _, pid := range pidsIn(t, h.text()) {
		if p, ok := proctable.Read(pid); ok && p.Status != 'Z' && p.Command == "sleep" {
			t.Errorf("%+v still runs", p)
		}
	}
}

// A child that writes on and holds the pipe does not hold the stage.
func TestChildHoldsThePipe(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "(while echo noise; do :; done) & echo begun", "echo second")}
	began := time.Now()
	result := h.run(t)
	want(t, h, result, ReasonOK)
	if took := time.Since(began); took > 10*time.Second || !strings.Contains(h.text(), "second") {
		t.Errorf("took %v", took)
	}
}

// What a program writes comes through byte for byte.
func TestOutputIsByteExact(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"TenMegabyteLine":        `head -c 10485760 /dev/zero | tr '\0' x`,
		"BinaryOutput":           `head -c 3000000 /dev/urandom | tee "$BUILDIT_WORKSPACE/copy"`,
		"CarriageReturnProgress": `i=0; while [ $i -lt 2000 ]; do printf '\r%d %%' $i; i=$((i+1)); done`,
		"lines":                  `seq 1 200000`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &home{job: jobOf(t, script)}
			result := h.run(t)
			want(t, h, result, ReasonOK)
			expect, err := os.ReadFile(filepath.Join(h.job.Workspace, "copy"))
			if os.IsNotExist(err) {
				c := exec.Command("sh", "-c", script)
				expect, err = c.Output()
			}
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(h.log.Bytes(), expect) || result.LogBytes != int64(len(expect)) {
				t.Errorf("%d bytes came of %d", h.log.Len(), len(expect))
			}
		})
	}
}

// The first part leaves within 50 ms of the first output.
func TestFirstLineIsLive(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "echo begun; sleep 300")}
	h.job.Live = time.Hour
	h.job.Beat = 10 * time.Millisecond
	go func() {
		h.awaitText(t, "begun")
		h.mu.Lock()
		defer h.mu.Unlock()
		h.order = Order{Cancel: true}
	}()
	result := h.run(t)
	want(t, h, result, ReasonCanceled)
	if wait := h.arrived.Sub(h.parts[0].At); wait > 500*time.Millisecond {
		t.Errorf("the first part took %v", wait)
	}
}

// LateFinishAfterCancel: an attempt that was settled stops at once, and reports nothing.
func TestSettledAttemptStops(t *testing.T) {
	t.Parallel()
	h := &home{job: jobOf(t, "trap '' TERM; echo begun; sleep 300")}
	h.job.Beat, h.job.Grace = 20*time.Millisecond, time.Hour
	h.refuse = func(call string) error {
		if call == "beat" {
			return ErrSettled
		}
		return nil
	}
	result, err := Run(t.Context(), h, options(t))
	if err != nil && !errors.Is(err, ErrSettled) {
		t.Fatal(err)
	}
	want(t, h, result, ReasonCanceled)
}

func TestScratchIsFreshForEveryAttempt(t *testing.T) {
	t.Parallel()
	scratch := NewScratch(filepath.Join(t.TempDir(), "scratch"))
	for _, script := range []string{
		`test -z "$(ls -A "$HOME")"; test ! -e "$BUILDIT_OUTPUT"; mkdir -p "$HOME/a/b"; echo x > "$HOME/a/b/c"; echo v=1 >> "$BUILDIT_OUTPUT"; chmod 0 "$HOME/a/b"`,
		`test -z "$(ls -A "$HOME")"; test ! -e "$BUILDIT_OUTPUT"; rm -rf "$HOME"; ln -s / "$HOME"`,
		`test -d "$HOME"; test ! -L "$HOME"; test -z "$(ls -A "$HOME")"`,
	} {
		h := &home{job: jobOf(t, script)}
		h.job.Outputs = []string{"v"}
		opt := options(t)
		opt.Dir, opt.Scratch = "", scratch
		result, err := Run(t.Context(), h, opt)
		if err != nil {
			t.Fatal(err)
		}
		want(t, h, result, ReasonOK)
	}
	if err := scratch.Close(); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkTrue(b *testing.B) {
	scratch, workspace := NewScratch(b.TempDir()), b.TempDir()
	for b.Loop() {
		h := &home{job: Job{Workspace: workspace, Shell: []string{"sh", "-e", "-c"}, Commands: []Command{{Script: "true"}}}}
		if _, err := Run(b.Context(), h, Options{Scratch: scratch, Env: []string{"PATH=/usr/bin:/bin"}}); err != nil {
			b.Fatal(err)
		}
	}
}

// The floor of BenchmarkTrue: fork and exec of the shell.
func BenchmarkShellAlone(b *testing.B) {
	for b.Loop() {
		if err := exec.Command("/bin/sh", "-e", "-c", "true").Run(); err != nil {
			b.Fatal(err)
		}
	}
}
