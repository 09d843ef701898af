package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/secret"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// LogName names the log of an attempt.
type LogName struct {
	Org     platform.Org
	Run     RunID
	Key     StageKey
	Attempt int
}

// Logs keeps what attempts print, part by part.
type Logs interface {
	// Store keeps a part, once however often it comes.
	Store(ctx context.Context, log LogName, part supervisor.LogPart) error
	// Close says that the attempt is over: no part will come.
	Close(ctx context.Context, log LogName) error
}

// Attempt is the platform as the supervisor of one attempt sees it: it is
// supervisor.Control in the same process, and behind the routes /runner/v1.
type Attempt struct {
	s       *Service
	r       ref
	key     StageKey
	attempt int
}

var _ supervisor.Control = (*Attempt)(nil)

// Attempt finds an attempt for its supervisor.
func (s *Service) Attempt(ctx context.Context, org platform.Org, run RunID, key StageKey, attempt int) (*Attempt, error) {
	r, _, err := s.openRun(ctx, org, run)
	if err != nil {
		return nil, asNotFound(err, run)
	}
	if r.graph == nil {
		return nil, problem.New(problem.NotFound, "Run %s has no stages.", run)
	}
	if _, err := r.graph.node(key); err != nil {
		return nil, problem.New(problem.NotFound, "Run %s has no stage %s.", run, key)
	}
	return &Attempt{s, r, key, attempt}, nil
}

// Hello makes the stage running and answers its job. A second hello of the same
// process gets the same answer; another process is too late.
func (a *Attempt) Hello(ctx context.Context, hello supervisor.Hello) (supervisor.Job, error) {
	ctx = platform.Relaxed(ctx) // a power cut that loses it takes the supervisor too
	for {
		st, err := a.s.stage(ctx, a.r, a.key)
		if err != nil {
			return supervisor.Job{}, err
		}
		switch {
		case st.Attempt != a.attempt, st.Status.Final(), st.Status == StageReported:
			return supervisor.Job{}, supervisor.ErrSettled
		case st.Status == StageCanceling: // canceled before it began: there is nothing to stop, and nobody else to say so
			never := supervisor.Result{V: 1, Reason: "canceled", Detail: st.cause, Command: -1}
			err := a.s.finish(ctx, a.r, a.key, a.attempt, never)
			if errors.Is(err, supervisor.ErrSettled) {
				err = nil
			}
			return supervisor.Job{}, errors.Join(supervisor.ErrSettled, err)
		case st.Status == StageRunning, st.Status == StageFinishing:
			return a.repeatedHello(ctx, hello)
		}
		_, _, err = a.s.move(ctx, a.r, st, StageRunning, change{with: []platform.Action{platform.Update{
			Key: attemptRow(a.r.org, a.r.run, a.key, a.attempt),
			Set: platform.Item{"boot": platform.Text(hello.BootID)}, If: platform.RowIs,
		}}})
		if err == nil {
			return a.job(ctx)
		}
		if !lost(err) {
			return supervisor.Job{}, err
		}
	}
}

func (a *Attempt) repeatedHello(ctx context.Context, hello supervisor.Hello) (supervisor.Job, error) {
	item, err := a.s.home.Table.Get(ctx, attemptRow(a.r.org, a.r.run, a.key, a.attempt))
	if err != nil {
		return supervisor.Job{}, err
	}
	if item.Text("boot") != hello.BootID {
		return supervisor.Job{}, supervisor.ErrSettled
	}
	return a.job(ctx)
}

// job makes the job again from what does not change: graph, and ends of the needs.
func (a *Attempt) job(ctx context.Context) (supervisor.Job, error) {
	node, err := a.r.graph.node(a.key)
	if err != nil {
		return supervisor.Job{}, err
	}
	above, err := a.s.above(ctx, a.r, node)
	if err != nil {
		return supervisor.Job{}, err
	}
	job, err := a.r.graph.job(a.r.org.ID(), node, a.attempt, above)
	job.Live = a.s.Live
	return job, err
}

// Secrets brings the values of what the stage names; those that are missing are
// left out. An untrusted run gets none.
func (a *Attempt) Secrets(ctx context.Context) (map[string]string, error) {
	node, err := a.r.graph.node(a.key)
	if err != nil {
		return nil, err
	}
	names := a.r.graph.spec(node).Secrets
	if len(names) == 0 {
		return nil, nil
	}
	if a.r.graph.Trigger.Trust != "trusted" {
		return nil, fmt.Errorf("an untrusted run gets no secrets: %w", platform.ErrDenied)
	}
	use, err := a.use(node)
	if err != nil {
		return nil, err
	}
	values := make(map[string]string, len(names))
	for _, named := range names {
		if a.s.Secrets == nil {
			continue
		}
		value, err := a.s.Secrets(ctx, a.r.org, use, named.Name)
		switch {
		case errors.Is(err, platform.ErrNotFound): // the supervisor says which one is missing
		case err != nil:
			return nil, fmt.Errorf("secret %q: %w", named.Name, err)
		default:
			values[named.Name] = value
		}
	}
	return values, nil
}

