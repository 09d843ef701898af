package platformtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// TaskHome is a driver under test. Its tasks run TaskProgram with their ticket.
type TaskHome struct {
	platform.Tasks
	Elapse func(time.Duration) // has time pass for the driver
}

// TaskProgram is what a task of the suite does, by the first word of its ticket:
//
//	exit N      end with code N
//	wait F      write a line to the file F, wait until it is stopped, end with code 5
//	stubborn F  write a line to the file F, and not end when it is stopped
//
// ctx ends when the task is stopped.
func TaskProgram(ctx context.Context, ticket string) (exitCode int) {
	verb, rest, _ := strings.Cut(ticket, " ")
	switch verb {
	case "exit":
		code, err := strconv.Atoi(rest)
		if err != nil {
			return 99
		}
		return code
	case "wait", "stubborn":
		if err := writeLine(rest); err != nil {
			return 98
		}
	}
	if verb == "stubborn" {
		<-time.After(6 * patience) // longer than any test, and no leak
		return 0
	}
	<-ctx.Done()
	return 5
}

func writeLine(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = file.WriteString("begun\n")
	return errors.Join(err, file.Close())
}

// Tasks checks what platform.Tasks promises and a home can show. open returns a
// driver without tasks, once for each case; its class is class.
func Tasks(t *testing.T, class string, open func(t *testing.T) TaskHome) {
	spec := func(token, ticket string) platform.TaskSpec {
		return platform.TaskSpec{Token: token, Org: "acme", Class: class, Trust: "trusted", Job: "run/stage/1", Ticket: ticket}
	}
	run(t, open, []Case[TaskHome]{
		{"task/run-idempotent", func(t *testing.T, h TaskHome) { taskRunIdempotent(t, h, spec) }},
		{"task/describe-missing", func(t *testing.T, h TaskHome) { taskDescribeMissing(t, h, spec) }},
		{"task/exit-codes", func(t *testing.T, h TaskHome) { taskExitCodes(t, h, spec) }},
		{"task/stop-grace", func(t *testing.T, h TaskHome) { taskStopGrace(t, h, spec) }},
		{"task/stop-idempotent", func(t *testing.T, h TaskHome) { taskStopIdempotent(t, h, spec) }},
		{"task/token-length", func(t *testing.T, h TaskHome) { taskTokenLength(t, h, spec) }},
		{"task/outlives-the-call", func(t *testing.T, h TaskHome) { taskOutlivesTheCall(t, h, spec) }},
	})
}

type specs func(token, ticket string) platform.TaskSpec

// ended waits until a task has stopped.
func endedTask(t *testing.T, h TaskHome, id string) platform.Task {
	t.Helper()
	var task platform.Task
	eventually(t, "task "+id+" ends", h.Elapse, time.Microsecond, func() bool {
		var err error
		task, err = h.Describe(t.Context(), id)
		noError(t, err)
		return task.Status == platform.TaskStopped
	})
	return task
}

// begin runs a task that writes a line when it has begun, and waits for that.
func begin(ctx context.Context, t *testing.T, h TaskHome, spec specs, verb string) (id string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "begun")
	id, err := h.Run(ctx, spec("a", verb+" "+file))
	noError(t, err)
	eventually(t, "the task begins", h.Elapse, time.Microsecond, func() bool {
		text, err := os.ReadFile(file)
		return err == nil && len(text) > 0
	})
	return id
}

func taskRunIdempotent(t *testing.T, h TaskHome, spec specs) {
	file := filepath.Join(t.TempDir(), "begun")
	ids := make([]string, 8)
	for _, err := range race(len(ids), func(i int) (err error) {
		ids[i], err = h.Run(t.Context(), spec("a", "wait "+file))
		return err
	}) {
		noError(t, err)
	}
	for _, id := range ids {
		equal(t, "id", id, ids[0])
	}
	other, err := h.Run(t.Context(), spec("b", "exit 0"))
	noError(t, err)
	if other == ids[0] {
		t.Error("another token is the same task")
	}
	eventually(t, "the task begins", h.Elapse, time.Microsecond, func() bool {
		text, err := os.ReadFile(file)
		return err == nil && len(text) > 0
	})
	noError(t, h.Stop(t.Context(), ids[0], time.Minute))
	equal(t, "exit code", *endedTask(t, h, ids[0]).ExitCode, 5)
	again, err := h.Run(t.Context(), spec("a", "wait "+file))
	noError(t, err)
	equal(t, "id after the end", again, ids[0])
	text, err := os.ReadFile(file)
	noError(t, err)
	equal(t, "what the task wrote", string(text), "begun\n")
}

