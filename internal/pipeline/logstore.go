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

// LogStore keeps logs as objects: each part is one, named by its number, so that
// what is stored survives whoever stored it. It wakes those who follow in this
// process; others ask again.
//
//	acme/logs/<run>/<key>/<attempt>/live/<segment, 8 digits>
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

func (l LogName) live(segment int) platform.BlobKey {
	return l.Org.Blob("logs", string(l.Run), string(l.Key), strconv.Itoa(l.Attempt), "live", fmt.Sprintf("%08d", segment))
}

// Store keeps a part: its description as a line of JSON, and the text behind it.
func (s *LogStore) Store(ctx context.Context, log LogName, part supervisor.LogPart) error {
	text := part.Text
	part.Text = nil
	head, err := json.Marshal(part)
	if err != nil {
		return fmt.Errorf("log %s, part %d: %w", log, part.Segment, err)
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
	body, _, err := s.blobs.Open(ctx, log.live(segment), 0)
	if err != nil {
		return supervisor.LogPart{}, err
	}
	raw, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
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
