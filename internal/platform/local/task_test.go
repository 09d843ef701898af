package local_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
	"github.com/buildit-dev/buildit/internal/supervisor"
	"github.com/buildit-dev/buildit/internal/supervisor/proctable"
)

// As a child of the driver this test binary plays the supervisor.
func init() {
	if len(os.Args) == 2 && os.Args[1] == "supervise" {
		os.Exit(beSupervisor())
	}
}

// beSupervisor reads starts as a supervisor does and runs the suite's program.
func beSupervisor() (code int) {
	syscall.CloseOnExec(3)
	syscall.CloseOnExec(4)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	for {
		var start supervisor.Start
		switch err := json.NewDecoder(os.NewFile(3, "start")).Decode(&start); {
		case errors.Is(err, io.EOF):
			return code
		case err != nil:
			return 98
		}
		if file, ok := strings.CutPrefix(start.Ticket, "family "); ok {
			code = family(ctx, file)
		} else {
			code = platformtest.TaskProgram(ctx, start.Ticket)
		}
		record, err := json.Marshal(supervisor.Exit{Code: code, At: time.Now()})
		if err != nil || os.WriteFile(start.Exit+".new", record, 0o600) != nil || os.Rename(start.Exit+".new", start.Exit) != nil {
			return 97
		}
		if !start.More || ctx.Err() != nil {
			return code
		}
		if _, err := os.NewFile(4, "ended").Write([]byte("\n")); err != nil {
			return code
		}
	}
}

// family starts children of children that hear no SIGTERM, one in a session of its
// own, writes their pids to a file, and hears none itself.
func family(ctx context.Context, file string) int {
	script := `trap "" TERM; (sleep 600 & echo $!; setsid sleep 600 & sleep 0.1; echo $!; wait) & wait`
	c := exec.Command("sh", "-c", script)
	out, err := os.Create(file)
	if err != nil {
		return 96
	}
	c.Stdout = out
	if err := c.Start(); err != nil {
		return 95
	}
	<-ctx.Done()
	err = c.Wait()
	fmt.Fprintln(os.Stderr, err)
	return 94
}

func openTasks(t *testing.T, dir string, change func(*local.TaskOptions)) (platformtest.TaskHome, *local.Tasks) {
	t.Helper()
	clock := platformtest.NewClock()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	opt := local.TaskOptions{Runner: self, Env: os.Environ(), Clock: clock, URL: "http://127.0.0.1:1"}
	if change != nil {
		change(&opt)
	}
	tasks, err := local.NewTasks(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tasks.Close(); err != nil {
			t.Error(err)
		}
		// Supervisors outlive their home: the last of them may still be at its record.
		for until := time.Now().Add(10 * time.Second); os.RemoveAll(dir) != nil && time.Now().Before(until); {
			runtime.Gosched()
		}
	})
	elapse := func(d time.Duration) {
		clock.Advance(d)
		time.Sleep(time.Millisecond) // processes live by the machine's clock
	}
	return platformtest.TaskHome{Tasks: tasks, Elapse: elapse}, tasks
}

func TestTasks(t *testing.T) {
	for _, warm := range []int{0, 2} {
		t.Run(fmt.Sprintf("%d warm", warm), func(t *testing.T) {
			platformtest.Tasks(t, "process", func(t *testing.T) platformtest.TaskHome {
				home, _ := openTasks(t, t.TempDir(), func(o *local.TaskOptions) { o.Warm = warm })
				return home
			})
		})
	}
}

func trusted(token, ticket string) platform.TaskSpec {
	return platform.TaskSpec{Token: token, Class: "process", Trust: "trusted", Ticket: ticket}
}

// await waits for a condition of processes and files.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); !done(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

