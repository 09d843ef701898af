package platformtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/buildit-dev/buildit/internal/platform"
)

// TableModel drives a table with random calls and holds each answer against a
// model: a map, sorted anew for every query. Then it holds the feed against both.
// It is for homes that answer in microseconds, and whose indexes are never behind.
func TableModel(t *testing.T, open func(t *testing.T) Store) {
	s := open(t)
	tenants := 0
	all := model{}
	rapid.Check(t, func(t *rapid.T) {
		tenants++ // each check has a store of its own within the store
		m := &machine{table: s.Table, rows: all, org: platform.System(fmt.Sprintf("org%d", tenants), "model")}
		t.Repeat(map[string]func(*rapid.T){
			"write":    m.write,
			"transact": m.transact,
			"put many": m.putMany,
			"get":      m.get,
			"query":    m.query,
		})
	})
	copied := projection{}
	r := follow(t, s.Feed, "model", nil)
	if !await(t, func() bool {
		for _, c := range r.take() {
			if !platform.SameRow(copied[c.Key], c.Old) {
				t.Fatalf("%s was %v, and its change begins at %v", c.Key.SK(), copied[c.Key], c.Old)
			}
			copied.apply(c)
		}
		return len(copied) == len(all)
	}) {
		t.Errorf("%d rows by the feed, %d by the table", len(copied), len(all))
	}
	for key, item := range all {
		if !platform.SameRow(copied[key], item) {
			t.Errorf("%s is %v, and %v by the feed", key.SK(), item, copied[key])
		}
	}
}

// take is the changes since it was last called.
func (r *reader) take() []platform.Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.got
	r.got = nil
	return taken
}

// model is what a table is: rows by key.
type model map[platform.RowKey]platform.Item

// machine makes calls of one tenant.
type machine struct {
	table platform.Table
	rows  model
	org   platform.Org
}

var (
	someName  = rapid.SampledFrom([]string{"a", "b", "b#", "c", "\u00e9", ""})
	someValue = rapid.OneOf(
		rapid.Map(rapid.IntRange(-1, 3), func(n int) platform.Value { return number(n) }),
		rapid.SampledFrom([]platform.Value{platform.Number("1.0"), text("1"), text(""), platform.Bytes("1"), platform.Bool(true), platform.List{number(1)}, platform.Map{"k": text("v")}}),
	)
	someAttribute = rapid.SampledFrom([]string{"n", "s", "x"})
)

func (m *machine) partition(t *rapid.T) platform.Partition {
	return m.org.Partition("run", someName.Draw(t, "run"))
}

func (m *machine) key(t *rapid.T) platform.RowKey {
	kind := rapid.SampledFrom([]string{"stage", "stages", "event"}).Draw(t, "kind")
	return m.partition(t).Row(kind, someName.Draw(t, "row"))
}

// item draws the item of a row. Index keys end in the row's own, so that they are
// in one order in every home.
func (m *machine) item(t *rapid.T, key platform.RowKey) platform.Item {
	item := platform.Item{}
	for range rapid.IntRange(0, 3).Draw(t, "attributes") {
		item[someAttribute.Draw(t, "attribute")] = someValue.Draw(t, "value")
	}
	if rapid.Bool().Draw(t, "listed") {
		item.InList(m.org.Partition("list").Index(someName.Draw(t, "sort"), key.PK(), key.SK()))
	}
	if rapid.Bool().Draw(t, "due") {
		item.DueAt(m.org.Partition("due").Index(someName.Draw(t, "sort"), key.PK(), key.SK()))
	}
	return item
}

func (m *machine) condition(t *rapid.T, depth int) platform.Condition {
	attribute, value := someAttribute.Draw(t, "attribute"), someValue.Draw(t, "value")
	if depth == 0 && rapid.Bool().Draw(t, "unconditional") {
		return nil
	}
	kinds := 6
	if depth < 2 {
		kinds = 9
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "condition") {
	case 0:
		return platform.NoRow
	case 1:
		return platform.RowIs
	case 2:
		return platform.Present{Attribute: attribute}
	case 3:
		return platform.Equal{Attribute: attribute, Value: value}
	case 4:
		return platform.Less{Attribute: attribute, Value: number(2)}
	case 5:
		return platform.AtLeast{Attribute: attribute, Value: text("1")}
	case 6:
		return platform.All{m.condition(t, depth+1), m.condition(t, depth+1)}
	case 7:
		return platform.Any{m.condition(t, depth+1), m.condition(t, depth+1)}
	}
	return platform.Not{Of: m.condition(t, depth+1)}
}

func (m *machine) action(t *rapid.T) platform.Action {
	key, condition := m.key(t), m.condition(t, 0)
	switch rapid.IntRange(0, 5).Draw(t, "action") {
	case 0, 1:
		return platform.Put{Key: key, Item: m.item(t, key), If: condition}
	case 2, 3:
		return platform.Update{
			Key: key, Set: m.item(t, key), Remove: []string{"y"}, If: condition,
			Add: map[string]int64{"count": int64(rapid.IntRange(-2, 2).Draw(t, "add"))},
		}
	case 4:
		return platform.Delete{Key: key, If: condition}
	}
	if condition == nil {
		condition = platform.RowIs
	}
	return platform.Check{Key: key, If: condition}
}

