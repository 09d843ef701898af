package language

import "time"

// Pos is a place in a file. Line and Column count from 1; a column counts code
// points. EndLine and EndColumn are just behind the last one.
type Pos struct {
	File      string `json:"file"`
	Line      int    `json:"line"`
	Column    int    `json:"column"`
	EndLine   int    `json:"end_line"`
	EndColumn int    `json:"end_column"`
}

// Pipeline is a file and what it includes, bound and checked. Text of type T
// (fields that end in T below) may hold ${…}, see Expand.
type Pipeline struct {
	Name        string
	Description string
	File        string
	Timeout     time.Duration // of a run
	Events      []Event       // as written; Triggers says what an empty list means
	Env         map[string]string
	Params      []Param
	Caches      []Cache
	Components  []Component
	Concurrency *Concurrency
	Stages      []*Stage // in file order, templates, defaults and includes resolved
	Notify      []Notify
	// Nodes are the names of the top-level nodes that the file uses, each with its
	// first place, so that who runs the pipeline can refuse what it cannot do.
	Nodes map[string]Pos
	// Missing are the top-level nodes that this version cannot run; see Lacks.
	Missing []Missing
}

// Event is an `on` node.
type Event struct {
	Pos         Pos
	Kind        string // push, pull-request, tag, schedule, manual, upstream, merge-group
	Branches    []string
	Tags        []string
	Paths       []string
	PathsIgnore []string
	Types       []string // pull-request: opened, updated, reopened, ready, closed
	Draft       string   // pull-request: run, skip
	Forks       string   // pull-request: no-secrets, approve, never
	Cron, Zone  string   // schedule
	Branch      string   // schedule, upstream
	Pipeline    string   // upstream
	Status      string   // upstream
}

// Param is a parameter of manual runs.
type Param struct {
	Pos         Pos
	Name        string
	Type        string // string, int, bool, choice
	Default     string
	HasDefault  bool
	Required    bool
	Description string
	Choices     []string
}

// Component is a part of a monorepo.
type Component struct {
	Pos   Pos
	Name  string
	Paths []string
	Uses  []string
}

// Cache is a cache definition, or a stage's use of one with its definition resolved.
type Cache struct {
	Pos      Pos
	Name     string
	KeyT     string
	PathT    []string
	RestoreT []string
	ReadOnly bool
}

// Concurrency is a group of which a limited number runs at once.
type Concurrency struct {
	Pos    Pos
	GroupT string
	Mode   string // queue, cancel-older, skip
	Limit  int
	Except string
}

// Notify tells somebody of a run's end (level S: kept for the check of the file).
type Notify struct {
	Pos          Pos
	Kind, Target string
	On, Branches []string
}

// Stage is a stage as it will run: template, defaults and includes are merged.
type Stage struct {
	Pos          Pos
	Name         string
	Description  string
	ImageT       string
	Run          []Command
	Shell        []string // "sh", "-e", "-c": the script follows
	DirT         string
	Needs        []Need
	When         []When // alternatives; none is always
	Component    string
	Env          map[string]string // values are of type T
	With         map[string]string // parameters of its template, resolved
	Secrets      []Secret
	Services     []Service
	Matrix       *Matrix
	Parallel     *Parallel
	Caches       []Cache
	Artifacts    []Artifact
	Fetches      []Fetch
	Outputs      []string
	Reports      []Report
	Retry        Retry
	Timeout      time.Duration
	Idle         time.Duration // 0 is off
	AllowFailure *AllowFailure
	Approval     *Approval
	Environment  *Environment
	Concurrency  *Concurrency
	Runner       Runner
	Checkout     Checkout
	// Nodes are the names of the children that make this stage (its own, its
	// template's, of defaults), each with its first place.
	Nodes map[string]Pos
	// Missing are the nodes that this version cannot run yet; starting a run that
	// has one is refused with code not-available at its position. See Lacks.
	Missing []Missing
}

