package memory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
)

// A set of many blocks is in order, from any place and in both directions, while
// places come and go.
func TestOrdered(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(7, 11))
	partition := platform.System("acme", "test").Partition("run")
	places := make([]place, 4*blockSize)
	for i := range places { // each sort key is that of two rows
		places[i] = place{fmt.Sprintf("%04d", i/2), &row{key: partition.Row("stage", fmt.Sprintf("%04d", i))}}
	}
	var set ordered
	in := map[int]bool{}
	for step := range 20 * blockSize {
		i := random.IntN(len(places))
		if in[i] || step > 18*blockSize { // in the end it is emptied
			set.remove(places[i])
			delete(in, i)
		} else {
			set.insert(places[i])
			in[i] = true
		}
		if step%blockSize == 0 {
			checkOrdered(t, &set, places, in, random.IntN(len(places)))
		}
	}
	for i := range places {
		set.remove(places[i])
	}
	if len(set.blocks) != 0 {
		t.Errorf("%d blocks of an empty set", len(set.blocks))
	}
}

func checkOrdered(t *testing.T, set *ordered, places []place, in map[int]bool, from int) {
	t.Helper()
	var up, down []string
	for i := range places {
		switch {
		case in[i] && i >= from:
			up = append(up, places[i].row.key.SK())
		case in[i]:
			down = append(down, places[i].row.key.SK())
		}
	}
	all := slices.Concat(down, up)
	slices.Reverse(all)
	slices.Reverse(down)
	collect := func(into *[]string) func(place) bool {
		return func(p place) bool {
			*into = append(*into, p.row.key.SK())
			return true
		}
	}
	var gotUp, gotDown, gotAll []string
	set.ascend(places[from], collect(&gotUp))
	set.descend(&places[from], collect(&gotDown))
	set.descend(nil, collect(&gotAll))
	if !slices.Equal(gotUp, up) || !slices.Equal(gotDown, down) || !slices.Equal(gotAll, all) {
		t.Fatalf("from %d: %d up, %d down, %d in all; want %d, %d, %d, in order",
			from, len(gotUp), len(gotDown), len(gotAll), len(up), len(down), len(all))
	}
	for i, block := range set.blocks {
		if len(block) == 0 || len(block) > blockSize {
			t.Fatalf("block %d has %d places", i, len(block))
		}
	}
}
