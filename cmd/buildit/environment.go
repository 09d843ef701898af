package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

func init() {
	register(verb{
		name: "environment", summary: "make environments, their rules, and see what runs in them",
		usage: "create NAME | update NAME [--description TEXT] [--branch PATTERN]… [--approver WHO]… [--count N] [--self] |\n" +
			"                 list | show NAME [--limit N] | delete NAME [--json]",
		example: "buildit environment create production --branch main --approver deployer",
		flags: append([]string{
			"create", "update", "list", "show", "delete", "--description", "--branch", "--approver", "--count", "--self", "--limit",
		}, apiFlags...),
		run: environments,
	})
}

// environmentVerbs are the second words of environment.
var environmentVerbs = map[string]func(context.Context, *environment, []string) int{
	"create": apiVerb("environment create", 1, 1, environmentWrite(http.MethodPost)),
	"update": apiVerb("environment update", 1, 1, environmentWrite(http.MethodPut)),
	"list":   apiVerb("environment list", 0, 0, plainly(environmentList)),
	"show":   apiVerb("environment show", 1, 1, environmentShow),
	"delete": apiVerb("environment delete", 1, 1, plainly(environmentDelete)),
}

func environments(ctx context.Context, env *environment, args []string) int {
	if len(args) == 0 {
		return verbs["environment"].usageError(env, "what about environments?")
	}
	do, ok := environmentVerbs[args[0]]
	if !ok {
		return verbs["environment"].usageError(env, "there is no %q%s", args[0], meant(args[0], slices.Sorted(maps.Keys(environmentVerbs))))
	}
	return do(ctx, env, args[1:])
}

// environmentInfo is what the CLI writes and prints of an environment.
type environmentInfo struct {
	Name        string       `json:"name,omitempty"`
	Description string       `json:"description,omitempty"`
	Branches    []string     `json:"branches,omitempty"`
	Approvers   []string     `json:"approvers,omitempty"`
	Count       int          `json:"count,omitempty"`
	Self        bool         `json:"self,omitempty"`
	Current     *releaseInfo `json:"current,omitempty"`
}

// releaseInfo is what the CLI prints of a release.
type releaseInfo struct {
	Number    int64     `json:"number"`
	Run       string    `json:"run"`
	RunNumber int       `json:"run_number"`
	Commit    string    `json:"commit"`
	Branch    string    `json:"branch"`
	Tag       string    `json:"tag"`
	URL       string    `json:"url"`
	At        time.Time `json:"at"`
	Artifacts []struct {
		Name   string `json:"name"`
		Digest string `json:"digest"`
		Value  string `json:"value"`
	} `json:"artifacts"`
}

func environmentPath(name, more string) string {
	return "/environments/" + url.PathEscape(name) + more
}

func environmentWrite(method string) func(o *options) func(context.Context, *call) error {
	return func(o *options) func(context.Context, *call) error {
		var in environmentInfo
		o.flags.StringVar(&in.Description, "description", "", "")
		o.flags.IntVar(&in.Count, "count", 0, "")
		o.flags.BoolVar(&in.Self, "self", false, "")
		several := func(flag string, into *[]string) {
			o.flags.Func(flag, "", func(value string) error { *into = append(*into, value); return nil })
		}
		several("branch", &in.Branches)
		several("approver", &in.Approvers)
		return func(ctx context.Context, c *call) error {
			path, done := environmentPath(c.words[0], ""), "has its rules now"
			if method == http.MethodPost {
				in.Name, path, done = c.words[0], "/environments", "is made"
			}
			var answer raw[environmentInfo]
			if err := c.do(ctx, method, path, in, &answer); err != nil || c.json {
				return orJSON(c, err, answer)
			}
			return c.say("environment %s %s: %s", answer.value.Name, done, answer.value.rules())
		}
	}
}

// rules are an environment's, in a sentence.
func (e environmentInfo) rules() string {
	text := "any branch may be deployed"
	if len(e.Branches) > 0 {
		text = strings.Join(e.Branches, ", ") + " may be deployed"
	}
	if len(e.Approvers) == 0 {
		return text + ", nobody has to approve"
	}
	return fmt.Sprintf("%s, %d of %s must approve", text, max(e.Count, 1), strings.Join(e.Approvers, ", "))
}

func environmentList(ctx context.Context, c *call) error {
	list := []raw[environmentInfo]{}
	err := eachPage(ctx, c, "/environments", nil, func(e raw[environmentInfo]) bool {
		list = append(list, e)
		return true
	})
	if err != nil || c.json {
		return orJSON(c, err, list)
	}
	if len(list) == 0 {
		return c.say("no environment yet; `buildit environment create NAME` makes one")
	}
	now := time.Now()
	var rows [][]string
	for _, e := range list {
		runs, commit, at := "-", "-", "-"
		if r := e.value.Current; r != nil {
			runs, commit, at = fmt.Sprintf("#%d", r.RunNumber), short(r.Commit), ago(r.At, now)
		}
		rows = append(rows, []string{e.value.Name, runs, commit, at, clean(e.value.rules(), 80)})
	}
	return c.columns([]string{"ENVIRONMENT", "RUN", "COMMIT", "DEPLOYED", "RULES"}, rows)
}

func environmentShow(o *options) func(context.Context, *call) error {
	limit := o.flags.Int("limit", defaultRuns, "")
	return func(ctx context.Context, c *call) error {
		var e raw[environmentInfo]
		if err := c.get(ctx, environmentPath(c.words[0], ""), &e); err != nil {
			return missingEnvironment(err)
		}
		releases := []raw[releaseInfo]{}
		err := eachPage(ctx, c, environmentPath(c.words[0], "/releases"), nil, func(r raw[releaseInfo]) bool {
			releases = append(releases, r)
			return len(releases) < *limit
		})
		if err != nil || c.json {
			return orJSON(c, err, map[string]any{"environment": e, "releases": releases})
		}
		if err := c.say("%s: %s", e.value.Name, e.value.rules()); err != nil {
			return err
		}
		if e.value.Description != "" {
			if err := c.say("%s", clean(e.value.Description, 500)); err != nil {
				return err
			}
		}
		if len(releases) == 0 {
			return c.say("nothing was deployed to it yet")
		}
		return c.printReleases(releases)
	}
}

func (c *call) printReleases(list []raw[releaseInfo]) error {
	now := time.Now()
	var rows [][]string
	for _, item := range list {
		r := item.value
		var made []string
		for _, a := range r.Artifacts {
			made = append(made, a.Name+"="+firstOf(a.Value, short(a.Digest)))
		}
		rows = append(rows, []string{
			fmt.Sprint(r.Number), fmt.Sprintf("#%d", r.RunNumber), short(r.Commit), clean(firstOf(r.Branch, r.Tag), 30), ago(r.At, now),
			clean(strings.Join(made, " "), 80), clean(r.URL, 80),
		})
	}
	return c.columns([]string{"RELEASE", "RUN", "COMMIT", "BRANCH", "", "ARTIFACTS", "URL"}, rows)
}

// missingEnvironment says where the environments are listed.
func missingEnvironment(err error) error {
	var r *refusal
	if errors.As(err, &r) && r.Status == http.StatusNotFound {
		r.hint = "`buildit environment list` shows those that there are."
	}
	return err
}

func environmentDelete(ctx context.Context, c *call) error {
	if err := c.do(ctx, http.MethodDelete, environmentPath(c.words[0], ""), nil, nil); err != nil {
		return missingEnvironment(err)
	}
	if c.json {
		return c.printJSON(map[string]string{"name": c.words[0], "status": "deleted"})
	}
	return c.say("environment %s is deleted", c.words[0])
}
