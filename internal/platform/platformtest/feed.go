package platformtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Feed checks everything that platform.Feed promises. open returns an empty
// store, once for each case.
func Feed(t *testing.T, open func(t *testing.T) Store) {
	runStoreCases(t, open, []storeCase{
		{"feed-order-per-key", feedOrderPerKey},
		{"feed-no-order-across-keys", feedNoOrderAcrossKeys},
		{"feed-handle-failed-from", feedHandleFailedFrom},
		{"feed-resume", feedResume},
		{"feed-one-consumer-a-name", feedOneConsumerAName},
		{"SlowConsumerDoesNotHoldTheFeed", feedConsumerIsolation},
		{"feed-trimming", feedTrimming},
		{"feed-duplicates", feedDuplicates},
		{"feed-refused-writes", feedRefusedWrites},
	})
}

// reader is a consumer that remembers what it was brought.
type reader struct {
	mu   sync.Mutex
	got  []platform.Change
	stop func() error // ends the consumer and waits for it
}

// follow runs a consumer until the test ends or stops it. handle may be nil.
func follow(t *testing.T, feed platform.Feed, name string, handle platform.Handler) *reader {
	t.Helper()
	r := &reader{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- feed.Consume(ctx, name, func(ctx context.Context, changes []platform.Change) (int, error) {
			if handle != nil {
				return handle(ctx, changes)
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			r.got = append(r.got, changes...)
			return len(changes), nil
		})
	}()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := r.stop(); err != nil {
			t.Errorf("consumer %s: %v", name, err)
		}
	})
	return r
}

func (r *reader) changes() []platform.Change {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// awaitChanges waits until the reader has n changes, and returns them.
func awaitChanges(t *testing.T, r *reader, n int) []platform.Change {
	t.Helper()
	await(t, func() bool { return len(r.changes()) >= n })
	got := r.changes()
	if len(got) != n {
		t.Fatalf("%d changes came, want %d: %v", len(got), n, describeChanges(got))
	}
	return got
}

func describeChanges(changes []platform.Change) (all []string) {
	for _, c := range changes {
		all = append(all, fmt.Sprintf("%s: %v -> %v", c.Key.SK(), c.Old, c.New))
	}
	return all
}

// counted puts the counter of a row to n.
func counted(t *testing.T, s Store, name string, n int) {
	t.Helper()
	put(t, s.Table, stage(name), platform.Item{"n": number(n)})
}

// numbers is what the counters of a row were put to, by its changes in order.
func numbers(changes []platform.Change, name string) (all []int64) {
	for _, c := range changes {
		if c.Key == stage(name) && c.New != nil {
			all = append(all, c.New.Int("n"))
		}
	}
	return all
}

func wantNumbers(t *testing.T, got []int64, want ...int64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("changes to %v, want %v", got, want)
	}
}

// laterSeq says whether b is behind a: sequence numbers are decimal, and not
// padded everywhere.
func laterSeq(a, b string) bool {
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) < 0
}

