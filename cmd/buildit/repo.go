package main

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

func init() {
	register(verb{
		name: "repo", summary: "connect repositories, and look at those that are",
		usage: "connect URL [--name NAME] [--provider github|gitlab|bitbucket] [--provider-id ID] [--token-env VARIABLE | --token-file FILE]\n" +
			"                 [--secret-env VARIABLE] [--no-run] | confirm REPO [--off] | list | show REPO | scan REPO [--commit COMMIT] |\n" +
			"         sync REPO | deliveries REPO [--limit N] | new-secret REPO [--secret-env VARIABLE] |\n" +
			"         token REPO [--token-file FILE | --token-env VARIABLE] [--api URL] [--none] | disconnect REPO [--json]",
		example: "buildit repo connect https://git.example.com/acme/shop.git --name shop --no-run",
		flags: append([]string{
			"connect", "confirm", "list", "show", "scan", "sync", "deliveries", "new-secret", "token", "disconnect",
			"--name", "--provider", "--provider-id", "--token-env", "--token-file", "--api", "--none", "--secret-env", "--no-run", "--off", "--commit", "--limit",
		}, apiFlags...),
		run: repo,
	})
}

// repoVerbs are the second words of repo.
var repoVerbs = map[string]func(context.Context, *environment, []string) int{
	"connect":    apiVerb("repo connect", 1, 1, repoConnect),
	"confirm":    apiVerb("repo confirm", 1, 1, repoConfirm),
	"list":       apiVerb("repo list", 0, 0, plainly(repoList)),
	"show":       apiVerb("repo show", 1, 1, plainly(repoShow)),
	"scan":       apiVerb("repo scan", 1, 1, repoScan),
	"sync":       apiVerb("repo sync", 1, 1, plainly(repoSync)),
	"deliveries": apiVerb("repo deliveries", 1, 1, repoDeliveries),
	"new-secret": apiVerb("repo new-secret", 1, 1, repoNewSecret),
	"token":      apiVerb("repo token", 1, 1, repoToken),
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
		return verbs["repo"].usageError(env, "there is no %q%s", args[0], meant(args[0], slices.Sorted(maps.Keys(repoVerbs))))
	}
	return do(ctx, env, args[1:])
}

// repository is what the CLI prints of one.
type repository struct {
	ID            string      `json:"id"`
	Name          string      `json:"name"`
	URL           string      `json:"url"`
	Provider      string      `json:"provider"`
	DefaultBranch string      `json:"default_branch"`
	Status        string      `json:"status"`
	Banner        string      `json:"banner"`
	RunPipelines  bool        `json:"run_pipelines"`
	Created       time.Time   `json:"created"`
	Looked        time.Time   `json:"looked"`
	Hook          *hookHealth `json:"hook"`
}

// scanned is what a scan has found.
type scanned struct {
	Commit   string    `json:"commit"`
	Findings []finding `json:"findings"`
	Notices  []string  `json:"notices"`
}

