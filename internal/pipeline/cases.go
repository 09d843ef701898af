package pipeline

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/report"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// The history of a case is one row of (repository, pipeline file, case) with its latest
// results. A case is flaky on a commit if it has both passed and failed there in the same
// stage or cell, be it by a retry or by another run. The rows are written in a loop of
// its own, from the reports of attempts that are over, some rows a transaction; a result
// that a row has already is not added again, so that every step may be done twice.
const (
	maxPipelineCases = 20_000 // rows of a pipeline; those that always pass, and were not seen for longest, make room
	maxReportCases   = 10_000 // of one report: failed first, then flaky, then the slowest
	maxRecent        = 20     // results of a row
	casesAtOnce      = 40     // rows of a transaction
	casesKept        = 90 * 24 * time.Hour
	casesAgain       = 15 * time.Second // after a look that failed
	casesTries       = 20
)

// TestHistory is what is known of a case over runs.
type TestHistory struct {
	Recent       []TestResult `json:"recent"`        // newest first
	FlakyCommits int          `json:"flaky_commits"` // among those of the recent results
	FlakyAt      time.Time    `json:"flaky_at,omitzero"`
	Seconds      float64      `json:"seconds"` // the median of the recent results
}

// TestResult is how a case ended once.
type TestResult struct {
	Run     RunID         `json:"run"`
	Commit  string        `json:"commit"`
	Stage   StageKey      `json:"stage_key"`
	Attempt int           `json:"attempt"`
	Status  report.Status `json:"status"`
	Flaky   bool          `json:"flaky,omitempty"` // a tool tried it again by itself
	Millis  int64         `json:"ms"`
	At      time.Time     `json:"at"`
}

func casesDuePartition(shard int) platform.Partition {
	return platform.Global("due", "cases", strconv.Itoa(shard))
}

func casesDueKey(run RunID, at time.Time) platform.IndexKey {
	h := fnv.New32a()
	h.Write([]byte(run))
	return casesDuePartition(int(h.Sum32()%dueShards)).Index(string(platform.Stamp(at)), string(run))
}

func caseRow(org platform.Org, run Run, id string) platform.RowKey {
	sum := sha256.Sum256([]byte(id))
	return casesPartition(org, run.Repository, run.File).Row("case", hex.EncodeToString(sum[:16]))
}

func casesCountRow(org platform.Org, run Run) platform.RowKey {
	return casesPartition(org, run.Repository, run.File).Row("count")
}

// flakyCases lists, in GSI1, the cases of a pipeline that are flaky, by when it was seen.
func flakyCases(org platform.Org, run Run) platform.Partition {
	return org.Partition("flaky", run.Repository, run.File)
}

