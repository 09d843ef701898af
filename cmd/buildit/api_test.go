package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestAPIVerbs runs the scripts of testdata/api with the real program against the
// real Mux. Their own commands are say, set, end, cut and spoil.
func TestAPIVerbs(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/api",
		Setup: func(env *testscript.Env) error {
			t, ok := env.T().(testing.TB)
			if !ok {
				panic("testscript's T is no testing.TB")
			}
			s := newScript(t)
			env.Values["script"] = s
			env.Setenv("BUILDIT_URL", s.http.URL)
			env.Setenv("BUILDIT_TOKEN", s.tokens["owner"])
			env.Setenv("VIEWER", s.tokens["viewer"])
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"say": scripted(func(s *script, args []string) { s.say(args[0], strings.ReplaceAll(args[1], `\n`, "\n")) }),
			"set": scripted(func(s *script, args []string) { s.set(args[0], args[1]) }),
			"end": scripted(func(s *script, args []string) { s.end(args[0]) }),
			"cut": scripted(func(s *script, args []string) {
				n, err := strconv.Atoi(args[0])
				if err != nil {
					panic(err)
				}
				s.cut(n)
			}),
			"command": scripted(func(s *script, args []string) {
				first, err := strconv.ParseInt(args[2], 10, 64)
				if err != nil {
					panic(err)
				}
				last, err := strconv.ParseInt(args[3], 10, 64)
				if err != nil {
					panic(err)
				}
				s.command(args[0], args[1], first, last)
			}),
			"hangup": scripted(func(s *script, args []string) { // so many downloads are cut
				s.change(func() {
					if _, err := fmt.Sscan(args[0], &s.cutBlobs); err != nil {
						panic(err)
					}
					s.ranges = nil
				})
			}),
			"ranges": scripted(func(s *script, args []string) { // what was asked for since
				s.mu.Lock()
				defer s.mu.Unlock()
				if got := strings.Join(s.ranges, " "); got != strings.Join(args, " ") {
					panic(fmt.Sprintf("the ranges were %q", got))
				}
			}),
			"spoil": scripted(func(s *script, _ []string) { // other bytes behind every grant
				s.change(func() {
					for digest := range s.artifact().Blobs {
						s.blobs[digest] = []byte("something else")
					}
				})
			}),
		},
	})
}

func scripted(do func(*script, []string)) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		s, ok := ts.Value("script").(*script)
		if !ok {
			ts.Fatalf("the script has no server")
		}
		do(s, args)
	}
}
