package report

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The form of a report as an object: gzip of JSON lines. The first is a head; then
// come the summary, the annotations and the cases, each in its order, so that who
// wants what stands first reads no further.
type line struct {
	V          int         `json:"v,omitempty"`
	Totals     *Totals     `json:"totals,omitempty"`
	Coverage   *Coverage   `json:"coverage,omitempty"`
	Summary    string      `json:"summary,omitempty"`
	Annotation *Annotation `json:"annotation,omitempty"`
	Case       *Case       `json:"case,omitempty"`
}

// Limits of a report as an object.
const (
	version = 1
	maxLong = 8 << 20   // bytes of a line: a summary, escaped
	maxForm = 512 << 20 // bytes of all lines
)

// Encode writes the report in its one form: equal reports are equal bytes.
func (r *Report) Encode(to io.Writer) error {
	zip, err := gzip.NewWriterLevel(to, gzip.BestSpeed)
	if err != nil {
		return err
	}
	lines := json.NewEncoder(zip)
	lines.SetEscapeHTML(false)
	err = lines.Encode(line{V: version, Totals: &r.Totals, Coverage: r.Coverage})
	if err == nil && r.Summary != "" {
		err = lines.Encode(line{Summary: r.Summary})
	}
	for i := 0; err == nil && i < len(r.Annotations); i++ {
		err = lines.Encode(line{Annotation: &r.Annotations[i]})
	}
	for i := 0; err == nil && i < len(r.Cases); i++ {
		err = lines.Encode(line{Case: &r.Cases[i]})
	}
	return errors.Join(err, zip.Close())
}

// Visit is told what a report holds, in its order. A function that is nil is not told.
// ErrEnough ends the reading.
type Visit struct {
	Head       func(Totals, *Coverage) error
	Summary    func(string) error
	Annotation func(Annotation) error
	Case       func(Case) error
}

// ErrEnough says that no more is wanted.
var ErrEnough = errors.New("enough")

// Decode reads what Encode has written. It comes from the machine that ran the
// commands: counts and lengths are checked, and text is made harmless again.
func Decode(in io.Reader, visit Visit) error {
	zip, err := gzip.NewReader(in)
	if err != nil {
		return fmt.Errorf("it is no report: %w", err)
	}
	lines := bufio.NewScanner(io.LimitReader(zip, maxForm))
	lines.Buffer(make([]byte, 0, 64<<10), maxLong)
	d := decoder{visit: visit}
	for lines.Scan() {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("it is no report: line %d: %w", d.lines+1, err)
		}
		if err := d.take(l); errors.Is(err, ErrEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("it is no report: %w", err)
	}
	if d.lines == 0 {
		return errors.New("it is no report: it is empty")
	}
	return nil
}

type decoder struct {
	visit              Visit
	lines              int
	cases, annotations int
}

func (d *decoder) take(l line) error {
	d.lines++
	none := &Reader{} // masks nothing: that is done
	switch {
	case d.lines == 1 && l.V == version && l.Totals != nil:
		if d.visit.Head != nil {
			return d.visit.Head(*l.Totals, l.Coverage)
		}
	case d.lines == 1:
		return fmt.Errorf("it is no report of version %d", version)
	case l.Summary != "":
		if d.visit.Summary != nil {
			return d.visit.Summary(Harmless(printable(cut(l.Summary, 2*MaxSummary))))
		}
	case l.Annotation != nil:
		if d.annotations++; d.annotations > MaxAnnotations {
			return fmt.Errorf("it has more than %d annotations", MaxAnnotations)
		}
		if d.visit.Annotation != nil && none.settle(l.Annotation) == nil {
			return d.visit.Annotation(*l.Annotation)
		}
	case l.Case != nil:
		if d.cases++; d.cases > MaxCases {
			return fmt.Errorf("it has more than %d cases", MaxCases)
		}
		if d.visit.Case != nil {
			return d.visit.Case(none.checked(*l.Case))
		}
	}
	return nil
}

// checked is a case within its limits.
func (r *Reader) checked(c Case) Case {
	c.Suite, c.Class, c.Name, c.File = r.name(c.Suite), r.name(c.Class), r.name(c.Name), r.below(c.File)
	c.Message, c.Output = r.text(c.Message, maxMessage), r.text(c.Output, maxOutput)
	if c.Status != Failed && c.Status != Skipped {
		c.Status = Succeeded
	}
	c.Flaky = c.Flaky && c.Status == Succeeded
	if !(c.Seconds >= 0 && c.Seconds <= maxSeconds) {
		c.Seconds = 0
	}
	if c.Line < 0 || c.Line > maxLine {
		c.Line = 0
	}
	return c
}
