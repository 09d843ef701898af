package access

import (
	"bytes"
	"context"
	"unicode/utf8"
)

// Limits of a frame: 32 KB where a gateway carries it (API Gateway, WebSocket
// quotas), so that pieces stay below in whatever form they travel.
const (
	maxPiece  = 16 << 10 // bytes of a log in one frame: 22 KB in base64
	maxText   = 24 << 10 // bytes of JSON text; what needs more goes in base64
	maxStages = 100      // stages in one frame
)

// sendSegment sends a segment in frames of a bounded size.
func (f *follower) sendSegment(ctx context.Context, log string, s Segment) error {
	line, offset, rest := s.Line, s.Offset, s.Text
	for first := true; first || len(rest) > 0; first = false {
		piece := rest[:min(len(rest), maxPiece)]
		rest = rest[len(piece):]
		frame := Frame{
			Log: log, N: s.N, Line: line, Offset: offset, Bytes: len(piece),
			Lines: int64(bytes.Count(piece, []byte{'\n'})), More: len(rest) > 0,
		}
		frame.carry(piece)
		if err := f.write(ctx, frame); err != nil {
			return err
		}
		line, offset = line+frame.Lines, offset+int64(len(piece))
	}
	return nil
}

// carry puts the bytes into the frame so that none is changed.
func (f *Frame) carry(piece []byte) {
	if utf8.Valid(piece) && jsonSize(piece) <= maxText {
		f.Text = string(piece)
		return
	}
	f.Data = piece
}

// Payload is the bytes of a log's frame.
func (f Frame) Payload() []byte {
	if f.Data != nil {
		return f.Data
	}
	return []byte(f.Text)
}

// jsonSize is an upper bound of the text as a JSON string: encoding/json writes
// control characters, <, > and & in six bytes, and U+2028 and U+2029 in six for three.
func jsonSize(text []byte) int {
	size := 2 + len(text)
	for _, b := range text {
		switch {
		case b < ' ', b == '<', b == '>', b == '&', b == '"', b == '\\', b == 0x7f:
			size += 5
		case b == 0xe2:
			size += 3
		}
	}
	return size
}

// sendRun sends the stages of a run that have changed, in frames of a bounded size.
func (f *follower) sendRun(ctx context.Context, frame Frame) error {
	stages := frame.Stages
	for first := true; first || len(stages) > 0; first = false {
		frame.Stages = stages[:min(len(stages), maxStages)]
		stages = stages[len(frame.Stages):]
		if err := f.write(ctx, frame); err != nil {
			return err
		}
	}
	return nil
}
