package access

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Limits of a stream.
const (
	maxStreamAge     = 110 * time.Minute // API Gateway ends a WebSocket after two hours
	streamPing       = time.Minute
	streamCheck      = 5 * time.Second  // rights are read again
	streamWrite      = 10 * time.Second // a client that takes longer for one frame is dropped, and resumes
	maxSubscriptions = 512              // open at a time
	maxClientFrame   = 4 << 10          // bytes
)

// Close codes of a stream, beside those of RFC 6455.
const (
	CloseLogin   websocket.StatusCode = 4401 // the credential is over: log in again
	CloseNoRight websocket.StatusCode = 4403 // the right is lost
)

// Streams opens WebSockets that carry logs and statuses. It holds no backlog: a
// subscription reads from its source as fast as its client takes frames.
type Streams struct {
	Credentials *Credentials
	Clock       platform.Clock
	Log         *slog.Logger
	Origins     []string // host patterns of our own pages, beside the server's own
	Logs        LogSource
	Runs        RunSource
}

// Routes is the one route of streams.
func (s *Streams) Routes() []Route {
	return []Route{{
		Pattern: "GET /api/v1/orgs/{org}/stream", Action: StreamOpen, Resource: Stream(),
		Summary: "A WebSocket that follows logs and runs",
		Query:   map[string]string{"ticket": "A ticket of /api/v1/ws-ticket, for clients that send no header."},
		Status:  http.StatusSwitchingProtocols,
		Handle: func(r *http.Request, caller Caller) (any, error) {
			if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
				return nil, problem.New(problem.Invalid, "This address is a WebSocket: send Connection: Upgrade and Upgrade: websocket.")
			}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.open(w, r, caller) }), nil
		},
	}}
}

// open upgrades the request and serves it until either side ends it.
func (s *Streams) open(w http.ResponseWriter, r *http.Request, caller Caller) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: s.Origins})
	if err != nil {
		s.Log.InfoContext(r.Context(), "stream refused", "err", err) // Accept has answered
		return
	}
	conn.SetReadLimit(maxClientFrame)
	ctx, cancel := context.WithCancelCause(r.Context())
	f := &follower{
		streams: s, conn: conn, caller: caller, cancel: cancel,
		request: w.Header().Get("X-Request-Id"), open: map[string]context.CancelFunc{},
	}
	f.running.Go(func() { f.keep(ctx) })
	f.running.Go(func() { f.read(ctx) })
	<-ctx.Done()
	f.close(context.Cause(ctx))
	f.running.Wait()
}

// keep pings, reads the caller's rights again, and ends a stream that is old.
func (f *follower) keep(ctx context.Context) {
	clock := f.streams.Clock
	end, ping := clock.Now().Add(maxStreamAge), clock.Now().Add(streamPing)
	for clock.Sleep(ctx, streamCheck) == nil {
		now := clock.Now()
		if now.After(end) {
			f.cancel(closing{websocket.StatusGoingAway, "renew the stream"})
			return
		}
		if err := f.checkRights(ctx); err != nil {
			f.cancel(err)
			return
		}
		if now.After(ping) {
			ping = now.Add(streamPing)
			if err := f.ping(ctx); err != nil {
				f.cancel(err)
				return
			}
		}
	}
}

// ping waits for the client's pong, not for ever.
func (f *follower) ping(ctx context.Context) error {
	ctx, cancel := f.bounded(ctx)
	defer cancel()
	return f.conn.Ping(ctx)
}

// checkRights ends the stream of who lost the right since it was opened.
func (f *follower) checkRights(ctx context.Context) error {
	now, err := f.streams.Credentials.again(ctx, f.caller)
	if problem.Is(err, problem.Unauthorized) {
		return closing{CloseLogin, "the token is over"}
	}
	if err != nil {
		return err
	}
	if now.Org != f.caller.Org || now.Role != f.caller.Role || !now.May(StreamOpen) {
		return closing{CloseNoRight, "your rights have changed: open the stream again"}
	}
	return nil
}

// closing is an end of a stream that the client is told.
type closing struct {
	code   websocket.StatusCode
	reason string
}

func (c closing) Error() string { return c.reason }

func (f *follower) close(cause error) {
	said := closing{websocket.StatusGoingAway, "the server goes away"}
	var status websocket.CloseError
	switch {
	case errors.As(cause, &said):
	case errors.As(cause, &status): // the client has closed it
		said = closing{websocket.StatusNormalClosure, ""}
	}
	if err := f.conn.Close(said.code, said.reason); err != nil {
		f.streams.Log.Debug("stream closed", "request", f.request, "cause", cause, "err", err)
	}
}

// write sends one frame, or fails where the client does not take it in time.
func (f *follower) write(ctx context.Context, frame Frame) error {
	text, err := json.Marshal(frame)
	if err != nil {
		return err
	}
	ctx, cancel := f.bounded(ctx)
	defer cancel()
	return f.conn.Write(ctx, websocket.MessageText, text)
}

// bounded is a context for one use of the connection. It does not end with the
// subscription: an end in the middle of a frame would cut the connection.
func (f *follower) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), streamWrite)
}
