package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

// serveGit serves the bare repositories under root over smart HTTP until ctx ends.
func serveGit(ctx context.Context, root, address string) error {
	handler, err := gittest.Handler(root, gittest.Options{Log: os.Stderr})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() {
		if err := server.Close(); err != nil {
			return // it is over either way
		}
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
