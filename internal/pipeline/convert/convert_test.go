package convert

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/golden"
)

var converters = map[string]func(string, []byte) (Result, error){"github": GitHub, "circleci": CircleCI}

// TestFixtures converts workflows in the manner of well-known projects. Each output
// loads without errors, and nothing in it was taken out because the language refused
// it: the last would be a mistake of the converter.
func TestFixtures(t *testing.T) {
	for kind, convert := range converters {
		files, err := filepath.Glob(filepath.Join("testdata", kind, "*.yml"))
		if err != nil || len(files) < 8 {
			t.Fatalf("%d fixtures of %s, %v", len(files), kind, err)
		}
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".yml")
			t.Run(kind+"/"+name, func(t *testing.T) {
				source, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				result, err := convert(filepath.Base(file), source)
				if err != nil {
					t.Fatal(err)
				}
				golden.Equal(t, filepath.Join(kind, name+".golden"), page(t, result))
			})
		}
	}
}

// page is all of a result: files, then losses.
func page(t *testing.T, r Result) string {
	var out strings.Builder
	for _, p := range r.Pipelines {
		fmt.Fprintf(&out, "==== %s\n%s", p.Name, p.Text)
		for _, d := range errorsOf(p.Text) {
			t.Errorf("%s:%d: %s [%s]", p.Name, d.Line, d.Message, d.Code)
		}
	}
	out.WriteString("==== losses\n")
	for _, l := range r.Losses {
		kept := "lost"
		if l.Kept {
			kept = "kept"
		}
		fmt.Fprintf(&out, "%s:%d:%d: %s: %s: %s", l.File, l.Line, l.Column, kept, l.What, l.Why)
		if l.Do != "" {
			fmt.Fprintf(&out, " (%s)", l.Do)
		}
		out.WriteByte('\n')
	}
	return out.String()
}
