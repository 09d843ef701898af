package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/buildit-dev/buildit/internal/mask"
)

// read reads one file with a workspace that has these files.
func read(t *testing.T, kind, text string, files ...string) *Report {
	t.Helper()
	tree := fstest.MapFS{}
	for _, name := range files {
		tree[name] = &fstest.MapFile{Data: []byte("package cart\n\nfunc TestOK(t *testing.T) {\n")}
	}
	r := &Reader{Root: "/work/shop", Files: tree}
	if err := r.Read(kind, strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	return r.Report()
}

func one(t *testing.T, r *Report, name string) Case {
	t.Helper()
	for _, c := range r.Cases {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no case %q in %+v", name, r.Cases)
	return Case{}
}

// Dialects of JUnit, each as its tool writes it.
func TestJUnitDialects(t *testing.T) {
	for name, tt := range map[string]struct {
		text  string
		files []string
		want  Case
	}{
		"pytest": {
			`<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest" errors="0" failures="1"><testcase classname="tests.test_cart.TestCart" name="test_adds[1-2]" time="0.001"><failure message="assert 1 == 2">self = &lt;x&gt;

tests/test_cart.py:12: AssertionError</failure></testcase></testsuite></testsuites>`,
			[]string{"tests/test_cart.py"},
			Case{Suite: "pytest", Class: "tests.test_cart.TestCart", Name: "test_adds[1-2]", File: "tests/test_cart.py", Line: 12, Seconds: 0.001, Status: Failed, Message: "assert 1 == 2", Output: "self = <x>\n\ntests/test_cart.py:12: AssertionError"},
		},
		"surefire": {
			`<testsuite name="com.acme.CartTest" time="1,234.5"><properties><property name="a" value="b"/></properties>
			<testcase name="adds" classname="com.acme.CartTest" time="1,234.5"><error message="boom" type="java.lang.IllegalStateException"><![CDATA[java.lang.IllegalStateException: boom
	at java.base/java.util.Objects.check(Objects.java:7)
	at com.acme.CartTest.adds(CartTest.java:42)]]></error><system-out><![CDATA[hello ]]]]><![CDATA[>]]></system-out></testcase></testsuite>`,
			[]string{"src/test/java/com/acme/CartTest.java"},
			Case{Suite: "com.acme.CartTest", Class: "com.acme.CartTest", Name: "adds", File: "src/test/java/com/acme/CartTest.java", Line: 42, Seconds: 1234.5, Status: Failed, Message: "java.lang.IllegalStateException: boom", Output: "java.lang.IllegalStateException: boom\n\tat java.base/java.util.Objects.check(Objects.java:7)\n\tat com.acme.CartTest.adds(CartTest.java:42)\nhello ]]>"},
		},
		"surefire, flaky": {
			`<testsuite name="s"><testcase name="adds" time="0,25"><flakyFailure message="once" type="T"><stackTrace><![CDATA[at x]]></stackTrace><system-out>o</system-out></flakyFailure></testcase></testsuite>`, nil,
			Case{Suite: "s", Name: "adds", Seconds: 0.25, Status: Succeeded, Flaky: true, Message: "T: once", Output: "at xo"},
		},
		"surefire, rerun": {
			`<testsuite name="s"><testcase name="adds"><failure message="first"/><rerunFailure message="second"/></testcase></testsuite>`, nil,
			Case{Suite: "s", Name: "adds", Status: Failed, Message: "first"},
		},
		"jest": {
			`<testsuites name="jest tests"><testsuite name="cart"><testcase classname="cart adds" name="cart adds" time="0.003" file="/work/shop/src/cart.test.js"><failure>Error: no
    at Object.&lt;anonymous&gt; (/work/shop/src/cart.test.js:5:11)</failure></testcase></testsuite></testsuites>`,
			[]string{"src/cart.test.js"},
			Case{Suite: "cart", Class: "cart adds", Name: "cart adds", File: "src/cart.test.js", Line: 5, Seconds: 0.003, Status: Failed, Message: "Error: no", Output: "Error: no\n    at Object.<anonymous> (/work/shop/src/cart.test.js:5:11)"},
		},
		"rspec": {
			`<testsuite name="rspec"><testcase classname="spec.cart_spec" name="adds" file="./spec/cart_spec.rb" line="7" time="0.1"><skipped message="later"/></testcase></testsuite>`, nil,
			Case{Suite: "rspec", Class: "spec.cart_spec", Name: "adds", File: "spec/cart_spec.rb", Line: 7, Seconds: 0.1, Status: Skipped, Message: "later"},
		},
		"googletest": {
			`<testsuites><testsuite name="Cart"><testcase name="Adds" status="notrun" time="0." classname="Cart" /></testsuite></testsuites>`, nil,
			Case{Suite: "Cart", Class: "Cart", Name: "Adds", Status: Skipped},
		},
		"nested suites": {
			`<testsuites><testsuite name="outer" file="a.py"><testsuite name="inner"><testcase name="x"/></testsuite></testsuite></testsuites>`, nil,
			Case{Suite: "outer / inner", Name: "x", File: "a.py", Status: Succeeded},
		},
		"Latin-1, prefix, control characters": {
			"<?xml version='1.0' encoding='ISO-8859-1'?><j:testsuite name='caf\xe9'><j:testcase name='a\x1b[31mb&#27;&#x2713;'/></j:testsuite>", nil,
			Case{Suite: "café", Name: "a[31mb✓", Status: Succeeded},
		},
		"a link outside": {
			`<testsuite name="s"><testcase name="x" file="../../etc/passwd"><failure message="m">/etc/passwd:1: x</failure></testcase></testsuite>`,
			[]string{"etc/passwd"},
			Case{Suite: "s", Name: "x", Status: Failed, Message: "m", Output: "/etc/passwd:1: x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := read(t, "junit", tt.text, tt.files...)
			if len(got.Cases) != 1 || got.Cases[0] != tt.want {
				t.Errorf("\n got %+v\nwant %+v", got.Cases, tt.want)
			}
		})
	}
}

func TestSeconds(t *testing.T) {
	for text, want := range map[string]float64{
		"": 0, "1.5": 1.5, "0,25": 0.25, "1,234.5": 1234.5, "1.234,5": 1234.5, "1,234,567": 1234567, "3s": 3, "-1": 0, "NaN": 0, "Inf": maxSeconds, "x": 0,
	} {
		if got := seconds(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// Failed cases stand first, then flaky ones, then the slowest; the failed become
// annotations.
func TestOrderAndTotals(t *testing.T) {
	got := read(t, "junit", `<testsuite name="s"><testcase name="fast" time="1"/><testcase name="slow" time="9"/><testcase name="off"><skipped/></testcase>
		<testcase name="flaky" time="2"><flakyFailure/></testcase><testcase name="bad" file="a.go" line="3" time="3"><failure message="no"/></testcase></testsuite>`)
	var names []string
	for _, c := range got.Cases {
		names = append(names, c.Name)
	}
	if text := strings.Join(names, " "); text != "bad flaky slow fast off" {
		t.Error(text)
	}
	if want := (Totals{Cases: 5, Succeeded: 3, Failed: 1, Skipped: 1, Flaky: 1, Seconds: 15}); got.Totals != want {
		t.Errorf("%+v, want %+v", got.Totals, want)
	}
	if want := (Annotation{Level: "error", File: "a.go", Line: 3, Title: "bad", Message: "no"}); len(got.Annotations) != 1 || got.Annotations[0] != want {
		t.Errorf("%+v, want %+v", got.Annotations, want)
	}
}

// What cannot be read says why, and leaves nothing behind.
func TestUnreadable(t *testing.T) {
	deep := strings.Repeat("<a>", 100)
	for _, tt := range []struct{ name, kind, text, want string }{
		{"empty", "junit", "", "it holds no element: it is no XML"},
		{"a page", "junit", "<html></html>", "line 1: its root is <html>, not <testsuites> or <testsuite>: it is no JUnit file"},
		{"cut off", "junit", "<testsuite>\n<testcase name='a'/>", "line 2: it ends inside <testsuite>"},
		{"crossed", "junit", "<testsuite><testcase></testsuite>", "line 1: </testsuite> stands where </testcase> is expected"},
		{"DTD", "junit", `<!DOCTYPE x [<!ENTITY a "b">]><testsuite/>`, "line 1: it has a DTD (<!DOCTYPE or <!ENTITY), which is refused"},
		{"external entity", "junit", "<testsuite>&xxe;</testsuite>", "line 1: the entity &xxe; is refused: only &lt; &gt; &amp; &quot; &apos; and numbers are read"},
		{"deep", "junit", "<testsuite>" + deep, "elements are nested deeper than 64"},
		{"UTF-16", "junit", "\xff\xfe<\x00", "it is UTF-16; write it as UTF-8"},
		{"two roots", "junit", "<testsuite/><testsuite/>", "line 1: <testsuite> stands behind the end of the file's one element"},
		{"no tests", "gotest", "ok  \tshop\t0.1s\n", "it holds no line of `go test -json`"},
		{"no coverage", "coverage", "hello", "it is no coverage: neither a Go profile (mode: …), nor LCOV (SF:…), nor Cobertura (<coverage …>)"},
		{"profile", "coverage", "mode: set\na.go:1.1,2.2 x 1\n", `line 2: "x" is no number of statements`},
		{"other XML", "coverage", "<report/>", "line 1: its root is <report>, not <coverage>: it is no Cobertura file"},
		{"no SARIF", "sarif", "{}", "it is no SARIF: it has no runs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &Reader{}
			err := r.Read(tt.kind, strings.NewReader(tt.text))
			if err == nil || err.Error() != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if got := r.Report(); !got.Empty() {
				t.Errorf("it left %+v", got)
			}
		})
	}
}

// endless is a file of n bytes: begin, then body again and again.
type endless struct {
	begin, body string
	n           int64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.n <= 0 {
		return 0, io.EOF
	}
	n := copy(p, e.begin)
	e.begin = e.begin[n:]
	for n < len(p) && e.begin == "" {
		m := copy(p[n:], e.body)
		e.body = e.body[m:] + e.body[:m]
		n += m
	}
	e.n -= int64(n)
	return n, nil
}

// A file of 200 MB is refused by name of its limit, and takes no memory on the way:
// not in text, not in an attribute, not in a comment, not in a name.
func TestHugeFilesTakeNoMemory(t *testing.T) {
	for name, begin := range map[string]string{
		"text": "<testsuite><testcase name='a'><failure>", "attribute": "<testsuite name='", "comment": "<testsuite><!--",
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r := &Reader{Mask: mask.Compile("correct-horse")}
			err := r.Read("junit", &endless{begin, strings.Repeat(" ", 4096), 200 << 20})
			runtime.ReadMemStats(&after)
			if err == nil || err.Error() != "it has more than 52428800 bytes (50 MB)" {
				t.Error(err)
			}
			if grown := after.HeapSys - before.HeapSys; after.HeapSys > before.HeapSys && grown > 32<<20 {
				t.Errorf("the heap grew by %d MB", grown>>20)
			}
		})
	}
}

func TestTooManyCases(t *testing.T) {
	r := &Reader{}
	err := r.Read("junit", io.MultiReader(strings.NewReader("<testsuite>"), &endless{"", strings.Repeat(`<testcase name="abcdef"/>`, 100), 25 * (MaxCases + 100)}))
	if err == nil || err.Error() != "it has more cases than the 100000 that a stage may have" {
		t.Error(err)
	}
	if !r.Report().Empty() {
		t.Error("it left cases behind")
	}
}

// SecretInJUnitOutputMasked: in every field, also as XML writes it, and where the end
// that is kept begins inside it.
func TestSecretInJUnitOutputMasked(t *testing.T) {
	const secret = "s3cr&t<horse>"
	escaped := strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(secret)
	text := fmt.Sprintf(`<testsuite name="%[1]s"><testcase classname="%[1]s" name="%[1]s" file="%[1]s.go"><failure message="m %[1]s" type="%[1]s">%[1]s<![CDATA[%[2]s]]></failure><system-out>%[3]s</system-out></testcase></testsuite>`,
		escaped, secret, strings.Repeat(escaped, 40_000))
	for cutAt := range 4 {
		r := &Reader{Mask: mask.Compile(secret)}
		if err := r.Read("junit", strings.NewReader(strings.Replace(text, "</system-out>", "xyz"[:min(3, cutAt)]+"</system-out>", 1))); err != nil {
			t.Fatal(err)
		}
		all := fmt.Sprintf("%+v", r.Report())
		for _, part := range []string{"s3cr", "horse", "r&t<"} {
			if strings.Contains(all, part) {
				t.Errorf("%q stands in %.300s", part, all)
			}
		}
		if c := r.Report().Cases[0]; len(c.Output) > maxOutput || len(c.Message) > maxMessage {
			t.Error("it is too long")
		}
	}
}

const goJSON = `go: downloading x
{"Action":"start","Package":"example.com/shop/cart"}
{"Action":"run","Package":"example.com/shop/cart","Test":"TestAdds"}
{"Action":"run","Package":"example.com/shop/cart","Test":"TestAdds/two"}
{"Action":"output","Package":"example.com/shop/cart","Test":"TestAdds/two","Output":"=== RUN   TestAdds/two\n"}
{"Action":"output","Package":"example.com/shop/cart","Test":"TestAdds/two","Output":"    cart_test.go:12: got 3, want 2\n"}
{"Action":"fail","Package":"example.com/shop/cart","Test":"TestAdds/two","Elapsed":0.5}
{"Action":"fail","Package":"example.com/shop/cart","Test":"TestAdds","Elapsed":0.6}
{"Action":"run","Package":"example.com/shop/cart","Test":"TestOK"}
{"Action":"pass","Package":"example.com/shop/cart","Test":"TestOK","Elapsed":1.5}
{"Action":"run","Package":"example.com/shop/cart","Test":"TestLater"}
{"Action":"output","Package":"example.com/shop/cart","Test":"TestLater","Output":"    cart_test.go:20: not yet\n"}
{"Action":"skip","Package":"example.com/shop/cart","Test":"TestLater","Elapsed":0}
{"Action":"fail","Package":"example.com/shop/cart","Elapsed":2.1}
{"ImportPath":"example.com/shop/api","Action":"build-output","Output":"# example.com/shop/api\n"}
{"ImportPath":"example.com/shop/api","Action":"build-output","Output":"api/api.go:7:2: undefined: x\n"}
{"ImportPath":"example.com/shop/api","Action":"build-fail"}
{"Action":"fail","Package":"example.com/shop/api","Elapsed":0,"FailedBuild":"example.com/shop/api"}
{"Action":"run","Package":"example.com/shop/db","Test":"TestHangs"}
{"Action":"output","Package":"example.com/shop/db","Test":"TestHangs","Output":"panic: test timed out\n"}
`

func TestGoTest(t *testing.T) {
	got := read(t, "gotest", goJSON, "cart/cart_test.go", "api/api.go")
	if want := (Totals{Cases: 5, Succeeded: 1, Failed: 3, Skipped: 1, Seconds: 2}); got.Totals != want {
		t.Errorf("%+v, want %+v", got.Totals, want)
	}
	if c := one(t, got, "TestAdds/two"); c.File != "cart/cart_test.go" || c.Line != 12 || c.Message != "got 3, want 2" || !strings.Contains(c.Output, "got 3") {
		t.Errorf("%+v", c)
	}
	if c := one(t, got, "(package)"); c.File != "api/api.go" || c.Line != 7 || c.Message != "undefined: x" {
		t.Errorf("%+v", c)
	}
	if c := one(t, got, "TestOK"); c.File != "cart/cart_test.go" || c.Line != 3 || c.Message != "" {
		t.Errorf("%+v", c)
	}
	if c := one(t, got, "TestHangs"); c.Status != Failed || c.Message != "panic: test timed out" {
		t.Errorf("%+v", c)
	}
	if c := one(t, got, "TestLater"); c.Status != Skipped || c.Message != "not yet" {
		t.Errorf("%+v", c)
	}
}

func TestCoverage(t *testing.T) {
	for name, tt := range map[string]struct {
		text  string
		unit  string
		files []string
		want  []Covered
	}{
		"Go": {
			"mode: set\nexample.com/shop/cart/cart.go:1.2,3.4 3 1\nexample.com/shop/cart/cart.go:5.2,6.4 1 0\nexample.com/shop/cart/cart.go:5.2,6.4 1 2\nexample.com/shop/b.go:1.1,2.2 4 0\n",
			"statements",
			[]string{"cart/cart.go", "b.go"},
			[]Covered{{"b.go", 0, 4}, {"cart/cart.go", 4, 4}},
		},
		"LCOV": {
			"TN:\nSF:/work/shop/src/a.js\nDA:1,1\nDA:2,0\nDA:3,5,abc\nLF:3\nLH:2\nend_of_record\n", "lines", nil, []Covered{{"src/a.js", 2, 3}},
		},
		"Cobertura": {
			`<?xml version="1.0"?><coverage line-rate="0.5"><packages><package><classes><class name="a" filename="src/a.py"><methods><method><lines><line number="9" hits="1"/></lines></method></methods><lines><line number="1" hits="1"/><line number="2" hits="0"/></lines></class></classes></package></packages></coverage>`,
			"lines", nil,
			[]Covered{{"src/a.py", 1, 2}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(t, "coverage", tt.text, tt.files...).Coverage
			if got == nil || got.Unit != tt.unit || !slices.Equal(got.Files, tt.want) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestSARIF(t *testing.T) {
	got := read(t, "sarif", `{"version":"2.1.0","runs":[{"tool":{"driver":{"rules":[{"id":"R1","deep":[[1]]}]}},"results":[
		{"ruleId":"R1","level":"note","message":{"text":"look"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"a/b.go"},"region":{"startLine":3,"endLine":4}}}]},
		{"ruleId":"R2","message":{"text":"out"},"locations":[{"physicalLocation":{"artifactLocation":{"uri":"../x"}}}]},
		{"ruleId":"R3","message":{"text":"known"},"suppressions":[{"kind":"inSource"}],"locations":[{"physicalLocation":{"artifactLocation":{"uri":"c"}}}]}]}]}`)
	want := Annotation{Level: "notice", File: "a/b.go", Line: 3, EndLine: 4, Title: "R1", Message: "look"}
	if len(got.Annotations) != 1 || got.Annotations[0] != want {
		t.Errorf("%+v", got.Annotations)
	}
}

func TestAnnotations(t *testing.T) {
	r := &Reader{Root: "/work/shop"}
	mistakes, err := r.ReadAnnotations(strings.NewReader(`{"level":"error","file":"/work/shop/a.go","line":3,"title":"t","message":"m"}

not json
{"level":"loud","file":"a.go","message":"m"}
{"level":"warning","file":"../a.go","message":"m"}
{"file":"b.go"}
` + strings.Repeat(`{"file":"b.go","message":"m"}`+"\n", 1100)))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"line 3: it is no JSON object of level, file, line, title and message", `line 4: level is notice, warning or error, not "loud"`,
		`line 5: file is a path below the workspace, not "../a.go"`, "line 6: message is missing",
		"line 1006: a stage has at most 1000 annotations; the others are left out",
	}
	if !slices.Equal(mistakes, want) {
		t.Errorf("%q", mistakes)
	}
	if got := r.Report().Annotations; len(got) != MaxAnnotations || got[0] != (Annotation{Level: "error", File: "a.go", Line: 3, Title: "t", Message: "m"}) {
		t.Errorf("%d, %+v", len(got), got[0])
	}
}

func TestHarmless(t *testing.T) {
	for text, want := range map[string]string{
		"# a < b & c":                   "# a < b & c",
		"<script>alert(1)</script>":     "&lt;script>alert(1)&lt;/script>",
		"`x` \\`<img src=x>\\`":         "`x` \\`&lt;img src=x>\\`",
		"<https://a.example/>":          "<https://a.example/>",
		"[a](javascript:alert(1))":      "[a](blocked-linkalert(1))",
		"[a](JaVa\tScRiPt\\:x)":         "[a](blocked-linkx)",
		"[a](&#106;avascript:x)":        "[a](&amp;#106;avascript:x)",
		"![a](data:text/html;x)":        "![a](blocked-link/html;x)",
		"data: 5 rows":                  "data: 5 rows",
		"```html\n<b>\n```\n<b>":        "```html\n<b>\n```\n&lt;b>",
		"  ```\n```\n<b>\n```\n<i>":     "  ``\n```\n<b>\n```\n&lt;i>",
		"```\n``` x\n```\n<b>":          "```\n``` x\n```\n&lt;b>",
		"- ```\n<b>":                    "- ``\n&lt;b>",
		"~~~\n```\n<b>\n   ~~~~\n<b>\n": "~~~\n```\n<b>\n   ~~~~\n&lt;b>\n",
		"| a | b |\n|---|---|\n| 1 | 2": "| a | b |\n|---|---|\n| 1 | 2",
	} {
		if got := Harmless(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// A report is one sequence of bytes, and reads as it was written.
func TestEncodeDecode(t *testing.T) {
	r := &Reader{}
	if err := errors.Join(r.Read("gotest", strings.NewReader(goJSON)), r.ReadSummary(strings.NewReader("# done\n<b>"))); err != nil {
		t.Fatal(err)
	}
	want := r.Report()
	var one, two bytes.Buffer
	if err := errors.Join(want.Encode(&one), want.Encode(&two)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("equal reports are different bytes")
	}
	got := &Report{}
	err := Decode(&one, Visit{
		Head:       func(t Totals, c *Coverage) error { got.Totals, got.Coverage = t, c; return nil },
		Summary:    func(s string) error { got.Summary = s; return nil },
		Annotation: func(a Annotation) error { got.Annotations = append(got.Annotations, a); return nil },
		Case:       func(c Case) error { got.Cases = append(got.Cases, c); return nil },
	})
	if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
		t.Errorf("%v\n got %+v\nwant %+v", err, got, want)
	}
}

// BenchmarkJUnit reads as many cases as a stage may have.
func BenchmarkJUnit(b *testing.B) {
	var text strings.Builder
	text.WriteString("<testsuite>")
	for i := range MaxCases {
		fmt.Fprintf(&text, `<testcase classname="com.acme.shop.Cart%d" name="adds%d" file="src/cart%d.py" time="0.%d"/>`, i%500, i, i%300, i%9)
	}
	text.WriteString("</testsuite>")
	b.SetBytes(int64(text.Len()))
	b.ReportAllocs()
	for b.Loop() {
		r := &Reader{Mask: mask.Compile("correct-horse")}
		if err := r.Read("junit", strings.NewReader(text.String())); err != nil {
			b.Fatal(err)
		}
		if err := r.Report().Encode(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
