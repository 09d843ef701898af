package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// searchFlags are what `buildit logs --search` looks for.
type searchFlags struct {
	text               string
	regexp, ignoreCase bool
}

// logMatch is a line in which something was found.
type logMatch struct {
	Stage   string    `json:"stage"`
	Attempt int       `json:"attempt"`
	Line    int64     `json:"line"`
	Time    time.Time `json:"time,omitzero"`
	Command string    `json:"command,omitempty"`
	Text    string    `json:"text"`
	From    int       `json:"from"`
	To      int       `json:"to"`
	Cut     bool      `json:"cut,omitempty"`
}

// searchLogs prints the lines of a run's logs in which something is found, as the
// server finds them: no log travels here.
func searchLogs(ctx context.Context, c *call, id, stage string, first int64, what searchFlags) error {
	var answer raw[runInfo]
	if err := c.get(ctx, runPath(id, ""), &answer); err != nil {
		return err
	}
	found, looked := 0, 0
	for _, s := range answer.value.Stages {
		if s.Attempt == 0 || stage != "" && s.Name != stage && s.Key != stage {
			continue
		}
		looked++
		n, err := c.searchLog(ctx, id, s, first, what)
		if err != nil {
			return err
		}
		found += n
	}
	switch {
	case stage != "" && looked == 0:
		return fmt.Errorf("run %s has no log of a stage %q; `buildit runs show %s` lists its stages", id, stage, id)
	case found == 0:
		fmt.Fprintf(c.env.stderr, "buildit: no line of %d logs has %q\n", looked, what.text)
	}
	return nil
}

// searchLog prints what is found in the log of one stage, page by page.
func (c *call) searchLog(ctx context.Context, id string, s stageInfo, first int64, what searchFlags) (found int, err error) {
	query := url.Values{"q": {what.text}, "limit": {"1000"}}
	if what.regexp {
		query.Set("regexp", "true")
	}
	if what.ignoreCase {
		query.Set("ignore_case", "true")
	}
	for next := max(first, 1); next > 0; {
		query.Set("line", strconv.FormatInt(next, 10))
		var page struct {
			Matches []logMatch `json:"matches"`
			Next    int64      `json:"next"`
		}
		if err := c.get(ctx, runPath(id, "/stages/"+url.PathEscape(s.Key)+"/log/search?"+query.Encode()), &page); err != nil {
			return found, err
		}
		for _, m := range page.Matches {
			m.Stage, m.Attempt = s.Name, s.Attempt
			if err := c.printMatch(m); err != nil {
				return found, err
			}
		}
		found += len(page.Matches)
		next = page.Next
	}
	return found, nil
}

// printMatch prints a match as grep does, what was found in colour for a terminal.
func (c *call) printMatch(m logMatch) error {
	if c.json {
		return c.printLine(m)
	}
	piece := func(text string) string { return clean(strings.ReplaceAll(text, "\t", "    "), 4*len(text)) }
	text := piece(m.Text)
	if c.env.colours() && 0 <= m.From && m.From <= m.To && m.To <= len(m.Text) {
		text = piece(m.Text[:m.From]) + "\x1b[1;31m" + piece(m.Text[m.From:m.To]) + "\x1b[0m" + piece(m.Text[m.To:])
	}
	if m.Cut {
		text += " …"
	}
	return c.say("%s:%d: %s", clean(m.Stage, 80), m.Line, text)
}
