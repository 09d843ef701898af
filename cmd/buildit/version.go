package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
)

// version and commit are set by the linker (-X main.version=… -X main.commit=…).
var version, commit string

func init() {
	register(verb{
		name: "version", summary: "print version and commit", usage: "[--json]", example: "buildit version",
		flags: []string{"--json"},
		run:   printVersion,
	})
}

func printVersion(_ context.Context, env *environment, args []string) int {
	v, c := versions()
	switch {
	case slices.Equal(args, []string{"--json"}) || slices.Equal(args, []string{"-json"}):
		text, err := json.Marshal(map[string]string{"version": v, "commit": c, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
		if err != nil {
			return finish(env, "version", err)
		}
		return env.print(string(text) + "\n")
	case len(args) > 0:
		return verbs["version"].usageError(env, "it takes --json and nothing else")
	}
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
