package language

import "io/fs"

// The functions that other packages call. (Contract; bodies live in files of their subject.)

// Load reads the pipeline file at path of tree (and local includes), at most 100
// diagnostics, ordered by position. The Pipeline is nil if one is an error.
func Load(tree fs.FS, path string) (*Pipeline, []Diagnostic) { panic("contract") }

// Truth is a value of the three-valued logic of conditions.
type Truth int8

// The three values.
const (
	False Truth = iota
	True
	Unknown
)

// Facts is what a condition and ${…} may ask of a run and a stage. A nil Outputs
// or Statuses entry is unknown; see Known.
type Facts struct {
	Event, Branch, Tag, Ref, Base, Head, Actor string
	DefaultBranch, Pipeline                    string
	Fork                                       bool
	SHA, ShortSHA                              string
	RunID                                      string
	RunNumber, RunAttempt                      int
	RepoName, RepoOwner, OrgRegistry           string
	Stage, Arch, OS                            string
	Params                                     map[string]string
	Matrix                                     map[string]string
	With                                       map[string]string
	// Outputs and Statuses hold the final values of stages; a stage that is not in
	// Statuses is not final, and what is asked of it is unknown.
	Outputs   map[string]map[string]string // stage -> name -> value
	Statuses  map[string]string            // stage -> status
	Artifacts map[string]string            // artifact -> reference
	// Changed are the files that differ; FilesKnown false makes every path condition true.
	Changed    []string
	FilesKnown bool
	// Hash is ${hash:GLOBS}; nil where it cannot be asked.
	Hash func(globs []string) (string, error)
}

// Decide evaluates the alternatives of a stage's `when`. None is True.
func Decide(when []When, facts Facts) (Truth, error) { panic("contract") }

// Matches says whether an event of this kind, with these facts, makes a run, by
// the pipeline's `on` nodes (or the default events), and if not, why.
func (p *Pipeline) Matches(facts Facts) (bool, string) { panic("contract") }

// Expand replaces ${…} of text, once. An error names what has no value.
func Expand(text string, facts Facts) (string, error) { panic("contract") }

// Cell is one cell of a matrix: its pairs in axis order, extra keys of include after them.
type Cell struct {
	Name  string // "test (1.25, bookworm)", or the stage's name
	Key   string // 16 hex digits (StageKey)
	Pairs []Pair
}

// Cells are the cells of the stage, one for a stage without matrix.
func (s *Stage) Cells() []Cell { panic("contract") }

// StageKey is 16 hex of the SHA-256 of (stage name, sorted pairs), length-prefixed.
func StageKey(stage string, pairs []Pair) string { panic("contract") }

// Expr is a compiled expression.
type Expr struct{}
