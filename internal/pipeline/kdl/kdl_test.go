package kdl_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/buildit-dev/buildit/internal/pipeline/kdl"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
)

// file is a pipeline with one command.
func file(script string) string {
	d := &kdl.Document{Nodes: []*kdl.Node{kdl.New("pipeline", "p"), kdl.New("stage", "s").Add(kdl.New("run", script))}}
	text, _ := d.Write()
	return text
}

func script(t testing.TB, text string) (string, []language.Diagnostic) {
	t.Helper()
	p, diagnostics := language.Load(fstest.MapFS{"p": {Data: []byte(text)}}, "p")
	if p == nil {
		return "", diagnostics
	}
	return p.Stages[0].Run[0].Script, diagnostics
}

func TestScriptIsReadAsItWasWritten(t *testing.T) {
	for _, want := range []string{
		"make", `echo "a" 'b'`, `grep \d`, `echo "#" "##"`, "a\nb", "if a; then\n    b\nfi", "cat <<E\n\tx \"y\"\\\nE\n\nz",
		"\ta", "echo é \u202e", "x\n\n\ny", `r"#"`, "echo '\"#'\n\"##\\",
	} {
		if got, problems := script(t, file(want)); got != want {
			t.Errorf("%q came back as %q %v in\n%s", want, got, problems, file(want))
		}
	}
}

func TestLayout(t *testing.T) {
	d := &kdl.Document{Head: []string{"Head."}, Tail: []string{"Tail."}, Nodes: []*kdl.Node{
		{Name: "pipeline", Args: []any{"p"}, Apart: true},
		{Name: "on", Args: []any{"push"}, Apart: true, Inline: true, Children: []*kdl.Node{kdl.New("branches", "main")}},
		{Name: "stage", Args: []any{"s"}, Apart: true, Comments: []string{"Why."}, Children: []*kdl.Node{
			kdl.New("run", "a\nb").With("name", "both").With("x y", true), kdl.New("retry", 2),
		}},
	}}
	want := `// Head.

pipeline "p"

on "push" { branches "main"; }

// Why.
stage "s" {
    run "
        a
        b
    " name="both" "x y"=true
    retry 2
}

// Tail.
`
	text, places := d.Write()
	if text != want {
		t.Errorf("got\n%s", text)
	}
	last := places[len(places)-1]
	if last.Node.Name != "retry" || last.Parent.Name != "stage" || last.First != 13 {
		t.Errorf("retry stands at line %d", last.First)
	}
}

// FuzzText: whatever a script and a comment hold, the file is read, and the script
// says the same but for blanks at the ends of lines.
func FuzzText(f *testing.F) {
	f.Add("echo \"a\" \\ # b\n\tc\r\nd")
	f.Add("\"#\n \x00\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		if strings.TrimSpace(s) == "" || strings.Contains(s, "${") || len(s) > 4<<10 {
			return
		}
		d := &kdl.Document{Head: []string{s}, Nodes: []*kdl.Node{kdl.New("pipeline", "p"), kdl.New("stage", "s").Add(kdl.New("run", s)).Note("%s", s)}}
		text, _ := d.Write()
		got, problems := script(t, text)
		if len(problems) > 0 {
			t.Fatalf("%v in\n%s", problems, text)
		}
		if squeeze(got) != squeeze(strings.ReplaceAll(strings.ToValidUTF8(s, "?"), "\ufffd", "?")) {
			t.Errorf("%q came back as %q", s, got)
		}
	})
}

// squeeze leaves out indentation, blanks and empty lines.
func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }
