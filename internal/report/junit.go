package report

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// readJUnit reads any common dialect of JUnit's XML.
func (r *Reader) readJUnit(in io.Reader) error {
	return scanXML(in, &junit{r: r})
}

// junit follows a file.
type junit struct {
	r      *Reader
	depth  int
	suites []suite

	open  *Case // the case that has begun
	fails bool  // it has failed
	flaky bool  // a try before it failed
	skips bool
	kind  string // of message: what failed, "AssertionError"
	says  string // message
	words []byte // the beginning of the failure's text, for want of a message
	out   *output
	child string // the child of the case that text belongs to
	under int    // its depth
}

type suite struct{ name, file string }

func (j *junit) start(name string, a attributes) error {
	j.depth++
	switch {
	case j.depth == 1 && name != "testsuites" && name != "testsuite":
		return fmt.Errorf("its root is <%s>, not <testsuites> or <testsuite>: it is no JUnit file", cut(printable(name), 60))
	case j.open == nil && (name == "testsuites" || name == "testsuite"):
		s := suite{file: firstOf(a["file"], a["filepath"])}
		if name == "testsuite" {
			s.name = a["name"]
		}
		j.suites = append(j.suites, s)
	case j.open == nil && name == "testcase":
		j.begin(a)
	case j.open != nil && j.child == "":
		j.part(name, a)
	}
	return nil
}

// begin opens a case.
func (j *junit) begin(a attributes) {
	line, err := strconv.Atoi(firstOf(a["line"], a["lineno"]))
	if err != nil {
		line = 0
	}
	c := Case{Class: a["classname"], Name: a["name"], File: firstOf(a["file"], a["filepath"]), Line: line, Seconds: seconds(a["time"])}
	var names []string
	for _, s := range j.suites {
		if s.name != "" {
			names = append(names, s.name)
		}
		if c.File == "" {
			c.File = s.file
		}
	}
	c.Suite = strings.Join(names, " / ")
	*j = junit{r: j.r, depth: j.depth, suites: j.suites, open: &c}
	switch strings.ToLower(firstOf(a["status"], a["result"])) {
	case "notrun", "disabled", "skipped", "suppressed", "ignored":
		j.skips = true
	case "failed", "failure", "error":
		j.fails = true
	}
}

// part is a child of a case.
func (j *junit) part(name string, a attributes) {
	switch name {
	case "failure", "error":
		j.fails = true
		if j.says == "" && j.kind == "" {
			j.says, j.kind = a["message"], a["type"]
		}
	case "flakyFailure", "flakyError", "rerunFailure", "rerunError":
		j.flaky = j.flaky || strings.HasPrefix(name, "flaky")
		if j.says == "" && j.kind == "" {
			j.says, j.kind = a["message"], a["type"]
		}
	case "skipped":
		j.skips = true
		j.says = firstOf(j.says, a["message"])
	case "system-out", "system-err":
	default:
		return // properties, and what a dialect adds
	}
	j.child, j.under = name, j.depth
	if j.out != nil {
		j.out.write([]byte("\n"))
	}
}

// maxWords is how much of a failure's text is looked at for a message, in bytes.
const maxWords = 16 << 10

func (j *junit) text(p []byte) {
	if j.child == "" {
		return
	}
	if j.out == nil {
		j.out = j.r.newOutput()
	}
	j.out.write(p)
	if !strings.HasPrefix(j.child, "system-") && len(j.words) < maxWords {
		j.words = append(j.words, p[:min(len(p), maxWords-len(j.words))]...)
	}
}

func (j *junit) end(name string) error {
	depth := j.depth
	j.depth--
	switch {
	case j.open != nil && j.child != "":
		if depth == j.under {
			j.child = ""
		}
	case j.open != nil && name == "testcase":
		return j.finish()
	case j.open == nil && (name == "testsuites" || name == "testsuite"):
		j.suites = j.suites[:len(j.suites)-1]
	}
	return nil
}

// finish keeps the case.
func (j *junit) finish() error {
	c := *j.open
	j.open = nil
	switch {
	case j.fails:
		c.Status = Failed
	case j.skips:
		c.Status = Skipped
	default:
		c.Status, c.Flaky = Succeeded, j.flaky
	}
	says := strings.TrimSpace(j.says)
	if says == "" {
		says = firstLine(string(j.words))
	}
	if j.kind != "" && !strings.Contains(says, j.kind) {
		says = strings.TrimSuffix(j.kind+": "+says, ": ")
	}
	if c.Status == Succeeded && !c.Flaky {
		says = ""
	}
	c.Message = j.r.text(says, maxMessage)
	if c.Status == Failed || c.Flaky {
		c.Output = j.out.text()
	}
	c.Suite, c.Class, c.Name = j.r.name(c.Suite), j.r.name(c.Class), j.r.name(c.Name)
	j.r.place(&c, string(j.words))
	return j.r.add(c)
}

func firstLine(text string) string {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			return line
		}
	}
	return ""
}

// maxSeconds bounds a duration: about four months.
const maxSeconds = 1e7

// seconds reads a duration as dialects write it: 1.5, 1,5, 1,234.5.
func seconds(text string) float64 {
	text = strings.TrimSuffix(strings.TrimSpace(text), "s")
	comma, dot := strings.LastIndexByte(text, ','), strings.LastIndexByte(text, '.')
	switch {
	case comma > dot && dot < 0 && strings.Count(text, ",") == 1, comma > dot && dot >= 0:
		text = strings.ReplaceAll(text, ".", "")
		text = strings.Replace(text, ",", ".", 1)
	default:
		text = strings.ReplaceAll(text, ",", "")
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(n) || n < 0 {
		return 0
	}
	return math.Round(min(n, maxSeconds)*1e6) / 1e6
}
