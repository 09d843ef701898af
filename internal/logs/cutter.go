package logs

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// How long output waits for more, so that parts are few; while nobody watches, fewer.
// A part that is full leaves at once. It holds what the store takes: every part costs
// a call and an object, and a log so busy that time does not cut it is not later for
// being sent in larger pieces.
const (
	firstWait    = 50 * time.Millisecond // first output, or output after a pause of one interval
	liveInterval = time.Second
	unwatched    = 5        // times the interval
	busyBytes    = 64 << 10 // a part from here on is one of a busy log
)

// Cutter cuts a stream into live parts. Write may be called while parts are cut by
// time; emit is called for one part after the other and holds the stream up while
// it runs. It owns the part's bytes.
type Cutter struct {
	clock    platform.Clock
	start    time.Time
	interval time.Duration
	emit     func(Part) error

	mu       sync.Mutex
	text     []byte
	at       time.Time // of the first byte of text
	times    Times
	segment  int
	line     int64 // number of the line that the next byte is in
	first    int64 // and that the first byte of text is in
	offset   int64 // bytes cut so far
	midLine  bool
	lastCut  time.Time
	stop     func() bool // of the timer that will cut text, nil if none runs
	timer    int         // tells an old timer from the one that counts
	err      error       // of emit; nothing is written any more
	finished bool

	// What others look at while emit holds the stream up.
	watched atomic.Bool
	cuts    atomic.Int64
}

// NewCutter begins a log at now. interval is the longest that a byte waits while
// somebody watches; 0 is one second.
func NewCutter(clock platform.Clock, interval time.Duration, emit func(Part) error) *Cutter {
	if interval <= 0 {
		interval = liveInterval
	}
	c := &Cutter{clock: clock, start: clock.Now(), interval: interval, emit: emit, line: 1, first: 1}
	c.watched.Store(true)
	return c
}

// Write adds bytes. It fails as emit does, and then for ever.
func (c *Cutter) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	written := len(p)
	now := c.clock.Now()
	for len(p) > 0 && c.err == nil {
		n := min(len(p), MaxPart-len(c.text))
		c.add(p[:n], now)
		p = p[n:]
		if len(c.text) == MaxPart {
			c.cut(now, false)
		}
	}
	if len(c.text) > 0 && c.stop == nil && c.err == nil {
		c.arm(now)
	}
	if c.err != nil {
		return 0, c.err
	}
	return written, nil
}

// add takes bytes that came at now.
func (c *Cutter) add(p []byte, now time.Time) {
	if len(p) == 0 {
		return
	}
	if len(c.text) == 0 {
		c.at, c.first = now, c.line
	}
	ends := int64(bytes.Count(p, newline))
	begun := ends
	if !c.midLine {
		begun++
	}
	c.midLine = p[len(p)-1] != '\n'
	if !c.midLine {
		begun-- // the line behind the last end has not begun
	}
	c.times.Add(now.Sub(c.start).Milliseconds(), begun)
	c.line += ends
	c.text = append(c.text, p...)
}

// arm sets the timer that cuts what is there.
func (c *Cutter) arm(now time.Time) {
	interval := c.interval
	if !c.watched.Load() {
		interval *= unwatched
	}
	wait := interval - now.Sub(c.lastCut)
	if c.segment == 0 || wait < firstWait {
		wait = min(firstWait, interval)
	}
	c.timer++
	mine := c.timer
	c.stop = c.clock.AfterFunc(wait, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.timer == mine && c.stop != nil {
			c.cut(c.clock.Now(), false)
		}
	})
}

// cut emits what is there.
func (c *Cutter) cut(now time.Time, final bool) {
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
	if c.err != nil || (len(c.text) == 0 && !final) {
		return
	}
	if len(c.text) == 0 {
		c.at, c.first = now, c.line
	}
	part := Part{
		Segment: c.segment, Line: c.first, Lines: c.line - c.first, Offset: c.offset,
		At: c.at, Times: c.times.Take(), Text: c.text, Final: final,
	}
	c.offset += int64(len(c.text))
	c.segment++
	c.text = nil
	if len(part.Text) >= busyBytes {
		c.text = make([]byte, 0, cap(part.Text)) // a busy log fills the next one too
	}
	c.lastCut = now
	c.err = c.emit(part)
	c.cuts.Store(int64(c.segment))
}

// Watch says whether somebody looks at the log now. It never waits.
func (c *Cutter) Watch(watched bool) {
	if c.watched.Swap(watched) || !watched || !c.mu.TryLock() {
		return
	}
	defer c.mu.Unlock()
	c.cut(c.clock.Now(), false)
}

// Position is the number of the line that the next byte is in, whether that line
// has begun, and how many bytes there were.
func (c *Cutter) Position() (line int64, begun bool, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.line, c.midLine, c.offset + int64(len(c.text))
}

// Segments is how many parts have been cut. It never waits.
func (c *Cutter) Segments() int { return int(c.cuts.Load()) }

// Close emits the final part, which may be empty.
func (c *Cutter) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.finished {
		c.finished = true
		c.cut(c.clock.Now(), true)
	}
	return c.err
}
