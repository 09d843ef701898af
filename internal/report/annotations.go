package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// maxTitle is the longest title of an annotation, in bytes: what providers take.
const maxTitle = 255

// levels of annotations, by the words that are understood.
var levels = map[string]string{
	"notice": "notice", "note": "notice", "info": "notice", "warning": "warning", "error": "error", "failure": "error",
}

// ReadAnnotations reads JSON lines {level, file, line, column, end_line, title, message}.
// A line that is wrong is left out, and is among the mistakes; so is the first one
// beyond the limit. The error is of the file as a whole.
func (r *Reader) ReadAnnotations(in io.Reader) (mistakes []string, err error) {
	const most = 5 // mistakes that are told
	wrong := func(number int, text string) {
		if len(mistakes) < most {
			mistakes = append(mistakes, fmt.Sprintf("line %d: %s", number, text))
		}
	}
	full := false
	err = eachLine(&limitedReader{in: in, left: MaxFile}, func(number int, line []byte) error {
		if line = bytes.TrimSpace(line); len(line) == 0 || full {
			return nil
		}
		if len(r.report.Annotations) >= MaxAnnotations {
			full = true
			wrong(number, fmt.Sprintf("a stage has at most %d annotations; the others are left out", MaxAnnotations))
			return nil
		}
		var a Annotation
		if err := json.Unmarshal(line, &a); err != nil {
			wrong(number, "it is no JSON object of level, file, line, title and message")
			return nil
		}
		if a.Level == "" {
			a.Level = "notice"
		}
		if err := r.settle(&a); err != nil {
			wrong(number, err.Error())
			return nil
		}
		r.report.Annotations = append(r.report.Annotations, a)
		return nil
	})
	return mistakes, err
}

// settle checks an annotation, and makes it what is kept.
func (r *Reader) settle(a *Annotation) error {
	level := levels[a.Level]
	file := r.below(a.File)
	switch {
	case level == "":
		return fmt.Errorf("level is notice, warning or error, not %q", cut(printable(r.Mask.Text(a.Level)), 40))
	case file == "":
		return fmt.Errorf("file is a path below the workspace, not %q", cut(printable(r.Mask.Text(a.File)), 100))
	case a.Message == "" && a.Title == "":
		return errors.New("message is missing")
	}
	valid := func(n int) int {
		if n < 0 || n > maxLine {
			return 0
		}
		return n
	}
	*a = Annotation{
		Level: level, File: file, Line: valid(a.Line), Column: valid(a.Column), EndLine: valid(a.EndLine),
		Title: cut(r.name(a.Title), maxTitle), Message: r.text(firstOf(a.Message, a.Title), maxMessage),
	}
	if a.EndLine < a.Line {
		a.EndLine = 0
	}
	return nil
}
