package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"github.com/buildit-dev/buildit/internal/access"
)

// awaitLine follows a run as a client would, and returns at the first byte of any
// of its logs.
func (p *platform) awaitLine(ctx context.Context, run string) error {
	followed := map[string]bool{}
	return p.follow(ctx, run, func(conn *websocket.Conn, frame access.Frame) (bool, error) {
		for _, s := range frame.Stages {
			if log := fmt.Sprintf("%s/%s/%d", run, s.Key, s.Attempt); s.Attempt > 0 && !followed[log] {
				followed[log] = true
				if err := subscribe(ctx, conn, access.Frame{Log: log}); err != nil {
					return false, err
				}
			}
		}
		return frame.Log != "" && len(frame.Payload()) > 0, nil
	})
}

// finished follows a run to its end.
func (p *platform) finished(ctx context.Context, id string) (run runOf, err error) {
	err = p.follow(ctx, id, func(_ *websocket.Conn, frame access.Frame) (bool, error) {
		return frame.Run == id && frame.End, nil
	})
	if err != nil {
		return run, err
	}
	err = p.call(ctx, http.MethodGet, "/runs/"+id, nil, &run)
	return run, err
}

// follow reads a run's stream until enough of it was seen.
func (p *platform) follow(ctx context.Context, run string, enough func(*websocket.Conn, access.Frame) (bool, error)) (err error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(websocket.StatusNormalClosure, "")) }()
	conn.SetReadLimit(1 << 20)
	if err := subscribe(ctx, conn, access.Frame{Run: run}); err != nil {
		return err
	}
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		var frame access.Frame
		if err := json.Unmarshal(text, &frame); err != nil {
			return err
		}
		if done, err := enough(conn, frame); done || err != nil {
			return err
		}
	}
}

// dial opens a stream. Who is over the rate of one client comes again, as the CLI
// does.
func (p *platform) dial(ctx context.Context) (*websocket.Conn, error) {
	for {
		conn, res, err := websocket.Dial(ctx, p.url+"/api/v1/orgs/default/stream", &websocket.DialOptions{
			HTTPHeader: http.Header{"Authorization": {"Bearer " + p.token}},
		})
		if res == nil || res.StatusCode != http.StatusTooManyRequests {
			return conn, err
		}
		if err := comeLater(ctx); err != nil {
			return nil, err
		}
	}
}

// comeLater waits until there is room for another request.
func comeLater(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}

func subscribe(ctx context.Context, conn *websocket.Conn, frame access.Frame) error {
	yes := true
	frame.Sub = &yes
	text, err := json.Marshal(frame)
	if err != nil {
		return err
	}
	return conn.Write(ctx, websocket.MessageText, text)
}
