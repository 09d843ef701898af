package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

func init() {
	register(verb{
		name: "logs", summary: "print what the stages of a run print, live with -f",
		usage:   "RUN [STAGE] [-f] [--line N] [--lines N] [--search TEXT [--regexp] [--ignore-case]] [--commit COMMIT] [--json]",
		example: "buildit logs 42 test -f",
		flags:   append([]string{"-f", "--line", "--lines", "--search", "--regexp", "--ignore-case", "--commit"}, apiFlags...),
		run:     apiVerb("logs", 0, 2, logs),
	})
}

// lineRange is the lines that are wanted: 0 is from the beginning, or to the end.
type lineRange struct{ first, count int64 }

func (l lineRange) query() string {
	query := url.Values{}
	if l.first > 0 {
		query.Set("line", strconv.FormatInt(l.first, 10))
	}
	if l.count > 0 {
		query.Set("lines", strconv.FormatInt(l.count, 10))
	}
	if len(query) == 0 {
		return ""
	}
	return "?" + query.Encode()
}

func logs(o *options) func(context.Context, *call) error {
	which := whichRun(o)
	follows := o.flags.Bool("f", false, "")
	var lines lineRange
	o.flags.Int64Var(&lines.first, "line", 0, "")
	o.flags.Int64Var(&lines.count, "lines", 0, "")
	var what searchFlags
	o.flags.StringVar(&what.text, "search", "", "")
	o.flags.BoolVar(&what.regexp, "regexp", false, "")
	o.flags.BoolVar(&what.ignoreCase, "ignore-case", false, "")
	return func(ctx context.Context, c *call) error {
		stage := stageWord(c.words, *which.commit != "")
		switch {
		case lines.first < 0 || lines.count < 0:
			return usageMistake{"--line and --lines count from 1"}
		case what.text != "" && (*follows || lines.count > 0):
			return usageMistake{"--search looks through a log from --line to its end: leave -f and --lines out"}
		case what.text == "" && (what.regexp || what.ignoreCase):
			return usageMistake{"--regexp and --ignore-case say how to --search for a TEXT"}
		case lines != lineRange{} && stage == "":
			return usageMistake{"--line and --lines are of one stage: name it, as in `buildit logs RUN STAGE --line 120`"}
		case *follows && lines.count > 0:
			return usageMistake{"-f follows to the end, and --lines ends before: leave one of them out"}
		}
		id, err := which.find(ctx, c, *follows)
		if err != nil {
			return err
		}
		if what.text != "" {
			return searchLogs(ctx, c, id, stage, lines.first, what)
		}
		if *follows {
			return follow(ctx, c, id, stage, lines.first)
		}
		return printLogs(ctx, c, id, stage, lines)
	}
}

