package main

import "context"

func init() {
	register(verb{
		name: "cancel", summary: "stop a run, and all that it has started",
		usage: "RUN [--reason TEXT] [--force] [--json]", example: "buildit cancel 42 --reason 'wrong branch'",
		flags: append([]string{"--reason", "--force", "--commit"}, apiFlags...),
		run:   apiVerb("cancel", 0, 1, cancel),
	})
}

func cancel(o *options) func(context.Context, *call) error {
	which := whichRun(o)
	reason := o.flags.String("reason", "", "")
	force := o.flags.Bool("force", false, "")
	return func(ctx context.Context, c *call) error {
		id, err := which.find(ctx, c, false)
		if err != nil {
			return err
		}
		var answer raw[runInfo]
		path := "/cancel"
		if *force {
			path = "/force-cancel" // a deployment that is under way too
		}
		if err := c.post(ctx, runPath(id, path), map[string]string{"reason": *reason}, &answer); err != nil {
			return err
		}
		if c.json {
			return c.printJSON(answer)
		}
		return c.say("run %s is %s", id, firstOf(answer.value.Status, "canceling"))
	}
}
