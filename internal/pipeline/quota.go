package pipeline

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Quota is how much of an organization goes on at once; 0 is no limit.
type Quota struct {
	Runs   int `json:"runs"`
	Stages int `json:"stages"`
}

// MaxQuota is the most that can be asked for: each place is a row.
const MaxQuota = 10000

// The groups of a quota.
const (
	quotaRuns   = "runs"
	quotaStages = "stages"
)

func (q Quota) of(name string) int {
	if name == quotaRuns {
		return q.Runs
	}
	return q.Stages
}

// claims are the places that a run, or a stage, needs of it.
func (q Quota) claims(name string) []claim {
	if q.of(name) <= 0 {
		return nil
	}
	return []claim{{waitQuota, scopeQuota, name, q.of(name)}}
}

// quotas remember the quota of each organization for a moment: it is asked for with
// every stage.
type quotas struct {
	mu    sync.Mutex
	known map[string]knownQuota
}

type knownQuota struct {
	Quota
	until time.Time
}

// quotaKept is how long another process may go on with a quota that was changed.
const quotaKept = 5 * time.Second

// limits is the quota of an organization: its own, or that of this home.
func (s *Service) limits(ctx context.Context, org platform.Org) (Quota, error) {
	now := s.home.Clock.Now()
	s.quotas.mu.Lock()
	known, has := s.quotas.known[org.ID()]
	s.quotas.mu.Unlock()
	if has && now.Before(known.until) {
		return known.Quota, nil
	}
	q := s.Quota
	item, err := s.home.Table.Get(ctx, quotaRow(org))
	switch {
	case errors.Is(err, platform.ErrNotFound):
	case err != nil:
		return q, fmt.Errorf("quota: %w", err)
	default:
		q = Quota{Runs: int(item.Int("runs")), Stages: int(item.Int("stages"))}
	}
	s.quotas.mu.Lock()
	defer s.quotas.mu.Unlock()
	if s.quotas.known == nil {
		s.quotas.known = make(map[string]knownQuota)
	}
	s.quotas.known[org.ID()] = knownQuota{q, now.Add(quotaKept)}
	return q, nil
}

// GetQuota answers the quota of an organization.
func (s *Service) GetQuota(ctx context.Context, org platform.Org) (Quota, error) {
	return s.limits(ctx, org)
}

// SetQuota changes it, for what starts from now on. Who waits looks again at once.
func (s *Service) SetQuota(ctx context.Context, org platform.Org, q Quota) (Quota, error) {
	for name, n := range map[string]int{quotaRuns: q.Runs, quotaStages: q.Stages} {
		if n < 0 || n > MaxQuota {
			return q, problem.New(problem.Invalid, "A quota is a number from 1 to %d, or 0 for no limit.", MaxQuota).InField(name)
		}
	}
	_, err := s.home.Table.Write(ctx, platform.Put{
		Key: quotaRow(org), Item: platform.Item{"runs": platform.Int(q.Runs), "stages": platform.Int(q.Stages)},
	})
	if err != nil {
		return q, fmt.Errorf("quota: %w", err)
	}
	s.quotas.mu.Lock()
	delete(s.quotas.known, org.ID())
	s.quotas.mu.Unlock()
	var errs []error
	for _, name := range []string{quotaRuns, quotaStages} {
		errs = append(errs, s.letIn(ctx, org, claim{waitQuota, scopeQuota, name, q.of(name)}))
	}
	if err := errors.Join(errs...); err != nil {
		s.Log.ErrorContext(ctx, "who waits for a quota looks again later", "org", org.ID(), "err", err)
	}
	return q, nil
}
