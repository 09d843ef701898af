package supervisor

import (
	"context"
	"errors"
	"os"
	"sync"
)

// Limits of the log that waits for the platform, in bytes.
const (
	memoryWaits  = 4 << 20
	defaultSpool = 256 << 20
)

// shipper sends the parts of a log in order. Parts wait in memory, then in a ring
// on disk; when that is full too, put holds the writer and so the pipe, and the
// commands wait with it.
type shipper struct {
	send  func(LogPart) error
	ended func(error) // called once if send fails for good
	spool *ring

	mu     sync.Mutex
	change sync.Cond
	queue  []waiting
	memory int // bytes of text in the queue that are in memory
	active bool
	err    error
}

// waiting is a part in the queue; its text may be in the ring.
type waiting struct {
	part    LogPart
	spooled int // bytes in the ring
}

func newShipper(send func(LogPart) error, spoolPath string, spoolBytes int64, ended func(error)) *shipper {
	if spoolBytes <= 0 {
		spoolBytes = defaultSpool
	}
	s := &shipper{send: send, ended: ended, spool: &ring{path: spoolPath, size: spoolBytes}}
	s.change.L = &s.mu
	return s
}

// put queues a part. It waits while there is no room, and fails once a part could
// not be sent for good.
func (s *shipper) put(part LogPart) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	entry := waiting{part: part}
	for s.err == nil && len(s.queue) > 0 && s.memory+len(part.Text) > memoryWaits {
		stored, err := s.spool.write(part.Text)
		if stored {
			entry.part.Text, entry.spooled = nil, len(part.Text)
			break
		}
		if err != nil && !isDiskFull(err) {
			s.fail(err)
			break
		}
		s.change.Wait() // no room on disk either: hold the pipe
	}
	if s.err != nil {
		return s.err
	}
	s.memory += len(entry.part.Text)
	s.queue = append(s.queue, entry)
	if !s.active {
		s.active = true
		go s.run()
	}
	return nil
}

// run sends until the queue is empty.
func (s *shipper) run() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) > 0 && s.err == nil {
		entry := s.queue[0]
		if entry.spooled > 0 {
			text, err := s.spool.read(entry.spooled)
			if err != nil {
				s.fail(err)
				break
			}
			entry.part.Text = text
		}
		s.mu.Unlock()
		err := s.send(entry.part)
		s.mu.Lock()
		if err != nil {
			s.fail(err)
			break
		}
		if entry.spooled == 0 {
			s.memory -= len(entry.part.Text)
		}
		s.queue[0] = waiting{}
		s.queue = s.queue[1:]
		s.change.Broadcast()
	}
	s.active = false
	s.change.Broadcast()
}

// fail ends the shipping; the lock is held.
func (s *shipper) fail(err error) {
	if s.err == nil {
		s.err = err
		s.queue = nil
		go s.ended(err)
	}
	s.change.Broadcast()
}

// close waits until everything has been sent.
func (s *shipper) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.active {
		s.change.Wait()
	}
	return errors.Join(s.err, s.spool.close())
}

// startLog opens the way of the log to the platform.
func (a *attempt) startLog(calls context.Context, stop context.CancelCauseFunc) {
	ended := func(err error) {
		if errors.Is(err, ErrSettled) {
			stop(ErrSettled)
		}
	}
	a.ship = newShipper(func(part LogPart) error { return a.control.Log(calls, part) },
		a.opt.spoolFolder(), a.opt.SpoolBytes, ended)
	a.openOutput(stop)
}

// spoolFolder is where the ring's file is made, which has no name there.
func (o *Options) spoolFolder() string {
	switch {
	case o.Scratch != nil:
		return o.Scratch.dir
	case o.Dir != "":
		return o.Dir
	}
	return os.TempDir()
}

// closeLog ends the stream, and waits until the platform has all of it.
func (a *attempt) closeLog() error {
	err := a.out.close()
	line, _, bytes := a.out.cutter.Position()
	a.result.LogLines, a.result.LogBytes = line-1, bytes
	return errors.Join(err, a.ship.close())
}
