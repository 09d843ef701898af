package convert

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzConvert: whatever a file holds, it is refused with a word why or becomes
// pipelines that the language loads without errors, with no ${{ in them.
func FuzzConvert(f *testing.F) {
	for kind := range converters {
		files, err := filepath.Glob(filepath.Join("testdata", kind, "*.yml"))
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(source)
		}
	}
	for _, source := range hostile {
		f.Add([]byte(source))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		for _, convert := range converters {
			result, err := convert("f.yml", source)
			if err != nil {
				continue
			}
			for _, p := range result.Pipelines {
				if problems := errorsOf(p.Text); len(problems) > 0 {
					t.Fatalf("%v in\n%s", problems[0], p.Text)
				}
			}
		}
	})
}

// hostile are files that are meant to hurt.
var hostile = map[string]string{
	"bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n" + bomb("a", "b") + bomb("b", "c") + bomb("c", "d") + bomb("d", "e") + bomb("e", "f") + bomb("f", "g") +
		"on: push\njobs: {a: {runs-on: *g, steps: [{run: x}]}}\n",
	"itself":   "on: push\njobs: &j\n  a: *j\n",
	"brackets": "on: " + strings.Repeat("[", 100_000),
	"maps":     "on: push\njobs: " + strings.Repeat("{a: ", 2000) + "x" + strings.Repeat("}", 2000),
	"dashes":   "on: " + "\n  " + strings.Repeat("- ", 50_000) + "x",
	"levels":   "on: push\njobs:\n" + nested(300),
	"large":    "on: push\nx: " + strings.Repeat("y", maxSource),
	"empty":    "", "null": "null", "text": "text", "nul": "on: \x00", "tab": "\ton: push",
	"commands": "version: 2.1\ncommands:\n" + doubling(15) + "jobs: {b: {docker: [{image: x}], steps: [c0]}}\n",
	"command":  "version: 2.1\ncommands: {a: {steps: [a]}}\njobs: {b: {docker: [{image: x}], steps: [a]}}\n",
}

func doubling(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, "  c%d: {steps: [c%d, c%d]}\n", i, i+1, i+1)
	}
	return out.String() + fmt.Sprintf("  c%d: {steps: [{run: echo}]}\n", n)
}

func bomb(of, name string) string {
	return name + ": &" + name + " [" + strings.TrimSuffix(strings.Repeat("*"+of+",", 9), ",") + "]\n"
}

func nested(n int) string {
	var out strings.Builder
	for i := range n {
		out.WriteString(strings.Repeat(" ", i+1) + "a:\n")
	}
	return out.String()
}

// TestHostileFiles are refused in words, or come to nothing worse than a file.
func TestHostileFiles(t *testing.T) {
	refused := map[string]string{
		"bomb": "aliases multiply", "itself": "levels deep", "brackets": "levels deep", "maps": "levels deep", "dashes": "levels deep",
		"levels": "levels deep", "large": "at most 524288", "empty": "empty", "null": "no map", "text": "no map", "nul": "YAML", "tab": "YAML",
	}
	for name, source := range hostile {
		t.Run(name, func(t *testing.T) {
			_, err := File("f.yml", []byte(source))
			want := refused[name]
			if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
		})
	}
}
