package platformtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Of 24 who put a row if there is none, one wins, and the others are told with
// what.
func putIfAbsentRace(t *testing.T, s Store) {
	const writers = 24
	errs := make([]error, writers)
	together(writers, func(i int) {
		_, errs[i] = s.Table.Write(t.Context(), platform.Put{
			Key: stage("build"), Item: platform.Item{"by": number(i)}, If: platform.NoRow,
		})
	})
	winner := int(get(t, s.Table, stage("build")).Int("by"))
	for i, err := range errs {
		if i == winner {
			if err != nil {
				t.Errorf("the winner, %d, was told %v", i, err)
			}
			continue
		}
		wantError(t, err, platform.ErrConditionFailed, "writer %d", i)
		if row := platform.OldRow(err, 0); row == nil || int(row.Int("by")) != winner {
			t.Errorf("writer %d was shown %v, not the row of %d", i, row, winner)
		}
	}
}

// No increment is lost.
func updateCounterConcurrent(t *testing.T, s Store) {
	const writers, times = 8, 25
	together(writers, func(int) {
		for range times {
			if _, err := s.Table.Write(t.Context(), platform.Update{Key: stage("build"), Add: map[string]int64{"n": 1}}); err != nil {
				t.Error(err)
			}
		}
	})
	if n := get(t, s.Table, stage("build")).Int("n"); n != writers*times {
		t.Errorf("the counter stands at %d, want %d", n, writers*times)
	}
}

// F21: who loses a race reads again and decides anew. Four movers carry units
// between three accounts; none is lost, and no move is made on an old reading.
func lostRaceReadAgain(t *testing.T, s Store) {
	const movers, moves, units = 4, 4, 10
	names := []string{"a", "b", "c"}
	for _, name := range names {
		put(t, s.Table, stage(name), platform.Item{"units": number(units), "version": number(0)})
	}
	together(movers, func(mover int) {
		for move := range moves {
			from, to := names[(mover+move)%3], names[(mover+move+1)%3]
			for moveUnit(t, s.Table, from, to) {
			}
		}
	})
	var total, versions int64
	for _, name := range names {
		row := get(t, s.Table, stage(name))
		total += row.Int("units")
		versions += row.Int("version")
	}
	if total != units*int64(len(names)) || versions != 2*movers*moves {
		t.Errorf("%d units after %d steps, want %d after %d", total, versions, units*len(names), 2*movers*moves)
	}
}

// moveUnit carries one unit, and says whether it was too late and must be tried again.
func moveUnit(t *testing.T, table platform.Table, from, to string) (again bool) {
	step := func(name string, by int64) (platform.Action, error) {
		row, err := table.Get(t.Context(), stage(name))
		if err != nil {
			return nil, err
		}
		return platform.Update{
			Key: stage(name), Set: platform.Item{"units": platform.Int(row.Int("units") + by)},
			Add: map[string]int64{"version": 1},
			If:  platform.Equal{Attribute: "version", Value: platform.Int(row.Int("version"))},
		}, nil
	}
	out, errOut := step(from, -1)
	in, errIn := step(to, 1)
	if err := errors.Join(errOut, errIn); err != nil {
		t.Error(err)
		return false
	}
	err := table.Transact(t.Context(), "", out, in)
	if err != nil && !errors.Is(err, platform.ErrConditionFailed) {
		t.Error(err)
		return false
	}
	return err != nil
}

