package local_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/local"
)

// greeting is a state machine that asks a function.
const greeting = `{"StartAt": "Ask", "States": {"Ask": {
	"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "TimeoutSeconds": 60,
	"Parameters": {"FunctionName": "greet", "Payload": {"name.$": "$.name"}},
	"ResultSelector": {"said.$": "$.Payload"}, "End": true}}}`

// TestHome: the ports of a home work together, and what they hold is there when the
// folder is opened again.
func TestHome(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	options := local.Options{URL: server.URL, Machines: map[string][]byte{"greeting": []byte(greeting)}}

	home, stop := runHome(t, dir, options)
	mux.Handle(local.BlobsPath, home.BlobHandler())
	org := platform.System("acme", "test")
	key, row := org.Blob("log", "one"), org.Partition("run").Row("run", "1")
	if _, err := home.Blobs.Create(t.Context(), key, strings.NewReader("kept")); err != nil {
		t.Fatal(err)
	}
	if _, err := home.Table.Write(t.Context(), platform.Put{Key: row, Item: platform.Item{"status": platform.Text("kept")}}); err != nil {
		t.Fatal(err)
	}
	signed, err := home.Blobs.Presign(t.Context(), platform.Grant{Key: key, Method: http.MethodGet, Expire: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	checkGranted(t, server.Client(), signed)
	due := platform.Timer{Name: "due", At: time.Now().Add(-time.Hour), Queue: "work", Body: []byte("due")}
	if err := home.Timers.Set(t.Context(), due); err != nil {
		t.Fatal(err)
	}
	if err := home.Flow.Start(t.Context(), "greeting", "one", json.RawMessage(`{"name":"acme"}`)); err != nil {
		t.Fatal(err)
	}
	awaitOutput(t, home, "one", `{"said":"hello acme"}`)
	wrapped, err := home.Keys.Wrap(t.Context(), []byte("secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	stop()

	home, stop = runHome(t, dir, options)
	defer stop()
	if _, err := home.Blobs.Stat(t.Context(), key); err != nil {
		t.Error(err)
	}
	if item, err := home.Table.Get(t.Context(), row); err != nil || item.Text("status") != "kept" {
		t.Errorf("the row is %v, %v", item, err)
	}
	if got, err := home.Keys.Unwrap(t.Context(), wrapped, nil); err != nil || string(got) != "secret" {
		t.Errorf("unwrapped %q, %v", got, err)
	}
	messages, err := home.Queues.Receive(t.Context(), "work", 1, 10*time.Second, time.Minute)
	if err != nil || len(messages) != 1 || string(messages[0].Body) != "due" {
		t.Errorf("received %v, %v", messages, err)
	}
	awaitOutput(t, home, "one", `{"said":"hello acme"}`)
	checkGranted(t, server.Client(), signed) // signed by a key that lasts
}

// runHome opens a home and runs it until the answer is called.
func runHome(t *testing.T, dir string, options local.Options) (home *local.Home, stop func()) {
	t.Helper()
	home, err := local.Open(t.Context(), dir, options)
	if err != nil {
		t.Fatal(err)
	}
	home.SetFunctions(map[string]platform.Function{"greet": func(_ context.Context, payload json.RawMessage) (json.RawMessage, error) {
		var in struct{ Name string }
		if err := json.Unmarshal(payload, &in); err != nil {
			return nil, err
		}
		return json.Marshal("hello " + in.Name)
	}})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- home.Run(ctx) }()
	return home, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := home.Close(); err != nil {
			t.Error(err)
		}
	}
}

func awaitOutput(t *testing.T, home *local.Home, name, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for tick := time.NewTicker(time.Millisecond); ; {
		x, err := home.Flow.Describe(t.Context(), "greeting", name)
		if err != nil {
			t.Fatal(err)
		}
		if x.Status == "SUCCEEDED" && string(x.Output) == want {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("execution %s is %s, %s: %s", name, x.Status, x.Output, x.Cause)
		}
	}
}

func checkGranted(t *testing.T, client *http.Client, signed platform.SignedRequest) {
	t.Helper()
	answer, err := client.Get(signed.URL)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil || string(text) != "kept" {
		t.Errorf("GET answers %s, %q, %v", answer.Status, text, err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}
}

// A home begins with an empty folder for temporary files: what a killed process
// left there is gone.
func TestTemporaryFilesAreSwept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	home, err := local.Open(t.Context(), dir, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(home.TempDir(), "pack-1", "left")
	if err := errors.Join(os.Mkdir(filepath.Dir(left), 0o700), os.WriteFile(left, nil, 0o600), home.Close()); err != nil {
		t.Fatal(err)
	}
	if home, err = local.Open(t.Context(), dir, local.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := home.Close(); err != nil {
			t.Error(err)
		}
	})
	entries, err := os.ReadDir(home.TempDir())
	if err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
