package platformtest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
)

// PushStore is a driver under test, without connections.
type PushStore struct {
	platform.Push
	// Connect opens a connection, under an id that no other one has.
	Connect func(t *testing.T) PushClient
}

// PushClient is the client's end of a connection.
type PushClient struct {
	ID string
	// Receive waits for the next message, or for the close code if there is none.
	Receive func(ctx context.Context) (message string, closed int, err error)
	HangUp  func()
}

// Push checks everything that platform.Push promises. open returns a driver without
// connections, once for each case.
func Push(t *testing.T, open func(t *testing.T) PushStore) {
	run(t, open, []Case[PushStore]{
		{"push/order-per-connection", pushOrder},
		{"push/connections-are-apart", pushApart},
		{"push/gone-removes-connection", pushGone},
		{"push/size", pushSize},
		{"push/close", pushClose},
	})
}

func gets(t *testing.T, c PushClient, want string) {
	t.Helper()
	message, closed, err := c.Receive(within(t))
	noError(t, err)
	equal(t, "close code", closed, 0)
	if message != want {
		t.Errorf("message of %d bytes %.40q, want %d bytes %.40q", len(message), message, len(want), want)
	}
}

func pushOrder(t *testing.T, p PushStore) {
	c := p.Connect(t)
	const many = 500
	sent := make(chan error, 1)
	go func() {
		for i := range many {
			if err := p.Send(t.Context(), c.ID, []byte(fmt.Sprint(i))); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range many {
		gets(t, c, fmt.Sprint(i))
	}
	noError(t, <-sent)
}

func pushApart(t *testing.T, p PushStore) {
	one, two := p.Connect(t), p.Connect(t)
	noError(t, p.Send(t.Context(), one.ID, []byte("for one")))
	noError(t, p.Send(t.Context(), two.ID, []byte("for two")))
	gets(t, two, "for two")
	gets(t, one, "for one")
	isError(t, p.Send(t.Context(), "nobody", []byte("x")), platform.ErrGone)
}

func pushGone(t *testing.T, p PushStore) {
	gone, other := p.Connect(t), p.Connect(t)
	gone.HangUp()
	eventually(t, "a closed connection is gone", noElapse, 0, func() bool {
		return p.Send(t.Context(), gone.ID, []byte("x")) != nil
	})
	isError(t, p.Send(t.Context(), gone.ID, []byte("x")), platform.ErrGone)
	noError(t, p.Close(t.Context(), gone.ID, 1000, "")) // a closed one is no error
	noError(t, p.Send(t.Context(), other.ID, []byte("still here")))
	gets(t, other, "still here")
}

func pushSize(t *testing.T, p PushStore) {
	c := p.Connect(t)
	isError(t, p.Send(t.Context(), c.ID, make([]byte, platform.MaxPush+1)), platform.ErrTooLarge)
	isError(t, p.Send(t.Context(), c.ID, []byte("\xff")), platform.ErrInvalid)
	for _, size := range []int{1, platform.MaxInline, platform.MaxPush} {
		message := strings.Repeat("m", size)
		noError(t, p.Send(t.Context(), c.ID, []byte(message)))
		gets(t, c, message)
	}
}

func pushClose(t *testing.T, p PushStore) {
	c := p.Connect(t)
	noError(t, p.Send(t.Context(), c.ID, []byte("before")))
	noError(t, p.Close(t.Context(), c.ID, 4401, "log in again"))
	gets(t, c, "before")
	_, closed, err := c.Receive(within(t))
	noError(t, err)
	equal(t, "close code", closed, 4401)
	isError(t, p.Send(t.Context(), c.ID, []byte("after")), platform.ErrGone)
	noError(t, p.Close(t.Context(), c.ID, 4401, "again"))
}
