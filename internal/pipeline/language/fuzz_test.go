package language

import (
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// seeds adds the files of testdata to a fuzz target.
func seeds(f *testing.F) {
	f.Helper()
	names, err := fs.Glob(os.DirFS("testdata"), "*/*.kdl")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, text := range []string{
		"a { b { c 1; }; }\n", "a 1 {b;}", "a \"x\"{b;}", "/- a 1\nb", "a /-{b;} {c;}", "a \\ // c\n 1", "\"a b\" r\"x\"=1", "a 'b' #true 1x\n",
		"a r#\"x\"y\"# /* /* */ */ 2", "\ufeffa\u00a01\u20281", "a \"\\u{41}\\n\"", "a x = 1", "(t)a (t)1 b=(t)2", "a }{", "\"\"\"", "a\u0085b",
	} {
		f.Add(text)
	}
}

// FuzzTreesOfScannerAndLibraryAgree: what the scanner takes without a complaint the
// library reads as the same tree, or refuses.
func FuzzTreesOfScannerAndLibraryAgree(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxFile {
			return
		}
		all := &problems{}
		file := newFile("fuzz.kdl", []byte(text), all)
		if !file.checkCharacters() || all.broken() {
			return
		}
		nodes, whole := file.scan()
		if !whole || all.broken() {
			return
		}
		file.compareWithLibrary(nodes)
		for _, d := range all.list {
			if d.Code == "internal-disagreement" { // that the library refuses what the scanner takes is no danger
				t.Errorf("%q: %s", text, said([]Diagnostic{d}))
			}
		}
	})
}

// FuzzLoad: whatever a file holds, Load answers with a pipeline or with errors,
// never with both or none, and every place is in the file.
func FuzzLoad(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, text string) {
		p, found := Load(fstest.MapFS{"p.kdl": {Data: []byte(text)}}, "p.kdl")
		if broken := (&problems{list: found}).broken(); broken != (p == nil) {
			t.Errorf("errors %v, pipeline %v", broken, p != nil)
		}
		if len(found) > maxProblems {
			t.Errorf("%d diagnostics", len(found))
		}
		lines := len(newFile("", []byte(text), nil).lines)
		for i, d := range found {
			if d.Line < 1 || d.Column < 1 || d.EndLine > lines || d.EndLine < d.Line || d.EndLine == d.Line && d.EndColumn < d.Column {
				t.Errorf("%s at %+v of %d lines", d.Code, d.Pos, lines)
			}
			if d.Code == "internal-disagreement" {
				t.Error(said([]Diagnostic{d}))
			}
			if i > 0 && before(d, found[i-1], "p.kdl") {
				t.Error("not ordered by position")
			}
			if rendered := d.Render([]byte(text)); !strings.Contains(rendered, d.Code) {
				t.Errorf("rendered as %q", rendered)
			}
		}
	})
}

// FuzzExpression: an expression that parses is either refused by its types or
// evaluates, with every fact unknown or known, to one of three values.
func FuzzExpression(f *testing.F) {
	for _, text := range []string{
		"branch == 'main'", "event != 'manual' || !param.dry-run", "!(fork && tag =~ '^v[0-9]+')", "branch in ['main', 'dev']",
		"changed('src/**', '*.md') && status('test') == 'failed'", "outputs.a.b.c < 5", "contains(lower(branch), 'x''y')", "((((1))))", "a ||", "'",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		when := []When{{Expression: text}}
		if _, err := parseExpression(text); err != nil {
			return
		}
		for _, facts := range []Facts{{}, {open: true}, {Branch: "main", Statuses: map[string]string{"a": "failed"}, Changed: []string{"a"}, FilesKnown: true}} {
			if got, err := Decide(when, facts); err == nil && got != True && got != False && got != Unknown {
				t.Errorf("%q is %d", text, got)
			}
		}
	})
}

// FuzzGlob: a glob that is read matches a text of its own, and never crosses a
// slash by one star.
func FuzzGlob(f *testing.F) {
	for _, text := range []string{"**/*.go", "a/*/b", "v[0-9]*", "{a,b{c,d}}", "[!a]x", "a**b", "?", "[", "{", "[]", "[^", "[z-a]"} {
		f.Add(text, "a/b")
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if _, err := compileGlob(pattern); err != nil {
			return
		}
		if matchGlob(pattern, text) && !strings.Contains(pattern, "**") && strings.Count(text, "/") > strings.Count(pattern, "/") {
			t.Errorf("%q matches %q", pattern, text)
		}
		sample(pattern)
	})
}
