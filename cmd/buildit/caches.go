package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"
)

func init() {
	register(verb{
		name: "caches", summary: "list the caches of a repository, remove one, or let forks read one",
		usage:   "list REPO | delete REPO ID | publish REPO NAME [--off] [--json]",
		example: "buildit caches list shop",
		flags:   append([]string{"list", "delete", "publish", "--off"}, apiFlags...),
		run:     caches,
	})
}

// cacheVerbs are the second words of caches.
var cacheVerbs = map[string]func(context.Context, *environment, []string) int{
	"list":    apiVerb("caches list", 1, 1, plainly(cachesList)),
	"delete":  apiVerb("caches delete", 2, 2, plainly(cachesDelete)),
	"publish": apiVerb("caches publish", 2, 2, cachesPublish),
}

func caches(ctx context.Context, env *environment, args []string) int {
	if len(args) == 0 {
		return verbs["caches"].usageError(env, "what about caches?")
	}
	do, ok := cacheVerbs[args[0]]
	if !ok {
		return verbs["caches"].usageError(env, "there is no %q%s", args[0], meant(args[0], slices.Sorted(maps.Keys(cacheVerbs))))
	}
	return do(ctx, env, args[1:])
}

// cacheEntry is what the CLI prints of one.
type cacheEntry struct {
	ID     string    `json:"id"`
	Name   string    `json:"name"`
	Scope  string    `json:"scope"`
	Key    string    `json:"key"`
	Bytes  int64     `json:"bytes"`
	Files  int       `json:"files"`
	Public bool      `json:"public"`
	UsedAt time.Time `json:"used_at"`
}

// cachesPath is where the caches of a repository are, which the person has named.
func cachesPath(ctx context.Context, c *call, more string) (string, error) {
	found, err := findRepository(ctx, c, c.words[0])
	return repositoryPath(found.value.ID, "/caches"+more), err
}

func cachesList(ctx context.Context, c *call) error {
	at, err := cachesPath(ctx, c, "")
	if err != nil {
		return err
	}
	list := []raw[cacheEntry]{}
	err = eachPage(ctx, c, at, nil, func(e raw[cacheEntry]) bool {
		list = append(list, e)
		return true
	})
	if err != nil || c.json {
		return orJSON(c, err, list)
	}
	if len(list) == 0 {
		return c.say("%s has no caches; a stage with a `cache` makes them", c.words[0])
	}
	var rows [][]string
	total, now := int64(0), time.Now()
	for _, item := range list {
		e := item.value
		total += e.Bytes
		scope := e.Scope
		if e.Public {
			scope += " (forks read it)"
		}
		rows = append(rows, []string{e.ID, clean(e.Name, 40), clean(scope, 60), bytesText(e.Bytes), ago(e.UsedAt, now), clean(e.Key, 60)})
	}
	if err := c.columns([]string{"ID", "CACHE", "SCOPE", "SIZE", "USED", "KEY"}, rows); err != nil {
		return err
	}
	return c.say("%s together", bytesText(total))
}

func cachesDelete(ctx context.Context, c *call) error {
	at, err := cachesPath(ctx, c, "/"+url.PathEscape(c.words[1]))
	if err == nil {
		err = c.do(ctx, http.MethodDelete, at, nil, nil)
	}
	if err != nil || c.json {
		return orJSON(c, err, map[string]string{"deleted": c.words[1]})
	}
	return c.say("deleted %s", clean(c.words[1], 80))
}

func cachesPublish(o *options) func(context.Context, *call) error {
	off := o.flags.Bool("off", false, "")
	return func(ctx context.Context, c *call) error {
		at, err := cachesPath(ctx, c, "/"+url.PathEscape(c.words[1])+"/publish")
		if err != nil {
			return err
		}
		var answer raw[struct{ Name string }]
		if err := c.post(ctx, at, map[string]bool{"public": !*off}, &answer); err != nil || c.json {
			return orJSON(c, err, answer)
		}
		what := "may read"
		if *off {
			what = "no longer read"
		}
		return c.say("%s", fmt.Sprintf("runs of forks %s what the default branch keeps under %s", what, clean(c.words[1], 80)))
	}
}
