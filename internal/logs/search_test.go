package logs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// found searches a text that comes in parts of a size.
func found(t *testing.T, text string, size int, p *Pattern, first int64) []Match {
	t.Helper()
	var all []Match
	f := NewFinder(p, first, func(m Match) error {
		all = append(all, m)
		return nil
	})
	line, offset := int64(1), int64(0)
	for rest := text; len(rest) > 0; {
		n := min(size, len(rest))
		part := Part{Line: line, Lines: int64(strings.Count(rest[:n], "\n")), Offset: offset, Text: []byte(rest[:n])}
		if err := f.Add(part); err != nil {
			t.Fatal(err)
		}
		line, offset, rest = line+part.Lines, offset+int64(n), rest[n:]
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestSearchFindsWhatAPersonReads(t *testing.T) {
	t.Parallel()
	text := "ok\n\x1b[31mErr\x1b[0mor: tea is cold\nno err here\nError: again, Error\n\x1b]8;;http://x\x07link\x1b]8;;\x07ed\nopen Error"
	for _, c := range []struct {
		needle           string
		expression, fold bool
		first            int64
		want             string
	}{
		{"Error", false, false, 1, "2:Error 4:Error 6:Error"},
		{"Error", false, false, 3, "4:Error 6:Error"},
		{"err", false, true, 1, "2:Err 3:err 4:Err 6:Err"},
		{`^no\b.*e$`, true, false, 1, "3:no err here"},
		{"linked", false, false, 1, "5:linked"},
		{"a.b", false, false, 1, ""},
		{`[a-z]+: \w+`, true, false, 1, "2:rror: tea 4:rror: again"},
	} {
		p, err := NewPattern(c.needle, c.expression, c.fold)
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{1, 2, 3, 7, 1000} {
			var got []string
			for _, m := range found(t, text, size, p, c.first) {
				got = append(got, fmt.Sprintf("%d:%s", m.Line, m.Text[m.From:m.To]))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%q in parts of %d: %v, want %s", c.needle, size, got, c.want)
			}
		}
	}
}

func TestSearchShowsALongLineAroundTheMatch(t *testing.T) {
	t.Parallel()
	p, err := NewPattern("needle", false, false)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("ä", 20_000) + "needle" + strings.Repeat("\xff", 5_000) + "\nneedle\n"
	got := found(t, text, 1000, p, 1)
	if len(got) != 2 || got[0].Text[got[0].From:got[0].To] != "needle" || !got[0].Cut || got[1].Cut || len(got[0].Text) > 4*MaxExcerpt {
		t.Errorf("%d matches, the first of %d bytes", len(got), len(got[0].Text))
	}
}

func TestSearchEndsWithItsReader(t *testing.T) {
	t.Parallel()
	p, err := NewPattern("x", false, false)
	if err != nil {
		t.Fatal(err)
	}
	enough := errors.New("enough")
	f := NewFinder(p, 1, func(Match) error { return enough })
	if err := f.Add(Part{Line: 1, Lines: 2, Text: []byte("x\nx\n")}); !errors.Is(err, enough) {
		t.Error(err)
	}
}

func TestPatternRefusesInWords(t *testing.T) {
	t.Parallel()
	for needle, want := range map[string]string{"": "empty", strings.Repeat("x", MaxNeedle+1): "1025 bytes", "a(b": "missing closing"} {
		if _, err := NewPattern(needle, true, false); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.10q: %v", needle, err)
		}
	}
}

// What a search finds does not depend on how the log came in parts, and is what a
// simple program finds in the whole.
func FuzzSearch(f *testing.F) {
	f.Add("ab\nabc\n", "b", 2)
	f.Add("a\x1b[1mb\x1b]x", "ab", 1)
	f.Fuzz(func(t *testing.T, text, needle string, size int) {
		p, err := NewPattern(needle, false, false)
		if err != nil || size < 1 || len(text) > LongLine {
			t.Skip("no pattern, no size, or a line that is cut in pieces")
		}
		var want []int64
		expr := regexp.MustCompile(regexp.QuoteMeta(needle))
		for i, line := range strings.Split(text, "\n") {
			if (line != "" || i < strings.Count(text, "\n")) && expr.Match(plain([]byte(line))) {
				want = append(want, int64(i+1))
			}
		}
		var got []int64
		for _, m := range found(t, text, size, p, 1) {
			got = append(got, m.Line)
			if m.From > m.To || m.To > len(m.Text) {
				t.Fatalf("%+v", m)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q in %q by %d: lines %v, want %v", needle, text, size, got, want)
		}
	})
}