// use is what the stage may ask for. Secrets of an environment are for what runs
// there, and for no pull request, which nobody has merged.
func (a *Attempt) use(node int) (secret.Use, error) {
	g := a.r.graph
	use := secret.Use{
		Repository: g.Trigger.Repository, Pipeline: g.Trigger.File, Run: string(a.r.run), Stage: g.Nodes[node].Name,
	}
	if e := g.spec(node).Environment; e != nil && g.Trigger.PullRequest == 0 {
		var err error
		if use.Environment, err = language.Expand(e.NameT, g.cellFacts(node, "")); err != nil {
			return use, fmt.Errorf("environment of stage %s: %w", use.Stage, err)
		}
	}
	return use, nil
}

// Log keeps a part of the log. An attempt that is over has said all: its log may be
// sealed, and what a supervisor sends that was lost and is back is not part of it.
func (a *Attempt) Log(ctx context.Context, part supervisor.LogPart) error {
	over, _, err := a.s.logOver(ctx, a.logName())
	if err != nil {
		return err
	}
	if over {
		return supervisor.ErrSettled
	}
	return a.s.Logs.Store(ctx, a.logName(), part)
}

func (a *Attempt) logName() LogName { return LogName{a.r.org, a.r.run, a.key, a.attempt} }

// Beat passes the sign of life on to the execution, and answers whether the stage
// is to stop.
func (a *Attempt) Beat(ctx context.Context, beat supervisor.Beat) (supervisor.Order, error) {
	st, err := a.s.stage(ctx, a.r, a.key)
	if err != nil {
		return supervisor.Order{}, err
	}
	if st.Attempt != a.attempt || st.Status.Final() || st.Status == StageReported {
		return supervisor.Order{}, supervisor.ErrSettled
	}
	token, err := a.s.attemptToken(ctx, a.r, a.key, a.attempt)
	if err != nil {
		return supervisor.Order{}, err
	}
	if token != "" {
		if err := a.s.home.Flow.Beat(ctx, token); err != nil && !gone(err) {
			return supervisor.Order{}, err
		}
	}
	if beat.Phase == "finish" && st.Status == StageRunning {
		if _, _, err := a.s.move(ctx, a.r, st, StageFinishing, change{}); err != nil && !lost(err) {
			return supervisor.Order{}, err
		}
	}
	return supervisor.Order{
		Cancel: st.Status == StageCanceling, Cause: st.cause, Grace: defaultGrace, Watched: true,
	}, nil
}

// Lacks answers which objects the organization does not have yet.
func (a *Attempt) Lacks(ctx context.Context, objects []supervisor.Object) ([]supervisor.Object, error) {
	var lacking []supervisor.Object
	for _, object := range objects {
		key, err := a.place(ctx, object, true)
		if err != nil {
			return nil, err
		}
		_, err = a.s.home.Blobs.Stat(ctx, key)
		switch {
		case errors.Is(err, platform.ErrNotFound):
			lacking = append(lacking, object)
		case err != nil:
			return nil, err
		}
	}
	return lacking, nil
}

// Upload stores an object that the job declares. One that is there is the same, by
// its digest.
func (a *Attempt) Upload(ctx context.Context, object supervisor.Object, body io.ReadSeeker) error {
	key, err := a.place(ctx, object, true)
	if err != nil {
		return err
	}
	_, err = a.s.home.Blobs.Create(ctx, key, body)
	if errors.Is(err, platform.ErrExists) {
		return nil
	}
	return err
}

// Download reads an object that the job declares.
func (a *Attempt) Download(ctx context.Context, object supervisor.Object) (io.ReadCloser, error) {
	key, err := a.place(ctx, object, false)
	if err != nil {
		return nil, err
	}
	body, _, err := a.s.home.Blobs.Open(ctx, key, 0)
	return body, err
}

// place is where an object of the attempt lies, if the stage declares it: a stage
// reads the source and what it fetches, and writes what it makes.
func (a *Attempt) place(ctx context.Context, object supervisor.Object, write bool) (platform.BlobKey, error) {
	node, err := a.r.graph.node(a.key)
	if err != nil {
		return platform.BlobKey{}, err
	}
	spec := a.r.graph.spec(node)
	refused := problem.New(problem.Forbidden, "Stage %q declares no %s %q.", spec.Name, object.Kind, object.Name)
	switch object.Kind {
	case "source":
		source := a.r.graph.Trigger.Source
		if write || len(source) == 0 {
			return platform.BlobKey{}, refused
		}
		return a.r.org.Blob(source[0], source[1:]...), nil
	case "artifact":
		declared := false
		for _, made := range spec.Artifacts {
			declared = declared || write && made.Name == object.Name
		}
		for _, fetched := range spec.Fetches {
			declared = declared || !write && fetched.Name == object.Name
		}
		if !declared || !isDigest(object.SHA256) {
			return platform.BlobKey{}, refused
		}
	case "blob": // by digest: whoever knows it has read the manifest, or the file
		if write && len(spec.Artifacts) == 0 || !write && len(spec.Fetches) == 0 || !isDigest(object.SHA256) {
			return platform.BlobKey{}, refused
		}
	default:
		return platform.BlobKey{}, refused
	}
	return objectBlob(a.r.org, object.Kind, object.SHA256), nil
}

// isDigest tells whether text is a SHA-256 in hex.
func isDigest(text string) bool {
	return len(text) == 64 && !slices.ContainsFunc([]byte(text), func(c byte) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'f')
	})
}

// Finish takes the result; it returns when the execution has been woken.
func (a *Attempt) Finish(ctx context.Context, result supervisor.Result) error {
	if err := a.s.Logs.Close(ctx, a.logName()); err != nil {
		return err
	}
	return a.s.finish(ctx, a.r, a.key, a.attempt, result)
}
