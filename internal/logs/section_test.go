package logs

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// sealedSections are the sections of a text that is sealed in chunks as they come.
func sealedSections(t *testing.T, text string) []Section {
	t.Helper()
	store := Store{Put: func(Chunk, []byte, []byte) error { return nil }, Drop: func(Chunk) error { return nil }}
	sealer := NewSealer(time.Unix(0, 0), 0, store)
	part := Part{Line: 1}
	for rest := text; rest != ""; part.Segment++ {
		n := min(len(rest), 100_000)
		part.Text, part.Lines = []byte(rest[:n]), int64(strings.Count(rest[:n], "\n"))
		if err := sealer.Add(part); err != nil {
			t.Fatal(err)
		}
		part.Offset, part.Line, rest = part.End(), part.Line+part.Lines, rest[n:]
	}
	index, err := sealer.Close(nil)
	if err != nil {
		t.Fatal(err)
	}
	return index.Sections
}

func TestSectionsNest(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ text, want string }{
		"nested":               {"a\n##[group]one\n##[group] two \nb\n##[endgroup]\n##[endgroup]\nc\n", "one 0 2-6, two 1 3-5"},
		"never ended":          {"##[group]one\na\nb\n", "one 0 1-3"},
		"ended inside a line":  {"##[group]one\na\nb", "one 0 1-3"},
		"ended too often":      {"##[endgroup]\n##[group]one\n##[endgroup]\n##[endgroup]\n", "one 0 2-3"},
		"not at the beginning": {"x ##[group]one\n ##[group]two\n", ""},
		"other marks":          {"##[error]one\n##[groups\n", ""},
		"with colours":         {"##[group]\x1b[1mbold\x1b[0m\n", "bold 0 1-1"},
		"empty":                {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, s := range sealedSections(t, tt.text) {
				got = append(got, fmt.Sprintf("%s %d %d-%d", s.Title, s.Depth, s.First, s.Last))
			}
			if text := strings.Join(got, ", "); text != tt.want {
				t.Errorf("%s\nwant %s", text, tt.want)
			}
		})
	}
}

// A stage that prints nothing but marks makes no large index.
func TestSectionsAreLimited(t *testing.T) {
	t.Parallel()
	deep := sealedSections(t, strings.Repeat("##[group]"+strings.Repeat("x", 500)+"\n", 5000))
	if len(deep) != maxNested || len(deep[0].Title) != maxTitle || deep[0].Last != 5000 {
		t.Errorf("%d sections", len(deep))
	}
	if wide := sealedSections(t, strings.Repeat("##[group]a\n##[endgroup]\n", 5000)); len(wide) != maxSections || wide[999].Last != 2000 {
		t.Errorf("%d sections", len(wide))
	}
}
