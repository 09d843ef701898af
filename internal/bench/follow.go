package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/coder/websocket"

	"github.com/buildit-dev/buildit/internal/access"
)

// awaitLine follows a run as a client would, and returns at the first byte of any
// of its logs.
func (p *platform) awaitLine(ctx context.Context, run string) (err error) {
	conn, _, err := websocket.Dial(ctx, p.url+"/api/v1/orgs/default/stream", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + p.token}},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(websocket.StatusNormalClosure, "")) }()
	conn.SetReadLimit(1 << 20)
	if err := subscribe(ctx, conn, access.Frame{Run: run}); err != nil {
		return err
	}
	followed := map[string]bool{}
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		var frame access.Frame
		if err := json.Unmarshal(text, &frame); err != nil {
			return err
		}
		if frame.Log != "" && len(frame.Payload()) > 0 {
			return nil
		}
		for _, s := range frame.Stages {
			if log := fmt.Sprintf("%s/%s/%d", run, s.Key, s.Attempt); s.Attempt > 0 && !followed[log] {
				followed[log] = true
				if err := subscribe(ctx, conn, access.Frame{Log: log}); err != nil {
					return err
				}
			}
		}
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
