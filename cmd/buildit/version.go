package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version and commit are set by the linker (-X main.version=… -X main.commit=…).
var version, commit string

func init() {
	register(verb{
		name: "version", summary: "print version and commit", example: "buildit version",
		run: printVersion,
	})
}

func printVersion(_ context.Context, env *environment, args []string) int {
	if len(args) > 0 {
		return verbs["version"].usageError(env, "it takes no arguments")
	}
	v, c := versions()
	return env.print(fmt.Sprintf("buildit %s (commit %s, %s %s/%s)\n", v, c, runtime.Version(), runtime.GOOS, runtime.GOARCH))
}

// versions are what the linker set, else what the Go command recorded.
func versions() (v, c string) {
	v, c = version, commit
	if info, ok := debug.ReadBuildInfo(); ok {
		if v == "" && info.Main.Version != "" {
			v = info.Main.Version
		}
		for _, s := range info.Settings {
			if c == "" && s.Key == "vcs.revision" {
				c = s.Value
			}
		}
	}
	if v == "" || v == "(devel)" {
		v = "development"
	}
	if c == "" {
		c = "unknown"
	}
	return v, c
}
