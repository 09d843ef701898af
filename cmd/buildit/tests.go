package main

import (
	"context"
	"fmt"
	"html"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/report"
)

func init() {
	register(verb{
		name: "tests", summary: "list the tests of a run: failed, then flaky, then the slowest",
		usage:   "RUN [--failed] [--flaky] [--slowest N] [--output] [--commit COMMIT] [--json]",
		example: "buildit tests 42 --failed --output",
		flags:   append([]string{"--failed", "--flaky", "--slowest", "--output", "--commit"}, apiFlags...),
		run:     apiVerb("tests", 0, 1, tests),
	})
	register(verb{
		name: "summary", summary: "print what the stages of a run have written for people, their tests and coverage",
		usage:   "RUN [--commit COMMIT] [--json]",
		example: "buildit summary 42",
		flags:   append([]string{"--commit"}, apiFlags...),
		run:     apiVerb("summary", 0, 1, summary),
	})
}

// test is what the CLI prints of one.
type test struct {
	report.Case
	Cells []struct {
		Stage  string        `json:"stage"`
		Status report.Status `json:"status"`
	} `json:"cells"`
	History *struct {
		FlakyCommits int `json:"flaky_commits"`
	} `json:"history"`
}

const defaultSlowest = 10 // tests that neither failed nor are flaky

func tests(o *options) func(context.Context, *call) error {
	which := whichRun(o)
	failed := o.flags.Bool("failed", false, "")
	flaky := o.flags.Bool("flaky", false, "")
	slowest := o.flags.Int("slowest", defaultSlowest, "")
	output := o.flags.Bool("output", false, "")
	return func(ctx context.Context, c *call) error {
		query := url.Values{"limit": {"200"}}
		switch {
		case *failed && *flaky:
			return mistake("--failed and --flaky are two lists: leave one of them out")
		case *failed:
			query.Set("status", "failed")
		case *flaky:
			query.Set("status", "flaky")
		case *slowest < 0:
			return mistake("--slowest is a number of tests")
		}
		if *output {
			query.Set("output", "true")
		}
		id, err := which.find(ctx, c, false)
		if err != nil {
			return err
		}
		list, slow, more := []raw[test]{}, 0, false
		err = eachPage(ctx, c, runPath(id, "/tests"), query, func(t raw[test]) bool {
			if t.value.Status != report.Failed && !t.value.Flaky {
				if slow++; slow > *slowest {
					more = true
					return false // they come last
				}
			}
			list = append(list, t)
			return true
		})
		if err != nil || c.json {
			return orJSON(c, err, list)
		}
		return c.printTests(ctx, id, list, more, query.Get("status"))
	}
}

func (c *call) printTests(ctx context.Context, id string, list []raw[test], more bool, status string) error {
	if len(list) == 0 {
		return c.say("run %s has no %s", id, strings.TrimSpace(status+" test"))
	}
	var rows [][]string
	for _, item := range list {
		t := item.value
		word := string(t.Status)
		if t.Flaky {
			word = "flaky"
		}
		rows = append(rows, []string{word, secondsText(t.Seconds), clean(t.Title(), 70), clean(cells(t), 40), clean(casePlace(t.Case), 60), messageOf(t)})
	}
	if err := c.columns([]string{"STATUS", "TOOK", "TEST", "STAGE", "FILE", "MESSAGE"}, rows); err != nil {
		return err
	}
	for _, item := range list {
		if t := item.value; t.Output != "" {
			if err := c.say("\n%s %s\n%s", t.Status, clean(t.Title(), 200), terminalText(t.Output)); err != nil {
				return err
			}
		}
	}
	if !more {
		return nil
	}
	var run raw[runInfo]
	if err := c.get(ctx, runPath(id, ""), &run); err != nil || run.value.Tests == nil {
		return err
	}
	return c.say("tests: %s in %s; --slowest N shows more of them", run.value.Tests, secondsText(run.value.Tests.Seconds))
}

// messageOf is what a test said, and whether it is known to fail now and then.
func messageOf(t test) string {
	message := clean(t.Message, 80)
	if t.History == nil || t.History.FlakyCommits == 0 {
		return message
	}
	return strings.TrimSpace(fmt.Sprintf("%s [flaky on %d %s]", message, t.History.FlakyCommits, plural(t.History.FlakyCommits, "commit")))
}

// cells are the stages that a test ran in; of several, those in which it is as it is.
func cells(t test) string {
	var names []string
	for _, cell := range t.Cells {
		if cell.Status == t.Status {
			names = append(names, cell.Stage)
		}
	}
	if len(names) > 1 {
		return fmt.Sprintf("%s and %d more", names[0], len(names)-1)
	}
	return strings.Join(names, "")
}

// casePlace is file:line of a case.
func casePlace(c report.Case) string {
	if c.File != "" && c.Line > 0 {
		return c.File + ":" + strconv.Itoa(c.Line)
	}
	return c.File
}

func secondsText(seconds float64) string {
	switch d := time.Duration(seconds * float64(time.Second)); {
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	default:
		return d.Round(time.Second).String()
	}
}

// markdown is Markdown for a terminal, where no < begins a tag.
func markdown(text string) string { return terminalText(html.UnescapeString(text)) }

// terminalText is text of somebody else's, of many lines, that a terminal shows as it is.
func terminalText(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, "  "+clean(strings.ReplaceAll(strings.TrimRight(line, "\r\n"), "\t", "    "), 1000))
	}
	return strings.Join(lines, "\n")
}

// stageSummary is what the CLI prints of a stage's summary.
type stageSummary struct {
	Stage    string           `json:"stage"`
	Text     string           `json:"text"`
	Tests    *report.Totals   `json:"tests"`
	Coverage *report.Coverage `json:"coverage"`
}

func summary(o *options) func(context.Context, *call) error {
	which := whichRun(o)
	return func(ctx context.Context, c *call) error {
		id, err := which.find(ctx, c, false)
		if err != nil {
			return err
		}
		list := []raw[stageSummary]{}
		err = eachPage(ctx, c, runPath(id, "/summary"), nil, func(s raw[stageSummary]) bool {
			list = append(list, s)
			return true
		})
		if err != nil || c.json {
			return orJSON(c, err, list)
		}
		if len(list) == 0 {
			return c.say("run %s has no summary; a stage writes one to $BUILDIT_SUMMARY", id)
		}
		for _, item := range list {
			if err := c.printSummary(item.value); err != nil {
				return err
			}
		}
		return nil
	}
}

func (c *call) printSummary(s stageSummary) error {
	var facts []string
	if s.Tests != nil {
		facts = append(facts, "tests: "+s.Tests.String())
	}
	if s.Coverage != nil {
		facts = append(facts, fmt.Sprintf("coverage: %.1f %% of %d %s", s.Coverage.Percent, s.Coverage.Total, clean(s.Coverage.Unit, 20)))
	}
	if err := c.say("%s", strings.TrimRight(clean(s.Stage, 60)+"  "+strings.Join(facts, "; "), " ")); err != nil || s.Text == "" {
		return err
	}
	return c.say("%s", markdown(s.Text))
}
