package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// LogStore keeps logs as objects, in two forms. While an attempt runs each part is
// one, named by its number, so that what is stored survives whoever stored it. When
// it is over the parts are sealed into chunks with an index (logseal.go). It wakes
// those who follow in this process; others ask again.
//
//	acme/logs/<run>/<key>/<attempt>/live/<segment, 8 digits>
//	acme/logs/<run>/<key>/<attempt>/<chunk, 8 digits>.gz
//	acme/logs/<run>/<key>/<attempt>/<chunk, 8 digits>.times.gz
//	acme/logs/<run>/<key>/<attempt>/index.json
type LogStore struct {
	blobs platform.Blobs

	mu      sync.Mutex
	waiting map[string]chan struct{} // by log; closed at its next part
}

// NewLogStore keeps logs in blobs.
func NewLogStore(blobs platform.Blobs) *LogStore {
	return &LogStore{blobs: blobs, waiting: make(map[string]chan struct{})}
}

func (l LogName) String() string {
	return fmt.Sprintf("%s/%s/%s/%d", l.Org.ID(), l.Run, l.Key, l.Attempt)
}

func (l LogName) blob(parts ...string) platform.BlobKey {
	return l.Org.Blob("logs", append([]string{string(l.Run), string(l.Key), strconv.Itoa(l.Attempt)}, parts...)...)
}

func (l LogName) live(segment int) platform.BlobKey {
	return l.blob("live", fmt.Sprintf("%08d", segment))
}
func (l LogName) chunk(n int) platform.BlobKey { return l.blob(fmt.Sprintf("%08d.gz", n)) }
func (l LogName) times(n int) platform.BlobKey { return l.blob(fmt.Sprintf("%08d.times.gz", n)) }
func (l LogName) index() platform.BlobKey      { return l.blob("index.json") }

// Store keeps a part: its description as a line of JSON, and the text behind it.
//
// Parts but the last are written relaxed: a sync each would be the dearest thing that
// a stage does. What the supervisor is told stays true when the server is killed,
// since the kernel has the bytes; a power cut that loses them takes the supervisor
// too, so that nobody counts on them who is still there. The last part is written in
// full, and by the port's promise everything before it lasts with it: a result is
// never reported whose log could still vanish.
func (s *LogStore) Store(ctx context.Context, log LogName, part supervisor.LogPart) error {
	text := part.Text
	part.Text = nil
	head, err := json.Marshal(part)
	if err != nil {
		return fmt.Errorf("log %s, part %d: %w", log, part.Segment, err)
	}
	if !part.Final {
		ctx = platform.Relaxed(ctx)
	}
	body := append(append(head, '\n'), text...)
	_, err = s.blobs.Create(ctx, log.live(part.Segment), bytes.NewReader(body))
	if err != nil && !errors.Is(err, platform.ErrExists) {
		return fmt.Errorf("log %s, part %d: %w", log, part.Segment, err)
	}
	s.ring(log)
	return nil
}

// Close wakes those who wait for more of a log that is complete.
func (s *LogStore) Close(_ context.Context, log LogName) error {
	s.ring(log)
	return nil
}

// Part reads one part, or fails with platform.ErrNotFound.
func (s *LogStore) Part(ctx context.Context, log LogName, segment int) (supervisor.LogPart, error) {
	raw, err := s.read(ctx, log.live(segment))
	if err != nil {
		return supervisor.LogPart{}, fmt.Errorf("log %s, part %d: %w", log, segment, err)
	}
	head, text, _ := bytes.Cut(raw, []byte{'\n'})
	var part supervisor.LogPart
	if err := json.Unmarshal(head, &part); err != nil {
		return supervisor.LogPart{}, fmt.Errorf("log %s, part %d: %w", log, segment, err)
	}
	part.Text = text
	return part, nil
}

// read is the whole of an object.
func (s *LogStore) read(ctx context.Context, key platform.BlobKey) ([]byte, error) {
	body, info, err := s.blobs.Open(ctx, key, 0)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, info.Size)
	_, err = io.ReadFull(body, raw)
	return raw, errors.Join(err, body.Close())
}

// Next is closed when a part of the log is stored, or the log is complete. Take it
// before reading, so that nothing falls between.
func (s *LogStore) Next(log LogName) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := log.String()
	if s.waiting[name] == nil {
		s.waiting[name] = make(chan struct{})
	}
	return s.waiting[name]
}

func (s *LogStore) ring(log LogName) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := log.String()
	if bell := s.waiting[name]; bell != nil {
		close(bell)
		delete(s.waiting, name)
	}
}
