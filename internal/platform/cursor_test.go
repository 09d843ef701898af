package platform

import (
	"errors"
	"testing"
)

var acme = Org{id: "acme"}

// FuzzCursor: whatever a client sends as a cursor, it is refused, or it is one
// that this query has made and lies within its bounds.
func FuzzCursor(f *testing.F) {
	q := Query{Partition: acme.Partition("run", "1"), Prefix: IndexPrefix("stage")}
	f.Add(q.CursorAt(Position{Sort: "stage#a#", Row: q.Partition.Row("stage", "a")}))
	f.Add(q.CursorAt(Position{Sort: "event#a#", Row: q.Partition.Row("event", "a")}))
	f.Add("")
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, cursor string) {
		q.Cursor = cursor
		at, ok, err := q.Position()
		switch {
		case err != nil && !errors.Is(err, ErrInvalid):
			t.Errorf("%q: %v", cursor, err)
		case err != nil || !ok:
			if ok != (err == nil && cursor != "") {
				t.Errorf("%q: ok %v, err %v", cursor, ok, err)
			}
		case q.CursorAt(at) != cursor:
			t.Errorf("%q comes back as %q", cursor, q.CursorAt(at))
		case at.Row.Partition() != q.Partition || at.Row.SK() != at.Sort || at.Sort < "stage#" || at.Sort >= "stage$":
			t.Errorf("%q leads out of the query, to %v", cursor, at)
		}
	})
}

// A cursor brings back the position that it was made from, of any row.
func FuzzCursorRoundTrip(f *testing.F) {
	f.Add("runs", "2026", "stage", "a#b", uint8(List1), true)
	f.Fuzz(func(t *testing.T, kind, sort, rowKind, part string, index uint8, reverse bool) {
		q := Query{Partition: acme.Partition(kind), Index: Index(index % 3), Reverse: reverse}
		at := Position{Sort: q.Partition.Index(sort).SK(), Row: acme.Partition(rowKind).Row(part)}
		if q.Index == Base {
			at.Row = q.Partition.Row(part)
			at.Sort = at.Row.SK()
		}
		if CheckKey(at.Row) != nil {
			t.Skip("no row has this key")
		}
		q.Cursor = q.CursorAt(at)
		if got, ok, err := q.Position(); got != at || !ok || err != nil {
			t.Errorf("%v came back as %v, %v, %v", at, got, ok, err)
		}
	})
}

// The bounds of a query are those of its prefix, cut by Until.
func TestBounds(t *testing.T) {
	for _, tt := range []struct{ prefix, until, from, to string }{
		{"", "", "", ""},
		{"stage#", "", "stage#", "stage$"},
		{"\xff", "", "\xff", ""},
		{"a\xff", "", "a\xff", "b"},
		{"", "2026", "", "2026"},
		{"stage#", "stage#b", "stage#", "stage#b"},
		{"stage#", "z", "stage#", "stage$"},
	} {
		from, to := Query{Prefix: SortPrefix{tt.prefix}, Until: tt.until}.Bounds()
		if from != tt.from || to != tt.to {
			t.Errorf("%q until %q: from %q to %q, want %q to %q", tt.prefix, tt.until, from, to, tt.from, tt.to)
		}
	}
}
