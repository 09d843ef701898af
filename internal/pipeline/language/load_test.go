package language

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// load reads a text as a pipeline file, with further files as pairs of name and text.
func load(t testing.TB, text string, more ...string) (*Pipeline, []Diagnostic) {
	t.Helper()
	tree := fstest.MapFS{"p.kdl": {Data: []byte(text)}}
	for i := 0; i+1 < len(more); i += 2 {
		tree[more[i]] = &fstest.MapFile{Data: []byte(more[i+1])}
	}
	return Load(tree, "p.kdl")
}

// valid is load of a file that has nothing to be said about.
func valid(t testing.TB, text string, more ...string) *Pipeline {
	t.Helper()
	p, found := load(t, text, more...)
	if len(found) > 0 {
		t.Fatalf("%s", strings.ReplaceAll(said(found), " | ", "\n"))
	}
	return p
}

// says compares what is said about a file.
func says(t testing.TB, text, want string, more ...string) {
	t.Helper()
	if _, found := load(t, text, more...); said(found) != want {
		t.Errorf("%s\n got %s\nwant %s", text, said(found), want)
	}
}

// The seed's file works as it is. It is a copy, byte for byte, in testdata.
func TestSeedFileParsesUnchanged(t *testing.T) {
	p, found := Load(os.DirFS("testdata/valid"), "seed.kdl")
	if p == nil || len(found) > 0 {
		t.Fatal(said(found))
	}
	test, build, deploy := p.Stages[0], p.Stages[1], p.Stages[2]
	if p.Name != "my-app" || test.ImageT != "node:20" || test.Run[1].Script != "npm test" {
		t.Errorf("%+v", test)
	}
	if build.Needs[0].Stage != "test" || build.Needs[0].On != "succeeded" || build.Artifacts[0].ValueT != "$IMAGE" {
		t.Errorf("%+v", build)
	}
	if deploy.Environment.NameT != "production" || !slices.Equal(deploy.When[0].Branch, []string{"main"}) || deploy.Timeout != time.Hour {
		t.Errorf("%+v", deploy)
	}
	if _, used := build.Nodes["artifact"]; !used || p.Timeout != 24*time.Hour || len(p.Triggers()) != 3 {
		t.Errorf("%+v", p)
	}
}

// TestOwnInvalidFiles compares the files of testdata/invalid, each a mistake that
// people make who know another system, with what they must say.
func TestOwnInvalidFiles(t *testing.T) {
	everyInvalidFile(t, os.DirFS("testdata"), "invalid")
}

// TestValidateKnowsAllOfLevelM: our own examples, with every node of level M in
// one of them, say nothing at all.
func TestValidateKnowsAllOfLevelM(t *testing.T) {
	tree := os.DirFS("testdata/valid")
	used := map[string]bool{}
	for _, name := range []string{"seed.kdl", "every-node.kdl"} {
		p, found := Load(tree, name)
		if p == nil || len(found) > 0 {
			t.Fatalf("%s: %s", name, said(found))
		}
		for key := range p.Nodes {
			used["top "+key] = true
		}
		for _, s := range p.Stages {
			for key := range s.Nodes {
				used["stage "+key] = true
			}
		}
	}
	for _, r := range fileRule.children {
		if r.level == must && !used["top "+r.name] {
			t.Errorf("no example uses %s", r.name)
		}
	}
	for _, r := range stageChildren {
		if r.level == must && !used["stage "+r.name] {
			t.Errorf("no example uses %s in a stage", r.name)
		}
	}
}

func TestAllProblemsOfAFileAtOnce(t *testing.T) {
	var text strings.Builder
	text.WriteString("pipeline \"p\"\n")
	for i := range 150 {
		fmt.Fprintf(&text, "stage \"s%d\" { imgae \"x\"; run \"true\"; }\n", i)
	}
	_, found := load(t, text.String())
	if len(found) != maxProblems || found[0].Line != 2 || found[99].Line != 101 {
		t.Errorf("%d diagnostics, from line %d to %d", len(found), found[0].Line, found[len(found)-1].Line)
	}
}

