package platformtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// filler is a text of n bytes.
func filler(n int) platform.Text { return text(strings.Repeat("x", n)) }

// sized is an item that makes a row of exactly n bytes.
func sized(key platform.RowKey, n int) platform.Item {
	item := platform.Item{"body": text("")}
	item["body"] = filler(n - platform.RowSize(key, item))
	return item
}

// F22: a row has at most 300 KB, by whatever way it comes to be.
func item300KBGuard(t *testing.T, s Store) {
	put(t, s.Table, stage("full"), sized(stage("full"), platform.MaxItem))
	for _, size := range []int{platform.MaxItem + 1, 400 << 10, 1 << 20} {
		tooLarge := sized(stage("over"), size)
		_, err := s.Table.Write(t.Context(), platform.Put{Key: stage("over"), Item: tooLarge})
		wantError(t, err, platform.ErrTooLarge, "put of %d bytes", size)
		_, err = s.Table.Write(t.Context(), platform.Update{Key: stage("over"), Set: tooLarge})
		wantError(t, err, platform.ErrTooLarge, "update of %d bytes", size)
		err = s.Table.Transact(t.Context(), "", platform.Put{Key: stage("over"), Item: tooLarge})
		wantError(t, err, platform.ErrTooLarge, "transaction with a row of %d bytes", size)
		err = s.Table.PutMany(t.Context(), []platform.Row{{Key: stage("beside"), Item: platform.Item{}}, {Key: stage("over"), Item: tooLarge}})
		wantError(t, err, platform.ErrTooLarge, "many, one of %d bytes", size)
	}
	wantNames(t, list(t, s.Table, platform.Query{Partition: run1, Prefix: stages}), "full")

	// names count as values do
	_, err := s.Table.Write(t.Context(), platform.Put{Key: stage("over"), Item: platform.Item{strings.Repeat("n", platform.MaxItem): text("")}})
	wantError(t, err, platform.ErrTooLarge, "a name of 300 KB")

	// an update sees only its own half: 200 KB and 250 KB are more than any home takes
	half := platform.Item{"one": filler(200 << 10)}
	put(t, s.Table, stage("half"), half)
	_, err = s.Table.Write(t.Context(), platform.Update{Key: stage("half"), Set: platform.Item{"two": filler(250 << 10)}})
	wantError(t, err, platform.ErrTooLarge, "an update that the row grows past the limit with")
	wantRow(t, s.Table, stage("half"), half)
}

// What cannot be stored the same in every home is refused by every home.
func itemRefused(t *testing.T, s Store) {
	nested := platform.Value(text("leaf"))
	for range platform.MaxNesting + 1 {
		nested = platform.List{nested}
	}
	for what, item := range map[string]platform.Item{
		"no name":                 {"": text("x")},
		"the key's own attribute": {platform.KeyAttribute: text("x")},
		"no value":                {"a": nil},
		"no value in a list":      {"a": platform.List{nil}},
		"text that is not UTF-8":  {"a": text("\xff")},
		"a name that is not":      {"\xff": text("a")},
		"a name in a map that is": {"a": platform.Map{"": text("x")}},
		"nested too deep":         {"a": nested},
		"expiry as text":          {platform.ExpiresAttribute: text("tomorrow")},
	} {
		_, err := s.Table.Write(t.Context(), platform.Put{Key: stage("a"), Item: item})
		wantError(t, err, platform.ErrInvalid, "put with %s", what)
		_, err = s.Table.Write(t.Context(), platform.Update{Key: stage("a"), Set: item})
		wantError(t, err, platform.ErrInvalid, "update with %s", what)
	}
	wantNoRow(t, s.Table, stage("a"))

	whole := platform.Item{
		"empty": text(""), "zero": platform.Bytes{0, 0xff}, "none": platform.List{}, "nothing": platform.Map{}, "no": platform.Bool(false),
		"deep": nested.(platform.List)[0], "\u00e9#%\x00": text("\x00#%\U0001F600"),
	}
	put(t, s.Table, stage("a"), whole)
	wantRow(t, s.Table, stage("a"), whole)
	put(t, s.Table, stage("b"), platform.Item{})
	wantRow(t, s.Table, stage("b"), platform.Item{})
}

