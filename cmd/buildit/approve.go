package main

import (
	"context"
	"net/url"
)

func init() {
	register(verb{
		name: "approve", summary: "let a stage start that waits for approval, or a run that is held",
		usage: "RUN [STAGE] [--comment TEXT] [--json]", example: "buildit approve 42 deploy --comment 'checked on staging'",
		flags: append([]string{"--comment", "--commit"}, apiFlags...),
		run:   apiVerb("approve", 1, 2, decide("approve")),
	})
	register(verb{
		name: "reject", summary: "have a stage fail that waits for approval, or cancel a run that is held",
		usage: "RUN [STAGE] [--comment TEXT] [--skip] [--json]", example: "buildit reject 42 deploy --comment 'not before Monday'",
		flags: append([]string{"--comment", "--skip", "--commit"}, apiFlags...),
		run:   apiVerb("reject", 1, 2, decide("reject")),
	})
}

// decision is what a person says about a gate.
type decision struct {
	Comment string `json:"comment,omitempty"`
	Commit  string `json:"commit,omitempty"` // must be that of the run
	Skip    bool   `json:"skip,omitempty"`
}

func decide(word string) func(o *options) func(context.Context, *call) error {
	return func(o *options) func(context.Context, *call) error {
		var in decision
		o.flags.StringVar(&in.Comment, "comment", "", "")
		commit := o.flags.String("commit", "", "") // what must be approved, not which run
		if word == "reject" {
			o.flags.BoolVar(&in.Skip, "skip", false, "")
		}
		return func(ctx context.Context, c *call) error {
			in.Commit = *commit
			none := ""
			id, err := runChoice{&none}.find(ctx, c, false)
			if err != nil {
				return err
			}
			if len(c.words) == 1 {
				return decideRun(ctx, c, id, word, in)
			}
			var answer raw[stageInfo]
			err = c.post(ctx, runPath(id, "/stages/"+url.PathEscape(c.words[1])+"/"+word), in, &answer)
			if err != nil || c.json {
				return orJSON(c, err, answer)
			}
			return c.say("stage %s is %s%s", clean(answer.value.Name, 60), answer.value.Status, because(answer.value.Reason, answer.value.Why))
		}
	}
}

func decideRun(ctx context.Context, c *call, id, word string, in decision) error {
	var answer raw[runInfo]
	if err := c.post(ctx, runPath(id, "/"+word), in, &answer); err != nil || c.json {
		return orJSON(c, err, answer)
	}
	return c.say("run %s is %s%s", id, answer.value.Status, because(answer.value.Reason, ""))
}
