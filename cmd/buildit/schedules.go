package main

import (
	"context"
	"fmt"
	"time"
)

func init() {
	register(verb{
		name: "schedules", summary: "list the schedules of a repository's pipelines",
		usage: "REPO [--json]", example: "buildit schedules shop",
		flags: apiFlags,
		run:   apiVerb("schedules", 1, 1, schedules),
	})
}

// scheduleList is what the CLI prints of a repository's schedules.
type scheduleList struct {
	Branch string         `json:"branch"`
	Commit string         `json:"commit"`
	Note   string         `json:"note"`
	Items  []scheduleInfo `json:"items"`
}

type scheduleInfo struct {
	File     string    `json:"file"`
	Line     int       `json:"line"`
	Cron     string    `json:"cron"`
	Zone     string    `json:"tz"`
	Branch   string    `json:"branch"`
	Next     time.Time `json:"next"`
	LastTick time.Time `json:"last_tick"`
	LastRun  string    `json:"last_run"`
	Late     bool      `json:"late"`
	Note     string    `json:"note"`
}

func schedules(*options) func(context.Context, *call) error {
	return func(ctx context.Context, c *call) error {
		found, err := findRepository(ctx, c, c.words[0])
		if err != nil {
			return err
		}
		var answer raw[scheduleList]
		if err := c.get(ctx, repositoryPath(found.value.ID, "/schedules"), &answer); err != nil || c.json {
			return orJSON(c, err, answer)
		}
		return c.printSchedules(answer.value)
	}
}

func (c *call) printSchedules(list scheduleList) error {
	if list.Note != "" {
		if err := c.say("note: %s", clean(list.Note, 300)); err != nil {
			return err
		}
	}
	if len(list.Items) == 0 {
		return c.say(`no schedule; on "schedule" in a pipeline file of the default branch makes one`)
	}
	var rows [][]string
	for _, s := range list.Items {
		last := firstOf(s.LastRun, s.Note)
		if last != "" {
			last = fmt.Sprintf("%s %s", s.LastTick.Local().Format(time.DateTime), clean(last, 60))
		}
		if s.Late {
			last += " (late)"
		}
		rows = append(rows, []string{
			fmt.Sprintf("%s:%d", clean(s.File, 40), s.Line), s.Cron, s.Zone, firstOf(clean(s.Branch, 30), list.Branch),
			s.Next.Local().Format(time.DateTime), last,
		})
	}
	return c.columns([]string{"SCHEDULE", "CRON", "ZONE", "BRANCH", "NEXT", "LAST"}, rows)
}