// A number is its value: it is kept in one spelling, to 38 digits, and compared
// by value.
func numberNormalised(t *testing.T, s Store) {
	digits38 := strings.Repeat("123456789", 5)[:38]
	for given, want := range map[platform.Number]platform.Number{
		"1.00": "1", "0010": "10", "-0": "0", "+7": "7", "1e3": "1000", "-12.5E-1": "-1.25", ".5": "0.5", "5.": "5",
		platform.Number(digits38):                   platform.Number(digits38),
		platform.Number("0." + digits38):            platform.Number("0." + digits38),
		platform.Number(digits38 + "000"):           platform.Number(digits38 + "000"),
		platform.Number("-" + digits38[:20] + ".0"): platform.Number("-" + digits38[:20]),
	} {
		put(t, s.Table, stage("n"), platform.Item{"n": given, "in": platform.List{given}})
		item := get(t, s.Table, stage("n"))
		if got := item["n"]; got != want {
			t.Errorf("%s is kept as %v, want %s", given, got, want)
		}
		if in, ok := item["in"].(platform.List); !ok || len(in) != 1 || in[0] != want {
			t.Errorf("%s is kept in a list as %v, want %s", given, item["in"], want)
		}
	}
	for _, wrong := range []platform.Number{
		"", "-", ".", "1,5", "0x10", "1_000", "NaN", "Infinity", "1e", "1e126", "1e-131", " 1", "1e99999999999",
		platform.Number(digits38 + "1"),
	} {
		_, err := s.Table.Write(t.Context(), platform.Put{Key: stage("wrong"), Item: platform.Item{"n": wrong}})
		wantError(t, err, platform.ErrInvalid, "number %q", wrong)
	}
	wantNoRow(t, s.Table, stage("wrong"))

	put(t, s.Table, stage("n"), platform.Item{"n": platform.Number("9.50")})
	for _, c := range []platform.Condition{
		platform.Equal{Attribute: "n", Value: platform.Number("9.5")},
		platform.Equal{Attribute: "n", Value: platform.Number("95e-1")},
		platform.Less{Attribute: "n", Value: platform.Number("10")},
		platform.AtLeast{Attribute: "n", Value: platform.Number("-10")},
	} {
		if _, err := s.Table.Write(t.Context(), platform.Check{Key: stage("n"), If: c}); err != nil {
			t.Errorf("%+v does not hold for 9.50: %v", c, err)
		}
	}
}

// A row whose time has passed is not shown, though the store may still have it:
// nobody may take it for gone.
func ttlStillReadable(t *testing.T, s Store) {
	list1 := acme.Partition("runs")
	row := func(expires int64) platform.Item {
		return platform.Item{platform.ExpiresAttribute: platform.Int(expires)}.InList(list1.Index("x"))
	}
	now := time.Now().Unix()
	put(t, s.Table, stage("over"), row(now-10))
	put(t, s.Table, stage("past"), row(0))
	put(t, s.Table, stage("valid"), row(now+24*3600))
	wantNoRow(t, s.Table, stage("over"))
	wantNoRow(t, s.Table, stage("past"))
	wantNames(t, list(t, s.Table, platform.Query{Partition: run1}), "valid")
	awaitNames(t, s.Table, platform.Query{Partition: list1, Index: platform.List1}, "valid")
	found, err := s.Table.GetMany(t.Context(), []platform.RowKey{stage("over"), stage("past"), stage("valid")})
	if err != nil {
		t.Fatal(err)
	}
	wantNames(t, rowNames(found), "valid")

	// whether it can be put anew is the store's secret; that it is told honestly is not
	_, err = s.Table.Write(t.Context(), platform.Put{Key: stage("over"), Item: row(now + 3600), If: platform.NoRow})
	if err != nil && (!errors.Is(err, platform.ErrConditionFailed) || platform.OldRow(err, 0).Int(platform.ExpiresAttribute) != now-10) {
		t.Errorf("put over an expired row: %v", err)
	}
	put(t, s.Table, stage("past"), row(now+3600))
	wantRow(t, s.Table, stage("past"), row(now+3600))
}

