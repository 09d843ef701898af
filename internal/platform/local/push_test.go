package local_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func TestPush(t *testing.T) {
	platformtest.Push(t, func(t *testing.T) platformtest.PushStore {
		s := servePush(t)
		return platformtest.PushStore{Push: s.push, Connect: func(t *testing.T) platformtest.PushClient {
			return client(t, s, s.ids.New())
		}}
	})
}

// pushServer accepts a connection for every request, under the id in its query.
type pushServer struct {
	push     *local.Push
	ids      *platformtest.IDs
	url      string
	received chan string // what clients send
	closed   chan string
}

func servePush(t *testing.T) *pushServer {
	t.Helper()
	s := &pushServer{
		push: local.NewPush(), ids: platformtest.NewIDs(),
		received: make(chan string, 10), closed: make(chan string, 10),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("id")
		err := s.push.Accept(w, r, id, func(message []byte) { s.received <- string(message) }, func() { s.closed <- id })
		if err != nil && !errors.Is(err, platform.ErrExists) && r.Header.Get("Upgrade") != "" {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func dial(t *testing.T, s *pushServer, id string) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), s.url+"?id="+id, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(platform.MaxPush)
	t.Cleanup(func() {
		if err := conn.CloseNow(); err != nil {
			t.Logf("closed before: %v", err)
		}
	})
	// The handshake is answered before the connection is known: its first message
	// says that it is.
	if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello "+id)); err != nil {
		t.Fatal(err)
	}
	if got := awaitText(t, s.received); got != "hello "+id {
		t.Fatalf("the server received %q", got)
	}
	return conn
}

func awaitText(t *testing.T, values <-chan string) string {
	t.Helper()
	select {
	case v := <-values:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing arrived within 10s")
		return ""
	}
}

func client(t *testing.T, s *pushServer, id string) platformtest.PushClient {
	t.Helper()
	conn := dial(t, s, id)
	return platformtest.PushClient{
		ID: id,
		Receive: func(ctx context.Context) (string, int, error) {
			_, message, err := conn.Read(ctx)
			if code := websocket.CloseStatus(err); code != -1 {
				return "", int(code), nil
			}
			return string(message), 0, err
		},
		HangUp: func() {
			if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Error(err)
			}
		},
	}
}

// TestPushSlowClient: one that does not read is dropped when 1 MiB waits for it, and
// holds up nobody, not even who sends to it.
func TestPushSlowClient(t *testing.T) {
	t.Parallel()
	s := servePush(t)
	dial(t, s, "slow") // and never read
	other := client(t, s, "other")
	message := []byte(strings.Repeat("m", platform.MaxPush))
	var err error
	for sent := 0; err == nil; sent++ {
		// The kernel buffers some MB on the way before anything waits here.
		if sent > 1000 {
			t.Fatal("128 MB were taken for a client that does not read")
		}
		err = s.push.Send(t.Context(), "slow", message)
	}
	if !errors.Is(err, platform.ErrGone) {
		t.Errorf("err = %v, want %v", err, platform.ErrGone)
	}
	if got := awaitText(t, s.closed); got != "slow" {
		t.Errorf("%s was closed", got)
	}
	if err := s.push.Send(t.Context(), "other", []byte("quick")); err != nil {
		t.Fatal(err)
	}
	if got, _, err := other.Receive(t.Context()); got != "quick" || err != nil {
		t.Errorf("the other client got %q, %v", got, err)
	}
}

// TestPushClosedByClient: onClose is called once when a client is gone.
func TestPushClosedByClient(t *testing.T) {
	t.Parallel()
	s := servePush(t)
	client(t, s, "one").HangUp()
	if got := awaitText(t, s.closed); got != "one" {
		t.Errorf("%s was closed", got)
	}
	dial(t, s, "two")
	s.push.CloseAll()
	if err := s.push.Send(t.Context(), "two", []byte("late")); !errors.Is(err, platform.ErrGone) {
		t.Errorf("err = %v, want %v", err, platform.ErrGone)
	}
}