// Who is refused sees the row that was in the way, whatever the action; or none.
func conditionReturnsOldRow(t *testing.T, s Store) {
	old := platform.Item{"status": text("running"), "log": platform.List{text("a"), number(1)}}
	put(t, s.Table, stage("build"), old)
	queued := platform.Equal{Attribute: "status", Value: text("queued")}
	for _, tt := range []struct {
		action platform.Action
		row    platform.Item
	}{
		{platform.Put{Key: stage("build"), Item: platform.Item{}, If: queued}, old},
		{platform.Update{Key: stage("build"), Remove: []string{"log"}, If: queued}, old},
		{platform.Delete{Key: stage("build"), If: queued}, old},
		{platform.Check{Key: stage("build"), If: queued}, old},
		{platform.Put{Key: stage("test"), Item: platform.Item{}, If: queued}, nil},
		{platform.Update{Key: stage("test"), Remove: []string{"log"}, If: queued}, nil},
		{platform.Delete{Key: stage("test"), If: queued}, nil},
		{platform.Check{Key: stage("test"), If: queued}, nil},
	} {
		_, err := s.Table.Write(t.Context(), tt.action)
		if !platform.FailedAt(err, 0) {
			t.Errorf("%T: got %v, want its condition to fail", tt.action, err)
		}
		if row := platform.OldRow(err, 0); !platform.SameRow(row, tt.row) {
			t.Errorf("%T: was shown %v, want %v", tt.action, row, tt.row)
		}
	}
	wantRow(t, s.Table, stage("build"), old)
	wantNoRow(t, s.Table, stage("test"))
}

// What is put in and what comes out belongs to the caller: to change it changes
// no row.
func itemsAreCopies(t *testing.T, s Store) {
	fresh := func() platform.Item {
		return platform.Item{"list": platform.List{text("a")}, "map": platform.Map{"k": text("v")}, "bytes": platform.Bytes("abc")}
	}
	spoil := func(item platform.Item) {
		item["list"].(platform.List)[0] = text("spoiled")
		item["map"].(platform.Map)["k"] = text("spoiled")
		item["bytes"].(platform.Bytes)[0] = '!'
		item["more"] = text("spoiled")
	}
	given := fresh()
	put(t, s.Table, stage("build"), given)
	spoil(given)
	wantRow(t, s.Table, stage("build"), fresh())

	spoil(get(t, s.Table, stage("build")))
	wantRow(t, s.Table, stage("build"), fresh())

	page, err := s.Table.Query(t.Context(), platform.Query{Partition: run1})
	if err != nil || len(page.Rows) != 1 {
		t.Fatalf("query: %v, %v", page, err)
	}
	spoil(page.Rows[0].Item)
	wantRow(t, s.Table, stage("build"), fresh())

	spoil(update(t, s.Table, platform.Update{Key: stage("build"), Set: platform.Item{"list": platform.List{text("a")}}}))
	wantRow(t, s.Table, stage("build"), fresh())

	_, err = s.Table.Write(t.Context(), platform.Check{Key: stage("build"), If: platform.NoRow})
	spoil(platform.OldRow(err, 0))
	wantRow(t, s.Table, stage("build"), fresh())
}

// An update changes what it names and answers with the whole row; it makes a row
// where there is none.
func updateInPlace(t *testing.T, s Store) {
	put(t, s.Table, stage("build"), platform.Item{"status": text("queued"), "gate": text("main"), "n": number(5)})
	want := platform.Item{"status": text("running"), "n": number(3), "tries": number(1)}
	got := update(t, s.Table, platform.Update{
		Key: stage("build"), Set: platform.Item{"status": text("running")}, Remove: []string{"gate", "never-there"},
		Add: map[string]int64{"n": -2, "tries": 1},
	})
	if !platform.SameRow(got, want) {
		t.Errorf("answered %v, want %v", got, want)
	}
	wantRow(t, s.Table, stage("build"), want)
	update(t, s.Table, platform.Update{Key: stage("test"), Add: map[string]int64{"n": 7}})
	wantRow(t, s.Table, stage("test"), platform.Item{"n": number(7)})

	for what, u := range map[string]platform.Update{
		"Add to a text":  {Add: map[string]int64{"status": 1}},
		"Set and Add":    {Set: platform.Item{"n": number(1)}, Add: map[string]int64{"n": 1}},
		"Set and Remove": {Set: platform.Item{"n": number(1)}, Remove: []string{"n"}},
		"Remove and Add": {Remove: []string{"n"}, Add: map[string]int64{"n": 1}},
	} {
		u.Key = stage("build")
		_, err := s.Table.Write(t.Context(), u)
		wantError(t, err, platform.ErrInvalid, "%s", what)
	}
	remove(t, s.Table, stage("build"))
	remove(t, s.Table, stage("build")) // no row is no error
	wantNoRow(t, s.Table, stage("build"))
}

