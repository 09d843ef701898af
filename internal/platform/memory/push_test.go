package memory_test

import (
	"context"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func TestPush(t *testing.T) {
	platformtest.Push(t, func(*testing.T) platformtest.PushStore {
		push, ids := memory.NewPush(), platformtest.NewIDs()
		return platformtest.PushStore{Push: push, Connect: func(t *testing.T) platformtest.PushClient {
			return connect(push, ids.New())
		}}
	})
}

type event struct {
	message string
	closed  int
}

func connect(push *memory.Push, id string) platformtest.PushClient {
	events := make(chan event, 1000)
	hangUp := push.Open(id,
		func(message []byte) { events <- event{string(message), 0} },
		func(code int, _ string) { events <- event{"", code} })
	receive := func(ctx context.Context) (string, int, error) {
		select {
		case e := <-events:
			return e.message, e.closed, nil
		case <-ctx.Done():
			return "", 0, ctx.Err()
		}
	}
	return platformtest.PushClient{ID: id, Receive: receive, HangUp: hangUp}
}
