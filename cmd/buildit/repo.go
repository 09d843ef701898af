package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

func init() {
	register(verb{
		name: "repo", summary: "connect repositories, and look at those that are",
		usage:   "connect URL [--name NAME] [--provider github|gitlab|bitbucket] | list | show REPO | scan REPO | sync REPO | disconnect REPO [--json]",
		example: "buildit repo connect https://git.example.com/acme/shop.git --name shop",
		flags:   append([]string{"connect", "list", "show", "scan", "sync", "disconnect", "--name", "--provider"}, apiFlags...),
		run:     repo,
	})
}

// repoVerbs are the second words of repo.
var repoVerbs = map[string]func(context.Context, *environment, []string) int{
	"connect":    apiVerb("repo connect", 1, 1, repoConnect),
	"list":       apiVerb("repo list", 0, 0, plainly(repoList)),
	"show":       apiVerb("repo show", 1, 1, plainly(repoShow)),
	"scan":       apiVerb("repo scan", 1, 1, plainly(repoScan)),
	"sync":       apiVerb("repo sync", 1, 1, plainly(repoSync)),
	"disconnect": apiVerb("repo disconnect", 1, 1, plainly(repoDisconnect)),
}

// plainly is for verbs without flags of their own.
func plainly(do func(context.Context, *call) error) func(*options) func(context.Context, *call) error {
	return func(*options) func(context.Context, *call) error { return do }
}

func repo(ctx context.Context, env *environment, args []string) int {
	if len(args) == 0 {
		return verbs["repo"].usageError(env, "what about repositories?")
	}
	do, ok := repoVerbs[args[0]]
	if !ok {
		return verbs["repo"].usageError(env, "there is no %q", args[0])
	}
	return do(ctx, env, args[1:])
}

// repository is what the CLI prints of one.
type repository struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	URL           string    `json:"url"`
	Provider      string    `json:"provider"`
	DefaultBranch string    `json:"default_branch"`
	Status        string    `json:"status"`
	CreatedAt     time.Time `json:"created_at"`
	WebhookURL    string    `json:"webhook_url"`
	WebhookSecret string    `json:"webhook_secret"` // in the answer to connect alone
}

func repoConnect(o *options) func(context.Context, *call) error {
	name := o.flags.String("name", "", "")
	provider := o.flags.String("provider", "", "")
	return func(ctx context.Context, c *call) error {
		in := map[string]string{"url": c.words[0]}
		for field, text := range map[string]string{"name": *name, "provider": *provider} {
			if text != "" {
				in[field] = text
			}
		}
		var answer raw[repository]
		if err := c.post(ctx, "/repositories", in, &answer); err != nil {
			return err
		}
		if c.json {
			return c.printJSON(answer)
		}
		r := answer.value
		if err := c.say("connected %s (%s)", r.Name, r.URL); err != nil || r.WebhookSecret == "" {
			return err
		}
		at := r.WebhookURL
		if strings.HasPrefix(at, "/") {
			at = c.server + at
		}
		return c.say("\nTo hear of pushes at once, add this webhook at the provider (the secret is shown only now):\n"+
			"  address  %s\n  secret   %s\nWithout it BuildIt looks at the repository from time to time.", at, r.WebhookSecret)
	}
}

func repoList(ctx context.Context, c *call) error {
	var all []raw[repository]
	err := eachPage(ctx, c, "/repositories", nil, func(r raw[repository]) bool {
		all = append(all, r)
		return true
	})
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(all)
	}
	if len(all) == 0 {
		return c.say("no repository is connected; `buildit repo connect URL` connects one")
	}
	var rows [][]string
	for _, r := range all {
		rows = append(rows, []string{clean(r.value.Name, 40), r.value.Provider, firstOf(r.value.DefaultBranch, "-"), clean(r.value.URL, 80)})
	}
	return c.columns([]string{"NAME", "PROVIDER", "BRANCH", "URL"}, rows)
}

// findRepository finds one by its name or its id.
func findRepository(ctx context.Context, c *call, word string) (raw[repository], error) {
	var found raw[repository]
	err := eachPage(ctx, c, "/repositories", nil, func(r raw[repository]) bool {
		if r.value.ID == word || r.value.Name == word {
			found = r
			return false
		}
		return true
	})
	if err == nil && found.value.ID == "" {
		err = fmt.Errorf("no repository is called %q; `buildit repo list` shows those that are connected", word)
	}
	return found, err
}

func repositoryPath(id, more string) string { return "/repositories/" + url.PathEscape(id) + more }

func repoShow(ctx context.Context, c *call) error {
	found, err := findRepository(ctx, c, c.words[0])
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(found)
	}
	r := found.value
	return c.columns([]string{"NAME", r.Name}, [][]string{
		{"id", r.ID},
		{"url", r.URL},
		{"provider", r.Provider},
		{"default branch", firstOf(r.DefaultBranch, "-")},
		{"status", firstOf(r.Status, "-")},
		{"connected", ago(r.CreatedAt, time.Now())},
	})
}

// finding is one thing that the scan of a repository has found.
type finding struct {
	Kind   string `json:"kind"`
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

func repoScan(ctx context.Context, c *call) error {
	found, err := findRepository(ctx, c, c.words[0])
	if err != nil {
		return err
	}
	var answer raw[struct {
		Commit   string    `json:"commit"`
		Findings []finding `json:"findings"`
	}]
	if err := c.post(ctx, repositoryPath(found.value.ID, "/scan"), struct{}{}, &answer); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(answer)
	}
	if len(answer.value.Findings) == 0 {
		return c.say("nothing found: BuildIt looks for .buildit.kdl, Terraform roots, manifests, kustomizations and charts")
	}
	var rows [][]string
	for _, f := range answer.value.Findings {
		rows = append(rows, []string{f.Kind, clean(f.Path, 80), clean(f.Reason, 100)})
	}
	return c.columns([]string{"KIND", "PATH", "WHY"}, rows)
}

func repoSync(ctx context.Context, c *call) error {
	found, err := findRepository(ctx, c, c.words[0])
	if err != nil {
		return err
	}
	var answer any
	if err := c.post(ctx, repositoryPath(found.value.ID, "/sync"), struct{}{}, &answer); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(answer)
	}
	return c.say("BuildIt looks at %s now; `buildit runs` shows what starts", found.value.Name)
}

func repoDisconnect(ctx context.Context, c *call) error {
	found, err := findRepository(ctx, c, c.words[0])
	if err != nil {
		return err
	}
	if err := c.do(ctx, http.MethodDelete, repositoryPath(found.value.ID, ""), nil, nil); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]string{"id": found.value.ID})
	}
	return c.say("disconnected %s", found.value.Name)
}
