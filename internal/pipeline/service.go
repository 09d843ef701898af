package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/environment"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/secret"
)

// SecretSource finds the value of a secret that a stage of a trusted run names, or
// fails with platform.ErrNotFound.
type SecretSource func(ctx context.Context, org platform.Org, use secret.Use, name string) (string, error)

// Observer hears of what has become durable, in the process that did it: a
// terminal, or the followers of a log. It must not block.
type Observer interface {
	StageChanged(run RunID, stage Stage)
	RunChanged(run Run)
}

// Service runs pipelines on a home. All its methods may be called twice at any
// point, and at the same time.
type Service struct {
	Parts
	home platform.Home

	mu     sync.Mutex
	graphs map[string]*Graph // by digest: immutable, so a cache is never stale
	listed listedTests
	hint   hints
	quotas quotas
}

// graphsKept bounds the cache of graphs; one of 1,000 stages takes about 3 MB.
const graphsKept = 64

// Parts are what a Service needs besides its home.
type Parts struct {
	Log     *slog.Logger
	Logs    Logs
	Secrets SecretSource // nil: no secret has a value
	Observe Observer     // may be nil
	Earlier Earlier      // may be nil: every stage runs
	// Live is the longest that output waits before it is sent to those who watch: a
	// matter of what a part costs in this home. 0 is the supervisor's own, a second.
	Live time.Duration
	// Ticket makes what the task of an attempt says hello with; nil where the
	// supervisor is in this process.
	Ticket func(ctx context.Context, log LogName) (string, error)
	// Since is when this home began to work, where it does not always: until a
	// status has had its time since then, the sweeper ends nothing by silence.
	Since time.Time
	// AllowUntrusted lets commits of strangers run, though class process does not
	// isolate them: the owner's word, who knows every person that may propose one.
	AllowUntrusted bool
	// Environments are what stages deploy to; New makes them on the home if nil.
	Environments *environment.Service
	// Rights finds the present rights of who has approved something, or answers
	// problem.Unauthorized. nil: rights do not change.
	Rights func(ctx context.Context, org platform.Org, principal string) (access.Caller, error)
	// Quota is that of organizations that have set none; its zero value is no limit.
	Quota Quota
}

// New makes a Service.
func New(home platform.Home, parts Parts) *Service {
	if parts.Environments == nil {
		parts.Environments = environment.New(home.Table, home.Clock)
	}
	return &Service{home: home, Parts: parts, graphs: make(map[string]*Graph)}
}

// ref is a run that a call is about, with its graph.
type ref struct {
	org    platform.Org
	run    RunID
	digest string
	graph  *Graph
}

// open finds the graph of a run that is under way.
func (s *Service) open(ctx context.Context, org platform.Org, run RunID, digest string) (ref, error) {
	g, err := s.loadGraph(ctx, org, digest)
	return ref{org, run, digest, g}, err
}

// openRun is open for a caller who has the run's id alone.
func (s *Service) openRun(ctx context.Context, org platform.Org, run RunID) (ref, Run, error) {
	row, err := s.run(ctx, org, run)
	if err != nil {
		return ref{}, Run{}, err
	}
	if row.graph == "" {
		return ref{org: org, run: run}, row, nil
	}
	r, err := s.open(ctx, org, run, row.graph)
	return r, row, err
}

func (s *Service) loadGraph(ctx context.Context, org platform.Org, digest string) (*Graph, error) {
	s.mu.Lock()
	g := s.graphs[org.ID()+"/"+digest]
	s.mu.Unlock()
	if g != nil {
		return g, nil
	}
	body, _, err := s.home.Blobs.Open(ctx, graphBlob(org, digest), 0)
	if err != nil {
		return nil, fmt.Errorf("read graph %s: %w", digest, err)
	}
	raw, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		return nil, fmt.Errorf("read graph %s: %w", digest, err)
	}
	g, err = decodeGraph(raw, digest)
	if err != nil {
		return nil, err
	}
	s.keepGraph(org, digest, g)
	return g, nil
}

