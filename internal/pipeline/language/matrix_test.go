package language

import (
	"slices"
	"testing"
)

// cells loads a stage with this matrix.
func cells(t *testing.T, matrix string) []Cell {
	t.Helper()
	return valid(t, "pipeline \"p\"\nstage \"test\" {\n    matrix {\n"+matrix+"\n    }\n    run \"x\"\n}\n").Stages[0].Cells()
}

func cellNames(list []Cell) []string {
	var names []string
	for _, c := range list {
		names = append(names, c.Name)
	}
	return names
}

func TestExcludeThenInclude(t *testing.T) {
	t.Parallel()
	got := cells(t, "go \"1.25\" \"1.26\"\nos \"bookworm\" \"alpine\"\nexclude go=\"1.25\" os=\"alpine\"\ninclude go=\"1.25\" os=\"alpine\"\ninclude go=\"1.27\" os=\"alpine\"")
	want := []string{"test (1.25, bookworm)", "test (1.26, bookworm)", "test (1.26, alpine)", "test (1.25, alpine)", "test (1.27, alpine)"}
	if !slices.Equal(cellNames(got), want) {
		t.Errorf("%v", cellNames(got))
	}
}

func TestIncludeExtendsCell(t *testing.T) {
	t.Parallel()
	plain := cells(t, "go 1 2")
	got := cells(t, "go 1 2\ninclude go=2 experimental=true")
	if len(got) != 2 || !slices.Equal(got[1].Pairs, []Pair{{"go", "2"}, {"experimental", "true"}}) {
		t.Fatalf("%+v", got)
	}
	if got[1].Key != plain[1].Key || got[1].Name != "test (2)" {
		t.Errorf("the cell became another: %+v", got[1])
	}
}

func TestCellKeysStableWhenValueAdded(t *testing.T) {
	t.Parallel()
	before := cells(t, "go \"1\" \"2\"\nos \"a\"")
	after := cells(t, "os \"a\" \"b\"\ngo \"0\" \"1\" \"2\"")
	for _, cell := range before {
		if !slices.ContainsFunc(after, func(c Cell) bool { return c.Key == cell.Key && len(c.Key) == 16 }) {
			t.Errorf("%s has another key", cell.Name)
		}
	}
	if StageKey("a", []Pair{{"b", "c"}}) == StageKey("a", []Pair{{"bc", ""}}) || StageKey("ab", nil) == StageKey("a", []Pair{{"b", ""}}) {
		t.Error("two cells share a key")
	}
}

func TestAxisValueWithSlashAndQuote(t *testing.T) {
	t.Parallel()
	got := cells(t, `shard "1/2" "a \"b\"" "c, d"`)
	if want := []string{"test (1/2)", `test (a "b")`, "test (c, d)"}; !slices.Equal(cellNames(got), want) {
		t.Errorf("%v", cellNames(got))
	}
}

func TestCellOfStageWithoutMatrix(t *testing.T) {
	t.Parallel()
	got := (&Stage{Name: "a"}).Cells()
	if len(got) != 1 || got[0].Name != "a" || got[0].Key != StageKey("a", nil) || got[0].Pairs != nil {
		t.Errorf("%+v", got)
	}
}

// A share is known by its number: more of them rename none.
func TestParallelCells(t *testing.T) {
	t.Parallel()
	two := (&Stage{Name: "test", Parallel: &Parallel{Cells: 2}}).Cells()
	three := (&Stage{Name: "test", Parallel: &Parallel{Cells: 3}}).Cells()
	if want := []string{"test (1/3)", "test (2/3)", "test (3/3)"}; !slices.Equal(cellNames(three), want) {
		t.Errorf("%v", cellNames(three))
	}
	if two[0].Key != three[0].Key || two[1].Key != three[1].Key || two[0].Key == two[1].Key || two[0].Pairs != nil {
		t.Errorf("%+v, %+v", two, three)
	}
}
