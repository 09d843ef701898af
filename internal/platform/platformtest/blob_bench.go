package platformtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Sizes that the platform stores often: a log segment, and a large artifact.
const (
	smallBlob = 4 << 10
	largeBlob = 64 << 20
)

// BenchmarkBlobs measures small and large objects, in and out, alone and eight at a
// time, with writes that wait for the disk and with relaxed ones.
func BenchmarkBlobs(b *testing.B, open func(*testing.B) platform.Blobs) {
	small, large := bytes.Repeat([]byte("log line\n"), smallBlob/9), make([]byte, largeBlob)
	for _, callers := range []int{1, 8} {
		for name, mark := range map[string]func(context.Context) context.Context{
			"full":    func(ctx context.Context) context.Context { return ctx },
			"relaxed": platform.Relaxed,
		} {
			b.Run(fmt.Sprintf("create-4K/callers=%d/%s", callers, name), func(b *testing.B) {
				blobs := open(b)
				inParallel(b, callers, func(n int) error {
					_, err := blobs.Create(mark(b.Context()), benchBlob(n), bytes.NewReader(small))
					return err
				})
			})
		}
	}
	b.Run("create-64M", func(b *testing.B) {
		blobs := open(b)
		b.SetBytes(largeBlob)
		inParallel(b, 1, func(n int) error {
			_, err := blobs.Create(b.Context(), benchBlob(n), bytes.NewReader(large))
			return err
		})
	})
	b.Run("read-4K", func(b *testing.B) { benchRead(b, open(b), small) })
	b.Run("read-64M", func(b *testing.B) { benchRead(b, open(b), large) })
	b.Run("list-100-of-2000", func(b *testing.B) {
		blobs := open(b)
		for n := range 2000 {
			if _, err := blobs.Create(platform.Relaxed(b.Context()), benchBlob(n), bytes.NewReader(nil)); err != nil {
				b.Fatal(err)
			}
		}
		inParallel(b, 1, func(int) error {
			_, err := blobs.List(b.Context(), acme.Blob("bench").Under(), benchBlob(1000), 100)
			return err
		})
	})
}

func benchBlob(n int) platform.BlobKey {
	return acme.Blob("bench", fmt.Sprintf("stage-%03d", n/100), fmt.Sprintf("%08d", n))
}

func benchRead(b *testing.B, blobs platform.Blobs, content []byte) {
	if _, err := blobs.Create(b.Context(), benchBlob(0), bytes.NewReader(content)); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(content)))
	inParallel(b, 1, func(int) error {
		body, _, err := blobs.Open(b.Context(), benchBlob(0), 0)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, body)
		return errors.Join(err, body.Close())
	})
}

// inParallel calls do b.N times, from so many goroutines. No two calls have one n.
func inParallel(b *testing.B, callers int, do func(n int) error) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	for _, err := range race(callers, func(int) error {
		for {
			n := next.Add(1)
			if n > int64(b.N) {
				return nil
			}
			if err := do(int(n)); err != nil {
				return err
			}
		}
	}) {
		if err != nil {
			b.Fatal(err)
		}
	}
}