func (s *Service) keepGraph(org platform.Org, digest string, g *Graph) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.graphs) >= graphsKept {
		clear(s.graphs)
	}
	s.graphs[org.ID()+"/"+digest] = g
}

// storeGraph writes a graph once; one that is there already is the same, by its digest.
func (s *Service) storeGraph(ctx context.Context, org platform.Org, g *Graph) (string, error) {
	body, digest, err := g.encode()
	if err != nil {
		return "", err
	}
	_, err = s.home.Blobs.Create(ctx, graphBlob(org, digest), bytes.NewReader(body))
	if err != nil && !errors.Is(err, platform.ErrExists) {
		return "", fmt.Errorf("store the graph: %w", err)
	}
	s.keepGraph(org, digest, g)
	return digest, nil
}

func (s *Service) run(ctx context.Context, org platform.Org, run RunID) (Run, error) {
	item, err := s.home.Table.Get(ctx, runRow(org, run))
	if err != nil {
		return Run{}, fmt.Errorf("run %s: %w", run, err)
	}
	return runOf(item)
}

func (s *Service) stage(ctx context.Context, r ref, key StageKey) (Stage, error) {
	item, err := s.home.Table.Get(ctx, stageRow(r.org, r.run, key))
	if err != nil {
		return Stage{}, fmt.Errorf("run %s, stage %s: %w", r.run, key, err)
	}
	return stageOf(item), nil
}

// stages reads the rows of some nodes.
func (s *Service) stages(ctx context.Context, r ref, nodes []int) (map[int]Stage, error) {
	keys := make([]platform.RowKey, len(nodes))
	for i, n := range nodes {
		keys[i] = stageRow(r.org, r.run, r.graph.Nodes[n].Key)
	}
	rows, err := s.home.Table.GetMany(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("run %s: read stages: %w", r.run, err)
	}
	found := make(map[int]Stage, len(rows))
	for _, row := range rows {
		st := stageOf(row.Item)
		found[r.graph.byKey[st.Key]] = st
	}
	return found, nil
}

// rows reads all rows of one kind of a run, in the order of their keys.
func (s *Service) rows(ctx context.Context, org platform.Org, run RunID, kind string, parts ...string) ([]platform.Row, error) {
	q := platform.Query{Partition: runPartition(org, run)}
	q.Prefix = q.Partition.Rows(kind, parts...)
	var all []platform.Row
	for {
		page, err := s.home.Table.Query(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("run %s: read %s rows: %w", run, kind, err)
		}
		all = append(all, page.Rows...)
		if page.Cursor == "" {
			return all, nil
		}
		q.Cursor = page.Cursor
	}
}

// lost tells that another writer was faster: read again, decide anew.
func lost(err error) bool { return errors.Is(err, platform.ErrConditionFailed) }

// Conflicts of transactions that meet on one row (the end of a run, a join) are
// waited out with jitter; the driver has retried a few times already.
const (
	conflictTries = 8
	conflictPause = 5 * time.Millisecond
)

// transact is Table.Transact that outlasts conflicts.
func (s *Service) transact(ctx context.Context, actions ...platform.Action) error {
	pause := conflictPause
	for try := 1; ; try++ {
		err := s.home.Table.Transact(ctx, "", actions...)
		if err == nil || lost(err) || !errors.Is(err, platform.ErrConflict) || try == conflictTries {
			return err
		}
		if err := s.home.Clock.Sleep(ctx, time.Duration(rand.Int64N(int64(pause)))); err != nil {
			return err
		}
		pause *= 2
	}
}

// wrap encrypts a task token for the row of what waits on it.
func (s *Service) wrap(ctx context.Context, token, id string) ([]byte, error) {
	return s.home.Keys.Wrap(ctx, []byte(token), map[string]string{"token": id})
}

func (s *Service) unwrap(ctx context.Context, wrapped []byte, id string) (string, error) {
	token, err := s.home.Keys.Unwrap(ctx, wrapped, map[string]string{"token": id})
	return string(token), err
}
