package mask

const escape = 0x1b

// seen is the text as a terminal shows it: without the sequences that only move
// or colour. It is on from a sequence in the midst of what may be a needle until
// nothing from before the sequence matters any more.
type seen struct {
	on    bool
	state int32
	since int     // bytes shown since the last sequence
	at    []int64 // offsets of the bytes shown last, at least those of the state
	inside
}

// inside is where in a sequence the stream is.
type inside int

const (
	outside inside = iota
	introduced
	charset // ESC ( and its like: one byte follows
	control // CSI: parameters, then a final byte
	command // OSC, DCS and their like: up to BEL or ESC \
	leaving // an ESC inside a command
)

// fork begins at an escape at offset at, behind depth bytes of a needle.
func (s *seen) fork(state int32, depth int, at int64) {
	*s = seen{on: true, state: state, at: s.at[:0]}
	for i := depth; i > 0; i-- {
		s.at = append(s.at, at-int64(i))
	}
}

// shows tells whether b is text, and follows the sequence if it is not.
//
// Source: ECMA-48, 5.3 and 5.4; xterm control sequences.
func (s *seen) shows(b byte) bool {
	switch s.inside {
	case outside:
		if b != escape {
			return true
		}
		s.inside, s.since = introduced, 0
	case introduced:
		s.inside = afterEscape(b)
	case charset, leaving:
		s.inside = outside
	case control:
		if b >= 0x40 && b <= 0x7e {
			s.inside = outside
		}
	case command:
		switch b {
		case 0x07:
			s.inside = outside
		case escape:
			s.inside = leaving
		}
	}
	return false
}

func afterEscape(b byte) inside {
	switch b {
	case '[':
		return control
	case ']', 'P', 'X', '^', '_':
		return command
	case '(', ')', '*', '+', '#', ' ', '%':
		return charset
	case escape:
		return introduced
	}
	return outside
}

// shown notes the offset of a byte that is text; keep of them are needed.
func (s *seen) shown(at int64, keep int) {
	if len(s.at) >= 2*keep {
		s.at = append(s.at[:0], s.at[len(s.at)-keep:]...)
	}
	s.at = append(s.at, at)
	s.since++
}

// start is the offset of the n-th last byte shown; n may be 0.
func (s *seen) start(n int) int64 {
	if n == 0 || n > len(s.at) {
		n = len(s.at)
	}
	return s.at[len(s.at)-n]
}
