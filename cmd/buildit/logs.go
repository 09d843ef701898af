package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

func init() {
	register(verb{
		name: "logs", summary: "print what the stages of a run print, live with -f",
		usage:   "RUN [STAGE] [-f] [--commit COMMIT] [--json]",
		example: "buildit logs 42 test -f",
		flags:   append([]string{"-f", "--commit"}, apiFlags...),
		run:     apiVerb("logs", 0, 2, logs),
	})
}

func logs(o *options) func(context.Context, *call) error {
	which := whichRun(o)
	follows := o.flags.Bool("f", false, "")
	return func(ctx context.Context, c *call) error {
		id, err := which.find(ctx, c, *follows)
		if err != nil {
			return err
		}
		stage := stageWord(c.words, *which.commit != "")
		if *follows {
			return follow(ctx, c, id, stage)
		}
		return printLogs(ctx, c, id, stage)
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
func printLogs(ctx context.Context, c *call, id, stage string) error {
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
		if err := printLog(ctx, c, id, s, stage == ""); err != nil {
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

func printLog(ctx context.Context, c *call, id string, s stageInfo, title bool) error {
	if title && !c.json {
		if err := c.say("== %s: %s%s", s.Name, s.Status, because(s.Reason, s.Why)); err != nil {
			return err
		}
	}
	body, err := c.open(ctx, http.MethodGet, runPath(id, "/stages/"+url.PathEscape(s.Key)+"/log"), nil)
	if err != nil {
		var r *refusal
		if errors.As(err, &r) && r.Status == http.StatusNotFound {
			return nil // it has printed nothing yet
		}
		return err
	}
	if c.json {
		text, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil {
			return err
		}
		return c.printLine(map[string]any{"stage": s.Name, "key": s.Key, "attempt": s.Attempt, "text": string(text)})
	}
	out := &lastByte{to: c.env.stdout}
	_, err = io.Copy(out, body)
	if err == nil && title && out.last != 0 && out.last != '\n' {
		err = c.say("") // the next title begins a line
	}
	return errors.Join(err, body.Close())
}

// lastByte passes bytes on and knows the last of them.
type lastByte struct {
	to   io.Writer
	last byte
}

func (l *lastByte) Write(text []byte) (int, error) {
	if len(text) > 0 {
		l.last = text[len(text)-1]
	}
	return l.to.Write(text)
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
