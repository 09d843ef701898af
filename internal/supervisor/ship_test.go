package supervisor

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// ConnectionLostNineMinutes: the log waits on disk, in order, and then the pipe is
// held; when the platform is back, all of it comes, once.
func TestLogWaitsForThePlatform(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got bytes.Buffer
	back := make(chan struct{})
	s := newShipper(func(part LogPart) error {
		<-back
		mu.Lock()
		defer mu.Unlock()
		got.Write(part.Text)
		return nil
	}, t.TempDir(), 1<<20, func(err error) { t.Error(err) })
	var sent bytes.Buffer
	held := make(chan struct{})
	go func() {
		defer close(held)
		for i := range 200 { // 12 MB: memory, disk, and more
			text := bytes.Repeat([]byte{byte('a' + i%26)}, 60_000)
			sent.Write(text)
			if err := s.put(LogPart{Segment: i, Text: text}); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	select {
	case <-held:
		t.Error("the writer was never held")
	case <-time.After(200 * time.Millisecond):
	}
	s.mu.Lock()
	waiting, spooled := s.memory, s.spool.used
	s.mu.Unlock()
	if waiting > memoryWaits+60_000 || spooled < 900_000 {
		t.Errorf("%d bytes wait in memory and %d on disk", waiting, spooled)
	}
	close(back)
	<-held
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), sent.Bytes()) {
		t.Errorf("%d bytes came of %d", got.Len(), sent.Len())
	}
}

func TestShippingEnds(t *testing.T) {
	t.Parallel()
	told := make(chan error, 1)
	s := newShipper(func(LogPart) error { return ErrSettled }, t.TempDir(), 0, func(err error) { told <- err })
	if err := s.put(LogPart{Text: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := <-told; !errors.Is(err, ErrSettled) {
		t.Errorf("told %v", err)
	}
	if err := s.put(LogPart{Text: []byte("y")}); !errors.Is(err, ErrSettled) {
		t.Errorf("put after the end: %v", err)
	}
	if err := s.close(); !errors.Is(err, ErrSettled) {
		t.Errorf("close: %v", err)
	}
}

// A ring is a queue, whatever is written and read.
func TestRing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		r := &ring{path: dir, size: 100}
		var model []byte
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "write") {
				p := rapid.SliceOfN(rapid.Byte(), 0, 120).Draw(t, "bytes")
				stored, err := r.write(p)
				if err != nil || stored != (len(p) <= 100-len(model)) {
					t.Fatalf("%d bytes beside %d: %v, %v", len(p), len(model), stored, err)
				}
				if stored {
					model = append(model, p...)
				}
				continue
			}
			n := rapid.IntRange(0, len(model)).Draw(t, "read")
			if r.file == nil {
				continue
			}
			p, err := r.read(n)
			if err != nil || !bytes.Equal(p, model[:n]) {
				t.Fatalf("read %q, %v, want %q", p, err, model[:n])
			}
			model = model[n:]
		}
		if err := r.close(); err != nil {
			t.Fatal(err)
		}
	})
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("%v is left, %v", names, err)
	}
	if _, err := (&ring{}).read(1); err == nil || !strings.Contains(err.Error(), "0 bytes") {
		t.Errorf("an empty ring: %v", err)
	}
}
