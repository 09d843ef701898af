package access_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/problem"
)

// record is a log and a run in memory, as the interfaces of follow.go ask for them.
type record struct {
	mu       sync.Mutex
	segments []access.Segment
	run      access.RunView
	ended    bool
	changed  chan struct{}
}

func newRecord() *record { return &record{changed: make(chan struct{})} }

// change does what f does and wakes who waits.
func (r *record) change(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *record) append(text []byte) {
	r.change(func() {
		next := access.Segment{N: len(r.segments), Line: 1, Text: text}
		if next.N > 0 {
			last := r.segments[next.N-1]
			next.Line = last.Line + int64(bytes.Count(last.Text, []byte("\n")))
			next.Offset = last.Offset + int64(len(last.Text))
		}
		r.segments = append(r.segments, next)
	})
}

func (r *record) Segments(_ context.Context, caller access.Caller, log string, from access.From) (access.LogView, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if caller.Org.ID() != "acme" || !strings.HasPrefix(log, "run1/") {
		return access.LogView{}, problem.New(problem.NotFound, "There is no such log.")
	}
	at := min(from.Segment, len(r.segments))
	view := access.LogView{Segments: r.segments[at:min(at+2, len(r.segments))], Changed: r.changed}
	view.Next = access.From{Segment: at + len(view.Segments)}
	if r.ended && view.Next.Segment == len(r.segments) {
		view.Ended, view.Status = true, "succeeded"
	}
	return view, nil
}

func (r *record) Run(_ context.Context, caller access.Caller, run string) (access.RunView, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if caller.Org.ID() != "acme" || run != "run1" {
		return access.RunView{}, problem.New(problem.NotFound, "There is no such run.")
	}
	view := r.run
	view.Stages = append([]access.StageView(nil), view.Stages...)
	view.Changed = r.changed
	return view, nil
}

// socket is a client of a real server around the Mux.
type socket struct {
	t    *testing.T
	conn *websocket.Conn
}

func (h *house) stream(r *record) *httptest.Server {
	h.t.Helper()
	streams := &access.Streams{
		Credentials: h.creds, Clock: h.clock, Log: slog.New(slog.NewTextHandler(h.t.Output(), nil)), Logs: r, Runs: r,
	}
	if err := h.mux.Register(streams.Routes()...); err != nil {
		h.t.Fatal(err)
	}
	server := httptest.NewServer(h.mux)
	h.t.Cleanup(server.Close)
	return server
}

const streamPath = "/api/v1/orgs/acme/stream"

func dial(t *testing.T, server *httptest.Server, token string) socket {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), server.URL+streamPath, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() }) // it may be closed already
	return socket{t, conn}
}

func (s socket) say(frame string) {
	s.t.Helper()
	if err := s.conn.Write(s.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		s.t.Fatal(err)
	}
}

