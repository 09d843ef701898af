package platformtest

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// A row is in an index while it has the index's keys, and under the keys that it
// has.
func indexSparse(t *testing.T, s Store) {
	running, ended := acme.Partition("runs", "running"), acme.Partition("runs", "ended")
	in := func(p platform.Partition) platform.Query { return platform.Query{Partition: p, Index: platform.List1} }

	put(t, s.Table, stage("a"), platform.Item{}.InList(running.Index("1")))
	put(t, s.Table, stage("b"), platform.Item{"n": number(1)}.InList(running.Index("2")))
	put(t, s.Table, stage("c"), platform.Item{"n": number(1)})
	awaitNames(t, s.Table, in(running), "a", "b")

	update(t, s.Table, platform.Update{Key: stage("a"), Set: platform.Item{}.InList(ended.Index("1"))})
	awaitNames(t, s.Table, in(running), "b")
	awaitNames(t, s.Table, in(ended), "a")

	update(t, s.Table, platform.Update{Key: stage("c"), Set: platform.Item{}.InList(running.Index("0"))})
	awaitNames(t, s.Table, in(running), "c", "b")

	update(t, s.Table, platform.Update{Key: stage("b"), Remove: []string{platform.ListPartition, platform.ListSort}})
	awaitNames(t, s.Table, in(running), "c")
	wantRow(t, s.Table, stage("b"), platform.Item{"n": number(1)})

	put(t, s.Table, stage("c"), platform.Item{})
	awaitNames(t, s.Table, in(running))

	remove(t, s.Table, stage("a"))
	awaitNames(t, s.Table, in(ended))
}

// Rows may have equal index keys; paging loses none of them.
func indexEqualKeysPaging(t *testing.T, s Store) {
	listed := acme.Partition("runs")
	var want []string
	for i := range 7 {
		name := fmt.Sprint(i)
		put(t, s.Table, stage(name), platform.Item{}.InList(listed.Index("same")))
		want = append(want, name)
	}
	for _, reverse := range []bool{false, true} {
		q := platform.Query{Partition: listed, Index: platform.List1, Limit: 2, Reverse: reverse}
		var got []string
		if !await(t, func() bool {
			got = list(t, s.Table, q)
			slices.Sort(got) // among equal keys there is no order
			return slices.Equal(got, want)
		}) {
			t.Errorf("got rows %q, want each of %q once", got, want)
		}
	}
}

// F24: an index may be behind: who acts on what it shows asks the row, by a condition.
// Here, a list of what was due is 30 seconds old, and nothing is done twice.
func indexNotConsistent(t *testing.T, s Store) {
	due := platform.Global("due", "0")
	for i := range 6 {
		put(t, s.Table, stage(fmt.Sprint(i)), platform.Item{"status": text("queued")}.DueAt(due.Index("1")))
	}
	q := platform.Query{Partition: due, Index: platform.Due}
	awaitNames(t, s.Table, q, "0", "1", "2", "3", "4", "5")
	seen, err := s.Table.Query(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}

	// meanwhile: two are ended by others, one is gone, one was moved to later
	update(t, s.Table, platform.Update{Key: stage("0"), Set: platform.Item{"status": text("succeeded")}, Remove: []string{platform.DuePartition, platform.DueSort}})
	update(t, s.Table, platform.Update{Key: stage("1"), Set: platform.Item{"status": text("canceled")}, Remove: []string{platform.DuePartition, platform.DueSort}})
	remove(t, s.Table, stage("2"))
	update(t, s.Table, platform.Update{Key: stage("3"), Set: platform.Item{}.DueAt(due.Index("2"))})

	var acted atomic.Int64
	together(2, func(int) { // two sweepers with the same old list
		for _, row := range seen.Rows {
			_, err := s.Table.Write(t.Context(), platform.Update{
				Key: row.Key, Set: platform.Item{"status": text("errored")}, Remove: []string{platform.DuePartition, platform.DueSort},
				If: platform.All{
					platform.Equal{Attribute: "status", Value: text("queued")},
					platform.Equal{Attribute: platform.DueSort, Value: row.Item[platform.DueSort]},
				},
			})
			if err == nil {
				acted.Add(1)
			} else if !platform.FailedAt(err, 0) {
				t.Error(err)
			}
		}
	})
	if acted.Load() != 2 {
		t.Errorf("%d rows were ended, want those of 4 and 5", acted.Load())
	}
	wantNoRow(t, s.Table, stage("2"))
	awaitNames(t, s.Table, q, "3")
}