// Command is one `run`.
type Command struct {
	Pos     Pos
	Script  string // dedented; never interpolated
	Name    string
	DirT    string
	Timeout time.Duration // 0: the stage's
}

// Need is one name of a `needs` node; Group counts the node it stood in, since
// on="failed" speaks of all names of its node.
type Need struct {
	Pos   Pos
	Stage string
	On    string // succeeded, succeeded-or-skipped, failed, finished
	Group int
}

// When is one `when` node: all its conditions hold; values are alternatives.
type When struct {
	Pos        Pos
	Expression string // source, "" if none; compiled by Load
	Branch     []string
	Tag        []string
	Event      []string
	Base       []string
	Path       []string
	Status     string

	expr *Expr
}

// Secret is one secret of a stage.
type Secret struct {
	Pos  Pos
	Name string
	As   string // variable
	File bool
}

// Service is a container beside a stage.
type Service struct {
	Pos          Pos
	ImageT       string
	Name         string
	Env          map[string]string
	Ports        []int
	Ready        string
	ReadyTimeout time.Duration
	Command      []string
}

// Pair is a key with its value, in file order.
type Pair struct{ Key, Value string }

// Axis is one axis of a matrix.
type Axis struct {
	Name   string
	Values []string
}

// Matrix makes several cells of a stage.
type Matrix struct {
	Pos         Pos
	Axes        []Axis
	Exclude     [][]Pair
	Include     [][]Pair
	MaxParallel int // 0: no limit
	FailFast    bool
}

// Parallel makes so many equal cells of a stage, which share its files among them.
type Parallel struct {
	Pos   Pos
	Cells int
	Split string // timing, name, count
	Files string // a glob; "" where nothing is shared
}

// Artifact is what a stage leaves behind.
type Artifact struct {
	Pos      Pos
	Name     string
	ValueT   string // a reference, or "" for files
	Paths    []string
	Exclude  []string
	On       string // succeeded, failed, finished
	Expire   time.Duration
	Optional bool
}

// Fetch brings an artifact of an upstream stage into the workspace.
type Fetch struct {
	Pos      Pos
	Name     string
	From     string // stage; resolved by Load when the file names none
	To       string
	Optional bool
}

// Report is a file that the platform reads.
type Report struct {
	Pos      Pos
	Kind     string // junit, gotest, coverage, sarif
	Path     string
	Required bool
}

// Retry says which ends of an attempt are tried again.
type Retry struct {
	Count   int
	On      []string // infra, exit, exit:N, signal, oom, timeout, service, any
	Backoff time.Duration
}

// AllowFailure makes a failure green; Codes limits it to exit codes.
type AllowFailure struct{ Codes []int }

// Approval is a gate that people open.
type Approval struct {
	Pos      Pos
	Groups   []string
	Count    int
	Timeout  time.Duration
	MessageT string
	Self     bool
}

// Environment is where a stage deploys to, or whose variables it uses.
type Environment struct {
	Pos   Pos
	NameT string
	Use   bool // mode="use"
	URLT  string
}

// Runner is where a stage runs.
type Runner struct {
	Class string
	Size  string
	Arch  string
	Spot  bool
}

// Checkout is what of the repository a stage gets.
type Checkout struct {
	None  bool
	Depth int // 0 is all
	Merge bool
}

// Missing is a node that is not built yet.
type Missing struct {
	Pos  Pos
	Node string
}

// Diagnostic is one problem of a file.
type Diagnostic struct {
	Pos
	Severity     string `json:"severity"` // error, warning
	Code         string `json:"code"`
	Message      string `json:"message"`
	Help         string `json:"help,omitempty"`
	Fix          *Fix   `json:"fix,omitempty"`
	IncludedFrom *Pos   `json:"included_from,omitempty"`
}

// Fix is an exact replacement.
type Fix struct {
	Range Pos    `json:"range"`
	Text  string `json:"text"`
}