// finding is one thing that can be worked with.
type finding struct {
	Kind   string `json:"kind"`
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// connected is the answer to connect.
type connected struct {
	Repository repository `json:"repository"`
	Webhook    *webhook   `json:"webhook"`
	Scan       *scanned   `json:"scan"`
	Notice     string     `json:"notice"`
}

func repoConnect(o *options) func(context.Context, *call) error {
	in := map[string]any{}
	text := func(flag, field string) {
		o.flags.Func(flag, "", func(value string) error { in[field] = value; return nil })
	}
	text("name", "name")
	text("provider", "provider")
	text("provider-id", "provider_id")
	secret := func(flag, field string) {
		o.flags.Func(flag, "", func(variable string) (err error) {
			in[field], err = o.variable(variable)
			return err
		})
	}
	secret("token-env", "token")
	secret("secret-env", "webhook_secret")
	tokenFile := o.flags.String("token-file", "", "")
	o.flags.BoolFunc("no-run", "", func(string) error { in["run_pipelines"] = false; return nil })
	return func(ctx context.Context, c *call) error {
		in["url"] = c.words[0]
		if *tokenFile != "" {
			token, err := readSecret(c.env, *tokenFile)
			if err != nil {
				return err
			}
			in["token"] = token
		}
		var answer raw[connected]
		if err := c.post(ctx, "/repositories", in, &answer); err != nil || c.json {
			return orJSON(c, err, answer)
		}
		return c.printConnected(answer.value)
	}
}

func (c *call) printConnected(got connected) error {
	r := got.Repository
	err := c.say("connected %s (%s)", r.Name, r.URL)
	if err == nil && got.Notice != "" {
		err = c.say("%s", got.Notice)
	}
	if err == nil && got.Scan != nil {
		err = c.printFindings(*got.Scan)
	}
	if err == nil && got.Webhook != nil {
		err = c.printWebhook(*got.Webhook)
	}
	switch {
	case err == nil && r.RunPipelines:
		err = c.say("\nPushes run its pipelines from now on.")
	case err == nil:
		err = c.say("\nPushes run nothing yet. To have them run the pipelines: buildit repo confirm %s", r.Name)
	}
	return err
}

func repoConfirm(o *options) func(context.Context, *call) error {
	off := o.flags.Bool("off", false, "")
	return func(ctx context.Context, c *call) error {
		if _, err := findRepository(ctx, c, c.words[0]); err != nil {
			return err
		}
		var answer raw[repository]
		err := c.post(ctx, repositoryPath(c.words[0], "/confirm"), map[string]bool{"run_pipelines": !*off}, &answer)
		switch {
		case err != nil || c.json:
			return orJSON(c, err, answer)
		case *off:
			return c.say("pushes to %s run nothing any more", answer.value.Name)
		}
		return c.say("pushes to %s run its pipelines from now on", answer.value.Name)
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

func repositoryPath(name, more string) string { return "/repositories/" + url.PathEscape(name) + more }

// findRepository finds one by its name or its id.
func findRepository(ctx context.Context, c *call, word string) (raw[repository], error) {
	var found raw[repository]
	err := c.get(ctx, repositoryPath(word, ""), &found)
	var r *refusal
	if errors.As(err, &r) && r.Status == http.StatusNotFound {
		var names []string
		err = errors.Join(err, eachPage(ctx, c, "/repositories", nil, func(r raw[repository]) bool {
			names = append(names, r.value.Name)
			return len(names) < maxSearched
		}))
		r.hint = strings.TrimPrefix(meant(word, names)+"\n`buildit repo list` shows the repositories that are connected.", "; ")
		r.hint = strings.TrimPrefix(r.hint, "\n")
	}
	return found, err
}

func repoShow(ctx context.Context, c *call) error {
	found, err := findRepository(ctx, c, c.words[0])
	if err != nil || c.json {
		return orJSON(c, err, found)
	}
	r, now := found.value, time.Now()
	pushes := "run nothing; `buildit repo confirm " + r.Name + "` changes that"
	if r.RunPipelines {
		pushes = "run the pipelines"
	}
	err = c.columns([]string{"name", r.Name}, [][]string{
		{"id", r.ID},
		{"url", r.URL},
		{"provider", r.Provider},
		{"default branch", firstOf(r.DefaultBranch, "-")},
		{"status", firstOf(r.Status, "-")},
		{"pushes", pushes},
		{"connected", ago(r.Created, now)},
		{"looked at", ago(r.Looked, now)},
	})
	if err == nil && r.Hook != nil {
		err = c.printHealth(*r.Hook, now)
	}
	if err == nil && r.Banner != "" {
		err = c.say("%s", clean(r.Banner, 500))
	}
	return err
}

func repoScan(o *options) func(context.Context, *call) error {
	in := struct {
		Commit string `json:"commit,omitempty"`
	}{}
	o.flags.StringVar(&in.Commit, "commit", "", "")
	return func(ctx context.Context, c *call) error {
		if _, err := findRepository(ctx, c, c.words[0]); err != nil {
			return err
		}
		var answer raw[scanned]
		if err := c.post(ctx, repositoryPath(c.words[0], "/scan"), in, &answer); err != nil || c.json {
			return orJSON(c, err, answer)
		}
		return c.printFindings(answer.value)
	}
}

func (c *call) printFindings(s scanned) error {
	if len(s.Findings) == 0 {
		return c.say("nothing found: BuildIt looks for .buildit.kdl, Terraform roots, manifests, kustomizations and charts")
	}
	var rows [][]string
	for _, f := range s.Findings {
		rows = append(rows, []string{f.Kind, clean(f.Path, 80), clean(f.Reason, 100)})
	}
	err := c.columns([]string{"KIND", "PATH", "WHY"}, rows)
	for _, text := range s.Notices {
		if err == nil {
			err = c.say("note: %s", clean(text, 200))
		}
	}
	return err
}

func repoSync(ctx context.Context, c *call) error {
	if _, err := findRepository(ctx, c, c.words[0]); err != nil {
		return err
	}
	var answer raw[struct {
		Banner string   `json:"banner"`
		Refs   int      `json:"refs"`
		Runs   []string `json:"runs"`
		Notes  []string `json:"notes"`
	}]
	if err := c.post(ctx, repositoryPath(c.words[0], "/sync"), struct{}{}, &answer); err != nil || c.json {
		return orJSON(c, err, answer)
	}
	for _, note := range answer.value.Notes {
		if err := c.say("note: %s", clean(note, 500)); err != nil {
			return err
		}
	}
	switch got := answer.value; {
	case got.Banner != "":
		return c.say("%s", clean(got.Banner, 500))
	case len(got.Runs) > 0:
		return c.say("started %s", strings.Join(got.Runs, " "))
	case got.Refs > 0:
		return c.say("%d refs have moved, and no run was to be started", got.Refs)
	}
	return c.say("nothing has moved")
}

func repoDisconnect(ctx context.Context, c *call) error {
	if _, err := findRepository(ctx, c, c.words[0]); err != nil {
		return err
	}
	if err := c.do(ctx, http.MethodDelete, repositoryPath(c.words[0], ""), nil, nil); err != nil {
		return err
	}
	if c.json {
		return c.printJSON(map[string]string{"disconnected": c.words[0]})
	}
	return c.say("disconnected %s", c.words[0])
}
