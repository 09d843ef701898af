package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
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
	all, err := s.merged(ctx, r, list)
	if err != nil {
		return nil, "", err
	}
	if all, err = s.withFlaky(ctx, r, run, all); err != nil {
		return nil, "", err
	}
	if after != nil {
		from, _ := slices.BinarySearchFunc(all, *after, func(t Test, after report.Case) int {
			return cmp.Or(report.Compare(t.Case, after), -1) // behind all that are equal
		})
		all = all[from:]
	}
	page, next := []Test{}, ""
	for _, t := range all {
		if !which.wants(t.Case) {
			continue
		}
		if len(page) == limit {
			next = nextCursor(page[limit-1].Case)
			break
		}
		page = append(page, t)
	}
	if which.Output {
		if err := s.addOutput(ctx, r, list, page); err != nil {
			return nil, "", err
		}
	}
	return s.addHistory(ctx, r, run, page, next)
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

// listedTests are the tests of the run that was listed last, so that its pages need not
// be read from the reports again, for as long as somebody may turn them.
type listedTests struct {
	mu   sync.Mutex
	key  string
	all  []Test
	used time.Time
}

// listedKept is how long the tests of a run stay in memory: 100,000 take 40 MB.
const listedKept = 30 * time.Second

func (l *listedTests) get(key string, now time.Time) []Test {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.key != key {
		return nil
	}
	l.used = now
	return l.all
}

func (l *listedTests) put(key string, all []Test, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.key, l.all, l.used = key, all, now
}

func (l *listedTests) forget(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.used) > listedKept {
		l.key, l.all = "", nil
	}
}

// merged are the cases of the last attempts, by suite, class and name, in the order in
// which they are shown. A case that failed in an attempt before and then passed is flaky.
// Nobody may change what it answers.
func (s *Service) merged(ctx context.Context, r ref, list []stageReport) ([]Test, error) {
	key := r.org.ID() + "/" + string(r.run)
	for _, told := range list {
		key += "/" + told.SHA256
	}
	if all := s.listed.get(key, s.home.Clock.Now()); all != nil {
		return all, nil
	}
	m := merger{byID: map[string]int{}}
	for i, told := range list {
		last := i+1 == len(list) || list[i+1].Key != told.Key
		if i == 0 || list[i-1].Key != told.Key {
			m.failedBefore = map[string]bool{}
		}
		err := s.readReport(ctx, r.org, told.SHA256, report.Visit{Case: func(c report.Case) error {
			if last {
				return m.add(told, c)
			}
			if c.Status != report.Failed {
				return report.ErrEnough // failed ones are first
			}
			m.failedBefore[c.ID()] = true
			return nil
		}})
		if err := s.leftOut(ctx, told, err); err != nil {
			return nil, err
		}
	}
	for i := range m.all {
		for j := range m.all[i].Cells {
			if cell := &m.all[i].Cells[j]; cell.Message == m.all[i].Message {
				cell.Message = ""
			}
		}
	}
	slices.SortStableFunc(m.all, func(a, b Test) int { return report.Compare(a.Case, b.Case) })
	s.listed.put(key, m.all, s.home.Clock.Now())
	return m.all, nil
}

// merger puts the cases of stages and cells together.
type merger struct {
	all          []Test
	byID         map[string]int
	total        int
	failedBefore map[string]bool // in attempts of the stage before the last one
}

func (m *merger) add(told stageReport, c report.Case) error {
	if m.total++; m.total > maxRunCases {
		return report.ErrEnough
	}
	id := c.ID()
	c.Flaky = c.Flaky || c.Status == report.Succeeded && m.failedBefore[id]
	c.Output = ""
	cell := TestCell{told.Stage, told.Key, told.Attempt, c.Status, c.Flaky, c.Seconds, c.Message}
	at, known := m.byID[id]
	if !known {
		m.byID[id] = len(m.all)
		m.all = append(m.all, Test{Case: c, Cells: []TestCell{cell}})
		return nil
	}
	m.all[at].Cells = append(m.all[at].Cells, cell)
	if worseThan(c, m.all[at].Case) {
		m.all[at].Case = c
	}
	return nil
}

// withFlaky marks the cases that are known to have failed and passed on this commit, in
// other runs of it.
func (s *Service) withFlaky(ctx context.Context, r ref, run Run, all []Test) ([]Test, error) {
	flaky, err := s.flakyOf(ctx, r.org, run)
	if err != nil || len(flaky) == 0 {
		return all, err
	}
	marked := false
	for i, t := range all {
		if t.Status != report.Succeeded || t.Flaky || !flaky[t.ID()] {
			continue
		}
		if !marked { // all is others' too
			all, marked = slices.Clone(all), true
		}
		all[i].Flaky = true
	}
	if marked {
		slices.SortStableFunc(all, func(a, b Test) int { return report.Compare(a.Case, b.Case) })
	}
	return all, nil
}

// addOutput adds to a page what failed and flaky cases have printed, from the report of
// the cell whose case it is.
func (s *Service) addOutput(ctx context.Context, r ref, list []stageReport, page []Test) error {
	wanted := map[string]int{}
	for i, t := range page {
		if t.Status == report.Failed || t.Flaky {
			wanted[t.ID()] = i
		}
	}
	for _, told := range latest(list) {
		if len(wanted) == 0 {
			return nil
		}
		err := s.readReport(ctx, r.org, told.SHA256, report.Visit{Case: func(c report.Case) error {
			if c.Output == "" && c.Status != report.Failed && !c.Flaky {
				return report.ErrEnough
			}
			if i, is := wanted[c.ID()]; is && c.Message == page[i].Message {
				page[i].Output = c.Output
				delete(wanted, c.ID())
			}
			return nil
		}})
		if err := s.leftOut(ctx, told, err); err != nil {
			return err
		}
	}
	return nil
}
