package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/report"
)

func init() {
	register(verb{
		name: "runs", summary: "list runs, newest first, or show one",
		usage:   "[show RUN] [--repo REPO] [--branch BRANCH] [--status STATUS] [--limit N] [--json]",
		example: "buildit runs --branch main --status failed",
		flags:   append([]string{"show", "--repo", "--branch", "--status", "--limit"}, apiFlags...),
		run:     runs,
	})
}

func runs(ctx context.Context, env *environment, args []string) int {
	if len(args) > 0 && args[0] == "show" {
		return apiVerb("runs show", 0, 1, runsShow)(ctx, env, args[1:])
	}
	return apiVerb("runs", 0, 0, runsList)(ctx, env, args)
}

// runInfo is what the CLI prints of a run.
type runInfo struct {
	ID         string    `json:"id"`
	Number     int       `json:"number"`
	Attempt    int       `json:"attempt"`
	Pipeline   string    `json:"pipeline"`
	File       string    `json:"file"`
	Repository string    `json:"repository"`
	Event      string    `json:"event"`
	Commit     string    `json:"commit"`
	Branch     string    `json:"branch"`
	Tag        string    `json:"tag"`
	Message    string    `json:"message"`
	Status     string    `json:"status"`
	Reason     string    `json:"reason"`
	Why        string    `json:"why"`
	CreatedAt  time.Time `json:"created_at"`
	StartedAt  time.Time `json:"started_at"`
	EndedAt    time.Time `json:"ended_at"`

	Waits    []waitInfo      `json:"waits"`
	Problems []problem.Place `json:"problems"`
	Stages   []stageInfo     `json:"stages"`
	Tests    *report.Totals  `json:"tests"`
}

// stageInfo is what the CLI prints of a stage.
type stageInfo struct {
	Key       string     `json:"key"`
	Name      string     `json:"name"`
	Status    string     `json:"status"`
	Reason    string     `json:"reason"`
	Why       string     `json:"why"`
	Attempt   int        `json:"attempt"`
	ExitCode  *int       `json:"exit_code"`
	StartedAt time.Time  `json:"started_at"`
	EndedAt   time.Time  `json:"ended_at"`
	Notices   []notice   `json:"notices"`
	Waits     []waitInfo `json:"waits"`
	Flaky     bool       `json:"flaky"`
	From      string     `json:"carried_from"`
}

// waitInfo is one thing that a run or a stage waits for.
type waitInfo struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

func sayWaits(waits []waitInfo) string {
	texts := make([]string, len(waits))
	for i, w := range waits {
		texts[i] = w.Text
	}
	return strings.Join(texts, "; ")
}

type notice struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// name is what people call a run: its number, and its attempt from the second on.
func (r runInfo) name() string {
	if r.Attempt > 1 {
		return fmt.Sprintf("#%d.%d", r.Number, r.Attempt)
	}
	return fmt.Sprintf("#%d", r.Number)
}

const defaultRuns = 20

func runsList(o *options) func(context.Context, *call) error {
	repo := o.flags.String("repo", "", "")
	branch := o.flags.String("branch", "", "")
	status := o.flags.String("status", "", "")
	limit := o.flags.Int("limit", defaultRuns, "")
	return func(ctx context.Context, c *call) error {
		query := url.Values{}
		if *repo != "" {
			found, err := findRepository(ctx, c, *repo)
			if err != nil {
				return err
			}
			query.Set("repository", found.value.ID)
		}
		for name, text := range map[string]string{"branch": *branch, "status": *status} {
			if text != "" {
				query.Set(name, text)
			}
		}
		list := []raw[runInfo]{}
		err := eachPage(ctx, c, "/runs", query, func(r raw[runInfo]) bool {
			list = append(list, r)
			return len(list) < *limit
		})
		if err != nil || c.json {
			return orJSON(c, err, list)
		}
		if len(list) == 0 {
			return c.say("no run yet; push to a connected repository, or `buildit start REPO`")
		}
		return c.printRuns(list)
	}
}

// orJSON prints a value as JSON unless there was an error.
func orJSON(c *call, err error, value any) error {
	if err != nil {
		return err
	}
	return c.printJSON(value)
}

func (c *call) printRuns(list []raw[runInfo]) error {
	now := time.Now()
	var rows [][]string
	for _, item := range list {
		r := item.value
		rows = append(rows, []string{
			r.ID, r.name(), r.Status, clean(firstOf(r.Pipeline, r.File), 30), clean(firstOf(r.Branch, r.Tag, r.Event), 30),
			short(r.Commit), took(r.StartedAt, r.EndedAt, now), ago(r.CreatedAt, now), waitsOrMessage(r),
		})
	}
	return c.columns([]string{"RUN", "", "STATUS", "PIPELINE", "BRANCH", "COMMIT", "TOOK", "", "MESSAGE"}, rows)
}

// waitsOrMessage is what a run waits for, else its commit's message.
func waitsOrMessage(r runInfo) string {
	if len(r.Waits) > 0 {
		return clean(sayWaits(r.Waits), 120)
	}
	return clean(r.Message, 50)
}

func short(commit string) string { return commit[:min(len(commit), 8)] }