// A transaction is done as a whole, or not at all.
func transactAtomic(t *testing.T, s Store) {
	put(t, s.Table, stage("build"), platform.Item{"n": number(1)})
	put(t, s.Table, stage("old"), platform.Item{"n": number(1)})
	actions := func(guard platform.Condition) []platform.Action {
		return []platform.Action{
			platform.Put{Key: stage("new"), Item: platform.Item{"n": number(1)}},
			platform.Update{Key: stage("build"), Add: map[string]int64{"n": 1}},
			platform.Delete{Key: stage("old")},
			platform.Check{Key: stage("guard"), If: guard},
		}
	}
	err := s.Table.Transact(t.Context(), "", actions(platform.RowIs)...)
	wantError(t, err, platform.ErrConditionFailed, "a transaction whose check fails")
	wantNoRow(t, s.Table, stage("new"))
	wantRow(t, s.Table, stage("build"), platform.Item{"n": number(1)})
	wantRow(t, s.Table, stage("old"), platform.Item{"n": number(1)})

	if err := s.Table.Transact(t.Context(), "", actions(platform.NoRow)...); err != nil {
		t.Fatal(err)
	}
	wantRow(t, s.Table, stage("new"), platform.Item{"n": number(1)})
	wantRow(t, s.Table, stage("build"), platform.Item{"n": number(2)})
	wantNoRow(t, s.Table, stage("old"))
	wantNoRow(t, s.Table, stage("guard"))
}

// Reason i belongs to action i, and an action that was not at fault has none.
func transactReasonsPositional(t *testing.T, s Store) {
	put(t, s.Table, stage("b"), platform.Item{"n": number(2)})
	err := s.Table.Transact(
		t.Context(), "",
		platform.Put{Key: stage("a"), Item: platform.Item{}, If: platform.NoRow},
		platform.Put{Key: stage("b"), Item: platform.Item{}, If: platform.NoRow},
		platform.Delete{Key: stage("c")},
		platform.Check{Key: stage("d"), If: platform.RowIs},
		platform.Update{Key: stage("e"), Add: map[string]int64{"n": 1}},
	)
	var refused *platform.WriteError
	if !errors.As(err, &refused) || len(refused.Reasons) != 5 {
		t.Fatalf("got %v, want a WriteError with 5 reasons", err)
	}
	for i, want := range []bool{false, true, false, true, false} {
		if platform.FailedAt(err, i) != want {
			t.Errorf("action %d: %v, want failed %v", i, refused.Reasons[i].Err, want)
		}
	}
	if row := platform.OldRow(err, 1); !platform.SameRow(row, platform.Item{"n": number(2)}) {
		t.Errorf("action 1 was shown %v", row)
	}
	if row := platform.OldRow(err, 3); row != nil {
		t.Errorf("action 3 was shown %v, where there is no row", row)
	}
}

// Two actions on one row are a mistake, and nothing is sent.
func transactSameRowTwice(t *testing.T, s Store) {
	err := s.Table.Transact(
		t.Context(), "",
		platform.Put{Key: stage("a"), Item: platform.Item{}},
		platform.Put{Key: stage("b"), Item: platform.Item{}},
		platform.Check{Key: stage("a"), If: platform.NoRow},
	)
	wantError(t, err, platform.ErrInvalid, "two actions on one row")
	wantNoRow(t, s.Table, stage("a"))
	wantNoRow(t, s.Table, stage("b"))
}

