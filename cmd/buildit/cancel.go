package main

import "context"

func init() {
	register(verb{
		name: "cancel", summary: "stop a run, and all that it has started",
		usage: "RUN [--reason TEXT] [--json]", example: "buildit cancel 42 --reason 'wrong branch'",
		flags: append([]string{"--reason", "--commit"}, apiFlags...),
		run:   apiVerb("cancel", 0, 1, cancel),
	})
}

func cancel(o *options) func(context.Context, *call) error {
	which := whichRun(o)
	reason := o.flags.String("reason", "", "")
	return func(ctx context.Context, c *call) error {
		id, err := which.find(ctx, c, false)
		if err != nil {
			return err
		}
		var answer raw[runInfo]
		if err := c.post(ctx, runPath(id, "/cancel"), map[string]string{"reason": *reason}, &answer); err != nil {
			return err
		}
		if c.json {
			return c.printJSON(answer)
		}
		return c.say("run %s is %s", id, firstOf(answer.value.Status, "canceling"))
	}
}
