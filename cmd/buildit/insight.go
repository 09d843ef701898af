package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"
)

func init() {
	register(verb{
		name: "insight", summary: "how the pipelines of a repository do: durations, success, queue, cost",
		usage: "REPO [--file FILE] [--branch BRANCH] [--days N] [--json]", example: "buildit insight shop --branch main --days 7",
		flags: append([]string{"--file", "--branch", "--days"}, apiFlags...),
		run:   apiVerb("insight", 1, 1, insight),
	})
	register(verb{
		name: "timing", summary: "where the time of a run went, and what its end waited for",
		usage: "RUN [--commit COMMIT] [--json]", example: "buildit timing 42",
		flags: append([]string{"--commit"}, apiFlags...),
		run:   apiVerb("timing", 0, 1, timing),
	})
}

// figures are what the server says of a pipeline or of a stage.
type figures struct {
	Runs        int      `json:"runs"`
	SuccessRate *float64 `json:"success_rate"`
	P50         float64  `json:"seconds_p50"`
	P95         float64  `json:"seconds_p95"`
	QueueP50    float64  `json:"queue_seconds_p50"`
	QueueP95    float64  `json:"queue_seconds_p95"`
	Compute     float64  `json:"compute_seconds"`
	Cost        costs    `json:"cost"`
}

type costs struct {
	USD     float64 `json:"usd"`
	Fargate float64 `json:"fargate_usd_modelled"`
}

type insightInfo struct {
	From      time.Time `json:"from"`
	More      bool      `json:"more"`
	Pipelines []struct {
		File     string `json:"file"`
		Pipeline string `json:"pipeline"`
		figures
		Stages []struct {
			Stage string `json:"stage"`
			figures
			Flaky    int     `json:"flaky"`
			Critical float64 `json:"critical_share"`
		} `json:"stages"`
	} `json:"pipelines"`
}

func insight(o *options) func(context.Context, *call) error {
	file, branch := o.flags.String("file", "", ""), o.flags.String("branch", "", "")
	days := o.flags.Int("days", 30, "")
	return func(ctx context.Context, c *call) error {
		found, err := findRepository(ctx, c, c.words[0])
		if err != nil {
			return err
		}
		query := url.Values{"days": {strconv.Itoa(*days)}}
		for name, value := range map[string]string{"file": *file, "branch": *branch} {
			if value != "" {
				query.Set(name, value)
			}
		}
		var answer raw[insightInfo]
		if err := c.get(ctx, repositoryPath(found.value.ID, "/insight?"+query.Encode()), &answer); err != nil || c.json {
			return orJSON(c, err, answer)
		}
		return c.printInsight(answer.value, *days)
	}
}

func (c *call) printInsight(in insightInfo, days int) error {
	if len(in.Pipelines) == 0 {
		return c.say("no run has ended in the last %d days", days)
	}
	rows := [][]string{}
	for _, p := range in.Pipelines {
		rows = append(rows, append([]string{clean(firstOf(p.Pipeline, p.File), 40)}, p.cells("", "")...))
		for _, s := range p.Stages {
			flaky := ""
			if s.Flaky > 0 {
				flaky = strconv.Itoa(s.Flaky)
			}
			rows = append(rows, append([]string{"  " + clean(s.Stage, 40)}, s.cells(percent(s.Critical), flaky)...))
		}
	}
	header := []string{"PIPELINE, STAGE", "RUNS", "SUCCESS", "P50", "P95", "QUEUE P50", "P95", "COMPUTE", "CRITICAL", "FLAKY", "ON FARGATE (MODELLED)"}
	if err := c.columns(header, rows); err != nil {
		return err
	}
	if in.More {
		return c.say("only runs since %s: there were too many to look at more", in.From.Format(time.RFC3339))
	}
	return nil
}

func (f figures) cells(critical, flaky string) []string {
	rate := "-"
	if f.SuccessRate != nil {
		rate = percent(*f.SuccessRate)
	}
	return []string{
		strconv.Itoa(f.Runs), rate, secs(f.P50), secs(f.P95), secs(f.QueueP50), secs(f.QueueP95), secs(f.Compute),
		firstOf(critical, "-"), firstOf(flaky, "-"), dollars(f.Cost.Fargate),
	}
}

func percent(share float64) string { return fmt.Sprintf("%.0f%%", share*100) }
func secs(n float64) string        { return span(time.Duration(n * float64(time.Second))) }
func dollars(usd float64) string   { return fmt.Sprintf("$%.4f", usd) }

type timingInfo struct {
	Queue    float64 `json:"queue_seconds"`
	Seconds  float64 `json:"seconds"`
	Compute  float64 `json:"compute_seconds"`
	Cost     costs   `json:"cost"`
	Critical []struct {
		Stage   string  `json:"stage"`
		Wait    float64 `json:"wait_seconds"`
		Seconds float64 `json:"seconds"`
	} `json:"critical_path"`
}

func timing(o *options) func(context.Context, *call) error {
	which := whichRun(o)
	return func(ctx context.Context, c *call) error {
		id, err := which.find(ctx, c, false)
		if err != nil {
			return err
		}
		var answer raw[timingInfo]
		if err := c.get(ctx, runPath(id, "/timing"), &answer); err != nil || c.json {
			return orJSON(c, err, answer)
		}
		t := answer.value
		if err := c.say("%s, after %s in the queue; %s of compute, %s on Fargate (modelled)",
			secs(t.Seconds), secs(t.Queue), secs(t.Compute), dollars(t.Cost.Fargate)); err != nil {
			return err
		}
		if len(t.Critical) == 0 {
			return nil
		}
		rows := [][]string{}
		for _, step := range t.Critical {
			rows = append(rows, []string{clean(step.Stage, 60), secs(step.Wait), secs(step.Seconds)})
		}
		return c.columns([]string{"THE END WAITED FOR", "WAIT", "TOOK"}, rows)
	}
}