// The keys of an index are texts that are not empty, and come in pairs.
func indexEmptyKeyRefused(t *testing.T, s Store) {
	for what, item := range map[string]platform.Item{
		"an empty partition":      {platform.ListPartition: text(""), platform.ListSort: text("1")},
		"an empty sort key":       {platform.DuePartition: text("due"), platform.DueSort: text("")},
		"a number as partition":   {platform.ListPartition: number(1), platform.ListSort: text("1")},
		"a number as sort key":    {platform.DuePartition: text("due"), platform.DueSort: number(1)},
		"bytes as sort key":       {platform.DuePartition: text("due"), platform.DueSort: platform.Bytes("1")},
		"2,049 bytes of it":       {platform.ListPartition: filler(2049), platform.ListSort: text("1")},
		"1,025 bytes of sort key": {platform.ListPartition: text("runs"), platform.ListSort: filler(1025)},
	} {
		_, err := s.Table.Write(t.Context(), platform.Put{Key: stage("a"), Item: item})
		wantError(t, err, platform.ErrInvalid, "put with %s", what)
		_, err = s.Table.Write(t.Context(), platform.Update{Key: stage("a"), Set: item})
		wantError(t, err, platform.ErrInvalid, "update with %s", what)
	}
	for _, half := range []string{platform.ListPartition, platform.ListSort, platform.DuePartition, platform.DueSort} {
		_, err := s.Table.Write(t.Context(), platform.Put{Key: stage("a"), Item: platform.Item{half: text("1")}})
		wantError(t, err, platform.ErrInvalid, "put with %s alone", half)
	}
	wantNoRow(t, s.Table, stage("a"))
}

// What is due is found by its shard, in the order of deadlines and up to now, and
// not once its deadline is taken away.
func dueIndex(t *testing.T, s Store) {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	shard := func(n int) platform.Partition { return platform.Global("due", fmt.Sprintf("%02d", n)) }
	deadline := func(p platform.Partition, minutes int) platform.IndexKey {
		return p.Index(string(platform.Stamp(noon.Add(time.Duration(minutes) * time.Minute))))
	}
	due := func(n, minutes int) platform.Query {
		return platform.Query{Partition: shard(n), Index: platform.Due, Until: deadline(shard(n), minutes).SK()}
	}
	for i, minutes := range []int{30, -5, 5, 0, 90} {
		put(t, s.Table, stage(fmt.Sprint(i)), platform.Item{"n": number(i)}.DueAt(deadline(shard(3), minutes)))
	}
	put(t, s.Table, stage("elsewhere"), platform.Item{}.DueAt(deadline(shard(4), -60)))
	put(t, s.Table, stage("never"), platform.Item{})

	awaitNames(t, s.Table, due(3, 1), "1", "3")
	awaitNames(t, s.Table, due(3, 1440), "1", "3", "2", "0", "4")
	awaitNames(t, s.Table, due(4, 1), "elsewhere")
	wantNames(t, list(t, s.Table, due(5, 1440)))

	// page by page, though the clock goes on between them
	q := due(3, 31)
	q.Cursor = firstPage(t, s.Table, q, 2).Cursor
	q.Until = due(3, 91).Until
	wantNames(t, list(t, s.Table, q), "2", "0", "4")

	update(t, s.Table, platform.Update{Key: stage("1"), Remove: []string{platform.DuePartition, platform.DueSort}})
	update(t, s.Table, platform.Update{Key: stage("3"), Set: platform.Item{}.DueAt(deadline(shard(3), 60))})
	awaitNames(t, s.Table, due(3, 1))
	awaitNames(t, s.Table, due(3, 1440), "2", "0", "3", "4")
}