// Days after its time an expired row is removed for good, as a change like any
// other; one whose time has not come stays.
func ttlRemovedInTheEnd(t *testing.T, s Store) {
	if s.Advance == nil {
		t.Skip("this home's clock cannot be moved")
	}
	now := time.Now().Unix()
	expires := func(at int64) platform.Item { return platform.Item{platform.ExpiresAttribute: platform.Int(at)} }
	put(t, s.Table, stage("over"), expires(now+60))
	put(t, s.Table, stage("valid"), expires(now+30*24*3600))
	r := follow(t, s.Feed, "fanout", nil)
	awaitChanges(t, r, 2)
	s.Advance(7 * 24 * time.Hour)
	put(t, s.Table, stage("any"), platform.Item{}) // a home may tidy when it writes
	got := awaitChanges(t, r, 4)
	i := slices.IndexFunc(got, func(c platform.Change) bool { return c.Key == stage("over") && c.New == nil })
	if i < 0 || !platform.SameRow(got[i].Old, expires(now+60)) {
		t.Errorf("the removal is no change: %v", describeChanges(got))
	}
	if _, err := s.Table.Write(t.Context(), platform.Put{Key: stage("over"), Item: platform.Item{}, If: platform.NoRow}); err != nil {
		t.Errorf("the removed row is still in the way: %v", err)
	}
	wantRow(t, s.Table, stage("valid"), expires(now+30*24*3600))
}

// conditionRow is what the conditions below are asked about.
var conditionRow = platform.Item{
	"text": text("m"), "number": number(10), "bytes": platform.Bytes{5}, "bool": platform.Bool(true),
	"list": platform.List{number(1), text("a")}, "map": platform.Map{"k": number(1)}, "empty": text(""),
}

// conditionCases is the closed list: what each condition says of conditionRow,
// and of no row.
var conditionCases = []struct {
	c             platform.Condition
	onRow, onNone bool
}{
	{platform.NoRow, false, true},
	{platform.RowIs, true, false},
	{platform.Absent{Attribute: "text"}, false, true},
	{platform.Absent{Attribute: "other"}, true, true},
	{platform.Present{Attribute: "text"}, true, false},
	{platform.Present{Attribute: "empty"}, true, false},
	{platform.Present{Attribute: "other"}, false, false},
	{platform.Equal{Attribute: "text", Value: text("m")}, true, false},
	{platform.Equal{Attribute: "text", Value: text("M")}, false, false},
	{platform.Equal{Attribute: "number", Value: platform.Number("10.0")}, true, false},
	{platform.Equal{Attribute: "bytes", Value: platform.Bytes{5}}, true, false},
	{platform.Equal{Attribute: "bool", Value: platform.Bool(true)}, true, false},
	{platform.Equal{Attribute: "bool", Value: platform.Bool(false)}, false, false},
	{platform.Equal{Attribute: "list", Value: platform.List{number(1), text("a")}}, true, false},
	{platform.Equal{Attribute: "list", Value: platform.List{text("a"), number(1)}}, false, false},
	{platform.Equal{Attribute: "list", Value: platform.List{number(1), text("a"), text("b")}}, false, false},
	{platform.Equal{Attribute: "list", Value: platform.List{number(1)}}, false, false},
	{platform.Equal{Attribute: "map", Value: platform.Map{"k": number(1)}}, true, false},
	{platform.Equal{Attribute: "map", Value: platform.Map{"k": number(1), "l": number(1)}}, false, false},
	{platform.Equal{Attribute: "empty", Value: text("")}, true, false},
	{platform.Equal{Attribute: "other", Value: text("")}, false, false},
	{platform.Less{Attribute: "text", Value: text("n")}, true, false},
	{platform.Less{Attribute: "text", Value: text("m")}, false, false},
	{platform.Less{Attribute: "text", Value: text("\u00e9")}, true, false},
	{platform.Less{Attribute: "number", Value: number(11)}, true, false},
	{platform.Less{Attribute: "number", Value: number(9)}, false, false}, // by value, not as text
	{platform.Less{Attribute: "bytes", Value: platform.Bytes{5, 0}}, true, false},
	{platform.Less{Attribute: "other", Value: number(11)}, false, false},
	{platform.AtLeast{Attribute: "text", Value: text("m")}, true, false},
	{platform.AtLeast{Attribute: "text", Value: text("n")}, false, false},
	{platform.AtLeast{Attribute: "number", Value: number(9)}, true, false},
	{platform.AtLeast{Attribute: "bytes", Value: platform.Bytes{4, 9}}, true, false},
	{platform.AtLeast{Attribute: "other", Value: number(0)}, false, false},
	{platform.All{}, true, true},
	{platform.All{platform.RowIs, platform.Absent{Attribute: "other"}}, true, false},
	{platform.All{platform.RowIs, platform.Present{Attribute: "other"}}, false, false},
	{platform.Any{}, false, false},
	{platform.Any{platform.NoRow, platform.Equal{Attribute: "text", Value: text("m")}}, true, true},
	{platform.Any{platform.Present{Attribute: "other"}, platform.All{platform.Any{}}}, false, false},
	{platform.Not{Of: platform.RowIs}, false, true},
	{platform.Not{Of: platform.Equal{Attribute: "text", Value: text("x")}}, true, true},
	{platform.Not{Of: platform.Any{platform.Not{Of: platform.All{}}}}, true, true},
}