// A transaction has 1 to 100 actions.
func transact100And101(t *testing.T, s Store) {
	actions := make([]platform.Action, 101)
	for i := range actions {
		actions[i] = platform.Put{Key: stage(fmt.Sprintf("%03d", i)), Item: platform.Item{"n": number(i)}}
	}
	wantError(t, s.Table.Transact(t.Context(), "", actions...), platform.ErrInvalid, "101 actions")
	wantError(t, s.Table.Transact(t.Context(), ""), platform.ErrInvalid, "no action")
	wantNames(t, list(t, s.Table, platform.Query{Partition: run1}))
	if err := s.Table.Transact(t.Context(), "", actions[:100]...); err != nil {
		t.Fatal(err)
	}
	if n := len(list(t, s.Table, platform.Query{Partition: run1})); n != 100 {
		t.Errorf("%d rows, want 100", n)
	}
}

// A transaction has at most 4 MB, whatever its rows have each.
func transact4MB(t *testing.T, s Store) {
	var actions []platform.Action
	for i := range 15 {
		actions = append(actions, platform.Put{Key: stage(fmt.Sprint(i)), Item: platform.Item{"body": filler(290 << 10)}})
	}
	wantError(t, s.Table.Transact(t.Context(), "", actions...), platform.ErrTooLarge, "15 rows of 290 KB")
	wantNames(t, list(t, s.Table, platform.Query{Partition: run1}))
	if err := s.Table.Transact(t.Context(), "", actions[:10]...); err != nil {
		t.Errorf("10 rows of 290 KB: %v", err)
	}
}

// A transaction repeated under its token is done once; one that was refused has
// not used its token; after ten minutes a token means nothing.
func transactTokenReplay(t *testing.T, s Store) {
	add := platform.Update{Key: stage("build"), Add: map[string]int64{"n": 1}, If: platform.RowIs}
	wantError(t, s.Table.Transact(t.Context(), "token-1", add), platform.ErrConditionFailed, "no row yet")
	put(t, s.Table, stage("build"), platform.Item{"n": number(0)})
	for range 3 {
		if err := s.Table.Transact(t.Context(), "token-1", add); err != nil {
			t.Fatal(err)
		}
	}
	wantRow(t, s.Table, stage("build"), platform.Item{"n": number(1)})
	if err := s.Table.Transact(t.Context(), "token-2", add); err != nil {
		t.Fatal(err)
	}
	wantRow(t, s.Table, stage("build"), platform.Item{"n": number(2)})
	if s.Advance == nil {
		t.Log("what follows ten minutes was not checked: this home's clock cannot be moved")
		return
	}
	s.Advance(platform.TokenKept + time.Second)
	if err := s.Table.Transact(t.Context(), "token-1", add); err != nil {
		t.Fatal(err)
	}
	wantRow(t, s.Table, stage("build"), platform.Item{"n": number(3)})
}

// A token stands for its transaction; another one under it is a mistake.
func transactTokenMismatch(t *testing.T, s Store) {
	first := platform.Put{Key: stage("a"), Item: platform.Item{"n": number(1)}}
	if err := s.Table.Transact(t.Context(), "token", first); err != nil {
		t.Fatal(err)
	}
	for what, actions := range map[string][]platform.Action{
		"another value":     {platform.Put{Key: stage("a"), Item: platform.Item{"n": number(2)}}},
		"another row":       {platform.Put{Key: stage("b"), Item: platform.Item{"n": number(1)}}},
		"another condition": {platform.Put{Key: stage("a"), Item: platform.Item{"n": number(1)}, If: platform.RowIs}},
		"another action":    {platform.Update{Key: stage("a"), Set: platform.Item{"n": number(1)}}},
		"one action more":   {first, platform.Delete{Key: stage("c")}},
	} {
		wantError(t, s.Table.Transact(t.Context(), "token", actions...), platform.ErrInvalid, "%s", what)
	}
	wantRow(t, s.Table, stage("a"), platform.Item{"n": number(1)})
	wantNoRow(t, s.Table, stage("b"))
}

