package main

import (
	"context"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"buildit": func() { os.Exit(run(context.Background(), newEnvironment(), os.Args[1:])) },
	})
}

// TestScripts shows what a user sees, one file of testdata a subject.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", RequireExplicitExec: true})
}
