package memory

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Push is the push port in memory: a connection is a function that takes messages.
type Push struct {
	mu   sync.Mutex
	open map[string]*connection
}

type connection struct {
	mu      sync.Mutex // keeps the messages in order
	receive func(message []byte)
	closed  func(code int, reason string)
}

// NewPush makes a push port without connections.
func NewPush() *Push { return &Push{open: map[string]*connection{}} }

// Open makes a connection. receive gets its messages one after the other, and
// closed is called once if Close ends it. The answer hangs up from the client's side.
func (p *Push) Open(id string, receive func(message []byte), closed func(code int, reason string)) (hangUp func()) {
	c := &connection{receive: receive, closed: closed}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[id] = c
	return func() { p.remove(id, c) }
}

// Send implements platform.Push.
func (p *Push) Send(_ context.Context, id string, message []byte) error {
	if err := platform.CheckPush(message); err != nil {
		return err
	}
	p.mu.Lock()
	c, ok := p.open[id]
	p.mu.Unlock()
	if !ok {
		return fmt.Errorf("connection %s: %w", id, platform.ErrGone)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.receive(slices.Clone(message))
	return nil
}

// Close implements platform.Push.
func (p *Push) Close(_ context.Context, id string, code int, reason string) error {
	p.mu.Lock()
	c, ok := p.open[id]
	p.mu.Unlock()
	if ok && p.remove(id, c) {
		c.closed(code, reason)
	}
	return nil
}

// remove forgets a connection, and says whether this call did.
func (p *Push) remove(id string, c *connection) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[id] != c {
		return false
	}
	delete(p.open, id)
	return true
}
