package local

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Push writes to the WebSocket connections of this server. What a connection has
// not taken yet is kept for it, in order, up to maxBacklog: a client slower than
// that is dropped, and comes back to where it was by its cursor.
type Push struct {
	origins []string

	mu   sync.Mutex
	open map[string]*connection
}

const (
	maxBacklog = 1 << 20          // bytes that wait for one connection
	maxFrame   = 32 << 10         // bytes of a client's message, as on API Gateway
	pingEvery  = 30 * time.Second // so that a connection without a peer is noticed
	writeLimit = 10 * time.Second // for which one message may wait for the peer
)

// NewPush makes a push port without connections. Pages of other origins than the
// server's own may connect if their host matches one of origins.
func NewPush(origins ...string) *Push {
	return &Push{origins: origins, open: map[string]*connection{}}
}

// connection is one client and what waits for it.
type connection struct {
	conn *websocket.Conn
	more chan struct{} // has one element if there may be something to do
	drop func()        // cuts the connection without a word

	mu      sync.Mutex
	waiting [][]byte
	backlog int // bytes in waiting
	closing bool
	code    websocket.StatusCode
	reason  string
}

// Accept makes a WebSocket of a request and serves it under an id until it ends:
// onMessage gets what the client sends, one after the other, and onClose is called
// once at the end. It returns when the connection is closed; a request that is no
// WebSocket handshake has been answered then.
func (p *Push) Accept(w http.ResponseWriter, r *http.Request, id string, onMessage func([]byte), onClose func()) error {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: p.origins})
	if err != nil {
		return fmt.Errorf("accept connection %s: %w", id, err)
	}
	conn.SetReadLimit(maxFrame)
	// The request's context ends with its handler, which is this function.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	c := &connection{conn: conn, more: make(chan struct{}, 1), drop: cancel}
	if !p.add(id, c) {
		return errors.Join(fmt.Errorf("connection %s: %w", id, platform.ErrExists), conn.CloseNow())
	}
	defer onClose()
	defer p.remove(id)
	var writing sync.WaitGroup
	writing.Go(func() { c.write(ctx) })
	for {
		_, message, err := conn.Read(ctx)
		if err != nil {
			break // closed, by whomever
		}
		onMessage(message)
	}
	cancel()
	writing.Wait()
	return nil
}

// Send implements platform.Push.
func (p *Push) Send(_ context.Context, id string, message []byte) error {
	if err := platform.CheckPush(message); err != nil {
		return err
	}
	c := p.find(id)
	if c == nil {
		return fmt.Errorf("connection %s: %w", id, platform.ErrGone)
	}
	if !c.add(message) {
		return fmt.Errorf("connection %s is closing, or its client is too slow: %w", id, platform.ErrGone)
	}
	return nil
}

// Close implements platform.Push. What was sent before is delivered first.
func (p *Push) Close(_ context.Context, id string, code int, reason string) error {
	if c := p.find(id); c != nil {
		c.end(websocket.StatusCode(code), reason)
	}
	return nil
}

// CloseAll ends every connection: the server is going away.
func (p *Push) CloseAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.open {
		c.end(websocket.StatusGoingAway, "the server stops")
	}
}

func (p *Push) find(id string) *connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open[id]
}

func (p *Push) add(id string, c *connection) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open[id] != nil {
		return false
	}
	p.open[id] = c
	return true
}

func (p *Push) remove(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, id)
}

// add has a message wait for the client, and answers whether it will be delivered.
func (c *connection) add(message []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	if c.backlog+len(message) > maxBacklog {
		c.closing, c.waiting = true, nil
		c.drop()
		return false
	}
	c.waiting = append(c.waiting, append([]byte(nil), message...))
	c.backlog += len(message)
	c.wake()
	return true
}

// end has the connection closed behind what waits.
func (c *connection) end(code websocket.StatusCode, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.closing, c.code, c.reason = true, code, reason
		c.wake()
	}
}

func (c *connection) wake() {
	select {
	case c.more <- struct{}{}:
	default:
	}
}

// next is the next message, or that the connection is to be closed.
func (c *connection) next() (message []byte, end bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		return nil, c.closing
	}
	message, c.waiting = c.waiting[0], c.waiting[1:]
	return message, false
}

func (c *connection) written(message []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.backlog -= len(message)
}

// write delivers what waits until the connection ends.
func (c *connection) write(ctx context.Context) {
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		message, end := c.next()
		switch {
		case end:
			c.hangUp()
			return
		case message != nil:
			if !c.try(ctx, func(ctx context.Context) error { return c.conn.Write(ctx, websocket.MessageText, message) }) {
				return
			}
			c.written(message)
			continue
		}
		select {
		case <-c.more:
		case <-ping.C:
			if !c.try(ctx, c.conn.Ping) {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// try does one thing with the peer, in bounded time; when that fails the connection
// is over, which its reader notices.
func (c *connection) try(ctx context.Context, do func(context.Context) error) bool {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	if do(ctx) == nil {
		return true
	}
	c.drop()
	return false
}

func (c *connection) hangUp() {
	c.mu.Lock()
	code, reason := c.code, c.reason
	c.mu.Unlock()
	if err := c.conn.Close(code, reason); err != nil {
		c.drop() // the peer did not answer
	}
}
