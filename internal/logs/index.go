package logs

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Limits of a sealed log, in bytes.
const (
	ChunkBytes = 1 << 20  // of text in a chunk, at most
	KeepBytes  = 1 << 30  // of the beginning, unless the job says otherwise
	TailBytes  = 64 << 20 // of the end of what goes beyond
	LongLine   = 64 << 10 // from which a line is marked
)

// Marks in an index are limited, so that no log makes it large.
const (
	maxAnchors = 200
	maxLong    = 1000
	maxChunks  = 1 << 20
)

// Index describes a sealed log. Marks live here and never in the bytes: the chunks
// together, where there is no gap, are byte for byte what the masked stream was.
type Index struct {
	V        int       `json:"v"`
	Start    time.Time `json:"start"`  // of the attempt; times count from here
	Chunks   []Chunk   `json:"chunks"` // in order; a gap leaves numbers out
	Groups   []Group   `json:"groups,omitempty"`
	Sections []Section `json:"sections,omitempty"` // that commands have marked, in the order of their beginning
	Anchors  []int64   `json:"anchors,omitempty"`  // lines that look like an error
	Long     []int64   `json:"long,omitempty"`     // lines longer than LongLine
	Gap      *Gap      `json:"gap,omitempty"`
	Lines    int64     `json:"lines"` // line ends of the whole stream
	Bytes    int64     `json:"bytes"` // of the whole stream
	Final    bool      `json:"final"` // the stream has ended
}

// Chunk is an object of at most ChunkBytes of text, compressed with gzip. It ends at
// a line's end, or inside a line that alone is longer, or where the stream ended.
type Chunk struct {
	N      int    `json:"n"`
	Line   int64  `json:"line"`   // number of the line that its first byte is in
	Lines  int64  `json:"lines"`  // line ends in it
	Offset int64  `json:"offset"` // of its first byte in the stream
	Bytes  int64  `json:"bytes"`
	Packed int64  `json:"packed"`           // bytes of the object
	First  int64  `json:"first"`            // milliseconds, when its first line began
	Last   int64  `json:"last"`             // and its last
	SHA256 string `json:"sha256"`           // hex, of the object
	Inside bool   `json:"inside,omitempty"` // it ends inside a line
}

// Group is the lines of one command.
type Group struct {
	Name     string  `json:"name"`
	First    int64   `json:"first"`
	Last     int64   `json:"last"` // First-1 if it printed nothing
	Seconds  float64 `json:"seconds"`
	ExitCode int     `json:"exit_code"`
}

// Gap is what was left out of a log beyond its limit.
type Gap struct {
	Line  int64 `json:"line"` // the first that is missing, at least in part
	Lines int64 `json:"lines"`
	Bytes int64 `json:"bytes"`
}

// ParseIndex reads an index and refuses one whose chunks do not follow each other.
func ParseIndex(text []byte) (*Index, error) {
	var x Index
	if err := json.Unmarshal(text, &x); err != nil {
		return nil, fmt.Errorf("the index of the log is damaged: %w", err)
	}
	if x.V != 1 || len(x.Chunks) > maxChunks {
		return nil, fmt.Errorf("the index of the log has version %d and %d chunks", x.V, len(x.Chunks))
	}
	line, offset, n := int64(1), int64(0), -1
	for _, c := range x.Chunks {
		if x.Gap != nil && c.Offset == offset+x.Gap.Bytes && x.Gap.Bytes > 0 && offset != c.Offset {
			line, offset = line+x.Gap.Lines, c.Offset
		}
		if c.N <= n || c.Line != line || c.Offset != offset || c.Bytes < 1 || c.Bytes > ChunkBytes || c.Lines < 0 || c.Lines > c.Bytes {
			return nil, fmt.Errorf("the index of the log is damaged at chunk %d", c.N)
		}
		line, offset, n = line+c.Lines, offset+c.Bytes, c.N
	}
	return &x, nil
}

// at is the place in Chunks of the chunk in which a line begins. A line in the gap
// is at the chunk behind it, one behind the end at len(Chunks).
func (x *Index) at(line int64) int {
	i, _ := slices.BinarySearchFunc(x.Chunks, line, func(c Chunk, line int64) int {
		// The chunk holds the beginnings of lines up to Line+Lines; the last one only
		// if bytes follow its line's end, which Inside says.
		last := c.Line + c.Lines - 1
		if c.Inside {
			last++
		}
		if last < line {
			return -1
		}
		return 1
	})
	return i
}

// holding is the place in Chunks of the first chunk that ends behind an offset.
func (x *Index) holding(offset int64) int {
	i, _ := slices.BinarySearchFunc(x.Chunks, offset, func(c Chunk, offset int64) int {
		if c.Offset+c.Bytes <= offset {
			return -1
		}
		return 1
	})
	return i
}
