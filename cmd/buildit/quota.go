package main

import (
	"context"
	"net/http"
	"strconv"
)

func init() {
	register(verb{
		name: "quota", summary: "show or change how many runs and stages of the organization go on at once",
		usage: "[--stages N] [--runs N] [--json]", example: "buildit quota --stages 32",
		flags: append([]string{"--stages", "--runs"}, apiFlags...),
		run:   apiVerb("quota", 0, 0, quota),
	})
}

type quotaInfo struct {
	Runs   int `json:"runs"`
	Stages int `json:"stages"`
}

func quota(o *options) func(context.Context, *call) error {
	stages := o.flags.Int("stages", -1, "")
	runs := o.flags.Int("runs", -1, "")
	return func(ctx context.Context, c *call) error {
		var q quotaInfo
		if err := c.get(ctx, "/quota", &q); err != nil {
			return err
		}
		if *stages >= 0 || *runs >= 0 {
			if *stages >= 0 {
				q.Stages = *stages
			}
			if *runs >= 0 {
				q.Runs = *runs
			}
			if err := c.do(ctx, http.MethodPut, "/quota", q, &q); err != nil {
				return err
			}
		}
		if c.json {
			return c.printJSON(q)
		}
		return c.say("at once: %s stages, %s runs", orNoLimit(q.Stages), orNoLimit(q.Runs))
	}
}

func orNoLimit(n int) string {
	if n == 0 {
		return "any number of"
	}
	return strconv.Itoa(n)
}
