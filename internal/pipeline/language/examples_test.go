package language

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/golden"
)

// examples is the folder of examples that everybody who works on the language
// shares. Those in testdata are our own.
func examples(t testing.TB) fs.FS {
	return os.DirFS(golden.Folder(t, "BUILDIT_EXAMPLES", "../shared/reference/examples"))
}

// expectation is what the first line of an invalid file says that it must say.
func expectation(t testing.TB, text string) string {
	t.Helper()
	first, _, _ := strings.Cut(text, "\n")
	expected, ok := strings.CutPrefix(strings.TrimSuffix(first, "\r"), "// expect: ")
	if !ok {
		t.Fatalf("the first line is no // expect: but %q", first)
	}
	return expected
}

// said writes diagnostics as such a line.
func said(list []Diagnostic) string {
	var parts []string
	for _, d := range list {
		part := fmt.Sprintf("%d:%d %s: %s", d.Line, d.Column, d.Code, d.Message)
		if d.Help != "" {
			part += " (help: " + d.Help + ")"
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " | ")
}

// everyInvalidFile compares each file of a folder with its expectation.
func everyInvalidFile(t *testing.T, tree fs.FS, folder string) {
	names, err := fs.Glob(tree, path.Join(folder, "*.kdl"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Fatal("there are no invalid files")
	}
	for _, name := range names {
		t.Run(path.Base(name), func(t *testing.T) {
			t.Parallel()
			text, err := fs.ReadFile(tree, name)
			if err != nil {
				t.Fatal(err)
			}
			p, found := Load(tree, name)
			if got, want := said(found), expectation(t, string(text)); got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
			if p != nil && (&problems{found}).broken() {
				t.Error("a file with errors made a pipeline")
			}
		})
	}
}

func TestEveryInvalidFileSaysWhatItMust(t *testing.T) {
	everyInvalidFile(t, examples(t), "invalid")
}

// TestExamples: three use level M alone; of the others each node of level S is
// reported, and nothing else.
func TestExamples(t *testing.T) {
	tree := examples(t)
	for _, name := range []string{"seed", "small", "library", "full", "monorepo", "deploy"} {
		t.Run(name, func(t *testing.T) {
			_, found := Load(tree, name+".kdl")
			golden.Equal(t, "examples/"+name+".txt", strings.ReplaceAll(said(found), " | ", "\n")+"\n")
		})
	}
}
