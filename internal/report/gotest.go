package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/buildit-dev/buildit/internal/pattern"
)

// goEvent is a line of `go test -json`.
type goEvent struct {
	Action     string
	Package    string
	ImportPath string // of what a build prints
	Test       string
	Elapsed    float64
	Output     string
}

// goTest is a test, or with no name its package, that has begun.
type goTest struct {
	name   string
	status Status // "" while it runs
	took   float64
	out    *output
	words  []byte
}

// maxOpen bounds the tests that have begun and whose package has not ended.
const maxOpen = MaxCases

// goTests follows the packages of a run.
type goTests struct {
	r        *Reader
	packages map[string][]*goTest
	byName   map[[2]string]*goTest
	events   int
}

// readGoTest reads the output of `go test -json`. Lines that are no JSON, which builds
// and wrappers print in between, are passed over.
func (r *Reader) readGoTest(in io.Reader) error {
	g := &goTests{r: r, packages: map[string][]*goTest{}, byName: map[[2]string]*goTest{}}
	err := eachLine(in, func(_ int, line []byte) error {
		var e goEvent
		if !bytes.HasPrefix(line, []byte("{")) || json.Unmarshal(line, &e) != nil || e.Action == "" {
			return nil
		}
		g.events++
		return g.take(e)
	})
	if err != nil {
		return err
	}
	if g.events == 0 {
		return errors.New("it holds no line of `go test -json`")
	}
	var names []string
	for name := range g.packages {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names { // those whose end never came
		if err := g.end(name, goEvent{Action: "fail", Package: name}); err != nil {
			return err
		}
	}
	return nil
}

func (g *goTests) take(e goEvent) error {
	name := firstOf(e.Package, e.ImportPath)
	if i := strings.IndexByte(name, ' '); e.ImportPath != "" && i > 0 { // "example.com/shop [example.com/shop.test]"
		name = name[:i]
	}
	ended := e.Action == "pass" || e.Action == "fail" || e.Action == "skip"
	switch {
	case ended && e.Test == "":
		return g.end(name, e)
	case e.Action == "build-fail" || e.Action == "start" || e.Action == "bench" || e.Action == "pause" || e.Action == "cont":
		return nil
	}
	t := g.byName[[2]string{name, e.Test}]
	if t == nil {
		if len(g.byName) >= maxOpen {
			return errLimit("it has more than %d tests at once", maxOpen)
		}
		t = &goTest{name: e.Test}
		g.byName[[2]string{name, e.Test}] = t
		g.packages[name] = append(g.packages[name], t)
	}
	switch e.Action {
	case "pass":
		t.status, t.took, t.out, t.words = Succeeded, e.Elapsed, nil, nil
	case "skip":
		t.status, t.took = Skipped, e.Elapsed
	case "fail":
		t.status, t.took = Failed, e.Elapsed
	case "output", "build-output":
		if t.out == nil {
			t.out = g.r.newOutput()
		}
		t.out.write([]byte(e.Output))
		if len(t.words) < maxWords {
			t.words = append(t.words, e.Output[:min(len(e.Output), maxWords-len(t.words))]...)
		}
	}
	return nil
}

// end makes cases of a package's tests. A test with subtests is known by them, unless
// it failed and none of them did.
func (g *goTests) end(name string, e goEvent) error {
	tests := g.packages[name]
	delete(g.packages, name)
	parents, failing, failed := map[string]bool{}, map[string]bool{}, false
	for _, t := range tests {
		delete(g.byName, [2]string{name, t.name})
		if t.name == "" {
			continue
		}
		if t.status == "" {
			t.status = Failed // the package ended first: a panic, or a timeout
		}
		failed = failed || t.status == Failed
		for at := strings.LastIndexByte(t.name, '/'); at > 0; at = strings.LastIndexByte(t.name[:at], '/') {
			parents[t.name[:at]] = true
			if t.status == Failed {
				failing[t.name[:at]] = true
			}
		}
	}
	for _, t := range tests {
		switch {
		case t.name == "" && (e.Action != "fail" || failed):
		case t.name == "":
			t.name, t.status, t.took = "(package)", Failed, e.Elapsed
			failed = true
			fallthrough
		default:
			if parents[t.name] && (t.status != Failed || failing[t.name]) {
				continue
			}
			if err := g.add(name, t); err != nil {
				return err
			}
		}
	}
	if e.Action == "fail" && !failed {
		return g.add(name, &goTest{name: "(package)", status: Failed, took: e.Elapsed})
	}
	return nil
}

// goPlace is how a test's Errorf says where it is.
var goPlace = pattern.Late(`(?m)^\s*([\w./@+-]+\.go):(\d+)(?::\d+)?: ?(.*)$`)

func (g *goTests) add(name string, t *goTest) error {
	c := Case{Class: g.r.name(name), Name: g.r.name(t.name), Status: t.status, Seconds: seconds(strconv.FormatFloat(t.took, 'f', -1, 64))}
	if t.status == Failed || t.status == Skipped {
		words := string(t.words)
		says := goMessage(words)
		if t.status == Failed && says == "" {
			says = "it did not end"
			if t.name == "(package)" {
				says = "the package failed"
			}
		}
		c.Message = g.r.text(says, maxMessage)
		g.r.place(&c, words)
	}
	if at, found := g.r.goFunc(name, t.name); found && c.File == "" {
		c.File, c.Line = at.file, at.line
	}
	if t.status == Failed {
		c.Output = t.out.text()
	}
	return g.r.add(c)
}

// goMessage is what a test said first, without what the tool prints around it.
func goMessage(words string) string {
	if m := goPlace().FindStringSubmatch(words); m != nil && m[3] != "" {
		return m[3]
	}
	for line := range strings.Lines(words) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") || line == "FAIL" || strings.HasPrefix(line, "# ") {
			continue
		}
		return line
	}
	return ""
}
