package logs

import "bytes"

// Line is a line of a log without its end, or a piece of one that is longer than
// LongLine: More says that the next piece follows.
type Line struct {
	Number int64
	MS     int64 // milliseconds since the attempt's start when it began, -1 if that is not known
	Text   []byte
	More   bool
}

// Splitter makes lines of parts that come in order. It holds at most one LongLine.
type Splitter struct {
	first, last int64
	emit        func(Line) error

	open []byte // the beginning of a line whose end has not come
	line Line   // which line that is
	mid  bool   // a line is open, even if its bytes are out already
}

// NewSplitter calls emit for each line from the first to the last; 0 is no limit.
func NewSplitter(first, last int64, emit func(Line) error) *Splitter {
	return &Splitter{first: first, last: last, emit: emit}
}

// Add takes the next part.
func (s *Splitter) Add(part Part) error {
	began, err := beginnings(part)
	if err != nil {
		return err
	}
	number, text := part.Line, part.Text
	for len(text) > 0 {
		if !s.mid || s.line.Number != number {
			s.line, s.open = Line{Number: number, MS: began(number)}, s.open[:0]
		}
		end := bytes.IndexByte(text, '\n')
		if end < 0 {
			s.mid = true
			return s.keep(text)
		}
		if err := s.put(text[:end], false); err != nil {
			return err
		}
		s.mid = false
		text = text[end+1:]
		number++
	}
	return nil
}

// keep holds the beginning of a line, or lets it out in pieces.
func (s *Splitter) keep(text []byte) error {
	if len(s.open)+len(text) <= LongLine {
		s.open = append(s.open, text...)
		return nil
	}
	return s.put(text, true)
}

// put lets out what is held, and text behind it, in pieces of LongLine.
func (s *Splitter) put(text []byte, more bool) error {
	if len(s.open) > 0 {
		text = append(s.open, text...)
	}
	for len(text) > LongLine {
		if err := s.out(text[:LongLine], true); err != nil {
			return err
		}
		text = text[LongLine:]
	}
	err := s.out(text, more)
	s.open = s.open[:0]
	return err
}

func (s *Splitter) out(text []byte, more bool) error {
	if s.line.Number < s.first || s.last > 0 && s.line.Number > s.last {
		return nil
	}
	line := s.line
	line.Text, line.More = text, more
	return s.emit(line)
}

// Close lets out a last line that has no end.
func (s *Splitter) Close() error {
	if len(s.open) == 0 {
		return nil
	}
	return s.put(nil, false)
}

// beginnings answers when a line of a part began; lines are asked for in order.
func beginnings(part Part) (func(line int64) int64, error) {
	var runs []lineRun
	begun := int64(0)
	err := Runs(part.Times, func(ms, lines int64) error {
		runs, begun = append(runs, lineRun{ms, lines}), begun+lines
		return nil
	})
	touched := part.Lines
	if n := len(part.Text); n > 0 && part.Text[n-1] != '\n' {
		touched++
	}
	next := part.Line + touched - begun // the first line that began in the part
	return func(line int64) int64 {
		for len(runs) > 0 && line >= next+runs[0].lines {
			next += runs[0].lines
			runs = runs[1:]
		}
		if len(runs) == 0 || line < next {
			return -1
		}
		return runs[0].ms
	}, err
}