func runsShow(o *options) func(context.Context, *call) error {
	which := whichRun(o)
	return func(ctx context.Context, c *call) error {
		id, err := which.find(ctx, c, false)
		if err != nil {
			return err
		}
		var answer raw[runInfo]
		if err := c.get(ctx, runPath(id, ""), &answer); err != nil || c.json {
			return orJSON(c, err, answer)
		}
		return c.printRun(answer.value)
	}
}

func (c *call) printRun(r runInfo) error {
	now := time.Now()
	err := c.say("%s %s of %s at %s %s: %s%s", firstOf(r.Pipeline, r.File), r.name(), firstOf(r.Branch, r.Tag, r.Event), short(r.Commit),
		clean(r.Message, 60), r.Status, because(r.Reason, firstOf(sayWaits(r.Waits), r.Why)))
	if err != nil {
		return err
	}
	for _, p := range r.Problems {
		if err := c.say("  %s", placeText(p)); err != nil {
			return err
		}
	}
	if len(r.Stages) == 0 {
		return nil
	}
	var rows [][]string
	for _, s := range r.Stages {
		rows = append(rows, []string{s.Name, s.Status, took(s.StartedAt, s.EndedAt, now), strings.TrimPrefix(because(s.Reason, firstOf(sayWaits(s.Waits), s.Why))+s.remark(), ", ")})
	}
	if err := c.columns([]string{"STAGE", "STATUS", "TOOK", ""}, rows); err != nil {
		return err
	}
	if r.Tests != nil {
		if err := c.say("tests: %s; `buildit tests %s` lists them", r.Tests, r.ID); err != nil {
			return err
		}
	}
	for _, s := range r.Stages {
		for _, n := range s.Notices {
			if err := c.say("note: %s: %s (%s)", s.Name, clean(n.Text, 200), n.Code); err != nil {
				return err
			}
		}
	}
	return nil
}

// remark is what people should know of a stage besides how it ended.
func (s stageInfo) remark() string {
	switch {
	case s.From != "":
		return ", carried over from run " + s.From
	case s.Flaky:
		return fmt.Sprintf(", flaky: it passed in attempt %d", s.Attempt)
	}
	return ""
}

func because(reason, why string) string {
	if reason == "ok" { // of a stage that succeeded
		reason = ""
	}
	switch {
	case reason == "" && why == "":
		return ""
	case reason == "" || why == "":
		return ", " + clean(reason+why, 200)
	}
	return ", " + reason + ": " + clean(why, 200)
}

// runChoice says which run is meant: a word (its id, or the beginning of it, or its
// number), or --commit.
type runChoice struct{ commit *string }

func whichRun(o *options) runChoice { return runChoice{o.flags.String("commit", "", "")} }

// patience is how long the run of a commit is waited for: the push may not have
// been heard of yet.
const patience = time.Minute

// find answers the id of the run. With wait it waits for the run of a commit.
func (w runChoice) find(ctx context.Context, c *call, wait bool) (string, error) {
	switch {
	case *w.commit != "":
		return w.ofCommit(ctx, c, wait)
	case len(c.words) == 0:
		return "", mistake("which run? name one, or --commit COMMIT")
	}
	word := strings.TrimPrefix(c.words[0], "#")
	if wholeID.MatchString(word) {
		return word, nil
	}
	_, err := strconv.Atoi(strings.Replace(word, ".", "", 1))
	isNumber := err == nil
	return search(ctx, c, fmt.Sprintf("no run is called %q", c.words[0]), func(r runInfo) bool {
		if isNumber { // of its newest attempt, or with it
			return strconv.Itoa(r.Number) == word || fmt.Sprintf("%d.%d", r.Number, max(r.Attempt, 1)) == word
		}
		return strings.HasPrefix(r.ID, word)
	})
}

// wholeID is a run's id: 26 characters of base32.
var wholeID = regexp.MustCompile(`^[a-z2-7]{26}$`)

const maxSearched = 500 // runs that a word is looked for in

// search finds the newest run that fits.
func search(ctx context.Context, c *call, missing string, fits func(runInfo) bool) (string, error) {
	found, seen := "", 0
	err := eachPage(ctx, c, "/runs", nil, func(r raw[runInfo]) bool {
		seen++
		if fits(r.value) {
			found = r.value.ID
		}
		return found == "" && seen < maxSearched
	})
	if err == nil && found == "" {
		err = missingRun{missing}
	}
	return found, err
}

type missingRun struct{ text string }

func (m missingRun) Error() string { return m.text + "; `buildit runs` lists them" }

func (w runChoice) ofCommit(ctx context.Context, c *call, wait bool) (string, error) {
	if len(*w.commit) < 7 {
		return "", mistake("--commit needs 7 digits of the commit, at least")
	}
	missing := "no run is of commit " + short(*w.commit)
	until := time.Now().Add(patience)
	for {
		id, err := search(ctx, c, missing, func(r runInfo) bool { return strings.HasPrefix(r.Commit, *w.commit) })
		var none missingRun
		if !errors.As(err, &none) || !wait || time.Now().After(until) {
			return id, err
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(150 * time.Millisecond):
		}
	}
}

func runPath(id, more string) string { return "/runs/" + url.PathEscape(id) + more }
