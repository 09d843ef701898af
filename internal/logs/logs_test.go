package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/buildit-dev/buildit/internal/platform/system"
)

// parts cuts a text as a Cutter does, in pieces of the given sizes.
func parts(t testing.TB, text []byte, pieces ...int) []Part {
	t.Helper()
	var list []Part
	c := NewCutter(system.Clock{}, time.Hour, func(p Part) error {
		list = append(list, p)
		return nil
	})
	for i := 0; len(text) > 0; i++ {
		n := len(text)
		if len(pieces) > 0 {
			n = min(n, pieces[i%len(pieces)])
		}
		if _, err := c.Write(text[:n]); err != nil {
			t.Fatal(err)
		}
		text = text[n:]
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	return list
}

// sealed is a sealed log in memory.
type sealed struct {
	chunks map[int][]byte
	times  map[int][]byte
	index  *Index
}

func seal(t testing.TB, list []Part, keep int64) *sealed {
	t.Helper()
	s := &sealed{chunks: map[int][]byte{}, times: map[int][]byte{}}
	sealer := NewSealer(time.Unix(0, 0), keep, Store{
		Put: func(c Chunk, text, times []byte) error {
			s.chunks[c.N], s.times[c.N] = text, times
			return nil
		},
		Drop: func(c Chunk) error {
			delete(s.chunks, c.N)
			return nil
		},
	})
	for _, p := range list {
		if err := sealer.Add(p); err != nil {
			t.Fatal(err)
		}
	}
	index, err := sealer.Close(nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	if s.index, err = ParseIndex(text); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *sealed) get(n int) (packed, times []byte, err error) {
	if text, ok := s.chunks[n]; ok {
		return text, s.times[n], nil
	}
	return nil, nil, fmt.Errorf("no chunk %d", n)
}

// each reads the parts of the log from a line on.
func each(t testing.TB, reader *Reader, line int64, take func(Part) error) {
	t.Helper()
	for at := reader.Start(line); ; {
		part, err := reader.Next(at)
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			at = part.End()
			err = take(part)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (s *sealed) from(t testing.TB, line int64) string {
	t.Helper()
	var text []byte
	each(t, NewReader(s.index, s.get), line, func(part Part) error {
		text = append(text, part.FromLine(line).Text...)
		return nil
	})
	return string(text)
}

// The chunks together are byte for byte what the stream was, whatever is in it.
func TestSealedLogIsByteExact(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 3<<20)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	for name, text := range map[string][]byte{
		"TenMegabyteLine":        append(bytes.Repeat([]byte("x"), 10<<20), "\nshort\n"...),
		"BinaryOutput":           noise,
		"CarriageReturnProgress": []byte(strings.Repeat("\r 42 %", 300_000)),
		"lines":                  []byte(strings.Repeat("a line of the log\n", 200_000)),
		"no end":                 []byte("no line end"),
		"empty":                  nil,
	} {
		s := seal(t, parts(t, text, 1000, 70_000, 1), 0)
		if got := s.from(t, 1); got != string(text) {
			t.Errorf("%s: %d bytes came back of %d", name, len(got), len(text))
		}
		if s.index.Bytes != int64(len(text)) || s.index.Lines != int64(bytes.Count(text, newline)) {
			t.Errorf("%s: totals %d and %d", name, s.index.Bytes, s.index.Lines)
		}
		for _, c := range s.index.Chunks {
			if c.Bytes > ChunkBytes {
				t.Errorf("%s: chunk %d has %d bytes", name, c.N, c.Bytes)
			}
		}
	}
}

func TestLongLineIsMarkedInTheIndexOnly(t *testing.T) {
	t.Parallel()
	text := "one\n" + strings.Repeat("x", 3<<20) + "\nthree\n" + strings.Repeat("y", LongLine+1)
	s := seal(t, parts(t, []byte(text), 4096), 0)
	if !slices.Equal(s.index.Long, []int64{2, 4}) {
		t.Errorf("long lines %v", s.index.Long)
	}
	if !s.index.Chunks[0].Inside && !s.index.Chunks[1].Inside {
		t.Error("no chunk says that it ends inside a line")
	}
	if got := s.from(t, 3); !strings.HasPrefix(got, "three\n") {
		t.Errorf("line 3 begins %.20q", got)
	}
}

// A reader opens at any line, and lines come whole and with their numbers.
func TestReaderOpensAtALine(outer *testing.T) {
	outer.Parallel()
	rapid.Check(outer, func(t *rapid.T) {
		lines := rapid.IntRange(0, 12).Draw(t, "lines")
		var text []byte
		for i := range lines {
			text = fmt.Appendf(text, "line %d %s\n", i+1, strings.Repeat("x", rapid.SampledFrom([]int{0, 10, 200_000, 1_500_000}).Draw(t, "length")))
		}
		text = append(text, rapid.SampledFrom([]string{"", "open"}).Draw(t, "open")...)
		var list []Part
		c := NewCutter(system.Clock{}, time.Hour, func(p Part) error {
			list = append(list, p)
			return nil
		})
		if _, err := c.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		s := &sealed{chunks: map[int][]byte{}}
		sealer := NewSealer(time.Time{}, 0, Store{Put: func(c Chunk, text, _ []byte) error {
			s.chunks[c.N] = text
			return nil
		}})
		for _, p := range list {
			if err := sealer.Add(p); err != nil {
				t.Fatal(err)
			}
		}
		index, err := sealer.Close(nil)
		if err != nil {
			t.Fatal(err)
		}
		all := strings.SplitAfter(string(text), "\n")
		first := rapid.IntRange(1, lines+2).Draw(t, "first")
		last := rapid.IntRange(first, lines+3).Draw(t, "last")
		var want []string
		if first <= len(all) {
			want = slices.DeleteFunc(slices.Clone(all[first-1:min(last, len(all))]), func(l string) bool { return l == "" })
		}
		var got []string
		number := int64(first)
		open := false // pieces of a long line make one
		splitter := NewSplitter(int64(first), int64(last), func(l Line) error {
			if l.Number != number {
				return fmt.Errorf("line %d came as %d", number, l.Number)
			}
			if !open {
				got = append(got, "")
			}
			got[len(got)-1] += string(l.Text)
			if open = l.More; !open {
				number++
			}
			return nil
		})
		each(outer, NewReader(index, s.get), int64(first), splitter.Add)
		if err := splitter.Close(); err != nil {
			t.Fatal(err)
		}
		for i := range want {
			want[i] = strings.TrimSuffix(want[i], "\n")
		}
		if !slices.Equal(got, want) {
			t.Fatalf("lines %d to %d: %d came, want %d", first, last, len(got), len(want))
		}
	})
}

// Who seals, and how the stream came in parts, changes no chunk.
func TestChunksDependOnTheStreamAlone(t *testing.T) {
	t.Parallel()
	text := []byte(strings.Repeat("some line of a log\n", 150_000) + strings.Repeat("z", 2<<20))
	a, b := seal(t, parts(t, text), 0), seal(t, parts(t, text, 999, 100_001), 0)
	if len(a.chunks) != len(b.chunks) {
		t.Fatalf("%d chunks and %d", len(a.chunks), len(b.chunks))
	}
	for n := range a.chunks {
		if !bytes.Equal(a.chunks[n], b.chunks[n]) {
			t.Errorf("chunk %d differs", n)
		}
	}
}

func TestSegmentSentTwice(t *testing.T) {
	t.Parallel()
	list := parts(t, []byte(strings.Repeat("x\n", 400_000)))
	s := seal(t, slices.Concat(list[:2], list[:2], list[1:]), 0)
	if got := s.from(t, 1); got != strings.Repeat("x\n", 400_000) {
		t.Errorf("%d bytes", len(got))
	}
}

func TestSegmentOutOfOrder(t *testing.T) {
	t.Parallel()
	list := parts(t, []byte(strings.Repeat("x\n", 400_000)))
	sealer := NewSealer(time.Time{}, 0, Store{})
	if err := sealer.Add(list[0]); err != nil {
		t.Fatal(err)
	}
	if err := sealer.Add(list[2]); err == nil {
		t.Error("a gap was taken")
	}
}

// Beyond the limit only the end stays, and the index says how much is missing.
func TestGap(t *testing.T) {
	t.Parallel()
	line := strings.Repeat("x", 1023) + "\n"
	const total = 100 << 10 // lines: 100 MiB
	var list []Part
	sealer := NewSealer(time.Time{}, 4<<20, Store{
		Put:  func(Chunk, []byte, []byte) error { return nil },
		Drop: func(Chunk) error { return nil },
	})
	c := NewCutter(system.Clock{}, time.Hour, sealer.Add)
	block := []byte(strings.Repeat(line, 64))
	for range total / 64 {
		if _, err := c.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err, list)
	}
	index, err := sealer.Close(nil)
	if err != nil {
		t.Fatal(err)
	}
	kept := int64(0)
	for _, chunk := range index.Chunks {
		kept += chunk.Bytes
	}
	if index.Gap == nil || kept+index.Gap.Bytes != total<<10 || index.Gap.Line != 4<<10+1 || index.Bytes != total<<10 {
		t.Fatalf("gap %+v, %d bytes kept of %d", index.Gap, kept, index.Bytes)
	}
	if kept > 4<<20+TailBytes || kept < 4<<20+TailBytes-ChunkBytes {
		t.Errorf("%d bytes kept", kept)
	}
	text, err := json.Marshal(index)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseIndex(text); err != nil {
		t.Error(err)
	}
}

func TestErrorAnchors(t *testing.T) {
	t.Parallel()
	s := seal(t, parts(t, []byte("ok\nmain.go:3: error: x FAIL\nok\n--- FAIL: TestX\nok")), 0)
	if !slices.Equal(s.index.Anchors, []int64{2, 4}) {
		t.Errorf("anchors %v", s.index.Anchors)
	}
}

// A part leaves 50 ms after the first output, then once in an interval; while
// nobody watches, less often. In a bubble, time passes when all wait.
func TestPartsLeaveInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		c := NewCutter(system.Clock{}, time.Second, func(Part) error {
			at = append(at, time.Since(start))
			return nil
		})
		write := func(wait time.Duration) {
			time.Sleep(wait) // the bubble's time
			if _, err := c.Write([]byte("x\n")); err != nil {
				t.Error(err)
			}
		}
		write(0)
		write(100 * time.Millisecond) // 0.1 s: leaves one interval after the cut before
		write(5 * time.Second)        // after a pause: at once
		c.Watch(false)
		write(100 * time.Millisecond) // five intervals after the cut before
		time.Sleep(10 * time.Second)
		synctest.Wait()
		want := []time.Duration{50, 1050, 5150, 10150}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if !slices.Equal(at, want) {
			t.Errorf("parts left at %v, want %v", at, want)
		}
	})
}

