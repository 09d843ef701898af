package language

// Facts is what a condition and ${…} may ask of a run and a stage. What is not
// known yet is missing from Statuses (see there); an empty text is known and empty.
type Facts struct {
	Event, Branch, Tag, Ref, Base, Head, Actor string
	DefaultBranch, Pipeline                    string
	Fork                                       bool
	Action                                     string // pull-request: opened, updated, reopened, ready, closed; "" matches all
	Draft                                      bool   // pull-request
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

	// open is set by the check of a file: what no event fixes is unknown.
	open bool
}
