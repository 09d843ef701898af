// Command buildit is the light program for people: validate, run, and every verb
// that only calls the API of a server. It starts in milliseconds, so it links no
// SQL, cloud or Kubernetes code; what runs everything is buildit-server.
//
// A verb is a file of this package that adds a row to the table of verbs.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, newEnvironment(), os.Args[1:])
	stop()
	os.Exit(code)
}
