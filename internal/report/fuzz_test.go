package report

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/buildit-dev/buildit/internal/mask"
)

const needle = "correct-horse"

// holds checks what is promised of everything that a Reader keeps, whatever it read.
func holds(t *testing.T, r *Report) {
	t.Helper()
	ok := func(text string, limit int) {
		if len(text) > limit || !utf8.ValidString(text) || strings.Contains(text, needle) {
			t.Errorf("%d bytes, at most %d: %.200q", len(text), limit, text)
		}
	}
	for _, c := range r.Cases {
		ok(c.Suite, maxName)
		ok(c.Class, maxName)
		ok(c.Name, maxName)
		ok(c.File, maxName)
		ok(c.Message, maxMessage)
		ok(c.Output, maxOutput)
		if c.Seconds < 0 || c.Line < 0 || strings.HasPrefix(c.File, "/") || strings.HasPrefix(c.File, "../") {
			t.Errorf("%+v", c)
		}
	}
	for _, a := range r.Annotations {
		ok(a.File, maxName)
		ok(a.Title, maxTitle)
		ok(a.Message, maxMessage)
	}
	if r.Totals.Cases != r.Totals.Succeeded+r.Totals.Failed+r.Totals.Skipped {
		t.Errorf("%+v", r.Totals)
	}
	if c := r.Coverage; c != nil && (c.Covered > c.Total || c.Percent < 0 || c.Percent > 100) {
		t.Errorf("%+v", c)
	}
	var form bytes.Buffer
	if err := r.Encode(&form); err != nil {
		t.Fatal(err)
	}
	cases := 0
	if err := Decode(&form, Visit{Case: func(Case) error { cases++; return nil }}); err != nil || cases != len(r.Cases) {
		t.Errorf("%d of %d cases: %v", cases, len(r.Cases), err)
	}
}

func fuzz(f *testing.F, kind string, seeds ...string) {
	tree := fstest.MapFS{}
	for _, name := range []string{"ab", "ab.go", "a/b.py", "shop/cart/cart_test.go", "src/test/java/a/b.java"} {
		tree[name] = &fstest.MapFile{Data: []byte("func TestOK(\n")}
	}
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r := &Reader{Mask: mask.Compile(needle), Root: "/w", Files: tree}
		if err := r.Read(kind, bytes.NewReader(text)); err != nil && !r.Report().Empty() {
			t.Errorf("%v, and it left something", err)
		}
		holds(t, r.Report())
	})
}

func FuzzJUnit(f *testing.F) {
	fuzz(f, "junit", `<testsuites><testsuite name="s"><testcase name="correct-horse" classname="a.b" time="1,5" file="/w/ab"><failure message="&lt;">ab.go:12: x<![CDATA[]]]]></failure></testcase></testsuite></testsuites>`,
		"<?xml version='1.0' encoding='latin1'?><testsuite><testcase name='\xe9'><flakyError/></testcase></testsuite>")
}
func FuzzGoTest(f *testing.F) { fuzz(f, "gotest", goJSON) }
func FuzzCoverage(f *testing.F) {
	fuzz(f, "coverage", "mode: set\na/b.go:1.2,3.4 3 1\n", "SF:a\nDA:1,2\n", `<coverage><class filename="a"><line number="1" hits="2"/></class></coverage>`)
}

func FuzzSARIF(f *testing.F) {
	fuzz(f, "sarif", `{"runs":[{"results":[{"ruleId":"R","message":{"text":"correct-horse"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"a"},"region":{"startLine":1}}}]}]}]}`)
}

func FuzzAnnotations(f *testing.F) {
	f.Add([]byte(`{"level":"error","file":"a.go","line":3,"title":"correct-horse","message":"m"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		r := &Reader{Mask: mask.Compile(needle)}
		if _, err := r.ReadAnnotations(bytes.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		holds(t, r.Report())
	})
}

// FuzzHarmless: outside fences nothing begins a tag, and a second time changes nothing.
func FuzzHarmless(f *testing.F) {
	for _, seed := range []string{"<b>", "```\n<b>\n```", "  ```\n```\n<b>", "[a](javascript:x)", "&lt;&#60;", "~~~ x\n~~~", "&&lt;", "<<https://x>"} {
		f.Add(seed)
	}
	tag := regexp.MustCompile(`<[A-Za-z/!?]`)
	link := regexp.MustCompile(`<https?://[^\s<>]*>`)
	f.Fuzz(func(t *testing.T, text string) {
		text = printable(text)
		got := Harmless(text)
		if again := Harmless(got); again != got {
			t.Errorf("%q, then %q", got, again)
		}
		var open fence
		for line := range strings.Lines(got) {
			switch {
			case open.char != 0 && open.closes(line):
				open = fence{}
			case open.char == 0:
				if open = opens(line); open.char == 0 && tag.MatchString(link.ReplaceAllString(line, "")) {
					t.Errorf("%q", line)
				}
			}
		}
	})
}

// FuzzDecode: what claims to be a report is one, within its limits, or an error.
func FuzzDecode(f *testing.F) {
	r := &Reader{}
	if err := r.Read("gotest", strings.NewReader(goJSON)); err != nil {
		f.Fatal(err)
	}
	var form bytes.Buffer
	if err := r.Report().Encode(&form); err != nil {
		f.Fatal(err)
	}
	f.Add(form.Bytes())
	f.Fuzz(func(t *testing.T, form []byte) {
		err := Decode(bytes.NewReader(form), Visit{Case: func(c Case) error {
			if len(c.Name) > maxName || len(c.Output) > maxOutput || c.Seconds < 0 {
				t.Errorf("%+v", c)
			}
			return nil
		}})
		if err != nil && err.Error() == "" {
			t.Error("an error without a word")
		}
	})
}
