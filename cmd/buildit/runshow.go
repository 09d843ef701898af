package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/wiring/localrun"
)

// runShow prints a run as it goes: for people each line behind the name of its
// stage, with --json one object a line.
type runShow struct {
	out    io.Writer
	asJSON bool
	began  time.Time

	mu     sync.Mutex
	names  map[pipeline.StageKey]string
	width  int
	lines  map[pipeline.StageKey]*openLine
	buffer bytes.Buffer
	err    error
}

// openLine is the beginning of a line whose end has not come, and its number.
type openLine struct {
	text   []byte
	number int64
}

func newRunShow(env *environment, flags runFlags, file *language.Pipeline) *runShow {
	s := &runShow{
		out: env.stdout, asJSON: flags.json, began: time.Now(),
		names: make(map[pipeline.StageKey]string), lines: make(map[pipeline.StageKey]*openLine),
	}
	if file == nil {
		return s
	}
	for _, stage := range file.Stages {
		for _, cell := range stage.Cells() {
			s.names[pipeline.StageKey(cell.Key)] = cell.Name
			s.width = max(s.width, utf8.RuneCountInString(cell.Name))
		}
	}
	return s
}

// RunChanged is told in the end, with the result.
func (s *runShow) RunChanged(pipeline.Run) {}

// StageChanged shows a step of a stage.
func (s *runShow) StageChanged(_ pipeline.RunID, st pipeline.Stage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asJSON {
		s.object(map[string]any{
			"event": "stage", "stage": st.Name, "key": st.Key, "status": st.Status, "attempt": st.Attempt,
			"reason": st.Reason, "why": st.Why,
		})
		s.flush()
		return
	}
	for _, text := range stageLines(st) {
		s.line(st.Key, "--", text)
	}
	s.flush()
}

// stageLines are what people want to hear of a step of a stage: that it began, and
// how it ended.
func stageLines(st pipeline.Stage) []string {
	switch {
	case st.Status == pipeline.StageRunning:
		lines := make([]string, 0, len(st.Notices))
		for _, n := range st.Notices {
			lines = append(lines, fmt.Sprintf("notice: %s [%s]", n.Text, n.Code))
		}
		return lines
	case st.Status == pipeline.StageQueued && st.Attempt > 1:
		return []string{fmt.Sprintf("%s; attempt %d follows", strings.TrimSuffix(st.Why, "."), st.Attempt)}
	case !st.Status.Final(), st.Reason == "not-asked": // who names stages knows that others do not run
		return nil
	}
	text := string(st.Status)
	if st.Reason == reasonUnchanged {
		text = reasonUnchanged
	}
	if why := ending(st); why != "" {
		text += ": " + why
	}
	if !st.Started.IsZero() {
		text += fmt.Sprintf(" (%s)", st.Ended.Sub(st.Started).Round(time.Millisecond))
	}
	return []string{text}
}

func ending(st pipeline.Stage) string {
	switch {
	case st.Reason == "ok":
		return ""
	case st.Why != "":
		return st.Why
	}
	return st.Reason
}

// Log shows the whole lines of a piece of a log, and keeps the rest for the next.
func (s *runShow) Log(key pipeline.StageKey, _ int, text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	open := s.lines[key]
	if open == nil {
		open = new(openLine)
		s.lines[key] = open
	}
	for {
		end := bytes.IndexByte(text, '\n')
		if end < 0 {
			break
		}
		s.logLine(key, open, text[:end])
		text = text[end+1:]
	}
	if open.text = append(open.text, text...); len(open.text) > longLine {
		s.logLine(key, open, nil)
	}
	s.flush()
}

// longLine is how much of a line without an end is held back, in bytes.
const longLine = 64 << 10

// logLine shows a line, of what was held back and the rest of it.
func (s *runShow) logLine(key pipeline.StageKey, open *openLine, rest []byte) {
	open.number++
	if len(open.text) > 0 {
		open.text = append(open.text, rest...)
		rest = open.text
	}
	if s.asJSON {
		s.object(logObject{"log", s.names[key], open.number, strings.ToValidUTF8(string(rest), "\uFFFD")})
	} else {
		s.prefix(key, "| ")
		s.buffer.Write(bytes.TrimSuffix(rest, []byte{'\r'}))
		s.buffer.WriteByte('\n')
	}
	open.text = open.text[:0]
}

type logObject struct {
	Event string `json:"event"`
	Stage string `json:"stage"`
	Line  int64  `json:"line"`
	Text  string `json:"text"`
}

// LogEnd shows a last line that has no end.
func (s *runShow) LogEnd(key pipeline.StageKey, _ int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if open := s.lines[key]; open != nil && len(open.text) > 0 {
		s.logLine(key, open, nil)
		s.flush()
	}
	delete(s.lines, key)
}

