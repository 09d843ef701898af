package main

import (
	"context"
	"fmt"
	"strings"
)

func init() {
	register(verb{
		name: "help", summary: "say what a verb does", usage: "[VERB]", example: "buildit help validate",
		run: help,
	})
}

func help(_ context.Context, env *environment, args []string) int {
	if len(args) == 0 {
		return env.print(helpText())
	}
	v, ok := verbs[args[0]]
	if !ok {
		fmt.Fprintf(env.stderr, "buildit help: there is no verb %q%s\n", args[0], didYouMean(args[0]))
		return exitUsage
	}
	return env.print(v.help())
}

// helpText lists the verbs.
func helpText() string {
	var out strings.Builder
	out.WriteString("buildit runs pipelines, here and on a server.\n\nusage: buildit VERB [ARGUMENT…]\n\n")
	for _, v := range sortedVerbs() {
		fmt.Fprintf(&out, "  %-12s %s\n", v.name, v.summary)
	}
	out.WriteString("\nbuildit help VERB says more. Exit codes: 0 done, 1 error, 2 usage or changes,\n" +
		"3 waits for a person, 4 refused, 130 interrupted.\n")
	return out.String()
}

// help says what a verb does and how it is used.
func (v verb) help() string {
	return fmt.Sprintf("buildit %s: %s\n\nusage:   %s\nexample: %s\n", v.name, v.summary, v.line(), v.example)
}
