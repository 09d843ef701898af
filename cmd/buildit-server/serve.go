package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// Limits of the server.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 32 << 10        // bytes
	drainTimeout  = 2 * time.Second // for requests under way, when the server ends
	cutTimeout    = time.Second     // for those that were told to end then: long polls
	workTimeout   = 5 * time.Second // for work under way, after them
)

// listen takes the address, or says in one sentence why not and what to do.
func listen(address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("--listen %s is no address: use HOST:PORT, such as 127.0.0.1:8080", address)
	}
	listener, err := net.Listen("tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use by another program, perhaps by a BuildIt that runs already: stop it, or choose another address with --listen %s",
			address, net.JoinHostPort(host, nextPort(port)))
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("this user may not listen on %s: choose a port above 1023 with --listen", address)
	case err != nil:
		return nil, fmt.Errorf("cannot listen on %s: %w", address, err)
	}
	return listener, nil
}

func nextPort(port string) string {
	n, err := net.LookupPort("tcp", port)
	if err != nil || n >= 65535 {
		return "8081"
	}
	return fmt.Sprint(n + 1)
}

// serve answers requests and works until ctx ends, then lets what is under way end,
// for a few seconds. An error of either ends both.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, work func(context.Context) error, log *slog.Logger) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	live, cut := context.WithCancel(context.WithoutCancel(ctx)) // of requests: they outlive ctx while they are drained
	defer cut()
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return live },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug), // clients that hang up
	}
	worked := make(chan error, 1)
	go func() {
		err := work(ctx)
		if err == nil && ctx.Err() == nil {
			err = errors.New("the work ended by itself")
		}
		cancel(err)
		worked <- err
	}()
	served := make(chan error, 1)
	go func() {
		err := server.Serve(listener)
		cancel(err)
		served <- err
	}()
	<-ctx.Done()
	err := drain(context.WithoutCancel(ctx), server, cut, log)
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	select {
	case ended := <-worked:
		return errors.Join(err, ended)
	case <-time.After(workTimeout):
		log.Warn("work was still under way; it goes on at the next start")
		return err
	}
}

// drain waits for the requests under way, tells streams and long polls to end, and
// closes the connections of those that do not.
func drain(ctx context.Context, server *http.Server, cut func(), log *slog.Logger) error {
	err := shutdown(ctx, server, drainTimeout)
	cut()
	if errors.Is(err, context.DeadlineExceeded) {
		err = shutdown(ctx, server, cutTimeout)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		log.Warn("some requests did not end and were cut")
		return server.Close()
	}
	return err
}

func shutdown(ctx context.Context, server *http.Server, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return server.Shutdown(ctx)
}

// isLoopback tells whether only this machine reaches the address.
func isLoopback(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// link is the address as a browser and the CLI take it.
func link(address net.Addr) string {
	text := address.String()
	for _, any := range []string{"[::]:", "0.0.0.0:"} {
		if port, ok := strings.CutPrefix(text, any); ok {
			return "http://127.0.0.1:" + port
		}
	}
	return "http://" + text
}