// do does what the table should have done, and returns which actions it should
// have refused.
func (m *machine) do(t *rapid.T, actions []platform.Action) (refused []bool) {
	refused = make([]bool, len(actions))
	for i, a := range actions {
		key, condition := platform.Target(a)
		refused[i] = !platform.Match(condition, m.rows[key])
	}
	if slices.Contains(refused, true) {
		return refused
	}
	for _, a := range actions {
		key, _ := platform.Target(a)
		kept, err := platform.CheckAction(a)
		if err != nil {
			t.Fatal(err)
		}
		next, err := platform.Next(kept, m.rows[key])
		if err != nil {
			t.Fatal(err)
		}
		if m.rows[key] = next; next == nil {
			delete(m.rows, key)
		}
	}
	return refused
}

func (m *machine) compare(t *rapid.T, err error, before []platform.Item, refused []bool) {
	if want := slices.Contains(refused, true); want != (err != nil) {
		t.Fatalf("got %v, want refused %v", err, refused)
	}
	for i, want := range refused {
		if platform.FailedAt(err, i) != want {
			t.Fatalf("action %d: %v, want refused %v", i, err, want)
		}
		if row := platform.OldRow(err, i); want && !platform.SameRow(row, before[i]) {
			t.Fatalf("action %d was shown %v, the row is %v", i, row, before[i])
		}
	}
}

func (m *machine) write(t *rapid.T) {
	action := m.action(t)
	key, _ := platform.Target(action)
	before := m.rows[key]
	item, err := m.table.Write(t.Context(), action)
	m.compare(t, err, []platform.Item{before}, m.do(t, []platform.Action{action}))
	if _, checked := action.(platform.Check); err == nil && !checked && !platform.SameRow(item, m.rows[key]) {
		t.Fatalf("answered %v, the row is %v", item, m.rows[key])
	}
}

func (m *machine) transact(t *rapid.T) {
	var actions []platform.Action
	var before []platform.Item
	keys := map[platform.RowKey]bool{}
	for range rapid.IntRange(1, 4).Draw(t, "actions") {
		action := m.action(t)
		key, _ := platform.Target(action)
		actions, before = append(actions, action), append(before, m.rows[key])
		keys[key] = true
	}
	err := m.table.Transact(t.Context(), "", actions...)
	if len(keys) < len(actions) {
		if !errors.Is(err, platform.ErrInvalid) {
			t.Fatalf("two actions on one row: %v", err)
		}
		return
	}
	m.compare(t, err, before, m.do(t, actions))
}

func (m *machine) putMany(t *rapid.T) {
	rows := map[platform.RowKey]platform.Item{}
	for range rapid.IntRange(0, 4).Draw(t, "rows") {
		key := m.key(t)
		rows[key] = m.item(t, key)
	}
	var list []platform.Row
	for key, item := range rows {
		list = append(list, platform.Row{Key: key, Item: item})
		m.do(t, []platform.Action{platform.Put{Key: key, Item: item}})
	}
	if err := m.table.PutMany(t.Context(), list); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) get(t *rapid.T) {
	key := m.key(t)
	item, err := m.table.Get(t.Context(), key)
	if err != nil && !errors.Is(err, platform.ErrNotFound) {
		t.Fatal(err)
	}
	if !platform.SameRow(item, m.rows[key]) {
		t.Fatalf("got %v, the row is %v", item, m.rows[key])
	}
}

func (m *machine) query(t *rapid.T) {
	q := platform.Query{
		Limit: rapid.IntRange(0, 3).Draw(t, "limit"), Reverse: rapid.Bool().Draw(t, "reverse"), Filter: m.condition(t, 0),
	}
	switch q.Index = platform.Index(rapid.IntRange(0, 2).Draw(t, "index")); q.Index {
	case platform.Base:
		q.Partition = m.partition(t)
		if rapid.Bool().Draw(t, "prefix") {
			q.Prefix = q.Partition.Rows("stage")
		}
	case platform.List1:
		q.Partition = m.org.Partition("list")
		if rapid.Bool().Draw(t, "prefix") {
			q.Prefix = platform.IndexPrefix("", someName.Draw(t, "sort"))
		}
	case platform.Due:
		q.Partition = m.org.Partition("due")
		if rapid.Bool().Draw(t, "until") {
			q.Until = q.Partition.Index(someName.Draw(t, "sort")).SK()
		}
	}
	want := m.selected(q)
	var got []platform.RowKey
	for {
		page, err := m.table.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if q.Limit > 0 && len(page.Rows) > q.Limit {
			t.Fatalf("%d rows on a page of %d", len(page.Rows), q.Limit)
		}
		for _, row := range page.Rows {
			if !platform.SameRow(row.Item, m.rows[row.Key]) {
				t.Fatalf("query shows %v, the row is %v", row.Item, m.rows[row.Key])
			}
			got = append(got, row.Key)
		}
		if q.Cursor = page.Cursor; q.Cursor == "" {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got rows %v, want %v", got, want)
	}
}

// selected is the keys that a query should bring, in order.
func (m *machine) selected(q platform.Query) (keys []platform.RowKey) {
	sorts := map[platform.RowKey]string{}
	for key, item := range m.rows {
		pk, sort := key.PK(), key.SK()
		if q.Index != platform.Base {
			at, _ := item.IndexKey(q.Index)
			pk, sort = at.PK(), at.SK()
		}
		if pk == q.Partition.PK() && strings.HasPrefix(sort, q.Prefix.SK()) && (q.Until == "" || sort < q.Until) && platform.Match(q.Filter, item) {
			keys = append(keys, key)
			sorts[key] = sort
		}
	}
	slices.SortFunc(keys, func(a, b platform.RowKey) int { return strings.Compare(sorts[a], sorts[b]) })
	if q.Reverse {
		slices.Reverse(keys)
	}
	return keys
}
