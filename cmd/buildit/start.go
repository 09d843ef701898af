package main

import (
	"context"
	"strings"
)

func init() {
	register(verb{
		name: "start", summary: "start a run by hand",
		usage:   "REPO [--branch BRANCH] [--file FILE] [--param NAME=VALUE]… [-f] [--json]",
		example: "buildit start shop --branch main -f",
		flags:   append([]string{"--branch", "--file", "--param", "-f"}, apiFlags...),
		run:     apiVerb("start", 1, 1, start),
	})
}

// startRequest asks for runs of a repository's pipelines.
type startRequest struct {
	Repository string            `json:"repository"`
	Branch     string            `json:"branch,omitempty"` // the default branch if absent
	File       string            `json:"file,omitempty"`   // .buildit.kdl if absent
	Params     map[string]string `json:"params,omitempty"`
}

func start(o *options) func(context.Context, *call) error {
	in := startRequest{Params: map[string]string{}}
	o.flags.StringVar(&in.Branch, "branch", "", "")
	o.flags.StringVar(&in.File, "file", "", "")
	o.flags.Func("param", "", func(text string) error {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return mistake("a parameter is NAME=VALUE")
		}
		in.Params[name] = value
		return nil
	})
	follows := o.flags.Bool("f", false, "")
	return func(ctx context.Context, c *call) error {
		found, err := findRepository(ctx, c, c.words[0])
		if err != nil {
			return err
		}
		in.Repository = found.value.ID
		var answer raw[runInfo]
		if err := c.post(ctx, "/runs", in, &answer); err != nil {
			return err
		}
		if *follows {
			return follow(ctx, c, answer.value.ID, "", 0)
		}
		if c.json {
			return c.printJSON(answer)
		}
		return c.say("started %s; `buildit logs -f %s` follows it", answer.value.ID, answer.value.ID)
	}
}
