package language

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Cell is one cell of a matrix: its pairs in axis order, extra keys of include after them.
type Cell struct {
	Name  string // "test (1.25, bookworm)", or the stage's name
	Key   string // 16 hex digits (StageKey)
	Pairs []Pair
}

// Cells are the cells of the stage, one for a stage without matrix: the product of
// the axes in file order, minus what is excluded, plus what is included. An include
// that names every axis of an existing cell adds its further keys to that cell, and
// the cell keeps its key; any other is a cell of its own.
func (s *Stage) Cells() []Cell {
	switch {
	case s.Matrix == nil && s.Parallel != nil:
		return s.shares()
	case s.Matrix == nil:
		return []Cell{newCell(s.Name, 0, nil)}
	}
	axes := len(s.Matrix.Axes)
	var rows [][]Pair
	for _, row := range s.Matrix.product() {
		if !slices.ContainsFunc(s.Matrix.Exclude, func(e []Pair) bool { return holds(row, e) }) {
			rows = append(rows, row)
		}
	}
	cells := make([]Cell, 0, len(rows)+len(s.Matrix.Include))
	for _, row := range rows {
		cells = append(cells, newCell(s.Name, axes, row))
	}
	for _, include := range s.Matrix.Include {
		row, extra, complete := s.Matrix.split(include)
		at := slices.IndexFunc(cells, func(c Cell) bool { return complete && holds(c.Pairs, row) })
		if at < 0 {
			cells = append(cells, newCell(s.Name, len(row), append(row, extra...)))
			continue
		}
		cells[at].Pairs = append(slices.Clone(cells[at].Pairs), extra...)
	}
	return cells
}

// maxShares is how many cells `parallel` may make.
const maxShares = 64

// shares are the cells of `parallel`: test (1/4). The key of one does not depend on how
// many there are.
func (s *Stage) shares() []Cell {
	cells := make([]Cell, max(s.Parallel.Cells, 0))
	for i := range cells {
		number := strconv.Itoa(i + 1)
		cells[i] = Cell{
			Name: fmt.Sprintf("%s (%s/%d)", s.Name, number, s.Parallel.Cells),
			Key:  StageKey(s.Name, []Pair{{"parallel", number}}),
		}
	}
	return cells
}

// StageKey is 16 hex of the SHA-256 of (stage name, sorted pairs), length-prefixed.
// It depends on nothing else, so that a new value of an axis renames no other cell.
func StageKey(stage string, pairs []Pair) string {
	sorted := slices.Clone(pairs)
	slices.SortFunc(sorted, func(a, b Pair) int { return strings.Compare(a.Key, b.Key) })
	hash := sha256.New()
	write := func(part string) {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		hash.Write(length[:])
		hash.Write([]byte(part))
	}
	write(stage)
	for _, p := range sorted {
		write(p.Key)
		write(p.Value)
	}
	return hex.EncodeToString(hash.Sum(nil)[:8])
}

// newCell names a cell after the values of its axes, which come first in pairs.
func newCell(stage string, axes int, pairs []Pair) Cell {
	cell := Cell{Name: stage, Key: StageKey(stage, pairs), Pairs: pairs}
	if len(pairs) == 0 {
		return cell
	}
	if axes == 0 {
		axes = len(pairs) // a cell that names no axis is known by its extra keys
	}
	values := make([]string, 0, axes)
	for _, p := range pairs[:axes] {
		values = append(values, p.Value)
	}
	cell.Name = stage + " (" + strings.Join(values, ", ") + ")"
	return cell
}

// product is every combination of the axes' values, the last axis moving fastest.
func (m *Matrix) product() [][]Pair {
	if len(m.Axes) == 0 {
		return nil
	}
	rows := [][]Pair{nil}
	for _, axis := range m.Axes {
		longer := make([][]Pair, 0, len(rows)*len(axis.Values))
		for _, row := range rows {
			for _, v := range axis.Values {
				longer = append(longer, append(slices.Clone(row), Pair{axis.Name, v}))
			}
		}
		rows = longer
	}
	return rows
}

// size is the number of cells of the product, without making them.
func (m *Matrix) size() int {
	if len(m.Axes) == 0 {
		return 0
	}
	size := 1
	for _, axis := range m.Axes {
		size *= len(axis.Values)
	}
	return size
}

// split sorts an include's pairs into those of axes, in axis order, and further
// ones; complete tells whether every axis is given.
func (m *Matrix) split(include []Pair) (row, extra []Pair, complete bool) {
	for _, axis := range m.Axes {
		if at := slices.IndexFunc(include, func(p Pair) bool { return p.Key == axis.Name }); at >= 0 {
			row = append(row, include[at])
		}
	}
	for _, p := range include {
		if !slices.ContainsFunc(m.Axes, func(a Axis) bool { return a.Name == p.Key }) {
			extra = append(extra, p)
		}
	}
	return row, extra, len(row) == len(m.Axes)
}

// holds tells whether every pair of want stands in row.
func holds(row, want []Pair) bool {
	for _, p := range want {
		if !slices.Contains(row, p) {
			return false
		}
	}
	return true
}
