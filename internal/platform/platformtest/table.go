package platformtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Store is a table and its feed, and what a home can lend the suite beyond its
// ports. A case that needs what is nil is skipped, and says so.
type Store struct {
	Table platform.Table
	Feed  platform.Feed

	// Advance moves the home's clock.
	Advance func(time.Duration)

	// Reopen ends the home and begins it again on what it has stored.
	Reopen func(t *testing.T) Store

	// Disturb has the service below the table refuse every write, with what the
	// driver takes for err (ErrConflict or ErrThrottled), until calm is called.
	Disturb func(t *testing.T, err error) (calm func())
}

// storeCase is a promise, by the name it has in the specification.
type storeCase struct {
	name string
	run  func(t *testing.T, s Store)
}

// Table checks everything that platform.Table promises. open returns an empty
// store, once for each case; a case makes 200 calls or fewer.
func Table(t *testing.T, open func(t *testing.T) Store) {
	runStoreCases(t, open, []storeCase{
		{"put-if-absent-race", putIfAbsentRace},
		{"update-counter-concurrent", updateCounterConcurrent},
		{"lost-race-read-again", lostRaceReadAgain},
		{"condition-returns-old-row", conditionReturnsOldRow},
		{"condition-type-mismatch", conditionTypeMismatch},
		{"conditions-closed-list", conditionsClosedList},
		{"items-are-copies", itemsAreCopies},
		{"update-in-place", updateInPlace},
		{"transact-atomic", transactAtomic},
		{"transact-reasons-positional", transactReasonsPositional},
		{"transact-same-row-twice", transactSameRowTwice},
		{"transact-100-and-101", transact100And101},
		{"transact-4mb", transact4MB},
		{"transact-token-replay", transactTokenReplay},
		{"transact-token-mismatch", transactTokenMismatch},
		{"transact-conflict-retried", transactConflictRetried},
		{"throttle-backoff", throttleBackoff},
		{"batch-split-and-leftovers", batchSplitAndLeftovers},
		{"item-300kb-guard", item300KBGuard},
		{"item-refused", itemRefused},
		{"number-normalised", numberNormalised},
		{"ttl-still-readable", ttlStillReadable},
		{"ttl-removed-in-the-end", ttlRemovedInTheEnd},
		{"key-bounds", keyBounds},
		{"key-order-bytes", keyOrderBytes},
		{"query-limit-filter-empty-page", queryLimitFilterEmptyPage},
		{"query-1mb-page", query1MBPage},
		{"cursor-after-delete", cursorAfterDelete},
		{"cursor-insert-behind-and-ahead", cursorInsertBehindAndAhead},
		{"cursor-opaque-bound", cursorOpaqueBound},
		{"index-sparse", indexSparse},
		{"index-equal-keys-paging", indexEqualKeysPaging},
		{"index-not-consistent", indexNotConsistent},
		{"index-empty-key-refused", indexEmptyKeyRefused},
		{"due-index", dueIndex},
		{"add-and-put-if-absent", addAndPutIfAbsent},
		{"version-per-row", versionPerRow},
	})
}

func runStoreCases(t *testing.T, open func(t *testing.T) Store, cases []storeCase) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.run(t, open(t))
		})
	}
}

// acme is the tenant of most cases, globex the other one.
var (
	acme   = platform.System("acme", "conformance")
	globex = platform.System("globex", "conformance")
)

// run1 is a partition, and stage names a row in it.
var (
	run1   = acme.Partition("run", "1")
	stages = run1.Rows("stage")
)

func stage(name string) platform.RowKey { return run1.Row("stage", name) }

func text(s string) platform.Text { return platform.Text(s) }

func number(n int) platform.Number { return platform.Int(n) }

// The calls of the port, for calls that must succeed.

func put(t *testing.T, table platform.Table, key platform.RowKey, item platform.Item) {
	t.Helper()
	if _, err := table.Write(t.Context(), platform.Put{Key: key, Item: item}); err != nil {
		t.Fatalf("put %s: %v", key.SK(), err)
	}
}

func update(t *testing.T, table platform.Table, u platform.Update) platform.Item {
	t.Helper()
	item, err := table.Write(t.Context(), u)
	if err != nil {
		t.Fatalf("update %s: %v", u.Key.SK(), err)
	}
	return item
}

func remove(t *testing.T, table platform.Table, key platform.RowKey) {
	t.Helper()
	if _, err := table.Write(t.Context(), platform.Delete{Key: key}); err != nil {
		t.Fatalf("delete %s: %v", key.SK(), err)
	}
}

func get(t *testing.T, table platform.Table, key platform.RowKey) platform.Item {
	t.Helper()
	item, err := table.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("get %s: %v", key.SK(), err)
	}
	return item
}

// What must be so.

func wantRow(t *testing.T, table platform.Table, key platform.RowKey, want platform.Item) {
	t.Helper()
	if got := get(t, table, key); !platform.SameRow(got, want) {
		t.Errorf("row %s is %v, want %v", key.SK(), got, want)
	}
}

func wantNoRow(t *testing.T, table platform.Table, key platform.RowKey) {
	t.Helper()
	item, err := table.Get(t.Context(), key)
	if !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("row %s: got %v, %v, want ErrNotFound", key.SK(), item, err)
	}
}

func wantError(t *testing.T, err, want error, what string, args ...any) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want it to be %q", fmt.Sprintf(what, args...), err, want)
	}
}

// pages reads a query to its end: the names of its rows (the last part of their
// keys), page by page.
func pages(t *testing.T, table platform.Table, q platform.Query) (names [][]string) {
	t.Helper()
	for {
		page, err := table.Query(t.Context(), q)
		if err != nil {
			t.Fatalf("page %d: %v", len(names)+1, err)
		}
		names = append(names, rowNames(page.Rows))
		switch page.Cursor {
		case "":
			return names
		case q.Cursor:
			t.Fatalf("page %d: the cursor stands still", len(names))
		}
		q.Cursor = page.Cursor
	}
}

// list is all rows of a query, by name.
func list(t *testing.T, table platform.Table, q platform.Query) []string {
	t.Helper()
	return slices.Concat(pages(t, table, q)...)
}

func rowNames(rows []platform.Row) []string {
	names := make([]string, len(rows))
	for i, r := range rows {
		parts := r.Key.Parts()
		names[i] = parts[len(parts)-1]
	}
	return names
}

func wantNames(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got rows %q, want %q", got, want)
	}
}

// awaitNames reads an index until it has these rows: it may be seconds behind.
func awaitNames(t *testing.T, table platform.Table, q platform.Query, want ...string) {
	t.Helper()
	var got []string
	if !await(t, func() bool {
		got = list(t, table, q)
		return slices.Equal(got, want)
	}) {
		t.Fatalf("index has rows %q, want %q", got, want)
	}
}

// await asks until the answer is yes, or patience has passed. It is for what the
// port says may take a while, and for nothing else.
func await(t *testing.T, ready func() bool) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// together calls f n times at once and waits for all.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	all.Wait()
}