// stageWord is the word that names a stage: the second, or the first where
// --commit names the run.
func stageWord(words []string, byCommit bool) string {
	if !byCommit && len(words) > 0 {
		words = words[1:]
	}
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// printLogs prints the stored logs, stage by stage.
func printLogs(ctx context.Context, c *call, id, stage string, lines lineRange) error {
	var answer raw[runInfo]
	if err := c.get(ctx, runPath(id, ""), &answer); err != nil {
		return err
	}
	printed := 0
	for _, s := range answer.value.Stages {
		if s.Attempt == 0 || stage != "" && s.Name != stage && s.Key != stage {
			continue
		}
		printed++
		l := storedLog{call: c, path: runPath(id, "/stages/"+url.PathEscape(s.Key)+"/log"), stage: s, lines: lines}
		if err := l.print(ctx, stage == ""); err != nil {
			return err
		}
	}
	if stage == "" && printed == 0 && answer.value.Reason != "" {
		return c.printUnbegun(answer)
	}
	if stage != "" && printed == 0 {
		return fmt.Errorf("run %s has no log of a stage %q; `buildit runs show %s` lists its stages", id, stage, id)
	}
	return nil
}

// printUnbegun says why a run has no log: it did not begin.
func (c *call) printUnbegun(run raw[runInfo]) error {
	if c.json {
		return c.printLine(run)
	}
	return c.printRun(run.value)
}

// storedLog is the log of one stage, as far as it is stored.
type storedLog struct {
	*call
	path  string
	stage stageInfo
	lines lineRange
}

// print prints it, under a title of the stage if there may be others.
func (l storedLog) print(ctx context.Context, title bool) error {
	if title && !l.json {
		if err := l.say("== %s: %s%s", l.stage.Name, l.stage.Status, because(l.stage.Reason, l.stage.Why)); err != nil {
			return err
		}
	}
	body, err := l.open(ctx, http.MethodGet, l.path+l.lines.query(), nil)
	if err != nil {
		var r *refusal
		if errors.As(err, &r) && r.Status == http.StatusNotFound {
			return nil // it has printed nothing yet
		}
		return err
	}
	if l.json {
		return l.printJSON(ctx, body)
	}
	index, err := l.index(ctx)
	if err != nil {
		return errors.Join(err, body.Close())
	}
	if gap := index.Gap; gap != nil {
		fmt.Fprintf(l.env.stderr, "buildit: %s: from line %d on, %d lines (%d bytes) are left out: the log is longer than what is kept of it\n",
			clean(l.stage.Name, 40), gap.Line, gap.Lines, gap.Bytes)
	}
	out := &titled{to: l.env.stdout, line: max(l.lines.first, 1), groups: l.titles(index, title)}
	_, err = io.Copy(out, body)
	if err == nil && title && out.last != 0 && out.last != '\n' {
		err = l.say("") // the next title begins a line
	}
	return errors.Join(err, body.Close())
}

// commandGroup is a command of a stage, and its lines.
type commandGroup struct {
	Name     string  `json:"name"`
	First    int64   `json:"first"`
	Last     int64   `json:"last"`
	Seconds  float64 `json:"seconds"`
	ExitCode int     `json:"exit_code"`
}

// logIndex is what the platform knows of a log.
type logIndex struct {
	Groups []commandGroup `json:"groups"` // once the stage has ended
	Gap    *struct {
		Line  int64 `json:"line"`
		Lines int64 `json:"lines"`
		Bytes int64 `json:"bytes"`
	} `json:"gap"`
}

func (l storedLog) index(ctx context.Context) (index logIndex, err error) {
	err = l.get(ctx, l.path+"?format=index", &index)
	return index, err
}

// titles are the commands to be told in the log: those of a stage with several, for
// somebody who looks at it. What goes into a file is the log's bytes and no other.
func (l storedLog) titles(index logIndex, title bool) []commandGroup {
	groups := index.Groups
	if len(groups) < 2 || !title && !l.env.terminal() {
		return nil
	}
	for len(groups) > 0 && groups[0].Last < l.lines.first { // over before the first line
		groups = groups[1:]
	}
	return groups
}

// printJSON prints text and commands as one object.
func (l storedLog) printJSON(ctx context.Context, body io.ReadCloser) error {
	text, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		return err
	}
	index, err := l.index(ctx)
	if err != nil {
		return err
	}
	answer := map[string]any{
		"stage": l.stage.Name, "key": l.stage.Key, "attempt": l.stage.Attempt, "text": string(text), "commands": index.Groups,
	}
	if l.lines.first > 0 {
		answer["line"] = l.lines.first
	}
	return l.printLine(answer)
}

// titled passes a log on with a title before the lines of each command.
type titled struct {
	to     io.Writer
	line   int64 // that the next byte is in
	groups []commandGroup
	last   byte // that was passed on
}

func (t *titled) Write(text []byte) (int, error) {
	for rest := text; len(rest) > 0; {
		for len(t.groups) > 0 && t.groups[0].First <= t.line {
			if err := t.title(t.groups[0]); err != nil {
				return 0, err
			}
			t.groups = t.groups[1:]
		}
		piece := rest
		if len(t.groups) > 0 { // line by line, until there is no title to come
			piece = rest[:bytes.IndexByte(rest, '\n')+1]
			if len(piece) == 0 {
				piece = rest
			}
		}
		if _, err := t.to.Write(piece); err != nil {
			return 0, err
		}
		t.last = piece[len(piece)-1]
		if t.last == '\n' {
			t.line++
		}
		rest = rest[len(piece):]
	}
	return len(text), nil
}

func (t *titled) title(g commandGroup) error {
	end := ""
	if t.last != 0 && t.last != '\n' {
		end = "\n" // the command before left its line open
	}
	code := ""
	if g.ExitCode != 0 {
		code = fmt.Sprintf(", exit code %d", g.ExitCode)
	}
	_, err := fmt.Fprintf(t.to, "%s-- %s (%.1f s%s)\n", end, clean(g.Name, 80), g.Seconds, code)
	return err
}

// resultError is a run that did not succeed: everything was said already, and the
// exit code is left.
type resultError struct{ status string }

func (r resultError) Error() string { return "the run is " + r.status }

func (r resultError) code() int {
	switch r.status {
	case "succeeded", "skipped", "allowed":
		return exitDone
	}
	return exitError
}
