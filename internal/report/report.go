package report

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/mask"
)

// Limits of what is read and kept.
const (
	MaxFile        = 50 << 20 // bytes of one file
	MaxFiles       = 10_000   // of a stage
	MaxCases       = 100_000  // of a stage
	MaxAnnotations = 1000     // of a stage
	MaxSummary     = 1 << 20  // bytes of Markdown
	maxDepth       = 64       // of elements
	maxName        = 1 << 10  // bytes of a name or path
	maxMessage     = 4 << 10  // bytes of a message
	maxOutput      = 64 << 10 // bytes of a case's output: its end
	maxOutputs     = 16 << 20 // bytes of all outputs together
	maxCovered     = 20_000   // files of a coverage
)

// Status is how a case ended.
type Status string

// What a case can end as. A case that broke off with an error has failed too.
const (
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
	Skipped   Status = "skipped"
)

// Case is one test.
type Case struct {
	Suite   string  `json:"suite,omitempty"`
	Class   string  `json:"class,omitempty"`
	Name    string  `json:"name"`
	File    string  `json:"file,omitempty"` // below the workspace where it is known to be there
	Line    int     `json:"line,omitempty"`
	Seconds float64 `json:"seconds"`
	Status  Status  `json:"status"`
	Flaky   bool    `json:"flaky,omitempty"` // it failed and then passed, on the same commit
	Message string  `json:"message,omitempty"`
	Output  string  `json:"output,omitempty"` // the end of what a case printed that failed or is flaky
}

// ID names a case over runs: suite, class and name.
func (c Case) ID() string { return c.Suite + "\x00" + c.Class + "\x00" + c.Name }

// Totals are counts of cases.
type Totals struct {
	Cases     int     `json:"cases"`
	Succeeded int     `json:"succeeded"`
	Failed    int     `json:"failed"`
	Skipped   int     `json:"skipped"`
	Flaky     int     `json:"flaky"` // of those that succeeded
	Seconds   float64 `json:"seconds"`
}

// Add counts a case.
func (t *Totals) Add(c Case) {
	t.Cases++
	t.Seconds += c.Seconds
	switch c.Status {
	case Failed:
		t.Failed++
	case Skipped:
		t.Skipped++
	default:
		t.Succeeded++
		if c.Flaky {
			t.Flaky++
		}
	}
}

// String is the counts in words: 12, 2 failed, 1 flaky.
func (t Totals) String() string {
	text := fmt.Sprintf("%d", t.Cases)
	for _, part := range []struct {
		n    int
		word string
	}{{t.Failed, "failed"}, {t.Flaky, "flaky"}, {t.Skipped, "skipped"}} {
		if part.n > 0 {
			text += fmt.Sprintf(", %d %s", part.n, part.word)
		}
	}
	return text
}

// Plus is the sum of two counts.
func (t Totals) Plus(o Totals) Totals {
	return Totals{
		t.Cases + o.Cases, t.Succeeded + o.Succeeded, t.Failed + o.Failed, t.Skipped + o.Skipped, t.Flaky + o.Flaky,
		t.Seconds + o.Seconds,
	}
}

// Annotation is a word about a line of a file.
type Annotation struct {
	Level   string `json:"level"` // notice, warning, error
	File    string `json:"file"`  // below the workspace
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	EndLine int    `json:"end_line,omitempty"`
	Title   string `json:"title,omitempty"`
	Message string `json:"message"`
}

// Coverage is how much of the code the tests have reached.
type Coverage struct {
	Unit    string    `json:"unit"` // statements (Go) or lines
	Covered int       `json:"covered"`
	Total   int       `json:"total"`
	Percent float64   `json:"percent"`
	Files   []Covered `json:"files,omitempty"`
}

// Covered is the part of one file.
type Covered struct {
	File    string `json:"file"`
	Covered int    `json:"covered"`
	Total   int    `json:"total"`
}

// Report is all that a stage has reported.
type Report struct {
	Totals      Totals
	Coverage    *Coverage
	Summary     string // Markdown, made harmless
	Annotations []Annotation
	Cases       []Case // failed first, then flaky, then the slowest
}

// Empty tells whether there is nothing to keep.
func (r *Report) Empty() bool {
	return len(r.Cases) == 0 && len(r.Annotations) == 0 && r.Coverage == nil && r.Summary == ""
}

// rank is the order of cases: what people look for stands first.
func rank(status Status, flaky bool) int {
	switch {
	case status == Failed:
		return 0
	case flaky:
		return 1
	case status == Skipped:
		return 3
	}
	return 2
}

// Compare is the order in which cases are shown: failed, flaky, the slowest.
func Compare(a, b Case) int {
	return cmp.Or(
		cmp.Compare(rank(a.Status, a.Flaky), rank(b.Status, b.Flaky)), cmp.Compare(b.Seconds, a.Seconds),
		strings.Compare(a.Suite, b.Suite), strings.Compare(a.Class, b.Class), strings.Compare(a.Name, b.Name),
	)
}

// Reader reads the files of a stage into one Report.
type Reader struct {
	Mask *mask.Set
	// Root is the absolute path of the workspace, and Files is what is in it. Both may
	// be zero: then files are called what the report calls them.
	Root  string
	Files fs.FS

	report  Report
	outputs int // bytes kept
	known   map[string]bool
	goTests map[string]map[string]goFunc // by folder, then by name
	cover   coverage
}

// limitError is what is beyond a limit.
type limitError struct{ text string }

