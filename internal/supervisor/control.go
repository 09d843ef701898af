package supervisor

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/buildit-dev/buildit/internal/logs"
)

// Control is the platform as a supervisor sees it. Over HTTP it is the protocol
// /runner/v1 (http.go); under `buildit run` it is the engine in the same process.
// Calls are idempotent by attempt and sequence. A call that cannot be made now is
// repeated by the implementation for as long as ctx lives; ErrSettled ends the
// attempt at once.
type Control interface {
	// Hello asks for the job.
	Hello(ctx context.Context, hello Hello) (Job, error)
	// Secrets brings the values of the secrets that the job names, once.
	Secrets(ctx context.Context) (map[string]string, error)
	// Log stores part of the log.
	Log(ctx context.Context, part LogPart) error
	// Beat tells that the attempt is alive, and brings orders.
	Beat(ctx context.Context, beat Beat) (Order, error)
	// Lacks answers which of the objects the organization does not have yet.
	Lacks(ctx context.Context, objects []Object) ([]Object, error)
	// Upload stores an object; the digest is checked at the other end.
	Upload(ctx context.Context, object Object, body io.ReadSeeker) error
	// Download reads an object.
	Download(ctx context.Context, object Object) (io.ReadCloser, error)
	// Finish reports the result; it returns when the platform has it for good.
	Finish(ctx context.Context, result Result) error
}

// ErrSettled says that the attempt is over, whatever the supervisor still does.
var ErrSettled = errors.New("the attempt is settled")

// Hello is who is there.
type Hello struct {
	Version  string `json:"version"`
	Protocol int    `json:"protocol"`
	Class    string `json:"class"`
	CPUs     int    `json:"cpus"`
	MemoryMB int    `json:"memory_mb"`
	BootID   string `json:"boot_id"`
}

// Object is something that travels between a task and the store. Kind is source,
// artifact (a manifest), blob (a file's bytes), cache, log, report.
type Object struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	SHA256 string `json:"sha256,omitempty"` // hex
	Size   int64  `json:"size"`
}

// Job is one attempt of one stage, ready to run: nothing in it is interpolated
// any more. It holds no secret.
type Job struct {
	V         int    `json:"v"`
	Org       string `json:"org"`
	Run       string `json:"run"`
	Stage     string `json:"stage"`     // name of the cell, for people
	StageKey  string `json:"stage_key"` // 16 hex
	Attempt   int    `json:"attempt"`
	Trust     string `json:"trust"`
	Class     string `json:"class"`
	Image     string `json:"image,omitempty"`
	Source    Object `json:"source"`              // a bundle (tar.gz of work tree and .git); Name "" for none
	Workspace string `json:"workspace,omitempty"` // a folder that is ready, instead of a source (`buildit run`)

	Shell    []string          `json:"shell"`
	Dir      string            `json:"dir,omitempty"`
	Env      map[string]string `json:"env"`
	Commands []Command         `json:"commands"`

	Secrets   []SecretUse   `json:"secrets,omitempty"`
	Fetches   []Fetch       `json:"fetches,omitempty"`
	Artifacts []ArtifactUse `json:"artifacts,omitempty"`
	Outputs   []string      `json:"outputs,omitempty"`

	Timeout  time.Duration `json:"timeout"`
	Idle     time.Duration `json:"idle"`  // 0 is off
	Grace    time.Duration `json:"grace"` // between SIGTERM and SIGKILL
	Beat     time.Duration `json:"beat"`
	Live     time.Duration `json:"live,omitempty"` // the longest that a byte of a watched log waits; 0 is 1 s. Unwatched: 5 times that
	LogKeep  int64         `json:"log_keep"`       // bytes kept; then the last 64 MiB, with a gap
	LogLimit int64         `json:"log_limit"`      // bytes of output at which the stage ends
	Notices  []Notice      `json:"notices,omitempty"`
}

// Command is one `run`.
type Command struct {
	Name    string        `json:"name"`
	Script  string        `json:"script"`
	Dir     string        `json:"dir,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"`
}

// SecretUse gives a secret to the commands as a variable, or as a file's path in it.
type SecretUse struct {
	Name string `json:"name"`
	As   string `json:"as"`
	File bool   `json:"file,omitempty"`
}

// Fetch brings a file artifact into the workspace.
type Fetch struct {
	Name     string `json:"name"`
	Manifest Object `json:"manifest"`
	To       string `json:"to"`
	Optional bool   `json:"optional,omitempty"`
	// Folder is what $ARTIFACT_NAME names: "" for To itself, else the folder in which
	// the artifacts of a matrix lie side by side.
	Folder string `json:"folder,omitempty"`
}

// ArtifactUse is an artifact that the stage makes.
type ArtifactUse struct {
	Name     string   `json:"name"`
	Value    string   `json:"value,omitempty"` // $NAME and ${NAME} are expanded from the environment after the commands
	Paths    []string `json:"paths,omitempty"`
	Exclude  []string `json:"exclude,omitempty"`
	On       string   `json:"on"` // succeeded, failed, finished
	Optional bool     `json:"optional,omitempty"`
}

// LogPart is a piece of the log of an attempt, see package logs. The supervisor
// repeats a part until it is stored; one that comes twice is stored once.
type LogPart = logs.Part

// Beat is a sign of life.
type Beat struct {
	Sequence   int64     `json:"sequence"`
	Phase      string    `json:"phase"` // prepare, commands, finish
	Command    int       `json:"command"`
	Segment    int       `json:"segment"`
	MemoryMB   int       `json:"memory_mb"`
	FreeDiskMB int64     `json:"free_disk_mb"`
	LastOutput time.Time `json:"last_output"`
}

// Order is what the platform wants of a supervisor.
type Order struct {
	Cancel bool          `json:"cancel"`
	Cause  string        `json:"cause,omitempty"` // user, superseded, timeout, fail-fast, stop
	Grace  time.Duration `json:"grace,omitempty"`
	// Watched shortens the interval of live log parts.
	Watched bool `json:"watched,omitempty"`
}

// Result is how the attempt ended. Reason is one of pipelines.md 5.4.
type Result struct {
	V         int               `json:"v"`
	Reason    string            `json:"reason"`
	Detail    string            `json:"detail,omitempty"` // for people, masked
	ExitCode  int               `json:"exit_code"`
	Signal    string            `json:"signal,omitempty"`
	Command   int               `json:"command"` // index of the command that decided, -1 for none
	Commands  []CommandResult   `json:"commands,omitempty"`
	Outputs   map[string]string `json:"outputs,omitempty"`
	Artifacts []ArtifactResult  `json:"artifacts,omitempty"`
	Notices   []Notice          `json:"notices,omitempty"`
	LogLines  int64             `json:"log_lines"`
	LogBytes  int64             `json:"log_bytes"`
}

// CommandResult is how one command ended.
type CommandResult struct {
	Name      string        `json:"name"`
	ExitCode  int           `json:"exit_code"`
	Signal    string        `json:"signal,omitempty"`
	Took      time.Duration `json:"took"`
	FirstLine int64         `json:"first_line"`
	LastLine  int64         `json:"last_line"`
}

// ArtifactResult is an artifact that was made.
type ArtifactResult struct {
	Name     string `json:"name"`
	Value    string `json:"value,omitempty"`
	Manifest Object `json:"manifest"`
	Files    int    `json:"files"`
	Bytes    int64  `json:"bytes"`
}

// Notice is something that people should know of a stage: code and sentence.
type Notice struct {
	Code string `json:"code"`
	Text string `json:"text"`
}
