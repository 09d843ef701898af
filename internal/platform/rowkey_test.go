package platform

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzPartition: whatever a branch, a commit or a webhook puts into a key, it
// stays in its organization, is text, comes out again, and different parents
// never make the same key.
func FuzzPartition(f *testing.F) {
	f.Add("a#b", "c", "a", "b#c") // fails as soon as join stops escaping
	f.Add("%23", "", "#", "")
	f.Add("\xff", "\xfe", "\ufffd", "%FF") // bytes that are no UTF-8 stay apart
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		acme := Org{id: "acme"}
		one, two := acme.Partition("run", a, b), acme.Partition("run", c, d)
		if !strings.HasPrefix(one.pk, "acme#run#") {
			t.Errorf("%q left its organization", one.pk)
		}
		if !utf8.ValidString(one.pk) {
			t.Errorf("%q is not UTF-8", one.pk)
		}
		if same := a == c && b == d; same != (one == two) {
			t.Errorf("(%q, %q), (%q, %q): same parents %v, same key %v", a, b, c, d, same, one == two)
		}
		if parents := one.Row("stage").Parents(); !slices.Equal(parents, []string{"acme", "run", a, b}) {
			t.Errorf("%q came back as %q", one.pk, parents)
		}
	})
}

// The prefix of whole parts selects no row whose part merely begins like it.
func TestRowsPrefix(t *testing.T) {
	p := Org{id: "acme"}.Partition("run", "1")
	prefix := p.Rows("stage", "build").SK()
	for _, tt := range []struct {
		row  RowKey
		want bool
	}{
		{p.Row("stage", "build"), true},
		{p.Row("stage", "build", "01"), true},
		{p.Row("stage", "build-all"), false},
		{p.Row("stage"), false},
		{p.Row("stages", "build"), false},
	} {
		if got := strings.HasPrefix(tt.row.SK(), prefix); got != tt.want {
			t.Errorf("%q begins with %q: %v, want %v", tt.row.SK(), prefix, got, tt.want)
		}
	}
}
