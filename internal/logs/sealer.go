package logs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"
)

// Store is where a Sealer puts chunks. Both calls may come again for the same
// number, with the same bytes.
type Store struct {
	// Put stores a chunk's object and, beside it, the times of its lines.
	Put func(chunk Chunk, text, times []byte) error
	// Drop removes a chunk that falls into the gap of a log beyond its limit.
	Drop func(chunk Chunk) error
}

// Sealer turns the parts of a log into chunks. Where it cuts depends on the stream
// alone, never on how it came in parts, nor on who seals.
type Sealer struct {
	store Store
	keep  int64

	index   Index
	segment int
	offset  int64 // of the next byte to come
	text    []byte
	base    int64 // offset of text
	line    int64 // that the first byte of text is in
	inside  bool  // text begins inside a line
	runs    []lineRun
	tail    int64 // bytes of the chunks beyond keep
	length  int64 // of the line that is open, before text
	next    int   // number of the next chunk
	marked  sections
}

// lineRun is lines that began at one time.
type lineRun struct{ ms, lines int64 }

// NewSealer seals the log of an attempt that began at start. keep is how many bytes
// of its beginning stay, 0 for KeepBytes.
func NewSealer(start time.Time, keep int64, store Store) *Sealer {
	if keep <= 0 {
		keep = KeepBytes
	}
	return &Sealer{store: store, keep: keep, line: 1, index: Index{V: 1, Start: start.UTC(), Chunks: []Chunk{}}}
}

// Add takes the next part. One that came before is no error; one that leaves a gap
// is.
func (s *Sealer) Add(part Part) error {
	if part.Segment < s.segment {
		return nil
	}
	if part.Segment != s.segment || part.Offset != s.offset {
		return fmt.Errorf("log part %d at byte %d does not follow part %d at byte %d", part.Segment, part.Offset, s.segment-1, s.offset)
	}
	if err := part.Check(); err != nil {
		return err
	}
	if err := Runs(part.Times, func(ms, lines int64) error {
		s.runs = append(s.runs, lineRun{ms, lines})
		return nil
	}); err != nil {
		return err
	}
	s.segment++
	s.offset += int64(len(part.Text))
	s.text = append(s.text, part.Text...)
	for len(s.text) > ChunkBytes {
		cut := bytes.LastIndexByte(s.text[:ChunkBytes], '\n') + 1
		if cut == 0 {
			cut = ChunkBytes
		}
		if err := s.seal(cut); err != nil {
			return err
		}
	}
	return nil
}

// seal makes a chunk of the first n bytes of text.
func (s *Sealer) seal(n int) error {
	text := s.text[:n]
	ends := int64(bytes.Count(text, newline))
	begun := ends
	if !s.inside {
		begun++
	}
	inside := text[n-1] != '\n'
	if !inside {
		begun--
	}
	chunk := Chunk{N: s.next, Line: s.line, Lines: ends, Offset: s.base, Bytes: int64(n), Inside: inside}
	times := s.takeTimes(begun, &chunk)
	packed, err := Pack(text)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(packed)
	chunk.Packed, chunk.SHA256 = int64(len(packed)), hex.EncodeToString(sum[:])
	s.mark(text)
	s.marked.scan(text, s.line, s.inside)
	if err := s.store.Put(chunk, packed, times); err != nil {
		return err
	}
	s.next++
	s.index.Chunks = append(s.index.Chunks, chunk)
	s.base, s.line, s.inside = s.base+int64(n), s.line+ends, inside
	s.text = append(s.text[:0], s.text[n:]...)
	return s.limit()
}

// takeTimes packs the times of the lines that began in a chunk.
func (s *Sealer) takeTimes(begun int64, chunk *Chunk) []byte {
	var times Times
	first := true
	for begun > 0 && len(s.runs) > 0 {
		run := &s.runs[0]
		n := min(begun, run.lines)
		times.Add(run.ms, n)
		if first {
			chunk.First, first = run.ms, false
		}
		chunk.Last = max(chunk.Last, run.ms)
		begun -= n
		if run.lines -= n; run.lines == 0 {
			s.runs = s.runs[1:]
		}
	}
	return times.Take()
}