// Each condition of the port, true and false, on attributes that are there and on
// ones that are not. What is no condition is refused.
func conditionsClosedList(t *testing.T, s Store) {
	put(t, s.Table, stage("row"), conditionRow)
	for _, tt := range conditionCases {
		wantCondition(t, s.Table, stage("row"), tt.c, tt.onRow)
		wantCondition(t, s.Table, stage("none"), tt.c, tt.onNone)
	}
	for what, c := range map[string]platform.Condition{
		"nothing":                  nil,
		"nothing within All":       platform.All{nil},
		"nothing within Not":       platform.Not{},
		"no value":                 platform.Equal{Attribute: "text"},
		"no attribute":             platform.Present{},
		"an order among bools":     platform.Less{Attribute: "bool", Value: platform.Bool(true)},
		"an order among lists":     platform.AtLeast{Attribute: "list", Value: platform.List{}},
		"a number that is none":    platform.Equal{Attribute: "number", Value: platform.Number("ten")},
		"a comparison with a row":  platform.Equal{Attribute: platform.KeyAttribute, Value: text("row")},
		"one of these, far inside": platform.Any{platform.All{platform.Not{Of: platform.Equal{Attribute: "a"}}}},
	} {
		_, err := s.Table.Write(t.Context(), platform.Check{Key: stage("row"), If: c})
		wantError(t, err, platform.ErrInvalid, "a check of %s", what)
	}
}

// A comparison with a value of another type is false, and no error.
func conditionTypeMismatch(t *testing.T, s Store) {
	put(t, s.Table, stage("row"), conditionRow)
	for _, value := range []platform.Value{text("10"), number(10), platform.Bytes("10")} {
		for attribute := range conditionRow {
			if fmt.Sprintf("%T", conditionRow[attribute]) == fmt.Sprintf("%T", value) {
				continue
			}
			for _, c := range []platform.Condition{
				platform.Equal{Attribute: attribute, Value: value},
				platform.Less{Attribute: attribute, Value: value},
				platform.AtLeast{Attribute: attribute, Value: value},
			} {
				wantCondition(t, s.Table, stage("row"), c, false)
			}
		}
	}
}

func wantCondition(t *testing.T, table platform.Table, key platform.RowKey, c platform.Condition, want bool) {
	t.Helper()
	_, err := table.Write(t.Context(), platform.Check{Key: key, If: c})
	if err != nil && !errors.Is(err, platform.ErrConditionFailed) {
		t.Errorf("%#v on %s: %v", c, key.SK(), err)
		return
	}
	if got := err == nil; got != want {
		t.Errorf("%#v on %s is %v, want %v", c, key.SK(), got, want)
	}
}
