package logs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// Reader reads a sealed log, chunk by chunk as it is needed.
type Reader struct {
	index *Index
	get   func(n int) ([]byte, error)
}

// NewReader reads the log of index; get answers the object of a chunk.
func NewReader(index *Index, get func(n int) ([]byte, error)) *Reader {
	return &Reader{index, get}
}

// From is the raw text from the beginning of a line to the end. A line behind the
// end gives nothing; a line in the gap begins behind it.
func (r *Reader) From(line int64) (io.Reader, error) {
	s := &stream{r: r, next: r.index.at(max(line, 1))}
	if s.next >= len(r.index.Chunks) {
		return s, nil
	}
	chunk := r.index.Chunks[s.next]
	if err := s.load(); err != nil {
		return nil, err
	}
	for at := chunk.Line; at < line; at++ {
		end := bytes.IndexByte(s.text, '\n')
		s.text = s.text[end+1:]
	}
	return s, nil
}

// Lines calls emit for each line from the first to the last, which may be 0 for
// all, with its line end if it has one. A line is read whole, however long.
func (r *Reader) Lines(first, last int64, emit func(line int64, text []byte) error) error {
	first = max(first, 1)
	source, err := r.From(first)
	if err != nil {
		return err
	}
	s := source.(*stream)
	line := first
	if i := r.index.at(first); i < len(r.index.Chunks) {
		line = max(first, r.index.Chunks[i].Line)
	}
	var open []byte
	for last == 0 || line <= last {
		if len(s.text) == 0 {
			if s.next < len(r.index.Chunks) && len(open) == 0 {
				line = r.index.Chunks[s.next].Line // behind a gap
			}
			if err := s.load(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return err
			}
		}
		end := bytes.IndexByte(s.text, '\n')
		if end < 0 {
			open = append(open, s.text...)
			s.text = nil
			continue
		}
		text := s.text[:end+1]
		if len(open) > 0 {
			text = append(open, text...)
		}
		if err := emit(line, text); err != nil {
			return err
		}
		s.text, open = s.text[end+1:], nil
		line++
	}
	if len(open) > 0 {
		return emit(line, open)
	}
	return nil
}

// stream is the text from some place on.
type stream struct {
	r    *Reader
	next int // in Chunks
	text []byte
}

// load reads the next chunk; io.EOF behind the last.
func (s *stream) load() error {
	if s.next >= len(s.r.index.Chunks) {
		return io.EOF
	}
	chunk := s.r.index.Chunks[s.next]
	packed, err := s.r.get(chunk.N)
	if err != nil {
		return err
	}
	if s.text, err = Unpack(chunk, packed); err != nil {
		return err
	}
	s.next++
	return nil
}

func (s *stream) Read(p []byte) (int, error) {
	for len(s.text) == 0 {
		if err := s.load(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.text)
	s.text = s.text[n:]
	return n, nil
}

// Unpack checks a chunk's object and answers its text.
func Unpack(chunk Chunk, packed []byte) ([]byte, error) {
	if sum := sha256.Sum256(packed); hex.EncodeToString(sum[:]) != chunk.SHA256 {
		return nil, fmt.Errorf("chunk %d of the log is damaged: its digest is another", chunk.N)
	}
	text, err := unpack(packed)
	if err != nil {
		return nil, fmt.Errorf("chunk %d of the log is damaged: %w", chunk.N, err)
	}
	if int64(len(text)) != chunk.Bytes || int64(bytes.Count(text, newline)) != chunk.Lines {
		return nil, fmt.Errorf("chunk %d of the log is damaged: it has %d bytes, not %d", chunk.N, len(text), chunk.Bytes)
	}
	return text, nil
}

// unpack decompresses at most a chunk.
func unpack(packed []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(reader, ChunkBytes+1))
	if err == nil && len(text) > ChunkBytes {
		err = fmt.Errorf("it has over %d bytes", ChunkBytes)
	}
	return text, errors.Join(err, reader.Close())
}
