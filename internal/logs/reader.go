package logs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"
)

// Reader reads a sealed log: one chunk for each part that is asked for.
type Reader struct {
	index *Index
	get   func(n int) (packed, times []byte, err error)
}

// NewReader reads the log of index; get answers the object of a chunk and, unless
// nobody wants them, the times of its lines.
func NewReader(index *Index, get func(n int) (packed, times []byte, err error)) *Reader {
	return &Reader{index, get}
}

// Start is where a line begins, or a place before it in the same chunk. A line in the
// gap begins behind it, one behind the end at the end.
func (r *Reader) Start(line int64) int64 {
	i := r.index.at(max(line, 1))
	if i == len(r.index.Chunks) {
		return r.index.Bytes
	}
	return r.index.Chunks[i].Offset
}

// Chunk is where a chunk begins, or the one after it if that is missing.
func (r *Reader) Chunk(n int) int64 {
	for _, chunk := range r.index.Chunks {
		if chunk.N >= n {
			return chunk.Offset
		}
	}
	return r.index.Bytes
}

// Gap is what was left out of the log, nil for nothing.
func (r *Reader) Gap() *Gap { return r.index.Gap }

// End is how many bytes the stream had.
func (r *Reader) End() int64 { return r.index.Bytes }

// Next is what the log has from a place in the stream to the end of a chunk; what is
// missing is passed over. It fails with io.EOF at the end.
func (r *Reader) Next(offset int64) (Part, error) {
	i := r.index.holding(offset)
	if i == len(r.index.Chunks) {
		return Part{}, io.EOF
	}
	chunk := r.index.Chunks[i]
	packed, times, err := r.get(chunk.N)
	if err != nil {
		return Part{}, err
	}
	text, err := Unpack(chunk, packed)
	if err != nil {
		return Part{}, err
	}
	part := Part{
		Segment: chunk.N, Line: chunk.Line, Lines: chunk.Lines, Offset: chunk.Offset, Text: text, Times: times,
		At: r.index.Start.Add(time.Duration(chunk.First) * time.Millisecond),
	}
	return part.From(offset), nil
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

// UnpackTimes reads what Pack made of the times of a chunk's lines.
func UnpackTimes(packed []byte) ([]byte, error) {
	times, err := unpack(packed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errTimes, err)
	}
	return times, nil
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