// Every line has the time at which its first byte came.
func TestTimesOfLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list []Part
		c := NewCutter(system.Clock{}, time.Hour, func(p Part) error {
			list = append(list, p)
			return nil
		})
		for _, piece := range []string{"a\nb", "b\n", "c\n\n", "d"} {
			if _, err := c.Write([]byte(piece)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // the bubble's time
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		s := seal(t, list, 0)
		var got []int64
		if err := Runs(s.times[0], func(ms, lines int64) error {
			for range lines {
				got = append(got, ms)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if want := []int64{0, 0, 2000, 2000, 3000}; !slices.Equal(got, want) {
			t.Errorf("times %v, want %v", got, want)
		}
	})
}

// FuzzSeal: whatever the stream and its parts, what comes back is what went in.
func FuzzSeal(f *testing.F) {
	f.Add([]byte("a\nb\r\n\x00\xff"), 3, int64(2))
	f.Fuzz(func(t *testing.T, text []byte, piece int, line int64) {
		piece = min(max(piece, 1), 1<<20)
		s := seal(t, parts(t, text, piece), 0)
		if got := s.from(t, 1); got != string(text) {
			t.Fatalf("%q came back as %q", text, got)
		}
		want := text
		for n := int64(1); n < line && len(want) > 0; n++ {
			end := bytes.IndexByte(want, '\n')
			if end < 0 {
				end = len(want) - 1
			}
			want = want[end+1:]
		}
		if got := s.from(t, line); got != string(want) {
			t.Errorf("from line %d: %q, want %q", line, got, want)
		}
	})
}

// FuzzChunk: a foreign chunk, index or part is refused or read, and never panics
// nor swells.
func FuzzChunk(f *testing.F) {
	s := seal(f, parts(f, []byte("one\ntwo\n")), 0)
	index, err := json.Marshal(s.index)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.chunks[0], index, s.times[0])
	f.Fuzz(func(t *testing.T, packed, index, times []byte) {
		if text, err := unpack(packed); err == nil && len(text) > ChunkBytes {
			t.Errorf("%d bytes", len(text))
		}
		if x, err := ParseIndex(index); err == nil {
			reader := NewReader(x, func(int) ([]byte, []byte, error) { return packed, times, nil })
			lines := NewSplitter(1, 100, func(Line) error { return nil })
			for at := reader.Start(1); ; {
				part, err := reader.Next(at)
				if err == nil {
					at = part.End()
					err = lines.Add(part)
				}
				if err != nil {
					break
				}
			}
			if err := lines.Close(); err != nil {
				t.Error(err)
			}
		}
		last := int64(0)
		if err := Runs(times, func(ms, lines int64) error {
			if ms < last || lines < 1 {
				t.Errorf("%d lines at %d after %d", lines, ms, last)
			}
			last = ms
			return nil
		}); err != nil {
			t.Skip(err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	var text []byte
	for i := range 40_000 {
		text = fmt.Appendf(text, "2026-03-01T12:00:%02d INFO compiled module %d of the example in %d ms\n", i%60, i, i%977)
	}
	list := parts(b, text)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		sealer := NewSealer(time.Time{}, 0, Store{Put: func(Chunk, []byte, []byte) error { return nil }})
		for _, p := range list {
			if err := sealer.Add(p); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := sealer.Close(nil); err != nil {
			b.Fatal(err)
		}
	}
}
