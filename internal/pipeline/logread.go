package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/logs"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// sealedSegments is what the numbers of segments begin with that are read from
// chunks, so that they are never taken for those of live parts. To readers a
// segment's number is a bookmark, and the offset says which bytes it has.
const sealedSegments = 1 << 30

// logCursor is a place in a log, which may be sealed while it is read: then the
// cursor goes on in the chunks at the byte where it was.
type logCursor struct {
	store   *LogStore
	log     LogName
	segment int   // to read next
	offset  int64 // of the byte to read next
	line    int64 // lines before it are left out
	timed   bool  // the times of lines are wanted
	sealed  *logs.Reader
}

// cursor opens a log where from says. over is that its attempt is over, so that it
// may be sealed. It reads a handful of objects, however long the log is.
func (s *LogStore) cursor(ctx context.Context, log LogName, from access.From, over bool) (*logCursor, error) {
	c := &logCursor{store: s, log: log, segment: from.Segment, offset: from.Offset, line: from.Line}
	if over {
		if err := c.useIndex(ctx); err != nil && !errors.Is(err, platform.ErrNotFound) {
			return nil, err
		}
	}
	fresh := from.Segment == 0 && from.Offset == 0
	var err error
	switch {
	case c.sealed != nil:
		err = c.placeSealed(ctx, from)
	case fresh && from.End:
		c.segment, err = s.find(ctx, log, func(logs.Part) bool { return false })
	case fresh && from.Line > 1:
		c.segment, err = s.find(ctx, log, func(p logs.Part) bool { return p.Line+p.Lines >= from.Line })
	}
	return c, err
}

// placeSealed finds the byte of a sealed log to begin with.
func (c *logCursor) placeSealed(ctx context.Context, from access.From) error {
	switch {
	case from.Offset > 0:
	case from.End:
		c.offset = c.sealed.End()
	case from.Segment >= sealedSegments:
		c.offset = c.sealed.Chunk(from.Segment - sealedSegments)
	case from.Segment > 0: // a bookmark among live parts, which are kept for a day
		part, err := c.store.Part(ctx, c.log, from.Segment)
		if err == nil {
			c.offset = part.Offset
		} else if !errors.Is(err, platform.ErrNotFound) {
			return err
		}
	default:
		c.offset = c.sealed.Start(from.Line)
	}
	return nil
}

// find is the number of the first live part that a test holds for, which then holds
// for all behind it; the number of the next part if there is none.
func (s *LogStore) find(ctx context.Context, log LogName, holds func(logs.Part) bool) (int, error) {
	probe := func(segment int) (bool, error) {
		part, err := s.Part(ctx, log, segment)
		if errors.Is(err, platform.ErrNotFound) {
			return true, nil
		}
		return err == nil && holds(part), err
	}
	low, high := 0, 1 // the answer is from low to high
	for {
		found, err := probe(high - 1)
		if err != nil {
			return 0, err
		}
		if found {
			high--
			break
		}
		low, high = high, 2*high
	}
	for low < high {
		middle := (low + high) / 2
		found, err := probe(middle)
		if err != nil {
			return 0, err
		}
		if found {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low, nil
}

// useIndex turns to the chunks, or fails with platform.ErrNotFound.
func (c *logCursor) useIndex(ctx context.Context) error {
	index, err := c.store.Index(ctx, c.log)
	if err != nil {
		return err
	}
	c.sealed = logs.NewReader(index, func(n int) ([]byte, []byte, error) { return c.store.chunk(ctx, c.log, n, c.timed) })
	return nil
}

// next is the part at the cursor, and moves behind it. It fails with
// platform.ErrNotFound where nothing more is stored now, and with problem.Expired
// where something was deleted.
func (c *logCursor) next(ctx context.Context) (logs.Part, error) {
	for {
		part, err := c.step(ctx)
		if err != nil {
			return part, err
		}
		c.segment, c.offset = part.Segment+1, part.End()
		if part.Line >= c.line {
			c.line = 0
			return part, nil
		}
		if part.Line+part.Lines >= c.line { // else all of it is before the line
			part = part.FromLine(c.line)
			if len(part.Text) > 0 {
				c.line = 0
				return part, nil
			}
		}
	}
}

func (c *logCursor) step(ctx context.Context) (logs.Part, error) {
	if c.sealed == nil {
		part, err := c.store.Part(ctx, c.log, c.segment)
		if err == nil {
			return part.From(min(c.offset, part.End())), nil
		}
		if !errors.Is(err, platform.ErrNotFound) {
			return part, err
		}
		if err := c.useIndex(ctx); err != nil {
			return part, err
		}
	}
	part, err := c.sealed.Next(c.offset)
	if errors.Is(err, io.EOF) {
		return part, platform.ErrNotFound
	}
	part.Segment += sealedSegments
	return part, err
}

// Index describes a log that is sealed, or fails with platform.ErrNotFound.
func (s *LogStore) Index(ctx context.Context, log LogName) (*logs.Index, error) {
	text, err := s.read(ctx, log.index())
	if err != nil {
		return nil, fmt.Errorf("index of log %s: %w", log, err)
	}
	return logs.ParseIndex(text)
}

// chunk reads a chunk and, if wanted, the times of its lines. An index outlives its
// chunks: what it names and is not there has expired.
func (s *LogStore) chunk(ctx context.Context, log LogName, n int, timed bool) (packed, times []byte, err error) {
	packed, err = s.read(ctx, log.chunk(n))
	if errors.Is(err, platform.ErrNotFound) {
		return nil, nil, problem.New(problem.Expired, // and not the cause, which says that nothing more is there
			"This log was deleted: logs are kept for %d days, those of untrusted runs for %d.", keptDays, keptDaysUntrusted)
	}
	if err != nil || !timed {
		return packed, nil, err
	}
	if times, err = s.read(ctx, log.times(n)); err != nil {
		return nil, nil, err
	}
	times, err = logs.UnpackTimes(times)
	return packed, times, err
}