func taskDescribeMissing(t *testing.T, h TaskHome, spec specs) {
	for _, id := range []string{"unknown", "", "../unknown"} {
		_, err := h.Describe(t.Context(), id)
		isError(t, err, platform.ErrGone)
	}
	id, err := h.Run(t.Context(), spec("a", "exit 0"))
	noError(t, err)
	task, err := h.Describe(t.Context(), id) // at once
	noError(t, err)
	equal(t, "id", task.ID, id)
	endedTask(t, h, id)
	h.Elapse(59 * time.Minute)
	_, err = h.Describe(t.Context(), id)
	noError(t, err)
	h.Elapse(2 * time.Minute)
	_, err = h.Describe(t.Context(), id)
	isError(t, err, platform.ErrGone)
}

func taskExitCodes(t *testing.T, h TaskHome, spec specs) {
	for code, ticket := range map[int]string{0: "exit 0", 1: "exit 1", 7: "exit 7"} {
		id, err := h.Run(t.Context(), spec(ticket, ticket))
		noError(t, err)
		task := endedTask(t, h, id)
		if task.ExitCode == nil || *task.ExitCode != code || task.Reason != "exit" {
			t.Errorf("%s: described as %+v", ticket, task)
		}
		if task.Started.IsZero() || task.Stopped.Before(task.Started) {
			t.Errorf("%s: started %v, stopped %v", ticket, task.Started, task.Stopped)
		}
	}
}

func taskStopGrace(t *testing.T, h TaskHome, spec specs) {
	id := begin(t.Context(), t, h, spec, "stubborn")
	task, err := h.Describe(t.Context(), id)
	noError(t, err)
	if task.Status == platform.TaskStopped || task.ExitCode != nil {
		t.Errorf("a task that runs is described as %+v", task)
	}
	noError(t, h.Stop(t.Context(), id, 100*time.Millisecond))
	h.Elapse(200 * time.Millisecond)
	task = endedTask(t, h, id)
	if task.ExitCode == nil || *task.ExitCode != 137 || !strings.HasPrefix(task.Reason, "killed") {
		t.Errorf("after its grace it is described as %+v", task)
	}
}

func taskStopIdempotent(t *testing.T, h TaskHome, spec specs) {
	id := begin(t.Context(), t, h, spec, "wait")
	for range 3 {
		noError(t, h.Stop(t.Context(), id, time.Minute))
	}
	equal(t, "exit code", *endedTask(t, h, id).ExitCode, 5)
	noError(t, h.Stop(t.Context(), id, time.Minute))
	noError(t, h.Stop(t.Context(), "unknown", time.Minute))
	equal(t, "exit code after another stop", *endedTask(t, h, id).ExitCode, 5)
}

func taskTokenLength(t *testing.T, h TaskHome, spec specs) {
	for _, token := range []string{"", strings.Repeat("x", 65)} {
		_, err := h.Run(t.Context(), spec(token, "exit 0"))
		isError(t, err, platform.ErrInvalid)
	}
}

// A task lives on when the call that started it is over.
func taskOutlivesTheCall(t *testing.T, h TaskHome, spec specs) {
	ctx, cancel := context.WithCancel(t.Context())
	id := begin(ctx, t, h, spec, "wait")
	cancel()
	h.Elapse(50 * time.Millisecond)
	task, err := h.Describe(t.Context(), id)
	noError(t, err)
	equal(t, "status", task.Status, platform.TaskRunning)
	noError(t, h.Stop(t.Context(), id, time.Minute))
	endedTask(t, h, id)
}
