package platformtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
)

// bytesKey is a key of two halves of these sizes, as only a driver makes one.
func bytesKey(pk, sk int) platform.RowKey {
	return platform.StoredKey(strings.Repeat("p", pk), strings.Repeat("s", sk))
}

// A partition key has 1 to 2,048 bytes, a sort key 1 to 1,024. Who has no
// organization has no key.
func keyBounds(t *testing.T, s Store) {
	for _, key := range []platform.RowKey{bytesKey(1, 1), bytesKey(2048, 1), bytesKey(1, 1024), bytesKey(2048, 1024)} {
		put(t, s.Table, key, platform.Item{"n": number(1)})
		wantRow(t, s.Table, key, platform.Item{"n": number(1)})
	}
	var nobody platform.Org
	for what, key := range map[string]platform.RowKey{
		"2,049 bytes of partition": bytesKey(2049, 1),
		"1,025 bytes of sort key":  bytesKey(1, 1025),
		"no partition":             bytesKey(0, 1),
		"no sort key":              bytesKey(1, 0),
		"no organization":          nobody.Partition("run", "1").Row("stage", "build"),
		"bytes that are not UTF-8": platform.StoredKey("p", "\xff"),
	} {
		item := platform.Item{"n": number(1)}
		_, err := s.Table.Get(t.Context(), key)
		wantError(t, err, platform.ErrInvalid, "get with %s", what)
		_, err = s.Table.GetMany(t.Context(), []platform.RowKey{stage("a"), key})
		wantError(t, err, platform.ErrInvalid, "get many with %s", what)
		for _, a := range []platform.Action{
			platform.Put{Key: key, Item: item},
			platform.Update{Key: key, Set: item},
			platform.Delete{Key: key},
			platform.Check{Key: key, If: platform.NoRow},
		} {
			_, err = s.Table.Write(t.Context(), a)
			wantError(t, err, platform.ErrInvalid, "%T with %s", a, what)
			err = s.Table.Transact(t.Context(), "", platform.Delete{Key: stage("a")}, a)
			wantError(t, err, platform.ErrInvalid, "transaction of %T with %s", a, what)
		}
		err = s.Table.PutMany(t.Context(), []platform.Row{{Key: key, Item: item}})
		wantError(t, err, platform.ErrInvalid, "put many with %s", what)
	}
	_, err := s.Table.Query(t.Context(), platform.Query{Partition: nobody.Partition("run", "1")})
	wantError(t, err, platform.ErrInvalid, "query without an organization")
}

// Rows come in the order of the bytes of their keys, in the table and in an
// index, there and back.
func keyOrderBytes(t *testing.T, s Store) {
	names := []string{"10", "9", "A", "B", "a", "\u00e9", "\uffff", "\U0001F600"}
	listed := acme.Partition("stages")
	for _, i := range []int{3, 0, 7, 5, 1, 6, 2, 4} {
		put(t, s.Table, stage(names[i]), platform.Item{}.InList(listed.Index(names[i])))
	}
	back := slices.Clone(names)
	slices.Reverse(back)
	wantNames(t, list(t, s.Table, platform.Query{Partition: run1}), names...)
	wantNames(t, list(t, s.Table, platform.Query{Partition: run1, Prefix: stages, Reverse: true, Limit: 3}), back...)
	awaitNames(t, s.Table, platform.Query{Partition: listed, Index: platform.List1}, names...)
	awaitNames(t, s.Table, platform.Query{Partition: listed, Index: platform.List1, Reverse: true, Limit: 3}, back...)
}

// A filter runs behind the limit: a page may be empty and not the last one. A
// prefix runs before it.
func queryLimitFilterEmptyPage(t *testing.T, s Store) {
	for i := range 9 {
		put(t, s.Table, stage(fmt.Sprint(i)), platform.Item{"last": platform.Bool(i == 8)})
		put(t, s.Table, run1.Row("event", fmt.Sprint(i)), platform.Item{"last": platform.Bool(true)})
	}
	q := platform.Query{
		Partition: run1, Prefix: stages, Limit: 3,
		Filter: platform.Equal{Attribute: "last", Value: platform.Bool(true)},
	}
	read := pages(t, s.Table, q)
	wantNames(t, slices.Concat(read...), "8")
	if len(read) < 3 || len(read[0]) != 0 || len(read[1]) != 0 {
		t.Errorf("pages %q, want two empty ones before that of row 8", read)
	}
	wantNames(t, list(t, s.Table, platform.Query{Partition: run1, Prefix: run1.Rows("none")}))
	_, err := s.Table.Query(t.Context(), platform.Query{Partition: run1, Limit: -1})
	wantError(t, err, platform.ErrInvalid, "a negative limit")
	_, err = s.Table.Query(t.Context(), platform.Query{Partition: run1, Index: 3})
	wantError(t, err, platform.ErrInvalid, "an index that there is not")
}

// A page ends somewhere about 1 MB; whatever its size, nothing is lost.
func query1MBPage(t *testing.T, s Store) {
	var want []string
	for i := range 9 {
		put(t, s.Table, stage(fmt.Sprint(i)), platform.Item{"body": filler(250 << 10)})
		want = append(want, fmt.Sprint(i))
	}
	for _, reverse := range []bool{false, true} {
		read := pages(t, s.Table, platform.Query{Partition: run1, Reverse: reverse})
		if len(read) < 2 {
			t.Errorf("2.2 MB came in %d page", len(read))
		}
		wantNames(t, slices.Concat(read...), want...)
		slices.Reverse(want)
	}
}

