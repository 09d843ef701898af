package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

func loopback(t *testing.T) net.Listener {
	t.Helper()
	listener, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// waits is work that ends with its context.
func waits(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func TestPortInUseSaysWhatToDo(t *testing.T) {
	t.Parallel()
	taken := loopback(t)
	defer taken.Close()
	_, err := listen(taken.Addr().String())
	if err == nil || !strings.Contains(err.Error(), "is in use") || !strings.Contains(err.Error(), "--listen 127.0.0.1:") {
		t.Errorf("%v", err)
	}
	if _, err := listen("8080"); err == nil || !strings.Contains(err.Error(), "HOST:PORT") {
		t.Errorf("%v", err)
	}
}

func TestShutdownLetsRequestsEnd(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	begun, goOn := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-goOn
		if _, err := io.WriteString(w, "whole"); err != nil {
			t.Error(err)
		}
	})
	listener, ended, answered := loopback(t), make(chan error), make(chan string)
	go func() { ended <- serve(ctx, listener, handler, waits, quiet) }()
	go func() {
		answer, err := http.Get(link(listener.Addr()))
		if err != nil {
			answered <- err.Error()
			return
		}
		text, err := io.ReadAll(answer.Body)
		if err := errors.Join(err, answer.Body.Close()); err != nil {
			t.Error(err)
		}
		answered <- string(text)
	}()
	<-begun
	stop()
	close(goOn)
	if got := <-answered; got != "whole" {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestWorkThatFailsEndsTheServer(t *testing.T) {
	t.Parallel()
	broken := errors.New("the disk is gone")
	err := serve(t.Context(), loopback(t), http.NotFoundHandler(), func(context.Context) error { return broken }, quiet)
	if !errors.Is(err, broken) {
		t.Errorf("ended with %v", err)
	}
}

func TestStreamsHearOfTheEnd(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	begun, heard := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
		close(heard)
	})
	listener, ended := loopback(t), make(chan error)
	go func() { ended <- serve(ctx, listener, handler, waits, quiet) }()
	go func() {
		answer, err := http.Get(link(listener.Addr()))
		if err == nil {
			err = answer.Body.Close()
		}
		if err != nil {
			t.Log("the stream was cut:", err)
		}
	}()
	<-begun
	stop()
	<-heard
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}

func TestLink(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{"127.0.0.1:80": "http://127.0.0.1:80", "0.0.0.0:80": "http://127.0.0.1:80", "[::]:80": "http://127.0.0.1:80", "[::1]:80": "http://[::1]:80"} {
		tcp, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := link(tcp); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
		if isLoopback(tcp) != (address == "127.0.0.1:80" || address == "[::1]:80") {
			t.Errorf("%s: loopback %v", address, isLoopback(tcp))
		}
	}
}

// awaitHealth asks until the server answers, for ten seconds.
func awaitHealth(url string) error {
	var last error
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); <-tick.C {
		answer, err := http.Get(url)
		if err == nil {
			err = answer.Body.Close()
		}
		if last = err; err == nil && answer.StatusCode == http.StatusOK {
			return nil
		}
	}
	return errors.Join(errors.New("the server does not answer"), last)
}