func describe(t *testing.T, tasks platform.Tasks, id string) platform.Task {
	t.Helper()
	task, err := tasks.Describe(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// task/stop-grace: children of children die, whatever they ignore and wherever they hide.
func TestTaskStopKillsTheFamily(t *testing.T) {
	t.Parallel()
	home, _ := openTasks(t, t.TempDir(), nil)
	file := filepath.Join(t.TempDir(), "pids")
	id, err := home.Run(t.Context(), trusted("a", "family "+file))
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	await(t, "the family is there", func() bool {
		text, err := os.ReadFile(file)
		lines := strings.Fields(string(text))
		if err != nil || len(lines) < 2 {
			return false
		}
		for _, line := range lines {
			pid, err := strconv.Atoi(line)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
		return true
	})
	var family []proctable.Process
	for _, pid := range pids {
		p, ok := proctable.Read(pid)
		if !ok {
			t.Fatalf("process %d is not there", pid)
		}
		family = append(family, p)
	}
	if err := home.Stop(t.Context(), id, time.Second); err != nil {
		t.Fatal(err)
	}
	home.Elapse(2 * time.Second)
	await(t, "the task has stopped", func() bool { return describe(t, home, id).Status == platform.TaskStopped })
	for _, p := range family {
		await(t, fmt.Sprintf("%d %s dies", p.PID, p.Command), func() bool { return !p.Lives() })
	}
}

// task/never-started: no exit code, and the reason in words.
func TestTaskNeverStarted(t *testing.T) {
	t.Parallel()
	home, _ := openTasks(t, t.TempDir(), func(o *local.TaskOptions) { o.Runner = "/nowhere/buildit-runner" })
	id, err := home.Run(t.Context(), trusted("a", "exit 0"))
	if err != nil {
		t.Fatal(err)
	}
	task := describe(t, home, id)
	if task.ExitCode != nil || task.Status != platform.TaskStopped || !strings.HasPrefix(task.Reason, "never-started: ") || !strings.Contains(task.Reason, "/nowhere/buildit-runner") {
		t.Errorf("described as %+v", task)
	}
}

// task/exit-codes: 137 by kill is told from an exit with 137.
func TestTaskKilledFromOutside(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	home, _ := openTasks(t, dir, nil)
	exit, err := home.Run(t.Context(), trusted("a", "exit 137"))
	if err != nil {
		t.Fatal(err)
	}
	killed, err := home.Run(t.Context(), trusted("b", "wait "+filepath.Join(t.TempDir(), "begun")))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pidOf(t, dir, killed), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for id, reason := range map[string]string{exit: "exit", killed: "killed: by SIGKILL"} {
		await(t, "it stops", func() bool { return describe(t, home, id).Status == platform.TaskStopped })
		if task := describe(t, home, id); task.Reason != reason || *task.ExitCode != 137 {
			t.Errorf("described as %+v with code %d, want %s", task, *task.ExitCode, reason)
		}
	}
}

func pidOf(t *testing.T, dir, id string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, id+".json"))
	if err != nil {
		t.Fatal(err)
	}
	var record struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal(text, &record); err != nil {
		t.Fatal(err)
	}
	return record.PID
}

// WarmSupervisorOutlivesServer: a server that comes back finds its tasks, can stop
// them, and learns how they ended.
func TestWarmSupervisorOutlivesServer(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]func(token, ticket string) platform.TaskSpec{
		"single": trusted,
		"pooled": func(token, ticket string) platform.TaskSpec { return pooled("shop", token, ticket) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			outlivesServer(t, spec)
		})
	}
}

