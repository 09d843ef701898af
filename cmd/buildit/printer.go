package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/buildit-dev/buildit/internal/access"
)

// printer writes the logs of several stages to one terminal: whole lines, each
// with its stage in front; or the bytes of one stage as they are.
type printer struct {
	out     io.Writer
	bare    bool // one stage: bytes as they are
	json    bool
	colours bool
	width   int
	partial map[string][]byte // the beginning of a line, by stage
	seen    map[string]string // status of each stage, and what it waits for
	run     string            // status of the run
	why     string            // what the run waits for
}

const maxPartial = 64 << 10 // bytes of a line that are held back; a longer one is broken

func newPrinter(c *call, bare bool) *printer {
	return &printer{
		out: c.env.stdout, bare: bare, json: c.json, colours: c.env.colours(),
		partial: map[string][]byte{}, seen: map[string]string{},
	}
}

// write prints what a stage has printed.
func (p *printer) write(stage string, text []byte) error {
	if p.bare && !p.json {
		_, err := p.out.Write(text)
		return err
	}
	text = append(p.partial[stage], text...)
	var out bytes.Buffer
	for {
		at := bytes.IndexByte(text, '\n')
		if at < 0 && len(text) < maxPartial {
			break
		}
		if at < 0 {
			at = len(text) - 1
		}
		if err := p.line(&out, stage, bytes.TrimSuffix(text[:at+1], []byte("\n"))); err != nil {
			return err
		}
		text = text[at+1:]
	}
	p.partial[stage] = bytes.Clone(text)
	_, err := p.out.Write(out.Bytes())
	return err
}

func (p *printer) line(out *bytes.Buffer, stage string, text []byte) error {
	if p.json {
		return p.event(out, map[string]any{"stage": stage, "text": string(text)})
	}
	out.WriteString(p.prefix(stage, ""))
	out.Write(text)
	if p.colours {
		out.WriteString(plain) // a line that forgot to end its colour does not paint the next stage's
	}
	out.WriteByte('\n')
	return nil
}

// prefix is the stage in front of a line, aligned.
func (p *printer) prefix(stage, colour string) string {
	name := fmt.Sprintf("%-*s", p.width, clean(stage, 40))
	if p.colours {
		return firstOf(colour, dim) + name + " │ " + plain
	}
	return name + " | "
}

func (p *printer) event(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// statuses prints what has become of stages and run.
func (p *printer) statuses(frame access.Frame) error {
	for _, stage := range frame.Stages {
		p.width = max(p.width, min(utf8.RuneCountInString(stage.Name), 40))
	}
	for _, stage := range frame.Stages {
		before := p.seen[stage.Key]
		p.seen[stage.Key] = stage.Status + stage.Why
		if before == stage.Status+stage.Why || !p.json && !isFinal(stage.Status) && stage.Status != "gated" {
			continue
		}
		if err := p.status(stage); err != nil {
			return err
		}
	}
	if frame.Status == p.run && frame.Why == p.why {
		return nil
	}
	p.run, p.why = frame.Status, frame.Why
	switch {
	case p.json:
		return p.event(p.out, withWhy(map[string]any{"run": frame.Run, "status": frame.Status}, frame.Why))
	case p.why != "" && !p.bare:
		_, err := fmt.Fprintf(p.out, "run %s: %s\n", frame.Status, clean(frame.Why, 300))
		return err
	}
	return nil
}

func (p *printer) status(stage access.StageView) error {
	if p.json {
		return p.event(p.out, withWhy(map[string]any{"stage": stage.Name, "key": stage.Key, "attempt": stage.Attempt, "status": stage.Status}, stage.Why))
	}
	switch {
	case p.bare:
		return nil
	case stage.Why != "" && stage.Status != "skipped" && stage.Status != "canceled":
		return p.say(stage.Name, stage.Status+": "+clean(stage.Why, 300))
	case stage.Attempt == 0 && isFinal(stage.Status), stage.Status == "skipped", stage.Status == "canceled":
		return p.say(stage.Name, stage.Status)
	}
	return nil // it is said when its log has ended
}

func withWhy(event map[string]any, why string) map[string]any {
	if why != "" {
		event["why"] = why
	}
	return event
}

func (p *printer) say(stage, status string) error {
	word, _, _ := strings.Cut(status, ":")
	text := status
	if p.colours {
		text = colourOf(word) + status + plain
	}
	_, err := fmt.Fprintf(p.out, "%s%s\n", p.prefix(stage, colourOf(word)), text)
	return err
}

// end prints the last line of a stage's log, and how it ended.
func (p *printer) end(stage string, frame access.Frame) error {
	if err := p.finish(stage); err != nil {
		return err
	}
	switch {
	case p.json || p.bare:
		return nil
	case frame.Problem != nil:
		return p.say(stage, "no log: "+frame.Problem.Detail)
	case frame.Status == "" || frame.Status == "canceled" || frame.Status == "skipped":
		return nil
	}
	return p.say(stage, frame.Status)
}

// finish prints a line that never ended.
func (p *printer) finish(stage string) error {
	rest := p.partial[stage]
	delete(p.partial, stage)
	if len(rest) == 0 {
		return nil
	}
	var out bytes.Buffer
	if err := p.line(&out, stage, rest); err != nil {
		return err
	}
	_, err := p.out.Write(out.Bytes())
	return err
}

// flush prints what is held back, and the result.
func (p *printer) flush() error {
	for _, stage := range slices.Sorted(maps.Keys(p.partial)) {
		if err := p.finish(stage); err != nil {
			return err
		}
	}
	if p.json || p.bare {
		return nil
	}
	status := p.run
	if p.colours {
		status = colourOf(status) + status + plain
	}
	_, err := fmt.Fprintf(p.out, "run %s\n", status)
	return err
}
