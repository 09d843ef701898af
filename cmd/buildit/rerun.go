package main

import "context"

func init() {
	register(verb{
		name: "rerun", summary: "run a run again that has ended",
		usage:   "RUN [--failed | --stage STAGE] [--no-cache] [-f] [--json]",
		example: "buildit rerun 42 --failed -f",
		flags:   append([]string{"--failed", "--stage", "--no-cache", "--commit", "-f"}, apiFlags...),
		run:     apiVerb("rerun", 0, 1, rerun),
	})
}

// rerunRequest asks for another attempt of a run.
type rerunRequest struct {
	What    string `json:"what"`
	Stage   string `json:"stage,omitempty"`
	NoCache bool   `json:"no_cache,omitempty"`
}

func rerun(o *options) func(context.Context, *call) error {
	which := whichRun(o)
	in := rerunRequest{What: "all"}
	failed := o.flags.Bool("failed", false, "")
	o.flags.StringVar(&in.Stage, "stage", "", "")
	o.flags.BoolVar(&in.NoCache, "no-cache", false, "")
	follows := o.flags.Bool("f", false, "")
	return func(ctx context.Context, c *call) error {
		switch {
		case *failed && in.Stage != "":
			return mistake("--failed or --stage, not both")
		case *failed:
			in.What = "failed"
		case in.Stage != "":
			in.What = "stage"
		}
		id, err := which.find(ctx, c, false)
		if err != nil {
			return err
		}
		var answer raw[runInfo]
		if err := c.post(ctx, runPath(id, "/rerun"), in, &answer); err != nil {
			return err
		}
		if *follows {
			return follow(ctx, c, answer.value.ID, "", 0)
		}
		if c.json {
			return c.printJSON(answer)
		}
		return c.say("attempt %d is run %s; `buildit logs -f %s` follows it", answer.value.Attempt, answer.value.ID, answer.value.ID)
	}
}