func outlivesServer(t *testing.T, spec func(token, ticket string) platform.TaskSpec) {
	dir := t.TempDir()
	before, old := openTasks(t, dir, func(o *local.TaskOptions) { o.Warm = 1 })
	begun := filepath.Join(t.TempDir(), "begun")
	running, err := before.Run(t.Context(), spec("a", "wait "+begun))
	if err != nil {
		t.Fatal(err)
	}
	await(t, "a begins", func() bool {
		_, err := os.Stat(begun)
		return err == nil
	})
	over, err := before.Run(t.Context(), spec("b", "exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	await(t, "b ends", func() bool { return describe(t, before, over).Status == platform.TaskStopped })
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	after, _ := openTasks(t, dir, nil)
	if task := describe(t, after, running); task.Status != platform.TaskRunning {
		t.Errorf("the running task is described as %+v", task)
	}
	if task := describe(t, after, over); task.ExitCode == nil || *task.ExitCode != 3 {
		t.Errorf("the ended task is described as %+v", task)
	}
	if id, err := after.Run(t.Context(), spec("a", "wait "+begun)); err != nil || id != running {
		t.Errorf("the same token gave task %s, %v", id, err)
	}
	if err := after.Stop(t.Context(), running, time.Hour); err != nil {
		t.Fatal(err)
	}
	await(t, "a ends", func() bool { return describe(t, after, running).Status == platform.TaskStopped })
	if task := describe(t, after, running); task.ExitCode == nil || *task.ExitCode != 5 {
		t.Errorf("after its stop it is described as %+v", task)
	}
}

// pooled is a task of a pool.
func pooled(pool, token, ticket string) platform.TaskSpec {
	spec := trusted(token, ticket)
	spec.Org, spec.Pool, spec.Job = "acme", pool, token
	return spec
}

// A supervisor takes task after task of one pool, and of no other; each task has its
// own exit, its stop ends no other, and its death is told of no other.
func TestTasksOfAPoolShareASupervisor(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	home, tasks := openTasks(t, dir, func(o *local.TaskOptions) { o.Warm = 2 })
	run := func(spec platform.TaskSpec) (string, int) {
		id, err := home.Run(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		return id, pidOf(t, dir, id)
	}
	// next runs tasks that end until the supervisor has served another.
	next := func(pid int, name string) {
		n := 0
		await(t, "the supervisor serves again", func() bool {
			n++
			id, served := run(pooled("shop", fmt.Sprintf("%s%d", name, n), "exit 4"))
			await(t, "it ends", func() bool { return describe(t, home, id).Status == platform.TaskStopped })
			if code := describe(t, home, id).ExitCode; code == nil || *code != 4 {
				t.Fatalf("exit code %v", code)
			}
			return served == pid
		})
	}
	over, pid := run(pooled("shop", "first", "exit 3"))
	await(t, "it ends", func() bool { return describe(t, home, over).Status == platform.TaskStopped })
	next(pid, "a")
	if task := describe(t, home, over); task.Reason != "exit" || *task.ExitCode != 3 {
		t.Errorf("the first task is described as %+v", task)
	}
	for _, spec := range []platform.TaskSpec{pooled("other", "o", "exit 0"), trusted("single", "exit 0")} {
		if _, other := run(spec); other == pid {
			t.Errorf("task %s has the supervisor of another pool", spec.Token)
		}
	}
	begun := filepath.Join(t.TempDir(), "begun")
	var long string
	n := 0
	await(t, "it serves a long task", func() bool {
		n++
		id, served := run(pooled("shop", fmt.Sprintf("long%d", n), "wait "+begun))
		if long = id; served == pid {
			return true
		}
		if err := home.Stop(t.Context(), id, time.Hour); err != nil {
			t.Fatal(err)
		}
		return false
	})
	if err := home.Stop(t.Context(), over, time.Second); err != nil {
		t.Fatal(err)
	}
	home.Elapse(2 * time.Second)
	if task := describe(t, home, long); task.Status != platform.TaskRunning {
		t.Errorf("after the stop of one that is over: %+v", task)
	}
	l := watch(t, tasks)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("long%d", n)
	await(t, "its death is told, again after the first word was refused", func() bool {
		home.Elapse(time.Second)
		told := strings.Fields(l.all())
		return len(told) >= 2 && slices.Contains(told, name)
	})
	for _, job := range strings.Fields(l.all()) { // one before it may have been stopped before it could say a word
		if !strings.HasPrefix(job, "long") {
			t.Errorf("the death of %s was told, which had ended", job)
		}
	}
	if task := describe(t, home, long); task.Reason != "killed: by SIGKILL" {
		t.Errorf("the killed task is described as %+v", task)
	}
	if task := describe(t, home, over); task.Reason != "exit" || *task.ExitCode != 3 {
		t.Errorf("the first task is described as %+v", task)
	}
	fresh, other := run(pooled("shop", "fresh", "exit 0"))
	if other == pid {
		t.Error("a dead supervisor was given a task")
	}
	await(t, "it ends", func() bool { return describe(t, home, fresh).Status == platform.TaskStopped })
}

// task/secrets-not-in-definition: the ticket is in no file, argument or environment.
func TestTaskSecretsNotInDefinition(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	home, _ := openTasks(t, dir, nil)
	ticket := "wait " + filepath.Join(t.TempDir(), "canary")
	id, err := home.Run(t.Context(), trusted("a", ticket))
	if err != nil {
		t.Fatal(err)
	}
	task := describe(t, home, id)
	places := map[string]string{"description": fmt.Sprintf("%+v", task)}
	pid := pidOf(t, dir, id)
	for _, file := range []string{"cmdline", "environ"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if err != nil {
			t.Fatal(err)
		}
		places[file] = string(text)
	}
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		places[path] = string(text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for place, text := range places {
		if strings.Contains(text, "canary") {
			t.Errorf("the ticket stands in %s: %q", place, text)
		}
	}
	if err := home.Stop(t.Context(), id, time.Hour); err != nil {
		t.Fatal(err)
	}
	await(t, "it stops", func() bool { return describe(t, home, id).Status == platform.TaskStopped })
}

// The class isolates nothing: untrusted runs and other classes are refused.
func TestTaskRefusals(t *testing.T) {
	t.Parallel()
	home, _ := openTasks(t, t.TempDir(), nil)
	spec := trusted("a", "exit 0")
	spec.Trust = "untrusted"
	if _, err := home.Run(t.Context(), spec); !errors.Is(err, platform.ErrDenied) {
		t.Errorf("an untrusted run: %v", err)
	}
	spec = trusted("b", "exit 0")
	spec.Class = "fargate"
	if _, err := home.Run(t.Context(), spec); !errors.Is(err, platform.ErrInvalid) {
		t.Errorf("another class: %v", err)
	}
}

func BenchmarkTaskRun(b *testing.B) {
	for _, warm := range []int{0, 2} {
		b.Run(fmt.Sprintf("%d warm", warm), func(b *testing.B) {
			self, err := os.Executable()
			if err != nil {
				b.Fatal(err)
			}
			tasks, err := local.NewTasks(b.TempDir(), local.TaskOptions{Runner: self, Env: os.Environ(), Warm: warm})
			if err != nil {
				b.Fatal(err)
			}
			defer tasks.Close()
			for i := 0; b.Loop(); i++ {
				id, err := tasks.Run(b.Context(), trusted(strconv.Itoa(i), "exit 0"))
				if err != nil {
					b.Fatal(err)
				}
				for {
					task, err := tasks.Describe(b.Context(), id)
					if err != nil {
						b.Fatal(err)
					}
					if task.Status == platform.TaskStopped {
						break
					}
					time.Sleep(100 * time.Microsecond)
				}
			}
		})
	}
}
