package platform

import (
	"bytes"
	"maps"
	"slices"
	"testing"
)

var everyValue = Item{
	"text": Text("a"), "empty": Text(""), "number": Number("-1.5"), "bytes": Bytes{0, 1}, "true": Bool(true), "false": Bool(false),
	"list": List{Text("x"), List{}, Map{}}, "map": Map{"k": Map{"l": List{Number("1")}}},
}

// FuzzParseItem: damaged bytes are refused or are an item; they never panic, and
// there is one encoding of an item.
func FuzzParseItem(f *testing.F) {
	f.Add(AppendItem(nil, everyValue))
	f.Add(AppendItem(nil, Item{}))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0x0f})                                         // as if it had four thousand million attributes
	f.Add(append([]byte{1, 1, 'a'}, bytes.Repeat([]byte{tagList, 1}, MaxNesting*2)...)) // far too deep
	f.Fuzz(func(t *testing.T, stored []byte) {
		item, err := ParseItem(stored)
		if err != nil {
			return
		}
		again, err := ParseItem(AppendItem(nil, item))
		if err != nil || !SameRow(item, again) {
			t.Errorf("%v came back as %v, %v", item, again, err)
		}
	})
}

// What is stored comes back, and what is cut off anywhere is refused.
func TestItemEncoding(t *testing.T) {
	stored := AppendItem(nil, everyValue)
	item, err := ParseItem(stored)
	if err != nil || !SameRow(item, everyValue) {
		t.Errorf("got %v, %v", item, err)
	}
	for n := range stored {
		if item, err := ParseItem(stored[:n]); err == nil {
			t.Errorf("%d of %d bytes are %v", n, len(stored), item)
		}
	}
	if _, err := ParseItem(append(slices.Clone(stored), 0)); err == nil {
		t.Error("a byte too many was not noticed")
	}
}

// Equal transactions have equal fingerprints, however their maps are built; any
// difference shows.
func TestFingerprint(t *testing.T) {
	key := acme.Partition("run").Row("stage", "a")
	other := acme.Partition("run").Row("stage", "b")
	update := func() Update {
		return Update{Key: key, Set: maps.Clone(everyValue), Remove: []string{"x", "y"}, Add: map[string]int64{"n": 1, "m": 2}, If: RowIs}
	}
	seen := map[[32]byte]string{}
	for name, actions := range map[string][]Action{
		"update":    {update()},
		"put":       {Put{Key: key, Item: everyValue, If: RowIs}},
		"put other": {Put{Key: other, Item: everyValue, If: RowIs}},
		"delete":    {Delete{Key: key, If: RowIs}},
		"check":     {Check{Key: key, If: RowIs}},
		"absent":    {Check{Key: key, If: NoRow}},
		"not":       {Check{Key: key, If: Not{RowIs}}},
		"equal":     {Check{Key: key, If: Equal{"a", Text("1")}}},
		"number":    {Check{Key: key, If: Equal{"a", Number("1")}}},
		"less":      {Check{Key: key, If: Less{"a", Number("1")}}},
		"at least":  {Check{Key: key, If: AtLeast{"a", Number("1")}}},
		"all":       {Check{Key: key, If: All{RowIs, NoRow}}},
		"any":       {Check{Key: key, If: Any{RowIs, NoRow}}},
		"nested":    {Check{Key: key, If: All{All{RowIs}, NoRow}}},
		"two":       {Delete{Key: key}, Delete{Key: other}},
		"two back":  {Delete{Key: other}, Delete{Key: key}},
		"add":       {Update{Key: key, Add: map[string]int64{"n": 1}}},
		"add two":   {Update{Key: key, Add: map[string]int64{"n": 2}}},
		"remove":    {Update{Key: key, Remove: []string{"n"}}},
	} {
		digest := Fingerprint(actions)
		if twin := seen[digest]; twin != "" {
			t.Errorf("%s and %s have one fingerprint", name, twin)
		}
		seen[digest] = name
	}
	if one, two := Fingerprint([]Action{update()}), Fingerprint([]Action{update()}); one != two {
		t.Error("equal transactions have two fingerprints")
	}
}
