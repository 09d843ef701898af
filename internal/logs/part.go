package logs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Part is a piece of the log of an attempt: numbered bytes, after masking. Parts
// are stored once however often they come, and have no gaps.
type Part struct {
	Segment int       `json:"segment"` // from 0, without gaps
	Line    int64     `json:"line"`    // number of the line that its first byte is in, from 1
	Lines   int64     `json:"lines"`   // line ends in it
	Offset  int64     `json:"offset"`  // of its first byte in the stream
	At      time.Time `json:"at"`      // when its first byte came
	Times   []byte    `json:"times,omitempty"`
	Text    []byte    `json:"text,omitempty"`
	Final   bool      `json:"final,omitempty"` // the last part of the attempt
}

// Times are when lines began, in milliseconds since the attempt's start: pairs of
// unsigned varints, a step from the time before and how many lines began then.
// Most lines of a busy log begin in one millisecond, so that a pair serves many.
type Times struct {
	packed []byte
	last   int64
	open   int64 // lines of the pair that is not packed yet
	step   int64
}

// Add notes that lines began at ms, which is not before the time of the last call.
func (t *Times) Add(ms, lines int64) {
	if lines == 0 {
		return
	}
	if ms = max(ms, t.last); ms == t.last && t.open > 0 {
		t.open += lines
		return
	}
	t.flush()
	t.step, t.open, t.last = ms-t.last, lines, ms
}

func (t *Times) flush() {
	if t.open > 0 {
		t.packed = binary.AppendUvarint(t.packed, uint64(t.step))
		t.packed = binary.AppendUvarint(t.packed, uint64(t.open))
		t.open = 0
	}
}

// Take packs what was added since the last Take. The first step counts from 0,
// so that each piece can be read alone.
func (t *Times) Take() []byte {
	t.flush()
	packed := t.packed
	t.packed, t.last = nil, 0
	return packed
}

// errTimes says that packed times are not what Times writes.
var errTimes = errors.New("times of lines are damaged")

// Runs reads packed times: for each run of lines, its time in milliseconds.
func Runs(packed []byte, run func(ms, lines int64) error) error {
	ms := int64(0)
	for len(packed) > 0 {
		step, n := binary.Uvarint(packed)
		if n <= 0 || step > 1<<52 {
			return errTimes
		}
		lines, m := binary.Uvarint(packed[n:])
		if m <= 0 || lines == 0 || lines > 1<<52 {
			return errTimes
		}
		packed = packed[n+m:]
		if ms += int64(step); ms > 1<<53 {
			return errTimes
		}
		if err := run(ms, int64(lines)); err != nil {
			return err
		}
	}
	return nil
}

// MaxPart is the longest text of a part, in bytes.
const MaxPart = 256 << 10

// Check tells whether a part that came from outside is what a Cutter makes.
func (p *Part) Check() error {
	switch {
	case p.Segment < 0 || p.Line < 1 || p.Offset < 0 || p.Lines < 0:
		return fmt.Errorf("log part %d: segment, line, offset and lines count from 0, 1, 0 and 0", p.Segment)
	case len(p.Text) > MaxPart:
		return fmt.Errorf("log part %d has %d bytes; %d are allowed", p.Segment, len(p.Text), MaxPart)
	case int64(bytes.Count(p.Text, newline)) != p.Lines:
		return fmt.Errorf("log part %d says %d lines and has %d", p.Segment, p.Lines, bytes.Count(p.Text, newline))
	}
	began := int64(0)
	err := Runs(p.Times, func(_, lines int64) error {
		if began += lines; began > p.Lines+1 {
			return errTimes
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("log part %d: %w", p.Segment, err)
	}
	return nil
}

var newline = []byte{'\n'}

// From is the part without the bytes before offset, which is not behind its end.
// What is cut has no times any more.
func (p Part) From(offset int64) Part {
	n := offset - p.Offset
	if n <= 0 {
		return p
	}
	ends := int64(bytes.Count(p.Text[:n], newline))
	p.Line, p.Lines, p.Offset, p.Text, p.Times = p.Line+ends, p.Lines-ends, offset, p.Text[n:], nil
	return p
}

// FromLine is the part without the bytes before a line begins; it is empty if that
// is behind its end.
func (p Part) FromLine(line int64) Part {
	at := int64(0)
	for ends := line - p.Line; ends > 0; ends-- {
		end := bytes.IndexByte(p.Text[at:], '\n')
		if end < 0 {
			at = int64(len(p.Text))
			break
		}
		at += int64(end) + 1
	}
	return p.From(p.Offset + at)
}

// UntilLine is the part without the bytes behind the end of a line.
func (p Part) UntilLine(line int64) Part {
	if p.Line+p.Lines <= line {
		return p
	}
	at := 0
	for ends := line - p.Line + 1; ends > 0; ends-- {
		at += bytes.IndexByte(p.Text[at:], '\n') + 1
	}
	p.Lines, p.Text, p.Times = max(line-p.Line+1, 0), p.Text[:at], nil
	return p
}

// End is the place in the stream behind the part's last byte.
func (p Part) End() int64 { return p.Offset + int64(len(p.Text)) }

// Began is the attempt's start by the clock of its supervisor: the time of the first
// part, less what its first line took to come.
func (p Part) Began() (time.Time, error) {
	first := int64(-1)
	err := Runs(p.Times, func(ms, _ int64) error {
		if first < 0 {
			first = ms
		}
		return nil
	})
	return p.At.Add(-time.Duration(max(first, 0)) * time.Millisecond), err
}