func (s socket) hear() access.Frame {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	_, text, err := s.conn.Read(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	if len(text) > 32<<10 {
		s.t.Errorf("a frame of %d bytes", len(text))
	}
	var frame access.Frame
	if err := json.Unmarshal(text, &frame); err != nil {
		s.t.Fatal(err)
	}
	return frame
}

// closed waits for the end of the stream and answers its code.
func (s socket) closed() websocket.StatusCode {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	for {
		if _, _, err := s.conn.Read(ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

// reader puts a log together as the CLI does: it knows the next segment and the
// bytes that it has.
type reader struct {
	log  bytes.Buffer
	next int
	end  string
}

// read takes frames until the log ends or n frames were read.
func (r *reader) read(s socket, n int) {
	s.t.Helper()
	s.say(fmt.Sprintf(`{"sub":true,"log":"run1/a/1","from":{"segment":%d}}`, r.next))
	for ; n > 0 && r.end == ""; n-- {
		frame := s.hear()
		if frame.End {
			r.end = frame.Status
			return
		}
		have := int64(r.log.Len()) - frame.Offset
		if have < 0 || frame.N != r.next {
			s.t.Fatalf("a gap: segment %d at byte %d, have %d bytes and want segment %d", frame.N, frame.Offset, r.log.Len(), r.next)
		}
		if line := int64(bytes.Count(r.log.Bytes()[:frame.Offset], []byte("\n"))) + 1; frame.Line != line {
			s.t.Errorf("segment %d begins at line %d, said %d", frame.N, line, frame.Line)
		}
		if payload := frame.Payload(); int64(len(payload)) > have {
			r.log.Write(payload[have:])
		}
		if !frame.More {
			r.next++
		}
	}
}

func TestFollowResumesWithoutGapOrDouble(t *testing.T) {
	t.Parallel()
	h, r := open(t), newRecord()
	server, token := h.stream(r), h.token("acme", access.Viewer)
	var want bytes.Buffer
	texts := [][]byte{
		[]byte("one\ntwo\nthr"), []byte("ee\n"), []byte("\x00\xff binary \xe2\x82\n"),
		{},
		[]byte(strings.Repeat("a long line without an end ", 2400)), // 64 KiB: five frames
		[]byte("\n" + strings.Repeat("<&>\x1b[1m", 3000) + "\n"),    // six bytes for one in JSON
		[]byte("the end"),
	}
	for _, text := range texts {
		want.Write(text)
		r.append(text)
	}
	r.change(func() { r.ended = true })
	var got reader
	for cut := 1; got.end == ""; cut++ { // the connection breaks after 1, 2, 3 … frames
		s := dial(t, server, token)
		got.read(s, cut)
		if err := s.conn.CloseNow(); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got.log.Bytes(), want.Bytes()) || got.end != "succeeded" {
		t.Errorf("read %d bytes, %s; want %d", got.log.Len(), got.end, want.Len())
	}
}

func TestFollowIsLive(t *testing.T) {
	t.Parallel()
	h, r := open(t), newRecord()
	s := dial(t, h.stream(r), h.token("acme", access.Viewer))
	s.say(`{"sub":true,"log":"run1/a/1"}`)
	for i := range 50 { // each is written when the one before has arrived
		line := fmt.Sprintf("line %d\n", i+1)
		r.append([]byte(line))
		if frame := s.hear(); frame.Text != line || frame.N != i || frame.Line != int64(i+1) || frame.Lines != 1 {
			t.Fatalf("%+v, want %q", frame, line)
		}
	}
	r.change(func() { r.ended = true })
	if frame := s.hear(); !frame.End || frame.Status != "succeeded" {
		t.Errorf("%+v, want the end", frame)
	}
}

func TestFollowRunWithoutPolling(t *testing.T) {
	t.Parallel()
	h, r := open(t), newRecord()
	stages := []access.StageView{{Key: "a", Name: "test", Status: "running", Attempt: 1}, {Key: "b", Name: "build", Status: "blocked"}}
	r.change(func() { r.run = access.RunView{Status: "running", Stages: stages} })
	s := dial(t, h.stream(r), h.token("acme", access.Viewer))
	s.say(`{"sub":true,"run":"run1"}`)
	if frame := s.hear(); frame.Run != "run1" || frame.Status != "running" || len(frame.Stages) != 2 {
		t.Errorf("first %+v", frame)
	}
	r.change(func() {
		r.run.Stages = []access.StageView{{Key: "a", Name: "test", Status: "succeeded", Attempt: 1}, stages[1]}
	})
	if frame := s.hear(); len(frame.Stages) != 1 || frame.Stages[0].Status != "succeeded" {
		t.Errorf("only what has changed: %+v", frame)
	}
	r.change(func() { r.run.Status, r.run.Final = "failed", true })
	if frame := s.hear(); frame.Status != "failed" || len(frame.Stages) != 0 || frame.End {
		t.Errorf("%+v", frame)
	}
	if frame := s.hear(); frame.Status != "failed" || !frame.End {
		t.Errorf("%+v, want the end", frame)
	}
}

func TestSubscriptionIsAuthorizedAgain(t *testing.T) {
	t.Parallel()
	h, r := open(t), newRecord()
	server := h.stream(r)
	s := dial(t, server, h.token("acme", access.Viewer, access.RunRead))
	r.append([]byte("secret"))
	for _, frame := range []string{
		`{"sub":true,"log":"run1/a/1"}`, `{"sub":true,"log":"run2/a/1"}`, `{"sub":true,"run":"run2"}`,
	} {
		s.say(frame)
		if got := s.hear(); got.Problem == nil || got.Problem.Type != problem.NotFound.TypeURI() || got.Text != "" {
			t.Errorf("%s: %+v", frame, got)
		}
	}
	s.say(`{"log":"run1/a/1"}`)
	if code := s.closed(); code != websocket.StatusPolicyViolation {
		t.Errorf("a frame that is none: %v", code)
	}
}

// T13: a foreign page cannot open it, and a lost right closes it within 5 seconds.
func TestStreamOriginAndLostRight(t *testing.T) {
	t.Parallel()
	h, r := open(t), newRecord()
	server := h.stream(r)
	header := http.Header{"Authorization": {"Bearer " + h.token("acme", access.Viewer)}, "Origin": {"https://evil.example"}}
	if _, answer, err := websocket.Dial(t.Context(), server.URL+streamPath, &websocket.DialOptions{HTTPHeader: header}); err == nil || answer.StatusCode != 403 {
		t.Errorf("a foreign origin: %v", err)
	}
	token := h.token("acme", access.Viewer)
	r.change(func() { r.run.Status = "running" })
	s := dial(t, server, token)
	s.say(`{"sub":true,"run":"run1"}`)
	s.hear()
	owner := h.token("acme", access.Owner)
	if got := h.call("DELETE /api/v1/orgs/acme/tokens/"+strings.Split(token, "_")[1], owner, ""); got.status != 204 {
		t.Fatalf("revoke: %s", got.body)
	}
	h.clock.AwaitTimers(t, 1)
	h.clock.Advance(5 * time.Second)
	if code := s.closed(); code != access.CloseLogin {
		t.Errorf("closed with %v, want %v", code, access.CloseLogin)
	}
}

func TestStreamIsRenewed(t *testing.T) {
	t.Parallel()
	h, r := open(t), newRecord()
	s := dial(t, h.stream(r), h.token("acme", access.Viewer))
	h.clock.AwaitTimers(t, 1)
	h.clock.Advance(2 * time.Hour)
	if code := s.closed(); code != websocket.StatusGoingAway {
		t.Errorf("closed with %v", code)
	}
}

func TestSubscriptionsEndAndAreBounded(t *testing.T) {
	t.Parallel()
	h, r := open(t), newRecord()
	s := dial(t, h.stream(r), h.token("acme", access.Viewer))
	for range 3 { // one that was ended can be opened anew, from where one likes
		s.say(`{"sub":true,"log":"run1/a/1"}`)
		s.say(`{"sub":false,"log":"run1/a/1"}`)
	}
	s.say(`{"sub":true,"log":"run1/b/1"}`)
	s.say(`{"sub":true,"log":"nowhere"}`) // its answer says that everything before it was heard
	if frame := s.hear(); frame.Problem == nil {
		t.Fatalf("a log that is not there: %+v", frame)
	}
	r.append([]byte("x"))
	if frame := s.hear(); frame.Log != "run1/b/1" {
		t.Errorf("an ended subscription goes on: %+v", frame)
	}
	for i := range 600 {
		if s.conn.Write(t.Context(), websocket.MessageText, fmt.Appendf(nil, `{"sub":true,"log":"run1/c/%d"}`, i)) != nil {
			break
		}
	}
	if code := s.closed(); code != websocket.StatusPolicyViolation {
		t.Errorf("600 subscriptions: %v", code)
	}
}
