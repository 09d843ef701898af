package presign_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform/presign"
)

// TestClientStreams: an answer is read while it is written, and one that nobody reads
// to its end holds nobody up.
func TestClientStreams(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	client := presign.Client(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := io.WriteString(w, "more "); err != nil {
				ended <- err
				return
			}
		}
	}))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://memory.invalid/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 10)
	if _, err := io.ReadFull(answer.Body, text); err != nil || string(text) != "more more " {
		t.Errorf("read %q, %v", text, err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the handler's error is %v", err)
	}
}

// TestClientLength: a handler sees the length of a body as a server does.
func TestClientLength(t *testing.T) {
	t.Parallel()
	var seen int64
	client := presign.Client(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.ContentLength }))
	for _, tt := range []struct {
		body io.Reader
		want int64
	}{
		{nil, 0},
		{strings.NewReader(""), 0},
		{strings.NewReader("four"), 4},
		{io.LimitReader(strings.NewReader("four"), 4), -1},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://memory.invalid/x", tt.body)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if seen != tt.want {
			t.Errorf("the handler saw a length of %d, want %d", seen, tt.want)
		}
	}
}

// TestClientCanceled: a request ends with its context, and so does its handler's.
func TestClientCanceled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	client := presign.Client(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://memory.invalid/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err == nil {
		err = errors.Join(errors.New("it was answered"), answer.Body.Close())
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v, want %v", err, context.Canceled)
	}
}
