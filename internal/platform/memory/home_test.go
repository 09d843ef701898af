package memory_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
)

// TestHome: every port is there, tasks if they were given, and signed URLs are reached
// without a network.
func TestHome(t *testing.T) {
	t.Parallel()
	home, err := memory.New(t.Context(), memory.Options{Task: func(context.Context, platform.TaskSpec) int { return 7 }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- home.Run(ctx) }()

	key := platform.System("acme", "test").Blob("log", "one")
	if _, err := home.Blobs.Create(t.Context(), key, strings.NewReader("kept")); err != nil {
		t.Fatal(err)
	}
	signed, err := home.Blobs.Presign(t.Context(), platform.Grant{Key: key, Method: http.MethodGet, Expire: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := home.Client().Get(signed.URL)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil || string(text) != "kept" {
		t.Errorf("GET answers %q, %v", text, err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}
	due := platform.Timer{Name: "due", At: home.Clock.Now(), Queue: "work", Body: []byte("due")}
	if err := home.Timers.Set(t.Context(), due); err != nil {
		t.Fatal(err)
	}
	messages, err := home.Queues.Receive(t.Context(), "work", 1, 10*time.Second, time.Minute)
	if err != nil || len(messages) != 1 || string(messages[0].Body) != "due" {
		t.Errorf("received %v, %v", messages, err)
	}
	if _, err := home.Tasks.Run(t.Context(), platform.TaskSpec{Token: "one", Class: "process"}); err != nil {
		t.Errorf("run a task: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