// limit drops the oldest chunks beyond what is kept of the beginning and the end.
func (s *Sealer) limit() error {
	chunks := s.index.Chunks
	if last := chunks[len(chunks)-1]; last.Offset+last.Bytes > s.keep {
		s.tail += last.Bytes
	}
	for s.tail > TailBytes {
		i := slices.IndexFunc(s.index.Chunks, func(c Chunk) bool { return c.Offset+c.Bytes > s.keep })
		dropped := s.index.Chunks[i]
		if err := s.store.Drop(dropped); err != nil {
			return err
		}
		if s.index.Gap == nil {
			s.index.Gap = &Gap{Line: dropped.Line}
		}
		s.index.Gap.Lines += dropped.Lines
		s.index.Gap.Bytes += dropped.Bytes
		s.index.Chunks = slices.Delete(s.index.Chunks, i, i+1)
		s.tail -= dropped.Bytes
	}
	return nil
}

// errorMarks are what a line that tells of an error is likely to hold.
var errorMarks = [][]byte{
	[]byte("error:"), []byte("Error:"), []byte("ERROR"), []byte("FAIL"), []byte("panic:"), []byte("fatal:"), []byte("Traceback (most recent"),
}

// mark notes the long lines of text, which begins at s.line, and those that look
// like an error.
func (s *Sealer) mark(text []byte) {
	line, from := s.line, 0
	for from < len(text) {
		end := bytes.IndexByte(text[from:], '\n')
		if end < 0 {
			s.length += int64(len(text) - from)
			break
		}
		if s.length+int64(end) > LongLine && len(s.index.Long) < maxLong {
			s.index.Long = append(s.index.Long, line)
		}
		s.length = 0
		line, from = line+1, from+end+1
	}
	if len(s.index.Anchors) < maxAnchors {
		s.anchors(text)
	}
}

func (s *Sealer) anchors(text []byte) {
	found := map[int64]bool{}
	for _, mark := range errorMarks {
		line, from := s.line, 0
		for len(found) < maxAnchors {
			i := bytes.Index(text[from:], mark)
			if i < 0 {
				break
			}
			line += int64(bytes.Count(text[from:from+i], newline))
			found[line] = true
			end := bytes.IndexByte(text[from+i:], '\n') // one anchor a line
			if end < 0 {
				break
			}
			line, from = line+1, from+i+end+1
		}
	}
	for line := range found {
		s.index.Anchors = append(s.index.Anchors, line)
	}
	slices.Sort(s.index.Anchors)
	s.index.Anchors = slices.Compact(s.index.Anchors)
	s.index.Anchors = s.index.Anchors[:min(len(s.index.Anchors), maxAnchors)]
}

// Close seals what is left and answers the index.
func (s *Sealer) Close(groups []Group) (*Index, error) {
	if len(s.text) > 0 {
		if err := s.seal(len(s.text)); err != nil {
			return nil, err
		}
	}
	if s.length > LongLine && len(s.index.Long) < maxLong {
		s.index.Long = append(s.index.Long, s.line)
	}
	last := s.line // of a log that ends inside a line
	if !s.inside {
		last--
	}
	s.index.Groups, s.index.Sections = groups, s.marked.close(max(last, 1))
	s.index.Lines, s.index.Bytes, s.index.Final = s.line-1, s.offset, true
	return &s.index, nil
}

// Pack compresses with gzip. Without a name and a time in its header, equal text makes equal
// bytes.
func Pack(text []byte) ([]byte, error) {
	var packed bytes.Buffer
	writer, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return nil, err
	}
	if _, err := writer.Write(text); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}
