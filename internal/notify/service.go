package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/forge"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/repository"
)

const (
	// settle is how long a check that is not final waits for a newer one before it is
	// sent.
	settle = 2 * time.Second
	// lease is how long one sender has a check for itself; a call ends well before.
	lease = time.Minute
	// Pauses after failures double from the first to the last.
	firstPause = 5 * time.Second
	lastPause  = 15 * time.Minute
	// patience is how long a check is tried: who could not be told for a day is told
	// by the next run.
	patience = 24 * time.Hour
	kept     = 30 * 24 * time.Hour // of a row, after its last change
	atOnce   = 100                 // rows of one look
	senders  = 8                   // calls under way, so that a slow provider holds up few
)

// Runs is what is told of: package pipeline.
type Runs interface {
	Find(ctx context.Context, org platform.Org, id pipeline.RunID) (pipeline.Run, error)
	AddNotice(ctx context.Context, org platform.Org, id pipeline.RunID, n pipeline.Notice) error
}

// Repositories opens a repository at its provider: package repository.
type Repositories interface {
	API(ctx context.Context, org platform.Org, id string) (api forge.API, at repository.Repository, ok bool, err error)
}

// Service is the verbs of this package.
type Service struct {
	home         platform.Home
	runs         Runs
	repositories Repositories
	address      string // of our own pages; "" if nobody has said
	log          *slog.Logger
}

// New makes a Service. address is where people find this platform.
func New(home platform.Home, runs Runs, repositories Repositories, address string, log *slog.Logger) *Service {
	return &Service{home, runs, repositories, strings.TrimRight(address, "/"), log}
}

// The checks of a repository share a partition:
//
//	check  acme#checks#<repository>#  check#<commit>#<name>#   GSI2 -#check-due#  <time>#<name>#
func checkRow(org platform.Org, repository, commit, name string) platform.RowKey {
	return org.Partition("checks", repository).Row("check", commit, name)
}

func due() platform.Partition { return platform.Global("check-due") }

func dueAt(t time.Time, name string) platform.IndexKey {
	return due().Index(string(platform.Stamp(t)), name)
}

// HandleChanges is the feed's consumer. It answers how many changes it is done with.
func (s *Service) HandleChanges(ctx context.Context, changes []platform.Change) (done int, err error) {
	for i, c := range changes {
		if err := s.handle(ctx, c); err != nil {
			return i, err
		}
	}
	return len(changes), nil
}

func (s *Service) handle(ctx context.Context, c platform.Change) error {
	if run, changed := pipeline.RunChanged(c); changed {
		org := platform.System(c.Key.Parents()[0], "checks")
		if run.Status == pipeline.Created { // nobody knows yet what it is called
			return nil
		}
		return s.want(ctx, org, run, ofRun(run), run.Version())
	}
	id, stage, changed := pipeline.StageChanged(c)
	if !changed || stage.Status == pipeline.StageBlocked { // nothing to say of it yet
		return nil
	}
	org := platform.System(c.Key.Parents()[0], "checks")
	run, err := s.runs.Find(ctx, org, id)
	if errors.Is(err, platform.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	check, told := ofStage(run, stage)
	if !told || run.Pipeline == "" {
		return nil
	}
	return s.want(ctx, org, run, check, stage.Version())
}

// order is text that sorts as what it tells of: the newest run first of all, which is
// the newest attempt, and the newest version of its row.
func order(run pipeline.Run, version int64) platform.Text {
	return platform.Text(fmt.Sprintf("%012d %012d", run.Number, version))
}

// want moves a check's row on, unless it says something newer already.
func (s *Service) want(ctx context.Context, org platform.Org, run pipeline.Run, c forge.Check, version int64) error {
	_, at, ok, err := s.repositories.API(ctx, org, run.Repository)
	if err != nil || !ok {
		return err
	}
	now := s.home.Clock.Now()
	when := now
	if !final(c.State) {
		when = when.Add(settle)
	}
	c.URL = s.urlOf(run, at)
	place := order(run, version)
	set := platform.Item{
		"org": platform.Text(org.ID()), "repository": platform.Text(run.Repository), "commit": platform.Text(c.Commit), "name": platform.Text(c.Name),
		"state": platform.Text(c.State), "description": platform.Text(c.Description), "url": platform.Text(c.URL), "run": platform.Text(c.Run),
		"order": place, "since": platform.Stamp(now), "failures": platform.Int(0),
		platform.ExpiresAttribute: platform.Int(now.Add(kept).Unix()),
	}
	_, err = s.home.Table.Write(ctx, platform.Update{
		Key: checkRow(org, run.Repository, c.Commit, c.Name), Set: set.DueAt(dueAt(when, c.Name)),
		If: platform.Any{platform.NoRow, platform.Less{Attribute: "order", Value: place}},
	})
	if errors.Is(err, platform.ErrConditionFailed) {
		return nil
	}
	return err
}

// urlOf is where a check leads: to the run, or where nobody has said how people reach
// this platform, to the repository, since one provider takes no check without one.
func (s *Service) urlOf(run pipeline.Run, at repository.Repository) string {
	if s.address == "" {
		return string(at.URL)
	}
	return s.address + "/runs/" + string(run.ID)
}
