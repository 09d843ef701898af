package pipeline

import (
	"bufio"
	"encoding/json"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/buildit-dev/buildit/internal/logs"
)

// LogLine is a line of a log as JSON. A line of over 64 KiB comes in pieces.
type LogLine struct {
	Line    int64     `json:"line"`
	Time    time.Time `json:"time,omitzero"`     // when it began
	Command string    `json:"command,omitempty"` // that printed it, once the attempt has reported
	Text    string    `json:"text"`              // without its end
	Data    []byte    `json:"data,omitempty"`    // in place of the text, where that is no UTF-8
	More    bool      `json:"more,omitempty"`    // the next piece of the line follows
}

// writeLines answers a JSON object for each line.
func (s *Service) writeLines(w http.ResponseWriter, r *http.Request, l *logRead) error {
	index, err := s.logIndex(r.Context(), l)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/jsonl")
	out := bufio.NewWriter(w)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	groups := index.Groups
	lines := logs.NewSplitter(l.first, l.last, func(line logs.Line) error {
		for len(groups) > 0 && groups[0].Last < line.Number {
			groups = groups[1:]
		}
		out := LogLine{Line: line.Number, More: line.More}
		if len(groups) > 0 && groups[0].First <= line.Number {
			out.Command = groups[0].Name
		}
		if line.MS >= 0 && !index.Start.IsZero() {
			out.Time = index.Start.Add(time.Duration(line.MS) * time.Millisecond)
		}
		if utf8.Valid(line.Text) {
			out.Text = string(line.Text)
		} else {
			out.Data = line.Text
		}
		return encoder.Encode(out)
	})
	// Times are of whole parts: the splitter leaves out what is before the line.
	l.cursor.timed, l.cursor.line = true, 0
	err = l.parts(r.Context(), lines.Add)
	if err == nil {
		err = lines.Close()
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

func writeJSON(w http.ResponseWriter, kind string, value any) error {
	w.Header().Set("Content-Type", kind)
	return json.NewEncoder(w).Encode(value)
}