// A reader with a buffer of 64 KiB misreads files above 128 KiB at some alignments:
// what begins at one offset of a buffer is cut at another.
func TestFileOf256KiBAtEveryAlignmentIsReadRight(t *testing.T) {
	t.Parallel()
	for shift := range 24 {
		var text strings.Builder
		fmt.Fprintf(&text, "// %s\npipeline \"p\"\n", strings.Repeat("x", shift))
		stages := 0
		for text.Len() < 250<<10 {
			fmt.Fprintf(&text, "stage \"stage-%04d\" {\n    run %q name=\"name-%04d\"\n}\n", stages, strings.Repeat("y", 300), stages)
			stages++
		}
		p, found := load(t, text.String())
		if p == nil || len(p.Stages) != stages {
			t.Fatalf("shift %d: %s", shift, said(found))
		}
		for i, s := range p.Stages {
			if name := fmt.Sprintf("name-%04d", i); s.Run[0].Name != name || len(s.Run[0].Script) != 300 {
				t.Fatalf("shift %d: stage %d has %q", shift, i, s.Run[0].Name)
			}
		}
	}
}

// positions stand in the way of comparing what was read from different texts.
func withoutPositions(p *Pipeline) string {
	return reflect.ValueOf(*p).FieldByName("Name").String() + fmt.Sprint(len(p.Stages), p.Stages[0].Run[0].Script, p.Stages[0].Env, p.Stages[0].Needs)
}

func TestCRLFFileRunsLikeLFFile(t *testing.T) {
	text := "pipeline \"p\"\nstage \"a\" {\n    run \"\n        one\n        two\n    \"\n    env A=\"1\\n2\"\n}\n"
	unix, windows := valid(t, text), valid(t, strings.ReplaceAll(text, "\n", "\r\n"))
	if a, b := withoutPositions(unix), withoutPositions(windows); a != b {
		t.Errorf("%q is not %q", a, b)
	}
	if windows.Stages[0].Run[0].Script != "one\ntwo" {
		t.Errorf("%q", windows.Stages[0].Run[0].Script)
	}
}

func TestByteOrderMark(t *testing.T) {
	valid(t, "\ufeffpipeline \"p\"\nstage \"a\" { run \"true\"; }\n")
}

func TestEmptyFileAndOnlyComments(t *testing.T) {
	for _, text := range []string{"", "\n\n", "// nothing\n", "/* nothing */", "\ufeff", "/- pipeline \"p\"\n"} {
		says(t, text, `1:1 no-pipeline: the file must start with its name (help: pipeline "my-app")`)
	}
}

func TestStruckOutStageIsGone(t *testing.T) {
	p := valid(t, "pipeline \"p\"\n/- stage \"x\" {\n    run \"x\"\n}\nstage \"a\" {\n    run \"a\" /- name=\"n\"\n    /- timeout \"1m\"\n}\n")
	if len(p.Stages) != 1 || p.Stages[0].Name != "a" || p.Stages[0].Run[0].Name != "" || p.Stages[0].Timeout != time.Hour {
		t.Errorf("%+v", p.Stages[0])
	}
}

func TestCommentedBraceInString(t *testing.T) {
	p := valid(t, "pipeline \"p\"\nstage \"a\" { // }\n    run \"echo } // { /* \" /* } */\n}\n")
	if got := p.Stages[0].Run[0].Script; got != "echo } // { /* " {
		t.Errorf("%q", got)
	}
}

func TestRawStringWithHashes(t *testing.T) {
	p := valid(t, "pipeline \"p\"\nstage \"a\" {\n    run r\"a\\d\"\n    run r##\"a \"# b\"##\n}\n")
	if a, b := p.Stages[0].Run[0].Script, p.Stages[0].Run[1].Script; a != `a\d` || b != `a "# b` {
		t.Errorf("%q, %q", a, b)
	}
}