// settle counts the edges from one need down, each once: the pair of edge row and
// counter, for every dependent.
func settle(t *testing.T, table platform.Table, need string, dependents ...string) error {
	t.Helper()
	var actions []platform.Action
	for _, d := range dependents {
		actions = append(
			actions,
			platform.Put{Key: run1.Row("edge", need, d), Item: platform.Item{}, If: platform.NoRow},
			platform.Update{Key: stage(d), Add: map[string]int64{"open": -1}},
		)
	}
	return table.Transact(t.Context(), "", actions...)
}

// An edge is settled once, however often somebody settles it: the pair of a row
// that is put if absent and a counter. 45 pairs are one transaction.
func addAndPutIfAbsent(t *testing.T, s Store) {
	dependents := make([]string, 45)
	for i := range dependents {
		dependents[i] = fmt.Sprintf("%02d", i)
		put(t, s.Table, stage(dependents[i]), platform.Item{"open": number(2)})
	}
	if err := settle(t, s.Table, "build", dependents...); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err := settle(t, s.Table, "build", dependents...)
		for i := range dependents {
			if !platform.FailedAt(err, 2*i) || platform.FailedAt(err, 2*i+1) {
				t.Fatalf("settled again: pair %d: %v", i, err)
			}
		}
	}
	errs := make([]error, 4)
	together(len(errs), func(i int) { errs[i] = settle(t, s.Table, "test", dependents[0]) })
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			wantError(t, err, platform.ErrConditionFailed, "who settled too late")
		}
	}
	if won != 1 {
		t.Errorf("%d of %d settled the same edge", won, len(errs))
	}
	for i, d := range dependents {
		want := int64(1)
		if i == 0 {
			want = 0
		}
		if open := get(t, s.Table, stage(d)).Int("open"); open != want {
			t.Errorf("%s has %d open needs, want %d", d, open, want)
		}
	}
}

// A transition raises the row's version by one and puts the event that is named
// by it, in one transaction. The rows of one run do not stand in each other's way.
func versionPerRow(t *testing.T, s Store) {
	names := []string{"build", "test"}
	const transitions = 6
	for _, name := range names {
		put(t, s.Table, stage(name), platform.Item{"version": number(0)})
	}
	step := func(name string, version int) error {
		return s.Table.Transact(
			t.Context(), "",
			platform.Update{
				Key: stage(name), Add: map[string]int64{"version": 1},
				If: platform.Equal{Attribute: "version", Value: number(version)},
			},
			platform.Put{
				Key:  run1.Row("event", "stage", name, fmt.Sprintf("%08d", version+1)),
				Item: platform.Item{"of": text(name)}, If: platform.NoRow,
			},
		)
	}
	together(len(names), func(i int) {
		for version := range transitions {
			if err := step(names[i], version); err != nil {
				t.Errorf("%s from %d: %v", names[i], version, err)
			}
		}
	})
	for _, name := range names {
		if v := get(t, s.Table, stage(name)).Int("version"); v != transitions {
			t.Errorf("%s is at version %d, want %d", name, v, transitions)
		}
		events := list(t, s.Table, platform.Query{Partition: run1, Prefix: run1.Rows("event", "stage", name)})
		wantNames(t, events, "00000001", "00000002", "00000003", "00000004", "00000005", "00000006")
		err := step(name, transitions-1)
		if !platform.FailedAt(err, 0) || !platform.FailedAt(err, 1) {
			t.Errorf("%s: a transition from a version that is over: %v", name, err)
		}
	}
}