// The changes of one row come in order, with the row before and after. A write
// that changes nothing is no change.
func feedOrderPerKey(t *testing.T, s Store) {
	r := follow(t, s.Feed, "fanout", nil)
	began := time.Now().Add(-time.Hour)
	names := []string{"a", "b", "c"}
	for _, name := range names {
		counted(t, s, name, 1)
	}
	for _, name := range names {
		counted(t, s, name, 1) // nothing changes
		update(t, s.Table, platform.Update{Key: stage(name), Set: platform.Item{"n": platform.Number("1.0")}})
		update(t, s.Table, platform.Update{Key: stage(name), Add: map[string]int64{"n": 1}})
		remove(t, s.Table, stage(name))
		remove(t, s.Table, stage(name)) // nothing is left to remove
		if err := s.Table.Transact(t.Context(), "", platform.Put{Key: stage(name), Item: platform.Item{"n": number(3)}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Table.PutMany(t.Context(), []platform.Row{{Key: stage(name), Item: platform.Item{"n": number(4)}}}); err != nil {
			t.Fatal(err)
		}
	}
	got := awaitChanges(t, r, 5*len(names))
	one, two, three, four := item(1), item(2), item(3), item(4)
	for _, name := range names {
		var last platform.Change
		steps := [][2]platform.Item{{nil, one}, {one, two}, {two, nil}, {nil, three}, {three, four}}
		for _, c := range got {
			if c.Key != stage(name) {
				continue
			}
			if len(steps) == 0 || !platform.SameRow(c.Old, steps[0][0]) || !platform.SameRow(c.New, steps[0][1]) {
				t.Fatalf("%s went %v -> %v, want the steps %v", name, c.Old, c.New, steps)
			}
			if last.Seq != "" && !laterSeq(last.Seq, c.Seq) {
				t.Errorf("%s: position %s comes behind %s", name, c.Seq, last.Seq)
			}
			if c.At.Before(began) || c.At.Before(last.At) {
				t.Errorf("%s: changed at %s, behind %s", name, c.At, last.At)
			}
			steps, last = steps[1:], c
		}
		if len(steps) > 0 {
			t.Errorf("%s: missing %v", name, steps)
		}
	}
}

func item(n int) platform.Item { return platform.Item{"n": number(n)} }

// projection is a copy of the rows, kept by their changes alone.
type projection map[platform.RowKey]platform.Item

func (p projection) apply(c platform.Change) {
	if c.New == nil {
		delete(p, c.Key)
		return
	}
	p[c.Key] = c.New
}

// There is no order between rows: in whatever order their changes are mixed, a
// consumer that leans only on the order within a row comes to the same end.
func feedNoOrderAcrossKeys(t *testing.T, s Store) {
	r := follow(t, s.Feed, "fanout", nil)
	random := rand.New(rand.NewPCG(3, 5))
	keys := []platform.RowKey{
		stage("a"), stage("b"), acme.Partition("run", "2").Row("stage", "a"), globex.Partition("run", "1").Row("stage", "a"),
	}
	for n := range 40 {
		put(t, s.Table, keys[random.IntN(len(keys))], platform.Item{"n": number(n)})
	}
	remove(t, s.Table, keys[0])
	put(t, s.Table, keys[1], platform.Item{"n": number(1000)})
	var got []platform.Change
	if !await(t, func() bool {
		got = r.changes()
		return slices.ContainsFunc(got, func(c platform.Change) bool { return c.Key == keys[0] && c.New == nil }) &&
			slices.ContainsFunc(got, func(c platform.Change) bool { return c.Key == keys[1] && c.New.Int("n") == 1000 })
	}) {
		t.Fatalf("missing changes: %v", describeChanges(got))
	}
	for range 20 {
		p := projection{}
		for _, c := range mixed(random, got) {
			p.apply(c)
		}
		for _, key := range keys[1:] {
			wantRow(t, s.Table, key, p[key])
		}
		if p[keys[0]] != nil {
			t.Errorf("a removed row is still there: %v", p[keys[0]])
		}
	}
}

// mixed puts changes into another order, in which those of one row keep theirs.
func mixed(random *rand.Rand, changes []platform.Change) []platform.Change {
	byKey := map[platform.RowKey][]platform.Change{}
	for _, c := range changes {
		byKey[c.Key] = append(byKey[c.Key], c)
	}
	turns := slices.Clone(changes) // each gives its key a turn
	random.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] })
	for i, turn := range turns {
		turns[i], byKey[turn.Key] = byKey[turn.Key][0], byKey[turn.Key][1:]
	}
	return turns
}

