package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/report"
)

// Test is a case of a run: what its stages and cells together say of it.
type Test struct {
	report.Case
	Cells []TestCell `json:"cells"`
	// History is what is known of the case over runs, nil for nothing.
	History *TestHistory `json:"history,omitempty"`
}

// TestCell is a case in one stage, or in one cell of it.
type TestCell struct {
	Stage    string        `json:"stage"`
	StageKey StageKey      `json:"stage_key"`
	Attempt  int           `json:"attempt"`
	Status   report.Status `json:"status"`
	Flaky    bool          `json:"flaky,omitempty"`
	Seconds  float64       `json:"seconds"`
	Message  string        `json:"message,omitempty"` // where it is another than the case's
}

// worseThan tells whether a case's status in another cell decides what it is.
func worseThan(a, b report.Case) bool {
	return statusOrder(a) < statusOrder(b) || statusOrder(a) == statusOrder(b) && a.Seconds > b.Seconds
}

func statusOrder(c report.Case) int {
	switch {
	case c.Status == report.Failed:
		return 0
	case c.Flaky:
		return 1
	case c.Status == report.Succeeded:
		return 2
	}
	return 3
}

// maxRunCases is how many cases of a run are looked at; failed ones come first in every
// stage.
const maxRunCases = 200_000

// TestSelection is which tests are wanted: all, or those of one status (failed, flaky,
// succeeded, skipped), with what they printed or without.
type TestSelection struct {
	Status string
	Output bool
}

// TestStatuses are the statuses that a list of tests can be asked for.
var TestStatuses = []string{"failed", "flaky", "succeeded", "skipped"}

func (w TestSelection) wants(c report.Case) bool {
	switch w.Status {
	case "":
		return true
	case "flaky":
		return c.Flaky
	}
	return string(c.Status) == w.Status
}

// Tests lists the tests of a run: failed, then flaky, then the slowest. cursor is "" or
// what the page before answered.
func (s *Service) Tests(ctx context.Context, org platform.Org, id RunID, which TestSelection, limit int, cursor string) ([]Test, string, error) {
	if which.Status != "" && !slices.Contains(TestStatuses, which.Status) {
		return nil, "", problem.New(problem.Invalid, "%q is no status of a test; they are %s.", which.Status, strings.Join(TestStatuses, ", ")).InField("status")
	}
	after, err := testCursor(cursor)
	if err != nil {
		return nil, "", err
	}
	r, run, list, err := s.reports(ctx, org, id)
	if err != nil {
		return nil, "", err
	}
	all, err := s.merged(ctx, r, list, which.Output)
	if err != nil {
		return nil, "", err
	}
	if all, err = s.withFlaky(ctx, r, run, all); err != nil {
		return nil, "", err
	}
	page := []Test{}
	for _, t := range all {
		if !which.wants(t.Case) || after != nil && report.Compare(t.Case, *after) <= 0 {
			continue
		}
		if len(page) == limit {
			return s.addHistory(ctx, r, run, page, nextCursor(page[limit-1].Case))
		}
		page = append(page, t)
	}
	return s.addHistory(ctx, r, run, page, "")
}

// testCursor is the case that the page before ended with, nil for none.
func testCursor(cursor string) (*report.Case, error) {
	if cursor == "" {
		return nil, nil
	}
	after := new(report.Case)
	if err := json.Unmarshal([]byte(cursor), after); err != nil {
		return nil, fmt.Errorf("cursor of tests: %w: %w", err, platform.ErrInvalid)
	}
	return after, nil
}

// maxCursorName keeps a cursor short: cases whose names begin alike for longer than this
// are one place in the list.
const maxCursorName = 300

func nextCursor(c report.Case) string {
	short := func(text string) string {
		if len(text) <= maxCursorName {
			return text
		}
		return strings.ToValidUTF8(text[:maxCursorName], "") + string(utf8.MaxRune) // behind all that begin so
	}
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(report.Case{
		Suite: short(c.Suite), Class: short(c.Class), Name: short(c.Name), Seconds: c.Seconds, Status: c.Status, Flaky: c.Flaky,
	})
	if err != nil {
		return "" // a case is always text
	}
	return text.String()
}

// merged are the cases of the last attempts, by suite, class and name, in the order in
// which they are shown. A case that failed in an attempt before and then passed is flaky.
func (s *Service) merged(ctx context.Context, r ref, list []stageReport, output bool) ([]Test, error) {
	byID := map[string]int{}
	var all []Test
	total := 0
	failedBefore := map[StageKey]map[string]bool{}
	for i, told := range list {
		last := i+1 == len(list) || list[i+1].Key != told.Key
		err := s.readReport(ctx, r.org, told.SHA256, report.Visit{Case: func(c report.Case) error {
			switch {
			case !last && c.Status != report.Failed:
				return report.ErrEnough // failed ones are first
			case !last:
				if failedBefore[told.Key] == nil {
					failedBefore[told.Key] = map[string]bool{}
				}
				failedBefore[told.Key][c.ID()] = true
				return nil
			}
			if total++; total > maxRunCases {
				return report.ErrEnough
			}
			c.Flaky = c.Flaky || c.Status == report.Succeeded && failedBefore[told.Key][c.ID()]
			if !output {
				c.Output = ""
			}
			cell := TestCell{told.Stage, told.Key, told.Attempt, c.Status, c.Flaky, c.Seconds, c.Message}
			at, known := byID[c.ID()]
			if !known {
				byID[c.ID()] = len(all)
				all = append(all, Test{Case: c, Cells: []TestCell{cell}})
				return nil
			}
			all[at].Cells = append(all[at].Cells, cell)
			if worseThan(c, all[at].Case) {
				all[at].Case = c
			}
			return nil
		}})
		if err := s.leftOut(ctx, told, err); err != nil {
			return nil, err
		}
	}
	for i := range all {
		for j := range all[i].Cells {
			if cell := &all[i].Cells[j]; cell.Message == all[i].Message {
				cell.Message = ""
			}
		}
	}
	return all, nil
}

// withFlaky marks the cases that are known to have failed and passed on this commit, in
// other runs of it, and sorts.
func (s *Service) withFlaky(ctx context.Context, r ref, run Run, all []Test) ([]Test, error) {
	flaky, err := s.flakyOf(ctx, r.org, run)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Status == report.Succeeded && flaky[all[i].ID()] {
			all[i].Flaky = true
		}
	}
	slices.SortFunc(all, func(a, b Test) int { return cmp.Or(report.Compare(a.Case, b.Case), strings.Compare(a.File, b.File)) })
	return all, nil
}