// inListAndTable runs a case on the table and on an index: rows of the names 0 to
// 9 are in both.
func inListAndTable(t *testing.T, s Store, run func(t *testing.T, q platform.Query)) {
	listed := acme.Partition("stages")
	for _, q := range []platform.Query{
		{Partition: run1, Prefix: stages},
		{Partition: listed, Index: platform.List1},
	} {
		var names []string
		for i := range 10 {
			name := fmt.Sprint(i)
			put(t, s.Table, stage(name), platform.Item{}.InList(listed.Index(name)))
			names = append(names, name)
		}
		awaitNames(t, s.Table, q, names...)
		run(t, q)
		for _, name := range list(t, s.Table, platform.Query{Partition: run1, Prefix: stages}) {
			remove(t, s.Table, stage(name))
		}
		awaitNames(t, s.Table, q)
	}
}

// firstPage reads a page of n rows, which is not the last one.
func firstPage(t *testing.T, table platform.Table, q platform.Query, n int) platform.Page {
	t.Helper()
	q.Limit = n
	page, err := table.Query(t.Context(), q)
	if err != nil || len(page.Rows) != n || page.Cursor == "" {
		t.Fatalf("first page: %d rows, cursor %q, %v; want %d rows and a cursor", len(page.Rows), page.Cursor, err, n)
	}
	return page
}

// A cursor outlives the row that it stands at.
func cursorAfterDelete(t *testing.T, s Store) {
	inListAndTable(t, s, func(t *testing.T, q platform.Query) {
		page := firstPage(t, s.Table, q, 3)
		remove(t, s.Table, stage("2"))
		remove(t, s.Table, stage("3"))
		q.Cursor = page.Cursor
		awaitNames(t, s.Table, q, "4", "5", "6", "7", "8", "9")
		q.Reverse, q.Cursor = true, ""
		q.Cursor = firstPage(t, s.Table, q, 3).Cursor
		remove(t, s.Table, stage("7"))
		awaitNames(t, s.Table, q, "6", "5", "4", "1", "0")
	})
}

// What is written ahead of a cursor is seen, what is written behind it is not,
// and nothing is seen twice.
func cursorInsertBehindAndAhead(t *testing.T, s Store) {
	inListAndTable(t, s, func(t *testing.T, q platform.Query) {
		q.Cursor = firstPage(t, s.Table, q, 5).Cursor // behind 4
		for _, name := range []string{"05", "4", "45", "95"} {
			put(t, s.Table, stage(name), platform.Item{}.InList(acme.Partition("stages").Index(name)))
		}
		awaitNames(t, s.Table, q, "45", "5", "6", "7", "8", "9", "95")
	})
}

// A cursor belongs to its query, and says nothing to another: not to that of
// another tenant, partition, index, prefix or direction.
func cursorOpaqueBound(t *testing.T, s Store) {
	listed := func(org platform.Org) platform.Partition { return org.Partition("stages") }
	for _, org := range []platform.Org{acme, globex} {
		for i := range 4 {
			key := org.Partition("run", "1").Row("stage", fmt.Sprint(i))
			put(t, s.Table, key, platform.Item{}.InList(listed(org).Index(fmt.Sprint(i))))
			key = org.Partition("run", "2").Row("stage", fmt.Sprint(i))
			put(t, s.Table, key, platform.Item{}.DueAt(listed(org).Index(fmt.Sprint(i))))
		}
	}
	own := platform.Query{Partition: run1, Prefix: stages}
	own.Cursor = firstPage(t, s.Table, own, 2).Cursor
	for what, change := range map[string]func(*platform.Query){
		"tenant":    func(q *platform.Query) { q.Partition = globex.Partition("run", "1") },
		"partition": func(q *platform.Query) { q.Partition = acme.Partition("run", "2") },
		"prefix":    func(q *platform.Query) { q.Prefix = platform.SortPrefix{} },
		"direction": func(q *platform.Query) { q.Reverse = true },
		"index": func(q *platform.Query) {
			q.Partition, q.Index, q.Prefix = listed(acme), platform.List1, platform.SortPrefix{}
		},
		"first bit": func(q *platform.Query) { q.Cursor = "_" + q.Cursor[1:] },
		"last bit":  func(q *platform.Query) { q.Cursor = q.Cursor[:len(q.Cursor)-1] + "_" },
		"length":    func(q *platform.Query) { q.Cursor = q.Cursor[:len(q.Cursor)/2] },
		"end":       func(q *platform.Query) { q.Cursor += "AAAA" },
		"alphabet":  func(q *platform.Query) { q.Cursor = "no cursor, this!" },
	} {
		q := own
		change(&q)
		_, err := s.Table.Query(t.Context(), q)
		wantError(t, err, platform.ErrInvalid, "a cursor under another %s", what)
	}
	same := own
	same.Limit, same.Filter = 1, platform.RowIs // what a page is cut by is no part of the list
	wantNames(t, list(t, s.Table, same), "2", "3")

	index := platform.Query{Partition: listed(acme), Index: platform.List1}
	awaitNames(t, s.Table, index, "0", "1", "2", "3")
	index.Cursor = firstPage(t, s.Table, index, 2).Cursor
	wantNames(t, list(t, s.Table, index), "2", "3")
	index.Index = platform.Due
	_, err := s.Table.Query(t.Context(), index)
	wantError(t, err, platform.ErrInvalid, "a cursor under another index")
}
