package mask

import (
	"io"
	"strings"
)

// Mark is what a hit becomes, whatever its length.
const Mark = "***"

// lookedThrough limits what is held back only because terminal sequences stand
// between the bytes of what may be a needle.
const lookedThrough = 64 << 10 // bytes

// span is a run of bytes to be masked, by offsets in the stream.
type span struct{ from, to int64 }

// Filter masks a stream on its way to a writer. It is not safe for concurrent use.
type Filter struct {
	set  *Set
	to   io.Writer
	base int64  // offset of the first byte that has not been passed on
	held []byte // the bytes from there on
	// spans are hits that may still grow, in order. The first may begin before
	// base: its bytes need not be kept.
	spans []span

	raw  int32 // state over the bytes as they are
	skip seen  // and as a terminal shows them, where that differs
}

// NewFilter masks what is written to it with set, which may be nil, and passes
// it on to w.
func NewFilter(set *Set, w io.Writer) *Filter { return &Filter{set: set, to: w} }

// Write passes on what is decided by p. It fails only as the writer does.
func (f *Filter) Write(p []byte) (int, error) {
	if f.set == nil {
		return f.to.Write(p)
	}
	text, from := p, 0
	if len(f.held) > 0 {
		from = len(f.held)
		f.held = append(f.held, p...)
		text = f.held
	}
	f.scan(text, from)
	keep, err := f.pass(text, f.undecided(int64(len(text))))
	f.held = append(f.held[:0], keep...)
	return len(p), err
}

// Close ends the stream. Held bytes go out as a mark if they are 8 bytes or half
// of a needle, else as they are. The writer is not closed.
func (f *Filter) Close() error {
	if f.set == nil {
		return nil
	}
	end := f.base + int64(len(f.held))
	if n := f.set.giveaway(f.raw); n > 0 {
		f.hit(end-int64(n), end)
	}
	if f.skip.on {
		if n := f.set.giveaway(f.skip.state); n > 0 {
			f.hit(f.skip.start(n), end)
		}
	}
	f.raw, f.skip.on = 0, false
	_, err := f.pass(f.held, end)
	f.held = nil
	return err
}

// scan moves both states over text, which begins at f.base, from index i on.
func (f *Filter) scan(text []byte, i int) {
	for i < len(text) {
		if f.raw == 0 && !f.skip.on {
			if i = f.set.candidate(text, i); i == len(text) {
				return
			}
		}
		b := text[i]
		at := f.base + int64(i)
		if f.skip.on || (b == escape && f.raw != 0) {
			f.lookThrough(b, at)
		}
		f.raw = f.set.step(f.raw, b)
		if n := f.set.nodes[f.raw].match; n > 0 {
			f.hit(at+1-int64(n), at+1)
		}
		i++
	}
}

// candidate is the first index from i on at which a needle may begin.
func (s *Set) candidate(text []byte, i int) int {
	last := len(text) - 1
	for ; i < last; i++ {
		if s.begins(text[i], text[i+1]) {
			return i
		}
	}
	if i == last && s.root[text[i]] == 0 {
		i++
	}
	return i
}

// lookThrough moves the state of what a terminal shows over b at offset at.
func (f *Filter) lookThrough(b byte, at int64) {
	if !f.skip.on {
		f.skip.fork(f.raw, int(f.set.nodes[f.raw].depth), at)
	}
	if !f.skip.shows(b) {
		return
	}
	f.skip.state = f.set.step(f.skip.state, b)
	f.skip.shown(at, 2*f.set.longest)
	n := f.set.nodes[f.skip.state]
	if n.match > 0 {
		f.hit(f.skip.start(int(n.match)), at+1)
	}
	if int(n.depth) <= f.skip.since {
		f.skip.on = false // what it could still find, the other state finds
	}
}

// hit adds a span and merges it with those that it overlaps.
func (f *Filter) hit(from, to int64) {
	n := len(f.spans)
	for n > 0 && f.spans[n-1].to > from {
		from = min(from, f.spans[n-1].from)
		to = max(to, f.spans[n-1].to)
		n--
	}
	f.spans = append(f.spans[:n], span{from, to})
}

// undecided is the offset before which no later hit can begin, when length bytes
// from f.base on have been seen.
func (f *Filter) undecided(length int64) int64 {
	end := f.base + length
	from := end - int64(f.set.nodes[f.raw].depth)
	if !f.skip.on {
		return from
	}
	start := f.skip.start(int(f.set.nodes[f.skip.state].depth))
	if end-start > int64(f.set.longest)+lookedThrough {
		f.skip.on = false
		return from
	}
	return min(from, start)
}

// pass writes what is decided of text, which begins at f.base, and answers the
// rest, at which f.base then is.
func (f *Filter) pass(text []byte, undecided int64) (rest []byte, err error) {
	base := f.base
	write := func(to int64) {
		if err == nil && to > f.base {
			_, err = f.to.Write(text[f.base-base : to-base])
		}
		f.base = max(f.base, to)
	}
	done := 0
	for _, s := range f.spans {
		if s.from > undecided {
			break // what stands before it may yet be the beginning of a longer hit
		}
		write(s.from)
		f.base = s.to
		if s.to > undecided {
			break // it may still grow
		}
		if err == nil {
			_, err = io.WriteString(f.to, Mark)
		}
		done++
	}
	if done == len(f.spans) || f.spans[done].from > undecided {
		write(undecided)
	}
	f.spans = append(f.spans[:0], f.spans[done:]...)
	return text[f.base-base:], err
}

// Text masks a whole text.
func (s *Set) Text(text string) string {
	if s == nil {
		return text
	}
	var masked strings.Builder
	f := NewFilter(s, &masked)
	if _, err := f.Write([]byte(text)); err != nil {
		return Mark // a strings.Builder does not fail
	}
	if err := f.Close(); err != nil {
		return Mark
	}
	return masked.String()
}

// In tells whether text holds a needle.
func (s *Set) In(text string) bool {
	if s == nil {
		return false
	}
	f := NewFilter(s, io.Discard)
	f.scan([]byte(text), 0)
	return len(f.spans) > 0
}