func TestScriptIsDedented(t *testing.T) {
	for script, want := range map[string]string{
		"one":                                 "one",
		"\n    one\n      two\n\n    three\n": "one\n  two\n\nthree",
		"\n\tone\n\t\ttwo\n\t":                "one\n\ttwo",
		"\n  one\n\ttwo\n":                    "  one\n\ttwo",
		"\n\n  one\n":                         "\none",
		"  one\n  two":                        "  one\n  two",
		"\n":                                  "",
	} {
		if got := dedent(script); got != want {
			t.Errorf("%q became %q, want %q", script, got, want)
		}
	}
}

func TestHeredocInScriptSurvives(t *testing.T) {
	p := valid(t, "pipeline \"p\"\nstage \"a\" {\n    run \"\n        cat <<EOF\n          a\n        EOF\n    \"\n}\n")
	if got := p.Stages[0].Run[0].Script; got != "cat <<EOF\n  a\nEOF" {
		t.Errorf("%q", got)
	}
}

// TestGeneratedLimits are the files that are too large to keep.
func TestGeneratedLimits(t *testing.T) {
	const small = "pipeline \"p\"\nstage \"a\" { run \"true\"; }\n"
	says(t, small+strings.Repeat("/", 262_145-len(small)),
		"1:1 file-too-large: a pipeline file has at most 262144 bytes; this one has 262145 (help: move parts of it into files and include them)")
	valid(t, small+strings.Repeat("/", 262_144-len(small)))
	says(t, "pipeline \"p\"\nstage \"a\" { run \""+strings.Repeat("x", 32_769)+"\"; }\n",
		"2:17 limit: a command has at most 32768 bytes; this one has 32769 (help: put it into a script of the repository)")
	valid(t, "pipeline \"p\"\nstage \"a\" { run \""+strings.Repeat("x", 32_768)+"\"; }\n")
	says(t, "pipeline \"p\"\n"+strings.Repeat("a { ", 17)+strings.Repeat("}; ", 16)+"}\n",
		"2:67 nesting-too-deep: blocks nest at most 16 deep (help: no node of the language needs more than five)")
}

func TestThousandStages(t *testing.T) {
	if p := valid(t, chain(1000)); len(p.Stages) != 1000 {
		t.Errorf("%d stages", len(p.Stages))
	}
	says(t, chain(1001), "5002:7 limit: a pipeline has at most 1,000 stages after matrices; this one has 1,001 (help: split the pipeline: on \"upstream\" starts one after another)")
}

func TestThreeThousandStagesRefused(t *testing.T) {
	var text strings.Builder
	text.WriteString("pipeline \"p\"\n")
	for i := range 3000 {
		fmt.Fprintf(&text, "stage \"s%d\" { run \"true\"; }\n", i)
	}
	_, found := load(t, text.String())
	if len(found) != 1 || !strings.Contains(found[0].Message, "3,000") {
		t.Error(said(found))
	}
}

func TestCycleIsPrintedAsPath(t *testing.T) {
	says(t, "pipeline \"p\"\nstage \"x\" { run \"x\"; }\nstage \"a\" needs=\"c\" { run \"x\"; }\nstage \"b\" {\n    needs \"x\" \"a\"\n    run \"x\"\n}\nstage \"c\" needs=\"b\" { run \"x\"; }\nstage \"d\" needs=\"c\" { run \"x\"; }\n",
		"3:17 cycle: these stages wait for each other: a -> c -> b -> a (help: remove one of these needs (lines 3, 5, 8))")
}

func TestTwoStagesSameArtifactName(t *testing.T) {
	says(t, "pipeline \"p\"\nstage \"a\" { run \"x\"; artifact \"bin\" path=\"x\"; }\nstage \"b\" { run \"x\"; artifact \"bin\" path=\"x\"; }\n",
		`3:31 duplicate-artifact: there is already an artifact "bin" (stage "a", line 2) (help: rename one)`)
}

