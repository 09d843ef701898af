package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// columns prints rows whose columns are aligned. Statuses have their colour where
// stdout is a terminal.
func (c *call) columns(header []string, rows [][]string) error {
	widths := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	painted := c.env.colours()
	for n, row := range append([][]string{header}, rows...) {
		var line strings.Builder
		for i, cell := range row {
			padded := cell
			if i < len(row)-1 {
				padded += strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
			}
			if painted && n == 0 {
				padded = dim + padded + plain
			} else if painted {
				padded = colourOf(cell) + padded + plain
			}
			line.WriteString(padded)
		}
		if err := c.say("%s", strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// ANSI colours.
const (
	plain  = "\x1b[0m"
	dim    = "\x1b[2m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	blue   = "\x1b[34m"
)

// colourOf is the colour of a status, "" for any other text.
func colourOf(status string) string {
	switch status {
	case "succeeded", "allowed":
		return green
	case "failed", "errored", "timed_out":
		return red
	case "running", "starting", "finishing", "reported":
		return blue
	case "canceled", "canceling", "gated", "queued", "created":
		return yellow
	case "skipped", "blocked":
		return dim
	}
	return ""
}

// clean makes text of somebody else's one line that a terminal shows as it is.
func clean(text string, most int) string {
	text, _, _ = strings.Cut(text, "\n")
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError {
			return -1
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// ago is how long ago a time was, roughly.
func ago(at, now time.Time) string {
	if at.IsZero() {
		return "-"
	}
	switch d := now.Sub(at); {
	case d < time.Minute:
		return fmt.Sprintf("%ds ago", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh ago", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd ago", int(d.Hours()/24))
	}
}

// took is how long something has run, or had.
func took(started, ended, now time.Time) string {
	if started.IsZero() {
		return "-"
	}
	if ended.IsZero() {
		ended = now
	}
	return span(max(0, ended.Sub(started)))
}

// span is a duration for people.
func span(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
}

// bytesText is a number of bytes for people.
func bytesText(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	default:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	}
}
