package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/buildit-dev/buildit/internal/logs"
	"github.com/buildit-dev/buildit/internal/platform"
)

// Seal makes chunks, times and index of the live parts of an attempt that is over.
// The live parts stay: DropLive removes them later. A second Seal stores the same
// bytes under the same names, so that one which was cut off is done again; the index
// comes last, and a log that has one is sealed. What a damaged part hides is left
// out, and damaged says so.
func (s *LogStore) Seal(ctx context.Context, log LogName, keep int64, groups []logs.Group) (damaged, err error) {
	first, err := s.Part(ctx, log, 0)
	if err != nil && !errors.Is(err, platform.ErrNotFound) {
		return nil, err
	}
	start, damaged := first.Began()
	relaxed := platform.Relaxed(ctx) // the index is written in full, and they last with it
	var failed error                 // of the store, where Add's other errors are the part's
	sealer := logs.NewSealer(start, keep, logs.Store{
		Put: func(chunk logs.Chunk, packed, times []byte) error {
			failed = s.putChunk(relaxed, log, chunk.N, packed, times)
			return failed
		},
		Drop: func(chunk logs.Chunk) error {
			failed = errors.Join(s.remove(relaxed, log.chunk(chunk.N)), s.remove(relaxed, log.times(chunk.N)))
			return failed
		},
	})
	for n := 0; ; n++ {
		part, err := s.Part(ctx, log, n)
		if errors.Is(err, platform.ErrNotFound) {
			break
		}
		if err != nil {
			return damaged, err
		}
		if err := sealer.Add(part); failed != nil {
			return damaged, failed
		} else if err != nil {
			damaged = errors.Join(damaged, err)
			break
		}
	}
	index, err := sealer.Close(groups)
	if err != nil {
		return damaged, err
	}
	text, err := json.Marshal(index)
	if err != nil {
		return damaged, fmt.Errorf("index of log %s: %w", log, err)
	}
	if err := s.put(ctx, log.index(), text); err != nil {
		return damaged, fmt.Errorf("index of log %s: %w", log, err)
	}
	s.ring(log)
	return damaged, nil
}

func (s *LogStore) putChunk(ctx context.Context, log LogName, n int, packed, times []byte) error {
	if err := s.put(ctx, log.chunk(n), packed); err != nil {
		return fmt.Errorf("log %s, chunk %d: %w", log, n, err)
	}
	times, err := logs.Pack(times)
	if err == nil {
		err = s.put(ctx, log.times(n), times)
	}
	if err != nil {
		return fmt.Errorf("log %s, times of chunk %d: %w", log, n, err)
	}
	return nil
}

// put stores an object once. What is there already is a sealing's that was cut off,
// and is the same unless a release in between compresses otherwise: as long as there
// is no index nobody has read it, and it is replaced.
func (s *LogStore) put(ctx context.Context, key platform.BlobKey, body []byte) error {
	_, err := s.blobs.Create(ctx, key, bytes.NewReader(body))
	if !errors.Is(err, platform.ErrExists) {
		return err
	}
	info, err := s.blobs.Stat(ctx, key)
	if err != nil {
		return err
	}
	_, err = s.blobs.Replace(ctx, key, info.ETag, bytes.NewReader(body)) // equal bytes are no change
	return err
}

// dropAtOnce is how many objects are listed and removed at a time.
const dropAtOnce = 500

// DropLive removes the live parts of a log that is sealed.
func (s *LogStore) DropLive(ctx context.Context, log LogName) error {
	ctx = platform.Relaxed(ctx) // what a power cut brings back is in the chunks too
	var after platform.BlobKey
	for {
		found, err := s.blobs.List(ctx, log.blob("live").Under(), after, dropAtOnce)
		if err != nil || len(found) == 0 {
			return err
		}
		for _, part := range found {
			if err := s.remove(ctx, part.Key); err != nil {
				return err
			}
			after = part.Key
		}
	}
}

// DropChunks removes what a sealed log says. Its index stays, for those who ask why.
func (s *LogStore) DropChunks(ctx context.Context, log LogName) error {
	index, err := s.Index(ctx, log)
	if errors.Is(err, platform.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, chunk := range index.Chunks {
		if err := errors.Join(s.remove(ctx, log.chunk(chunk.N)), s.remove(ctx, log.times(chunk.N))); err != nil {
			return err
		}
	}
	return nil
}

// DropIndex removes the last of a log.
func (s *LogStore) DropIndex(ctx context.Context, log LogName) error {
	return s.remove(ctx, log.index())
}

// remove removes an object for good, with its versions: Delete alone would hide it
// and keep the room that it takes.
func (s *LogStore) remove(ctx context.Context, key platform.BlobKey) error {
	versions, err := s.blobs.Versions(ctx, key)
	if err != nil {
		return err
	}
	for _, version := range versions {
		if err := s.blobs.DeleteVersion(ctx, key, version.Version); err != nil && !errors.Is(err, platform.ErrNotFound) {
			return err
		}
	}
	return nil
}