func (l *limitError) Error() string { return l.text }

func errLimit(format string, args ...any) error { return &limitError{fmt.Sprintf(format, args...)} }

// limitOf is the limit that an error speaks of, or nil.
func limitOf(err error) error {
	var limit *limitError
	if errors.As(err, &limit) {
		return limit
	}
	return nil
}

// Read reads one file of a kind: junit, gotest, coverage, sarif. Of a file that fails
// nothing is kept; the error is a sentence about the file, without its name.
func (r *Reader) Read(kind string, in io.Reader) error {
	cases, annotations, outputs := len(r.report.Cases), len(r.report.Annotations), r.outputs
	limited := &limitedReader{in: in, left: MaxFile}
	var err error
	switch kind {
	case "junit":
		err = r.readJUnit(limited)
	case "gotest":
		err = r.readGoTest(limited)
	case "coverage":
		err = r.readCoverage(limited)
	case "sarif":
		err = r.readSARIF(limited)
	default:
		err = fmt.Errorf("there is no report of kind %q", kind)
	}
	if err != nil {
		clear(r.report.Cases[cases:])
		r.report.Cases, r.report.Annotations, r.outputs = r.report.Cases[:cases], r.report.Annotations[:annotations], outputs
	}
	return err
}

// Report is what has been read. Failed cases have become annotations, behind those
// that were asked for.
func (r *Reader) Report() *Report {
	out := r.report
	slices.SortFunc(out.Cases, func(a, b Case) int { return cmp.Or(Compare(a, b), strings.Compare(a.File, b.File)) })
	for _, c := range out.Cases {
		out.Totals.Add(c)
		if c.Status == Failed && c.File != "" && len(out.Annotations) < MaxAnnotations {
			out.Annotations = append(out.Annotations, Annotation{
				Level: "error", File: c.File, Line: c.Line, Title: cut(c.Title(), maxTitle), Message: firstOf(c.Message, "failed"),
			})
		}
	}
	out.Coverage = r.cover.report()
	return &out
}

// Title is a case as people call it.
func (c Case) Title() string {
	if c.Class == "" || strings.HasPrefix(c.Name, c.Class) {
		return c.Name
	}
	return c.Class + " " + c.Name
}

// add keeps a case.
func (r *Reader) add(c Case) error {
	if len(r.report.Cases) >= MaxCases {
		return errLimit("it has more cases than the %d that a stage may have", MaxCases)
	}
	if c.Status != Failed && !c.Flaky {
		c.Output = ""
	}
	if r.outputs += len(c.Output); r.outputs > maxOutputs {
		r.outputs -= len(c.Output)
		c.Output = ""
	}
	r.report.Cases = append(r.report.Cases, c)
	return nil
}

// text is foreign text as it is kept: masked, valid, of at most limit bytes.
func (r *Reader) text(s string, limit int) string {
	return cut(printable(r.Mask.Text(s)), limit)
}

// name is text of one line.
func (r *Reader) name(s string) string {
	return r.text(strings.Join(strings.FieldsFunc(s, func(c rune) bool { return c == '\n' || c == '\r' || c == '\t' }), " "), maxName)
}

// printable drops what no page can show: control characters but tab and line end,
// marks that turn the direction of text, and bytes that are no UTF-8.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\t':
			return c
		case c < ' ', c >= 0x7f && c < 0xa0, c >= 0x202a && c <= 0x202e, c >= 0x2066 && c <= 0x2069:
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// cut shortens text to at most limit bytes, at the beginning of a character.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-len("…")], "") + "…"
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// limitedReader fails where a file goes on after what is allowed.
type limitedReader struct {
	in   io.Reader
	left int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, errLimit("it has more than %d bytes (50 MB)", MaxFile)
	}
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.in.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errLimit("it has more than %d bytes (50 MB)", MaxFile)
	}
	return n, err
}

// output keeps the end of what is written to it, masked on the way, so that a cut
// never shows a part of a secret.
type output struct {
	filter *mask.Filter // nil where there is nothing to mask
	tail   []byte
}

func (r *Reader) newOutput() *output {
	o := new(output)
	if r.Mask != nil {
		o.filter = mask.NewFilter(r.Mask, (*tail)(o))
	}
	return o
}

func (o *output) write(p []byte) {
	if o.filter == nil {
		o.keep(p)
		return
	}
	if _, err := o.filter.Write(p); err != nil {
		o.tail = nil // keep does not fail
	}
}

// keep holds at most twice what is wanted.
func (o *output) keep(p []byte) {
	o.tail = append(o.tail, p...)
	if len(o.tail) > 2*maxOutput {
		o.tail = append(o.tail[:0], o.tail[len(o.tail)-maxOutput:]...)
	}
}

// text ends the output.
func (o *output) text() string {
	if o == nil {
		return ""
	}
	if o.filter != nil {
		if err := o.filter.Close(); err != nil {
			return ""
		}
	}
	text := o.tail
	if len(text) > maxOutput {
		text = text[len(text)-maxOutput:]
		for len(text) > 0 && text[0]&0xc0 == 0x80 { // the rest of a character
			text = text[1:]
		}
	}
	kept := printable(string(text))
	return strings.Trim(cut(kept, maxOutput), "\n") // marks of broken bytes are longer than these
}

// tail is an output as the end of a filter.
type tail output

func (t *tail) Write(p []byte) (int, error) {
	(*output)(t).keep(p)
	return len(p), nil
}