// A handler says how many changes it is done with: those behind them come again,
// in order, and those it is done with do not.
func feedHandleFailedFrom(t *testing.T, s Store) {
	const last = 12
	for n := range last {
		counted(t, s, "a", n+1)
	}
	var mu sync.Mutex
	var handled []int64
	var tries int
	r := follow(t, s.Feed, "fanout", func(_ context.Context, changes []platform.Change) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		for i, c := range changes {
			if n := c.New.Int("n"); n == 5 && tries < 2 { // it fails here, twice
				tries++
				return i, errors.New("the queue did not answer")
			} else if n == 9 && tries < 3 { // and here it stops in the middle, without an error
				tries++
				return i, nil
			} else {
				handled = append(handled, n)
			}
		}
		return len(changes), nil
	})
	await(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(handled) >= last
	})
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	wantNumbers(t, handled, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	if tries != 3 {
		t.Errorf("failed %d times, want 3", tries)
	}
}

// A consumer that stops goes on where it was, also behind a restart of the home:
// what was written meanwhile is not lost, and what it was done with when it was
// asked to stop does not come again.
func feedResume(t *testing.T, s Store) {
	first := follow(t, s.Feed, "fanout", nil)
	counted(t, s, "a", 1)
	counted(t, s, "a", 2)
	wantNumbers(t, numbers(awaitChanges(t, first, 2), "a"), 1, 2)
	if err := first.stop(); err != nil {
		t.Fatalf("a consumer whose context ended: %v", err)
	}
	counted(t, s, "a", 3)

	second := follow(t, s.Feed, "fanout", nil)
	counted(t, s, "a", 4)
	await(t, func() bool { return len(second.changes()) >= 2 })
	wantNumbers(t, numbers(second.changes(), "a"), 3, 4)
	if err := second.stop(); err != nil {
		t.Fatal(err)
	}

	counted(t, s, "a", 5)
	if s.Reopen == nil {
		t.Log("the restart was not checked: this home keeps nothing, or is not ours to restart")
		return
	}
	s = s.Reopen(t)
	counted(t, s, "a", 6)
	third := follow(t, s.Feed, "fanout", nil)
	await(t, func() bool { return len(third.changes()) >= 2 })
	wantNumbers(t, numbers(third.changes(), "a"), 5, 6)
}

// A name is one consumer at a time, and free again when that one has ended.
func feedOneConsumerAName(t *testing.T, s Store) {
	running := make(chan struct{})
	r := follow(t, s.Feed, "fanout", func(_ context.Context, changes []platform.Change) (int, error) {
		close(running)
		return len(changes), nil
	})
	counted(t, s, "a", 1)
	<-running
	none := func(context.Context, []platform.Change) (int, error) { return 0, nil }
	soon, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	wantError(t, s.Feed.Consume(soon, "fanout", none), platform.ErrExists, "a second consumer of the name")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	counted(t, s, "a", 2)
	again := follow(t, s.Feed, "fanout", nil)
	await(t, func() bool { return len(again.changes()) >= 1 })
	wantNumbers(t, numbers(again.changes(), "a"), 2)
}

// F24: a consumer that hangs holds up neither the others nor writers, and gets all of
// it in the end.
func feedConsumerIsolation(t *testing.T, s Store) {
	hangs, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var mu sync.Mutex
	var late []int64
	slow := follow(t, s.Feed, "slow", func(_ context.Context, changes []platform.Change) (int, error) {
		once.Do(func() {
			close(hangs)
			<-release
		})
		mu.Lock()
		defer mu.Unlock()
		late = append(late, numbers(changes, "a")...)
		return len(changes), nil
	})
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free) // also when the case has failed meanwhile
	failing := follow(t, s.Feed, "failing", func(context.Context, []platform.Change) (int, error) {
		return 0, errors.New("its sink is down")
	})
	counted(t, s, "a", 1)
	<-hangs

	quick := follow(t, s.Feed, "quick", nil)
	var want []int64
	for n := range 30 {
		counted(t, s, "a", n+1)
		want = append(want, int64(n+1))
	}
	wantNumbers(t, numbers(awaitChanges(t, quick, len(want)), "a"), want...)

	free()
	await(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(late) >= len(want)
	})
	if err := errors.Join(slow.stop(), failing.stop()); err != nil {
		t.Fatal(err)
	}
	wantNumbers(t, late, want...)
}

