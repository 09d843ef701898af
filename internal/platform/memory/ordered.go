package memory

import (
	"cmp"
	"slices"

	"github.com/buildit-dev/buildit/internal/platform"
)

// row is a stored row. Its item is never changed, only replaced.
type row struct {
	key  platform.RowKey
	item platform.Item
}

// place is a row under a sort key: its own in the table, another in an index.
type place struct {
	sort string
	row  *row
}

func comparePlaces(a, b place) int {
	if d := cmp.Compare(a.sort, b.sort); d != 0 {
		return d
	}
	if a.row == b.row {
		return 0
	}
	if d := cmp.Compare(a.row.key.PK(), b.row.key.PK()); d != 0 {
		return d
	}
	return cmp.Compare(a.row.key.SK(), b.row.key.SK())
}

// blockSize is how many places a block holds before it is split: few enough that
// an insertion moves little, many enough that there are few blocks.
const blockSize = 256

// ordered is a sorted set of places: blocks of sorted places, in order, none of
// them empty.
type ordered struct{ blocks [][]place }

// seek finds the first place that is not before p.
func (o *ordered) seek(p place) (block, at int) {
	block, _ = slices.BinarySearchFunc(o.blocks, p, func(b []place, p place) int {
		return comparePlaces(b[len(b)-1], p)
	})
	if block < len(o.blocks) {
		at, _ = slices.BinarySearchFunc(o.blocks[block], p, comparePlaces)
	}
	return block, at
}

func (o *ordered) insert(p place) {
	block, at := o.seek(p)
	switch {
	case len(o.blocks) == 0:
		o.blocks = [][]place{{p}}
		return
	case block == len(o.blocks): // behind all
		block--
		at = len(o.blocks[block])
	}
	places := slices.Insert(o.blocks[block], at, p)
	if len(places) <= blockSize {
		o.blocks[block] = places
		return
	}
	half := len(places) / 2
	o.blocks[block] = slices.Clone(places[:half])
	o.blocks = slices.Insert(o.blocks, block+1, slices.Clone(places[half:]))
}

func (o *ordered) remove(p place) {
	block, at := o.seek(p)
	if block == len(o.blocks) || comparePlaces(o.blocks[block][at], p) != 0 {
		return
	}
	o.blocks[block] = slices.Delete(o.blocks[block], at, at+1)
	if len(o.blocks[block]) == 0 {
		o.blocks = slices.Delete(o.blocks, block, block+1)
	}
}

// ascend calls yield for the places from p on, until it answers false.
func (o *ordered) ascend(p place, yield func(place) bool) {
	block, at := o.seek(p)
	for ; block < len(o.blocks); block, at = block+1, 0 {
		for _, each := range o.blocks[block][at:] {
			if !yield(each) {
				return
			}
		}
	}
}

// descend calls yield for the places before p, or for all if p is nil, the last
// one first, until it answers false.
func (o *ordered) descend(p *place, yield func(place) bool) {
	block, at := len(o.blocks), 0
	if p != nil {
		block, at = o.seek(*p)
	}
	for {
		if block < len(o.blocks) {
			for _, each := range slices.Backward(o.blocks[block][:at]) {
				if !yield(each) {
					return
				}
			}
		}
		if block--; block < 0 {
			return
		}
		at = len(o.blocks[block])
	}
}
