package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes the program itself a command of the scripts in testdata.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"buildit-server": main})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"address": address,
			"await":   await,
		},
	})
}

// address sets a variable to an address of this machine that is free.
func address(ts *testscript.TestScript, _ bool, args []string) {
	listener, err := listen("127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], listener.Addr().String())
	ts.Check(listener.Close())
}

// await waits until a server answers.
func await(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(awaitHealth("http://" + args[0] + "/healthz"))
}