// end shows the result; its last line begins with the status.
func (s *runShow) end(result localrun.Result) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	run := result.Run
	took := time.Since(s.began)
	if s.asJSON {
		s.object(map[string]any{
			"event": "result", "status": run.Status, "reason": run.Reason, "why": run.Why, "seconds": took.Seconds(),
			"run": run, "stages": result.Stages, "artifacts": result.Artifacts,
			"tests": result.Tests, "failed_tests": result.Failed, "summaries": result.Summaries,
		})
		s.flush()
		return s.err
	}
	for _, p := range run.Problems {
		if p.File == "" { // not of the file: of what was asked
			continue
		}
		fmt.Fprintf(&s.buffer, "%s:%d:%d: error: %s [%s]\n", p.File, p.Line, p.Column, p.Detail, p.Code)
		if p.Help != "" {
			fmt.Fprintf(&s.buffer, "  help: %s\n", p.Help)
		}
	}
	s.reports(result)
	s.buffer.WriteString(string(run.Status))
	if run.Status == pipeline.Errored || run.Status == pipeline.Skipped {
		if run.Why != "" && run.Reason != "" {
			fmt.Fprintf(&s.buffer, ": %s [%s]", strings.TrimSuffix(run.Why, "."), run.Reason)
		}
	}
	fmt.Fprintf(&s.buffer, " (%s, %s)\n", stageCount(result.Stages), took.Round(time.Millisecond))
	s.flush()
	return s.err
}

func stageCount(stages []pipeline.Stage) string {
	count := make(map[pipeline.StageStatus]int)
	for _, st := range stages {
		count[st.Status]++
	}
	if len(stages) == 1 && unchanged(stages) == 1 {
		return "1 stage, unchanged"
	}
	if len(stages) == 1 {
		return "1 stage"
	}
	text := fmt.Sprintf("%d stages", len(stages))
	if n := unchanged(stages); n > 0 {
		text += fmt.Sprintf(", %d unchanged", n)
	}
	for _, status := range []pipeline.StageStatus{pipeline.StageFailed, pipeline.StageErrored, pipeline.StageTimedOut, pipeline.StageCanceled, pipeline.StageAllowed, pipeline.StageSkipped} {
		if count[status] > 0 {
			text += fmt.Sprintf(", %d %s", count[status], status)
		}
	}
	return text
}

// reasonUnchanged is the reason of a stage that did not run again.
const reasonUnchanged = "unchanged"

func unchanged(stages []pipeline.Stage) (count int) {
	for _, st := range stages {
		if st.Reason == reasonUnchanged {
			count++
		}
	}
	return count
}

// invalid is the result of a file that cannot be run; the diagnostics themselves
// are in it with --json alone.
func (s *runShow) invalid(reason string, diagnostics []language.Diagnostic) error {
	if s.asJSON {
		s.object(map[string]any{"event": "result", "status": pipeline.Errored, "reason": reason, "diagnostics": diagnostics})
	} else {
		errs := 0
		for _, d := range diagnostics {
			if d.Severity == "error" {
				errs++
			}
		}
		fmt.Fprintf(&s.buffer, "%s: the file has %d %s [%s]\n", pipeline.Errored, errs, plural(errs, "error"), reason)
	}
	s.flush()
	return s.err
}

// broken is the result of a run that could not begin, or not go on.
func (s *runShow) broken(cause error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	reason := "internal"
	if errors.Is(cause, localrun.ErrBusy) {
		reason = "busy"
	}
	if s.asJSON {
		s.object(map[string]any{"event": "result", "status": pipeline.Errored, "reason": reason, "why": cause.Error()})
	} else {
		fmt.Fprintf(&s.buffer, "%s: %v [%s]\n", pipeline.Errored, cause, reason)
	}
	s.flush()
	return s.err
}

func plural(count int, noun string) string {
	if count == 1 {
		return noun
	}
	return noun + "s"
}

// waits is the result of a run that did not start because people must approve
// stages of it.
func (s *runShow) waits(stages []string) error {
	if s.asJSON {
		s.object(map[string]any{"event": "result", "status": "needs_approval", "reason": "approval", "stages": stages})
	} else {
		fmt.Fprintf(&s.buffer, "needs_approval: %s; --yes approves\n", strings.Join(stages, ", "))
	}
	s.flush()
	return s.err
}

// line puts a line about a stage into the buffer.
func (s *runShow) line(key pipeline.StageKey, mark, text string) {
	s.prefix(key, mark+" ")
	s.buffer.WriteString(text)
	s.buffer.WriteByte('\n')
}

func (s *runShow) prefix(key pipeline.StageKey, mark string) {
	name := s.names[key]
	s.buffer.WriteString(name)
	for range s.width - utf8.RuneCountInString(name) + 1 {
		s.buffer.WriteByte(' ')
	}
	s.buffer.WriteString(mark)
}

// object puts a line of JSON into the buffer.
func (s *runShow) object(value any) {
	s.err = errors.Join(s.err, writeObject(&s.buffer, value))
}

// writeObject writes a line of JSON.
func writeObject(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// flush writes the buffer in one call.
func (s *runShow) flush() {
	if s.buffer.Len() == 0 {
		return
	}
	_, err := s.out.Write(s.buffer.Bytes())
	s.err = errors.Join(s.err, err)
	s.buffer.Reset()
}
