package presign

import (
	"context"
	"io"
	"net/http"
	"sync"
)

// Client is an HTTP client whose requests reach handler within this process: what a
// home without a network gives to those who are granted URLs.
func Client(handler http.Handler) *http.Client {
	return &http.Client{Transport: transport{handler}}
}

type transport struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper. The answer's body streams.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	request := r.Clone(ctx)
	request.RequestURI = r.URL.RequestURI()
	switch {
	case request.Body == nil:
		request.Body = http.NoBody
	case request.Body != http.NoBody && request.ContentLength == 0:
		request.ContentLength = -1 // as a server sees a body of unknown length
	}
	body, out := io.Pipe()
	a := &answer{header: http.Header{}, out: out, began: make(chan struct{})}
	go func() {
		defer cancel()
		t.handler.ServeHTTP(a, request)
		a.WriteHeader(http.StatusOK)
		out.CloseWithError(io.EOF) // always nil
	}()
	select {
	case <-a.began:
	case <-r.Context().Done():
		cancel()
		return nil, r.Context().Err()
	}
	return &http.Response{
		Status:        http.StatusText(a.status),
		StatusCode:    a.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        a.sent,
		Body:          body,
		ContentLength: -1,
		Request:       r,
	}, nil
}

// answer is the http.ResponseWriter of a request within the process.
type answer struct {
	header http.Header
	out    *io.PipeWriter

	once   sync.Once
	began  chan struct{}
	status int
	sent   http.Header
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	a.once.Do(func() {
		a.status, a.sent = status, a.header.Clone()
		close(a.began)
	})
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.out.Write(p)
}
