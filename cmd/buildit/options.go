package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// options are what every verb that calls the API takes, and what each adds.
type options struct {
	server string
	org    string
	json   bool
	flags  *flag.FlagSet
	getenv func(string) string
}

// variable is the value of an environment variable, which is how secrets are given:
// what is on the command line, others on this machine can read.
func (o *options) variable(name string) (string, error) {
	value := o.getenv(name)
	if value == "" {
		return "", mistake("the environment variable %s is not set", name)
	}
	return value, nil
}

// apiFlags are the words that completion offers for these verbs.
var apiFlags = []string{"--server", "--org", "--json"}

func newOptions(name string, env *environment) *options {
	o := &options{flags: flag.NewFlagSet(name, flag.ContinueOnError), getenv: env.getenv}
	o.flags.SetOutput(io.Discard)
	o.flags.StringVar(&o.server, "server", "", "")
	o.flags.StringVar(&o.org, "org", "", "")
	o.flags.BoolVar(&o.json, "json", false, "")
	return o
}

// usageMistake is an error of the person who typed the command.
type usageMistake struct{ text string }

func (u usageMistake) Error() string { return u.text }

func mistake(format string, args ...any) error { return usageMistake{fmt.Sprintf(format, args...)} }

// parse reads flags and words in any order; what follows -- is words.
func (o *options) parse(args []string) (words []string, err error) {
	for len(args) > 0 {
		if err := o.flags.Parse(args); err != nil {
			return nil, mistake("%s", strings.Replace(err.Error(), "flag provided but not defined: -", "there is no flag --", 1))
		}
		rest := o.flags.Args()
		if len(rest) < len(args) && args[len(args)-len(rest)-1] == "--" {
			return append(words, rest...), nil
		}
		if len(rest) == 0 {
			break
		}
		words, args = append(words, rest[0]), rest[1:]
	}
	return words, nil
}

// call is the body of a verb that calls the API: it has its words and a client.
type call struct {
	*client
	env   *environment
	json  bool
	words []string
}

// apiVerb makes the function of a verb: it parses, checks how many words there
// are, does it, and turns its error into a message and an exit code.
func apiVerb(name string, least, most int, prepare func(*options) func(context.Context, *call) error) func(context.Context, *environment, []string) int {
	return func(ctx context.Context, env *environment, args []string) int {
		o := newOptions(name, env)
		do := prepare(o)
		words, err := o.parse(args)
		if err == nil && (len(words) < least || len(words) > most) {
			err = mistake("it takes %s", countOf(least, most))
		}
		var c *client
		if err == nil {
			c, err = newClient(env, *o)
		}
		if err == nil {
			err = do(ctx, &call{c, env, o.json, words})
		}
		return finish(env, name, err)
	}
}

func countOf(least, most int) string {
	switch {
	case most == 0:
		return "flags only, no other word"
	case most == 1:
		return "one word besides its flags"
	case least == most:
		return fmt.Sprintf("%d words", most)
	default:
		return fmt.Sprintf("%d to %d words", least, most)
	}
}

// finish tells an error and answers its exit code.
func finish(env *environment, name string, err error) int {
	var usage usageMistake
	var ended resultError
	word, _, _ := strings.Cut(name, " ")
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		return verbs[word].usageError(env, "%s", usage.text)
	case errors.As(err, &ended):
		return ended.code()
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	fmt.Fprintf(env.stderr, "buildit %s: %v\n", name, err)
	return code(err)
}

// printJSON writes what the server answered, indented.
func (c *call) printJSON(value any) error {
	encoder := json.NewEncoder(c.env.stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// printLine writes JSON in one line: for what is a list of unknown length.
func (c *call) printLine(value any) error {
	encoder := json.NewEncoder(c.env.stdout)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// say writes a line for people.
func (c *call) say(format string, args ...any) error {
	_, err := fmt.Fprintf(c.env.stdout, format+"\n", args...)
	return err
}

// colours tells whether stdout is a terminal whose user has not asked for none.
func (e *environment) colours() bool {
	return e.getenv("NO_COLOR") == "" && e.getenv("TERM") != "dumb" && e.terminal()
}

// terminal tells whether stdout is one.
func (e *environment) terminal() bool {
	file, ok := e.stdout.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