// Changes are kept until the slowest consumer has done them, and for 24 hours at
// most: who comes back later begins with what is left.
func feedTrimming(t *testing.T, s Store) {
	if s.Advance == nil {
		t.Skip("this home's clock cannot be moved")
	}
	slow := follow(t, s.Feed, "slow", nil)
	counted(t, s, "a", 1)
	awaitChanges(t, slow, 1)
	if err := slow.stop(); err != nil { // and away it goes
		t.Fatal(err)
	}
	quick := follow(t, s.Feed, "quick", nil)
	counted(t, s, "a", 2)
	await(t, func() bool { return slices.Contains(numbers(quick.changes(), "a"), 2) })
	s.Advance(23 * time.Hour)
	counted(t, s, "a", 3)
	await(t, func() bool { return slices.Contains(numbers(quick.changes(), "a"), 3) })
	s.Advance(2 * time.Hour) // change 2 is older than a day now

	back := follow(t, s.Feed, "slow", nil)
	counted(t, s, "a", 4)
	await(t, func() bool { return slices.Contains(numbers(back.changes(), "a"), 4) })
	wantNumbers(t, numbers(back.changes(), "a"), 3, 4)

	late := follow(t, s.Feed, "newcomer", nil)
	counted(t, s, "a", 5)
	await(t, func() bool { return slices.Contains(numbers(late.changes(), "a"), 5) })
	if got := numbers(late.changes(), "a"); slices.Contains(got, 2) {
		t.Errorf("a newcomer was brought %v: what is older than a day is gone", got)
	}
}

// A change that comes twice is applied once by who names its effect after row and
// version, as every consumer of the platform does.
func feedDuplicates(t *testing.T, s Store) {
	names := []string{"a", "b"}
	for _, name := range names {
		for n := range 3 {
			counted(t, s, name, n+1)
		}
	}
	effects := acme.Partition("effects")
	total := effects.Row("total")
	var mu sync.Mutex
	deliveries := map[string]int{}
	follow(t, s.Feed, "fanout", func(ctx context.Context, changes []platform.Change) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		for i, c := range changes {
			if c.Key.Partition() != run1 {
				continue
			}
			version := fmt.Sprintf("%s %s", c.Key.SK(), c.New["n"])
			deliveries[version]++
			err := s.Table.Transact(
				ctx, "",
				platform.Put{Key: effects.Row("effect", version), Item: platform.Item{}, If: platform.NoRow},
				platform.Update{Key: total, Add: map[string]int64{"n": 1}},
			)
			if err != nil && !platform.FailedAt(err, 0) {
				return i, err
			}
			if deliveries[version] == 1 {
				return i, errors.New("done, and died before it could say so")
			}
		}
		return len(changes), nil
	})
	if !await(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return deliveries["stage#a# 3"] > 1 && deliveries["stage#b# 3"] > 1
	}) {
		t.Fatalf("deliveries: %v", deliveries)
	}
	wantRow(t, s.Table, total, platform.Item{"n": number(6)})
}

// A write that was refused leaves no change, not even in part.
func feedRefusedWrites(t *testing.T, s Store) {
	counted(t, s, "a", 1)
	_, err := s.Table.Write(t.Context(), platform.Put{Key: stage("a"), Item: item(2), If: platform.NoRow})
	wantError(t, err, platform.ErrConditionFailed, "a put over a row")
	err = s.Table.Transact(
		t.Context(), "",
		platform.Put{Key: stage("b"), Item: item(1)},
		platform.Update{Key: stage("a"), Add: map[string]int64{"n": 1}},
		platform.Check{Key: stage("c"), If: platform.RowIs},
	)
	wantError(t, err, platform.ErrConditionFailed, "a transaction whose check fails")
	counted(t, s, "a", 3)
	got := awaitChanges(t, follow(t, s.Feed, "fanout", nil), 2)
	wantNumbers(t, numbers(got, "a"), 1, 3)
}