// KeepCases takes the reports that are due into the history. Errors are joined; what
// failed is due again.
func (s *Service) KeepCases(ctx context.Context) error {
	s.listed.forget(s.home.Clock.Now())
	var errs []error
	for shard := range dueShards {
		partition := casesDuePartition(shard)
		query := platform.Query{
			Partition: partition, Index: platform.Due,
			Until: partition.Index(string(platform.Stamp(s.home.Clock.Now()))).SK(),
		}
		for ctx.Err() == nil {
			page, err := s.home.Table.Query(ctx, query)
			if err != nil {
				errs = append(errs, fmt.Errorf("which reports are due: %w", err))
				break
			}
			for _, row := range page.Rows {
				errs = append(errs, s.keepReport(platform.Relaxed(ctx), row.Key))
			}
			if query.Cursor = page.Cursor; query.Cursor == "" {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// keepReport takes one report in, and says that this is done, or when it is tried again.
func (s *Service) keepReport(ctx context.Context, key platform.RowKey) error {
	parents := key.Parents()
	if len(parents) != 3 {
		return fmt.Errorf("report of row %s: %w", key.SK(), platform.ErrInvalid)
	}
	item, err := s.home.Table.Get(ctx, key)
	if errors.Is(err, platform.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	org, told := platform.System(parents[0], "test history"), reportOf(item)
	err = s.keepCases(ctx, org, RunID(parents[2]), told)
	tries := item.Int("tries") + 1
	update := platform.Update{Key: key, Set: platform.Item{"tries": platform.Int(tries)}, If: platform.RowIs}
	if err == nil || tries >= casesTries {
		update.Remove = []string{platform.DuePartition, platform.DueSort}
	} else {
		update.Set.DueAt(casesDueKey(RunID(parents[2]), s.home.Clock.Now().Add(casesAgain)))
	}
	if err != nil {
		err = fmt.Errorf("report %s of run %s, try %d: %w", told.SHA256, parents[2], tries, err)
	}
	_, noted := s.home.Table.Write(ctx, update)
	return errors.Join(err, noted)
}

func (s *Service) keepCases(ctx context.Context, org platform.Org, id RunID, told stageReport) error {
	r, run, err := s.openRun(ctx, org, id)
	if err != nil {
		return err
	}
	if r.graph == nil {
		return nil
	}
	var batch []report.Case
	took := supervisor.Timings{}
	place := TestResult{Run: id, Commit: run.Commit, Stage: r.graph.sameStage(told.Key), Attempt: told.Attempt, At: s.home.Clock.Now()}
	seen := 0
	err = s.readReport(ctx, org, told.SHA256, report.Visit{Case: func(c report.Case) error {
		if c.File != "" && c.Status != report.Skipped {
			took[c.File] += int64(math.Round(1000 * c.Seconds))
		}
		if seen++; seen > maxReportCases {
			return nil // its time still counts
		}
		if batch = append(batch, c); len(batch) < casesAtOnce {
			return nil
		}
		err := s.keepBatch(ctx, org, run, place, batch)
		batch = batch[:0]
		return err
	}})
	if err == nil && len(batch) > 0 {
		err = s.keepBatch(ctx, org, run, place, batch)
	}
	if err != nil {
		return err
	}
	if err := s.keepTimings(ctx, org, run, took); err != nil {
		return err
	}
	return s.makeRoom(ctx, org, run)
}

// keepBatch adds one result to each of some cases, in one transaction.
func (s *Service) keepBatch(ctx context.Context, org platform.Org, run Run, place TestResult, batch []report.Case) error {
	for try := 1; ; try++ {
		actions, err := s.caseActions(ctx, org, run, place, batch)
		if err != nil || len(actions) == 0 {
			return err
		}
		err = s.transact(ctx, actions...)
		if !lost(err) || try == conflictTries {
			return err // lost: a cell of the same run has written one of them; read again
		}
	}
}

// caseActions are the writes of a batch: a row for each case whose row has not got this
// result yet, on condition that it is as it was read.
func (s *Service) caseActions(ctx context.Context, org platform.Org, run Run, place TestResult, batch []report.Case) ([]platform.Action, error) {
	results := map[platform.RowKey]report.Case{}
	var keys []platform.RowKey
	for _, c := range batch {
		key := caseRow(org, run, c.ID())
		before, twice := results[key]
		if !twice {
			keys = append(keys, key)
		}
		if !twice || worseThan(c, before) {
			results[key] = c
		}
	}
	rows, err := s.home.Table.GetMany(ctx, keys)
	if err != nil {
		return nil, err
	}
	stored := make(map[platform.RowKey]platform.Item, len(rows))
	for _, row := range rows {
		stored[row.Key] = row.Item
	}
	var actions []platform.Action
	made := int64(0)
	for _, key := range keys {
		c, item := results[key], stored[key]
		result := place
		result.Status, result.Flaky, result.Millis = c.Status, c.Flaky, int64(math.Round(1000*c.Seconds))
		next, changed := s.withResult(org, run, c, item, result)
		if !changed {
			continue
		}
		put := platform.Put{Key: key, Item: next, If: platform.NoRow}
		if item != nil {
			put.If = platform.Equal{Attribute: "version", Value: item["version"]}
		} else {
			made++
		}
		actions = append(actions, put)
	}
	if made > 0 {
		actions = append(actions, platform.Update{Key: casesCountRow(org, run), Add: map[string]int64{"rows": made}})
	}
	return actions, nil
}

// withResult is a case's row with one result more; changed is false where it has it.
func (s *Service) withResult(org platform.Org, run Run, c report.Case, item platform.Item, result TestResult) (next platform.Item, changed bool) {
	recent := recentOf(item)
	for _, before := range recent {
		if before.Run == result.Run && before.Stage == result.Stage && before.Attempt == result.Attempt {
			return nil, false
		}
	}
	recent = append([]TestResult{result}, recent...)
	recent = recent[:min(len(recent), maxRecent)]
	lines := make([]string, len(recent))
	for i, one := range recent {
		lines[i] = one.line()
	}
	next = platform.Item{
		"suite": platform.Text(c.Suite), "class": platform.Text(c.Class), "name": platform.Text(c.Name),
		"file": platform.Text(c.File), "recent": platform.TextList(lines), "seen": platform.Stamp(result.At),
		"version":                 platform.Int(item.Int("version") + 1),
		platform.ExpiresAttribute: platform.Int(result.At.Add(casesKept).Unix()),
	}
	if at := flakyAt(recent); !at.IsZero() {
		next["flaky_at"] = platform.Stamp(at)
		next.InList(flakyCases(org, run).Index(string(platform.Stamp(at)), c.ID()))
	}
	return next, true
}

// line is a result as its row keeps it, in about 100 bytes.
func (t TestResult) line() string {
	flaky := "-"
	if t.Flaky {
		flaky = "flaky"
	}
	return fmt.Sprintf("%s %s %s %d %s %s %d %d", t.Run, orText(t.Commit, "-"), t.Stage, t.Attempt, t.Status, flaky, t.Millis, t.At.Unix())
}

func recentOf(item platform.Item) []TestResult {
	var list []TestResult
	for _, line := range item.Texts("recent") {
		var t TestResult
		var flaky string
		var at int64
		_, err := fmt.Sscanf(line, "%s %s %s %d %s %s %d %d", &t.Run, &t.Commit, &t.Stage, &t.Attempt, &t.Status, &flaky, &t.Millis, &at)
		if err != nil {
			continue // of a form that is not known any more
		}
		t.Flaky, t.At = flaky == "flaky", time.Unix(at, 0).UTC()
		list = append(list, t)
	}
	return list
}

// flakyCommits are the commits on which a case was flaky, each with the time of the
// result that showed it.
func flakyCommits(recent []TestResult) map[string]time.Time {
	type place struct {
		commit string
		stage  StageKey
	}
	passed, failed, flaky := map[place]bool{}, map[place]bool{}, map[string]time.Time{}
	for _, t := range slices.Backward(recent) { // oldest first
		at := place{t.Commit, t.Stage}
		passed[at] = passed[at] || t.Status == report.Succeeded
		failed[at] = failed[at] || t.Status == report.Failed
		if t.Commit != "-" && passed[at] && failed[at] || t.Flaky {
			flaky[t.Commit] = t.At
		}
	}
	return flaky
}

// flakyAt is when a case was last seen to be flaky.
func flakyAt(recent []TestResult) time.Time {
	var last time.Time
	for _, at := range flakyCommits(recent) {
		if at.After(last) {
			last = at
		}
	}
	return last
}

// maxFlaky is how many flaky cases of a pipeline are looked at.
const maxFlaky = 1000

// flakyOf are the cases, by their ID, that were flaky on the commit of a run.
func (s *Service) flakyOf(ctx context.Context, org platform.Org, run Run) (map[string]bool, error) {
	flaky := map[string]bool{}
	query := platform.Query{Partition: flakyCases(org, run), Index: platform.List1, Reverse: true, Limit: maxFlaky}
	for looked := 0; looked < maxFlaky; {
		page, err := s.home.Table.Query(ctx, query)
		if err != nil {
			return nil, fmt.Errorf("flaky cases: %w", err)
		}
		for _, row := range page.Rows {
			looked++
			if _, here := flakyCommits(recentOf(row.Item))[run.Commit]; here && run.Commit != "" {
				flaky[caseOf(row.Item).ID()] = true
			}
		}
		if query.Cursor = page.Cursor; query.Cursor == "" {
			break
		}
	}
	return flaky, nil
}

func caseOf(item platform.Item) report.Case {
	return report.Case{Suite: item.Text("suite"), Class: item.Text("class"), Name: item.Text("name"), File: item.Text("file")}
}

// addHistory adds to a page of tests what is known of them.
func (s *Service) addHistory(ctx context.Context, r ref, run Run, page []Test, next string) ([]Test, string, error) {
	keys := make([]platform.RowKey, 0, len(page))
	at := make(map[platform.RowKey]int, len(page))
	for i, t := range page {
		key := caseRow(r.org, run, t.ID())
		keys, at[key] = append(keys, key), i
	}
	rows, err := s.home.Table.GetMany(ctx, keys)
	if err != nil {
		return nil, "", fmt.Errorf("history of tests: %w", err)
	}
	for _, row := range rows {
		recent := recentOf(row.Item)
		took := make([]int64, len(recent))
		for i, t := range recent {
			took[i] = t.Millis
		}
		slices.Sort(took)
		history := &TestHistory{Recent: recent, FlakyCommits: len(flakyCommits(recent)), FlakyAt: flakyAt(recent)}
		if len(took) > 0 {
			history.Seconds = float64(took[len(took)/2]) / 1000
		}
		page[at[row.Key]].History = history
	}
	return page, next, nil
}

// makeRoom counts the rows of a pipeline where they may be too many, and removes first
// those that only ever passed, and of them those that have not been seen for longest.
func (s *Service) makeRoom(ctx context.Context, org platform.Org, run Run) error {
	count, err := s.home.Table.Get(ctx, casesCountRow(org, run))
	if errors.Is(err, platform.ErrNotFound) || err == nil && count.Int("rows") <= maxPipelineCases {
		return nil
	}
	if err != nil {
		return err
	}
	type seen struct {
		steady bool
		at     string
		key    platform.RowKey
	}
	var all []seen
	partition := casesPartition(org, run.Repository, run.File)
	query := platform.Query{Partition: partition, Prefix: partition.Rows("case")}
	for {
		page, err := s.home.Table.Query(ctx, query)
		if err != nil {
			return err
		}
		for _, row := range page.Rows {
			steady := !slices.ContainsFunc(recentOf(row.Item), func(t TestResult) bool { return t.Status == report.Failed || t.Flaky })
			all = append(all, seen{steady, row.Item.Text("seen"), row.Key})
		}
		if query.Cursor = page.Cursor; query.Cursor == "" {
			break
		}
	}
	slices.SortFunc(all, func(a, b seen) int { // what is kept longest comes first
		if a.steady != b.steady {
			return map[bool]int{false: -1, true: 1}[a.steady]
		}
		return strings.Compare(b.at, a.at)
	})
	keep := len(all)
	if keep > maxPipelineCases {
		keep = maxPipelineCases * 9 / 10 // room for some runs
	}
	for _, old := range all[keep:] {
		if _, err := s.home.Table.Write(ctx, platform.Delete{Key: old.key}); err != nil {
			return err
		}
	}
	_, err = s.home.Table.Write(ctx, platform.Put{Key: casesCountRow(org, run), Item: platform.Item{"rows": platform.Int(keep)}})
	return err
}

// maxTimedFiles bounds the files whose time is kept for a pipeline.
const maxTimedFiles = 20_000

func timingsBlob(org platform.Org, run Run) platform.BlobKey {
	return org.Blob("timings", run.Repository, run.File)
}

// keepTimings moves the known time of each file half way to what it took now.
func (s *Service) keepTimings(ctx context.Context, org platform.Org, run Run, took supervisor.Timings) error {
	if len(took) == 0 {
		return nil
	}
	for try := 1; ; try++ {
		known, tag, err := s.timings(ctx, org, run)
		if err != nil {
			return err
		}
		for file, ms := range took {
			if before, has := known[file]; has {
				ms = (before + ms + 1) / 2
			} else if len(known) >= maxTimedFiles {
				continue
			}
			known[file] = ms
		}
		text, err := json.Marshal(known)
		if err != nil {
			return err
		}
		if tag == "" {
			_, err = s.home.Blobs.Create(ctx, timingsBlob(org, run), bytes.NewReader(text))
		} else {
			_, err = s.home.Blobs.Replace(ctx, timingsBlob(org, run), tag, bytes.NewReader(text))
		}
		faster := errors.Is(err, platform.ErrExists) || errors.Is(err, platform.ErrChanged) || errors.Is(err, platform.ErrNotFound)
		if !faster || try == conflictTries {
			return err
		}
	}
}

// maxTimings is more than the times of maxTimedFiles, in bytes.
const maxTimings = 32 << 20

// timings are what the files of a pipeline took, and the version that was read.
func (s *Service) timings(ctx context.Context, org platform.Org, run Run) (supervisor.Timings, platform.ETag, error) {
	body, info, err := s.home.Blobs.Open(ctx, timingsBlob(org, run), 0)
	if errors.Is(err, platform.ErrNotFound) {
		return supervisor.Timings{}, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("timings: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(body, maxTimings))
	known := supervisor.Timings{}
	if err = errors.Join(err, body.Close()); err == nil {
		err = json.Unmarshal(text, &known)
	}
	if err != nil {
		return nil, "", fmt.Errorf("timings: %w", err)
	}
	return known, info.ETag, nil
}

// addTimings puts into a graph that shares files out by their times what is known of
// them now, as an object that never changes.
func (s *Service) addTimings(ctx context.Context, org platform.Org, g *Graph) error {
	wanted := slices.ContainsFunc(g.Nodes, func(n Node) bool {
		return n.Kind == Cell && g.Stages[n.Stage].Parallel != nil && g.Stages[n.Stage].Parallel.Files != "" && g.Stages[n.Stage].Parallel.Split == "timing"
	})
	if !wanted {
		return nil
	}
	known, _, err := s.timings(ctx, org, Run{Repository: g.Trigger.Repository, File: g.Trigger.File})
	if err != nil || len(known) == 0 {
		return err
	}
	text, err := json.Marshal(known) // keys in order: equal timings are one object
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	object := supervisor.Object{Kind: supervisor.KindTimings, Name: supervisor.KindTimings, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(text))}
	_, err = s.home.Blobs.Create(ctx, objectBlob(org, object.Kind, object.SHA256), bytes.NewReader(text))
	if err != nil && !errors.Is(err, platform.ErrExists) {
		return fmt.Errorf("store timings: %w", err)
	}
	g.Timings = object
	return nil
}