// F20: the driver repeats a transaction that met another; one whose condition
// failed it does not.
func transactConflictRetried(t *testing.T, s Store) {
	disturbed(t, s, platform.ErrConflict, func(ctx context.Context) error {
		return s.Table.Transact(ctx, "", platform.Update{Key: stage("build"), Add: map[string]int64{"n": 1}})
	})
	wantRow(t, s.Table, stage("build"), platform.Item{"n": number(1)})
	err := s.Table.Transact(t.Context(), "", platform.Put{Key: stage("build"), Item: platform.Item{}, If: platform.NoRow})
	wantError(t, err, platform.ErrConditionFailed, "a transaction on a condition")
	if errors.Is(err, platform.ErrConflict) {
		t.Errorf("a failed condition is no conflict: %v", err)
	}
}

// F20: throttling is waited for: it ends in success, or at the caller's deadline in
// ErrThrottled and with nothing written.
func throttleBackoff(t *testing.T, s Store) {
	disturbed(t, s, platform.ErrThrottled, func(ctx context.Context) error {
		_, err := s.Table.Write(ctx, platform.Update{Key: stage("build"), Add: map[string]int64{"n": 1}})
		return err
	})
	wantRow(t, s.Table, stage("build"), platform.Item{"n": number(1)})
}

// disturbed makes a call twice while the service refuses writes: first it goes on
// beyond the caller's deadline, then it ends and the call succeeds.
func disturbed(t *testing.T, s Store, err error, call func(context.Context) error) {
	t.Helper()
	if s.Disturb == nil {
		t.Skip("nothing below this table can refuse a write")
	}
	calm := s.Disturb(t, err)
	began := time.Now()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	refused := call(short)
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the caller had 50 ms, and was told after %s", took)
	}
	if !errors.Is(refused, platform.ErrThrottled) && !errors.Is(refused, platform.ErrConflict) {
		t.Errorf("beyond the deadline: got %v, want ErrThrottled or ErrConflict", refused)
	}
	done := make(chan error)
	go func() { done <- call(t.Context()) }()
	calm()
	if err := <-done; err != nil {
		t.Errorf("after the disturbance: %v", err)
	}
}

// F20: PutMany and GetMany take more than one call of the service does, and what it
// leaves over is sent again.
func batchSplitAndLeftovers(t *testing.T, s Store) {
	rows := make([]platform.Row, 101)
	keys := make([]platform.RowKey, len(rows))
	for i := range rows {
		rows[i] = platform.Row{Key: stage(fmt.Sprintf("%03d", i)), Item: platform.Item{"n": number(i)}}
		keys[i] = rows[i].Key
	}
	if err := s.Table.PutMany(t.Context(), rows[:26]); err != nil {
		t.Fatal(err)
	}
	leftovers := rows[26:]
	if s.Disturb == nil {
		if err := s.Table.PutMany(t.Context(), leftovers); err != nil {
			t.Fatal(err)
		}
	} else {
		disturbed(t, s, platform.ErrThrottled, func(ctx context.Context) error { return s.Table.PutMany(ctx, leftovers) })
	}
	asked := append(append([]platform.RowKey{stage("none")}, keys...), keys[0])
	found, err := s.Table.GetMany(t.Context(), asked)
	if err != nil {
		t.Fatal(err)
	}
	got := map[platform.RowKey]int64{}
	for _, r := range found {
		got[r.Key] = r.Item.Int("n")
	}
	if len(found) != len(rows) || len(got) != len(rows) {
		t.Errorf("%d rows with %d keys, want each of %d once", len(found), len(got), len(rows))
	}
	for i, key := range keys {
		if got[key] != int64(i) {
			t.Errorf("row %d holds %d", i, got[key])
		}
	}
	wantError(t, s.Table.PutMany(t.Context(), []platform.Row{rows[0], rows[1], rows[0]}), platform.ErrInvalid, "one row twice")
	if err := s.Table.PutMany(t.Context(), nil); err != nil {
		t.Errorf("nothing to put: %v", err)
	}
}