func TestReservedNameRefused(t *testing.T) {
	const want = "reserved-env: names that begin with BUILDIT_ are set by BuildIt (help: choose another name)"
	for place, text := range map[string]string{
		"2:5 ":  `env BUILDIT_X="1"`,
		"2:7 ":  `env { BUILDIT_X "1"; }`,
		"2:5  ": `env "BUILDIT_X" "1"`,
	} {
		says(t, "pipeline \"p\"\n"+text+"\nstage \"a\" { run \"x\"; }\n", strings.TrimSpace(place)+" "+want)
	}
}

func TestTemplateAndDefaults(t *testing.T) {
	p := valid(t, `pipeline "p"
defaults { image "alpine:3"; timeout "5m"; env A="defaults" B="defaults"; }
template "t" {
    param "dir"
    param "level" default=2
    image "golang:1.26"
    dir "${with.dir}"
    env B="template" C="template"
    run "first"
}
stage "a" use="t" {
    with dir="server"
    env C="stage"
    run "second"
}
stage "b" { run "x"; }
`)
	a, b := p.Stages[0], p.Stages[1]
	if a.ImageT != "golang:1.26" || b.ImageT != "alpine:3" || a.Timeout != 5*time.Minute {
		t.Errorf("%+v", a)
	}
	if want := map[string]string{"A": "defaults", "B": "template", "C": "stage"}; !reflect.DeepEqual(a.Env, want) {
		t.Errorf("%v", a.Env)
	}
	if want := map[string]string{"dir": "server", "level": "2"}; !reflect.DeepEqual(a.With, want) {
		t.Errorf("%v", a.With)
	}
	if len(a.Run) != 2 || a.Run[0].Script != "first" || a.Run[1].Script != "second" {
		t.Errorf("%+v", a.Run)
	}
}

func TestIncludes(t *testing.T) {
	p := valid(t, "pipeline \"p\"\ninclude \"ci/a.kdl\"\nstage \"b\" needs=\"a\" { run \"x\"; }\n",
		"ci/a.kdl", "include \"ci/b.kdl\"\nstage \"a\" use=\"t\"\n", "ci/b.kdl", "template \"t\" { run \"x\"; }\n")
	if len(p.Stages) != 2 || p.Stages[0].Name != "a" || p.Stages[0].Pos.File != "ci/a.kdl" {
		t.Errorf("%+v", p.Stages)
	}
	says(t, "pipeline \"p\"\ninclude \"a.kdl\"\nstage \"x\" { run \"x\"; }\n", "1:9 include-cycle: these files include each other: a.kdl -> b.kdl -> a.kdl (help: remove one of the includes)",
		"a.kdl", "include \"b.kdl\"\n", "b.kdl", "include \"a.kdl\"\n")
	_, found := load(t, "pipeline \"p\"\ninclude \"a.kdl\"\nstage \"x\" { run \"x\"; }\n", "a.kdl", "\n\non \"push\"\n")
	if len(found) != 1 || found[0].File != "a.kdl" || found[0].Line != 3 || found[0].IncludedFrom == nil || found[0].IncludedFrom.Line != 2 {
		t.Errorf("%+v", found)
	}
}

func TestLacks(t *testing.T) {
	p := valid(t, "pipeline \"p\"\nconcurrency \"g\"\nstage \"a\" {\n    service \"redis:8\"\n    run \"x\"\n}\nstage \"b\" manual=true { run \"x\"; }\n")
	var got []string
	for _, m := range p.Lacks("service", "approval", "concurrency", "matrix") {
		got = append(got, fmt.Sprintf("%d:%d %s", m.Pos.Line, m.Pos.Column, m.Node))
	}
	if want := []string{"2:1 concurrency", "4:5 service", "7:11 approval"}; !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if len(p.Missing) != 1 || len(p.Stages[0].Missing) != 1 {
		t.Errorf("%+v, %+v", p.Missing, p.Stages[0].Missing)
	}
}
