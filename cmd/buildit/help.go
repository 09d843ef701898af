package main

import (
	"context"
	"fmt"
	"io"
)

func init() {
	register(verb{
		name: "help", summary: "say what a verb does", usage: "[VERB]", example: "buildit help validate",
		run: help,
	})
}

func help(_ context.Context, env *environment, args []string) int {
	if len(args) == 0 {
		printHelp(env.stdout)
		return exitDone
	}
	v, ok := verbs[args[0]]
	if !ok {
		fmt.Fprintf(env.stderr, "buildit help: there is no verb %q%s\n", args[0], didYouMean(args[0]))
		return exitUsage
	}
	v.printHelp(env.stdout)
	return exitDone
}

// printHelp lists the verbs.
func printHelp(w io.Writer) {
	fmt.Fprint(w, "buildit runs pipelines, here and on a server.\n\nusage: buildit VERB [ARGUMENT…]\n\n")
	for _, v := range sortedVerbs() {
		fmt.Fprintf(w, "  %-12s %s\n", v.name, v.summary)
	}
	fmt.Fprint(w, "\nbuildit help VERB says more. Exit codes: 0 done, 1 error, 2 usage or changes,\n"+
		"3 waits for a person, 4 refused, 130 interrupted.\n")
}

func (v verb) printHelp(w io.Writer) {
	fmt.Fprintf(w, "buildit %s: %s\n\nusage:   %s\nexample: %s\n", v.name, v.summary, v.line(), v.example)
}
