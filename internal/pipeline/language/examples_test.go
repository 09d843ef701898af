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

// codes are those of pipelines.md 2.7 that a file of level M can have. Two are said
// of files that no folder holds: see TestGeneratedLimits and TestDisagreement.
const codes = `file-too-large file-not-utf8 control-character bidi-character nesting-too-deep unclosed-block unclosed-string stray-brace
missing-semicolon bare-word number-with-suffix spaces-around-equals unknown-escape type-annotation kdl-v2-keyword kdl-v2-multiline
kdl-v2-raw-string kdl-v2-version internal-disagreement syntax unknown-node unknown-property missing-argument too-many-arguments
missing-property wrong-type bad-value bad-name bad-duration bad-size bad-glob bad-image bad-cron bad-timezone null-value number-loses-digits
duplicate-node duplicate-property limit not-available no-pipeline no-stages empty-stage duplicate-stage unknown-stage cycle never-runs
unknown-cache unknown-template unknown-component unknown-param template-param-missing duplicate-artifact artifact-not-upstream
output-not-upstream matrix-empty matrix-no-match expression interpolation-in-run unknown-interpolation untrusted-interpolation reserved-env
include-not-found include-not-pinned include-cycle latest-tag cache-key-constant docker-without-engine secret-in-fork-run
deploy-without-condition old-word unused-template unused-cache unused-param`

// TestEveryCodeHasAnExample: each code is said of an invalid file of our own, and
// none is said that is not of the list.
func TestEveryCodeHasAnExample(t *testing.T) {
	t.Parallel()
	tree := os.DirFS("testdata")
	names, err := fs.Glob(tree, "invalid/*.kdl")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{"file-too-large": true, "internal-disagreement": true}
	for _, name := range names {
		_, found := Load(tree, name)
		for _, d := range found {
			seen[d.Code] = true
		}
	}
	for _, code := range strings.Fields(codes) {
		if !seen[code] {
			t.Errorf("no file of testdata/invalid has %s", code)
		}
		delete(seen, code)
	}
	for code := range seen {
		t.Errorf("%s is no code", code)
	}
}

// Where the two readers differ, the file is refused.
func TestDisagreement(t *testing.T) {
	theirs, err := readByLibrary([]byte("a 1 x=2 {\n  b\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a 1 x=2 {\n  c\n}", "a 1 x=2", "a 1 2 x=2 {\n  b\n}", "a 1 {\n  b\n}", "a 1 y=2 {\n  b\n}", "b 1 x=2 {\n  b\n}"} {
		all := &problems{}
		f := newFile("p.kdl", []byte(text), all)
		nodes, _ := f.scan()
		if f.compare(nodes, theirs, span{}) || len(all.list) != 1 || all.list[0].Code != "internal-disagreement" {
			t.Errorf("%q: %s", text, said(all.list))
		}
	}
}
