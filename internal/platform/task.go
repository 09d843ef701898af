package platform

import (
	"context"
	"time"
)

// TaskSpec asks for one task: the process (or container) that runs an attempt.
type TaskSpec struct {
	Token string // idempotence: the same token is the same task; 1 to 64 bytes
	Org   string
	Class string // runner class: process, sandbox, container, …
	Image string // the stage's image, "" for the platform's base image
	Size  string // "2x4": vCPU x GiB
	Arch  string
	Trust string // trusted or untrusted
	// Pool names the trusted tasks that may be done by one supervisor, one behind the
	// other: those of one repository. "" keeps the task to itself.
	Pool string
	// Job is what the supervisor says hello with: a reference, never a secret.
	Job string
	// Ticket proves which task is asking. The driver hands it to the supervisor by
	// the channel that the class has (a descriptor that is read once, a mounted
	// file) and keeps it out of definition, environment, override and Describe.
	Ticket string
}

// TaskStatus is what a driver knows of a task.
type TaskStatus string

// The statuses of a task, in this order.
const (
	TaskPending TaskStatus = "pending"
	TaskRunning TaskStatus = "running"
	TaskStopped TaskStatus = "stopped"
)

// Task describes a task.
type Task struct {
	ID       string
	Status   TaskStatus
	Started  time.Time
	Stopped  time.Time
	ExitCode *int   // nil while it runs, and for one that never started
	Reason   string // of a stop: exit, signal, oom, never-started, killed; and the driver's words behind a colon
}

// Tasks runs supervisors, as ECS RunTask does.
//
// Source: Amazon ECS API, RunTask, StopTask, DescribeTasks.
type Tasks interface {
	// Run starts a task, once for each token, and returns its id. ErrThrottled:
	// no capacity now. ErrInvalid: this home has no such class.
	Run(ctx context.Context, spec TaskSpec) (id string, err error)

	// Stop sends SIGTERM, and SIGKILL after grace, to the task and all that it
	// started. It returns when the stop has been asked for. Stopping twice, or
	// after the end, is no error.
	Stop(ctx context.Context, id string, grace time.Duration) error

	// Describe answers ErrGone for a task that is unknown, or ended over an hour ago.
	Describe(ctx context.Context, id string) (Task, error)
}
