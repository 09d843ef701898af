package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
)

// The exit codes of every verb, in one table. A verb never exits by itself.
const (
	exitDone        = 0   // done, valid, or nothing differs
	exitError       = 1   // it failed, or the file has errors
	exitUsage       = 2   // usage; for verbs that compare: there are changes
	exitWaits       = 3   // it waits for a person
	exitRefused     = 4   // the platform refused it
	exitInterrupted = 130 // interrupted at the terminal
)

// verb is one word of the command line, in a file of its own that puts it into
// verbs.
type verb struct {
	name    string
	summary string // one line, for help and completion
	usage   string // what follows the name: "[FILE…] [--json]"
	example string // a whole command that somebody would type
	// flags are the words that completion offers; files tells it to offer files too.
	flags []string
	files bool
	run   func(ctx context.Context, env *environment, args []string) int
}

// environment is all that a verb may know of the process that it runs in.
type environment struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	dir            string              // the working directory
	getenv         func(string) string // environment variables
}

// newEnvironment is that of this process.
func newEnvironment() *environment {
	dir, err := os.Getwd()
	if err != nil {
		dir = "."
	}
	return &environment{os.Stdin, os.Stdout, os.Stderr, dir, os.Getenv}
}

// print writes text to stdout and answers the exit code: a reader that has gone
// away is an error like any other.
func (env *environment) print(text string) int {
	if _, err := io.WriteString(env.stdout, text); err != nil {
		fmt.Fprintln(env.stderr, "buildit: the result could not be written:", err)
		return exitError
	}
	return exitDone
}

// verbs are what the program can do, by name. Files add to it when the program
// starts.
var verbs = map[string]verb{}

// register adds a verb. Two of one name are a mistake of ours.
func register(v verb) {
	if _, taken := verbs[v.name]; taken {
		panic("two verbs are called " + v.name)
	}
	verbs[v.name] = v
}

// sortedVerbs are the verbs in the order of help.
func sortedVerbs() []verb {
	var list []verb
	for _, v := range verbs {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b verb) int { return cmp.Compare(a.name, b.name) })
	return list
}

// run does what the arguments say and answers the exit code.
func run(ctx context.Context, env *environment, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(env.stderr, helpText())
		return exitUsage
	}
	name, rest := args[0], args[1:]
	switch name {
	case "-h", "--help":
		name = "help"
	case "--version":
		name = "version"
	}
	v, ok := verbs[name]
	if !ok {
		fmt.Fprintf(env.stderr, "buildit: there is no verb %q%s\nbuildit help lists them.\n", name, didYouMean(name))
		return exitUsage
	}
	if slices.ContainsFunc(rest, func(a string) bool { return a == "-h" || a == "--help" }) {
		return env.print(v.help())
	}
	return v.run(ctx, env, rest)
}

// usageError says what is wrong with the arguments and how the verb is used.
func (v verb) usageError(env *environment, format string, args ...any) int {
	fmt.Fprintf(env.stderr, "buildit %s: %s\nusage: %s\n", v.name, fmt.Sprintf(format, args...), v.line())
	return exitUsage
}

// line is how the verb is used.
func (v verb) line() string { return strings.TrimRight("buildit "+v.name+" "+v.usage, " ") }

func didYouMean(name string) string { return meant(name, slices.Sorted(maps.Keys(verbs))) }

// meant asks for the nearest of the names, if one is near.
func meant(name string, names []string) string {
	if nearest := language.Nearest(name, names); nearest != "" {
		return fmt.Sprintf("; did you mean %q?", nearest)
	}
	return ""
}
