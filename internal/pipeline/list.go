package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Selection is which runs a list shows: those that have every value that is given.
type Selection struct {
	Repository, Branch, Commit string
	Status                     Status
}

func (s Selection) condition() platform.Condition {
	all := platform.All{}
	for name, value := range map[string]string{
		"repository": s.Repository, "branch": s.Branch, "commit": s.Commit, "status": string(s.Status),
	} {
		if value != "" {
			all = append(all, platform.Equal{Attribute: name, Value: platform.Text(value)})
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// maxLooked bounds the pages that one call reads to find runs that fit; the cursor
// goes on from there.
const maxLooked = 10

// List returns runs, newest first, from where cursor stands. A page may be short,
// or empty, and not be the last.
func (s *Service) List(ctx context.Context, org platform.Org, which Selection, limit int, cursor string) (list []Run, next string, err error) {
	q := platform.Query{
		Partition: listOfRuns(org), Index: platform.List1, Filter: which.condition(), Reverse: true, Limit: limit, Cursor: cursor,
	}
	list = []Run{}
	for range maxLooked {
		page, err := s.home.Table.Query(ctx, q)
		if err != nil {
			return nil, "", fmt.Errorf("list of runs: %w", err)
		}
		for _, row := range page.Rows {
			run, err := runOf(row.Item)
			if err != nil {
				return nil, "", err
			}
			if err := s.addWaits(ctx, org, &run); err != nil {
				return nil, "", err
			}
			list = append(list, run)
		}
		if q.Cursor = page.Cursor; q.Cursor == "" || len(list) >= limit {
			break
		}
		q.Limit = limit - len(list)
	}
	return list, q.Cursor, nil
}

// Event is one change of a run or of one of its stages, in its row's order.
type Event struct {
	Entity  string `json:"entity"` // run or stage
	Key     string `json:"key,omitempty"`
	Name    string `json:"name,omitempty"`
	From    string `json:"from,omitempty"`
	Status  string `json:"status"`
	Reason  string `json:"reason,omitempty"`
	Why     string `json:"why,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	Version int64  `json:"version"`
	At      string `json:"at"`
}

// Events returns the changes of a run by entity and version, one page.
func (s *Service) Events(ctx context.Context, org platform.Org, id RunID, limit int, cursor string) ([]Event, string, error) {
	if _, err := s.run(ctx, org, id); err != nil {
		return nil, "", asNotFound(err, id)
	}
	at := runPartition(org, id)
	page, err := s.home.Table.Query(ctx, platform.Query{Partition: at, Prefix: at.Rows("event"), Limit: limit, Cursor: cursor})
	if err != nil {
		return nil, "", fmt.Errorf("events of run %s: %w", id, err)
	}
	events := make([]Event, 0, len(page.Rows))
	for _, row := range page.Rows {
		i := row.Item
		events = append(events, Event{
			Entity: i.Text("entity"), Key: i.Text("key"), Name: i.Text("name"), From: i.Text("from"), Status: i.Text("status"),
			Reason: i.Text("reason"), Why: i.Text("why"), Attempt: int(i.Int("attempt")), Version: i.Int("version"), At: i.Text("at"),
		})
	}
	return events, page.Cursor, nil
}

// CancelQueued cancels the runs of a subject that have not started, because what
// they were to build is gone. None is no error.
func (s *Service) CancelQueued(ctx context.Context, org platform.Org, repository, ref, why string) error {
	var errs []error
	for _, status := range []Status{Created, Queued} {
		for cursor := ""; ; {
			list, next, err := s.List(ctx, org, Selection{Repository: repository, Status: status}, 100, cursor)
			if err != nil {
				return errors.Join(append(errs, err)...)
			}
			for _, run := range list {
				if !run.isOf(ref) {
					continue
				}
				if _, err := s.Cancel(ctx, org, run.ID, "ref-deleted", why); err != nil && !problem.Is(err, problem.Conflict) {
					errs = append(errs, err)
				}
			}
			if cursor = next; cursor == "" {
				break
			}
		}
	}
	return errors.Join(errs...)
}

func (r Run) isOf(ref string) bool {
	return r.Branch != "" && ref == "refs/heads/"+r.Branch || r.Tag != "" && ref == "refs/tags/"+r.Tag
}
