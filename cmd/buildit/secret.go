package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func init() {
	register(verb{
		name: "secret", summary: "set, list and remove the secrets that stages ask for by name",
		usage: `set NAME [--file FILE] [SCOPE] | list | rm NAME [SCOPE] [--json]
SCOPE:   --repo REPO, --repo REPO --pipeline FILE, or --environment NAME; the organization if there is none`,
		example: "buildit secret set NPM_TOKEN --repo shop < token.txt",
		flags:   append([]string{"set", "list", "rm", "--file", "--repo", "--pipeline", "--environment"}, apiFlags...),
		run:     secrets,
	})
}

func secrets(ctx context.Context, env *environment, args []string) int {
	if len(args) == 0 {
		return verbs["secret"].usageError(env, "say what to do: set, list or rm")
	}
	switch word, rest := args[0], args[1:]; word {
	case "set":
		return apiVerb("secret set", 1, 1, secretSet)(ctx, env, rest)
	case "list":
		return apiVerb("secret list", 0, 0, secretList)(ctx, env, rest)
	case "rm":
		return apiVerb("secret rm", 1, 1, secretRemove)(ctx, env, rest)
	default:
		return verbs["secret"].usageError(env, "there is no %q: set, list and rm are", word)
	}
}

// secretInfo is what the CLI prints of a secret: there is no value in it.
type secretInfo struct {
	Name        string    `json:"name"`
	Repository  string    `json:"repository"`
	Pipeline    string    `json:"pipeline"`
	Environment string    `json:"environment"`
	SetAt       time.Time `json:"set_at"`
	By          string    `json:"set_by"`
	UsedAt      time.Time `json:"last_used_at"`
	Run         string    `json:"last_used_run"`
	Stage       string    `json:"last_used_stage"`
}

// scopeChoice is how a command line says where a secret holds.
type scopeChoice struct{ repo, pipeline, environment *string }

func whichScope(o *options) scopeChoice {
	return scopeChoice{o.flags.String("repo", "", ""), o.flags.String("pipeline", "", ""), o.flags.String("environment", "", "")}
}

// fields are the scope as the API takes it.
func (w scopeChoice) fields(ctx context.Context, c *call) (map[string]string, error) {
	fields := map[string]string{}
	switch {
	case *w.environment != "" && *w.repo != "":
		return nil, mistake("a secret holds in an environment or in a repository: leave --environment or --repo out")
	case *w.pipeline != "" && *w.repo == "":
		return nil, mistake("--pipeline is one of a repository: say which with --repo")
	case *w.repo != "":
		found, err := findRepository(ctx, c, *w.repo)
		if err != nil {
			return nil, err
		}
		fields["repository"] = found.value.ID
	}
	if *w.pipeline != "" {
		fields["pipeline"] = filepath.ToSlash(*w.pipeline)
	}
	if *w.environment != "" {
		fields["environment"] = *w.environment
	}
	return fields, nil
}

const maxSecret = 32 << 10 // bytes

func secretSet(o *options) func(context.Context, *call) error {
	which := whichScope(o)
	file := o.flags.String("file", "", "")
	return func(ctx context.Context, c *call) error {
		fields, err := which.fields(ctx, c)
		if err != nil {
			return err
		}
		if fields["value"], err = readSecret(c.env, *file); err != nil {
			return err
		}
		var answer raw[secretInfo]
		if err := c.do(ctx, http.MethodPut, secretPath(c.words[0], nil), fields, &answer); err != nil || c.json {
			return orJSON(c, err, answer)
		}
		return c.say("secret %s is set; stages get it that have `secret %q`", c.words[0], c.words[0])
	}
}

// readSecret reads a value from a file or from standard input, never from the command
// line, which others can see. The line end behind a value of one line is not part of it.
func readSecret(env *environment, file string) (string, error) {
	var text []byte
	var err error
	if file == "" {
		text, err = io.ReadAll(io.LimitReader(env.stdin, maxSecret+3)) // the server says how long it may be
	} else {
		if !filepath.IsAbs(file) {
			file = filepath.Join(env.dir, file)
		}
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return "", err
	}
	value := string(text)
	if line, rest, _ := strings.Cut(value, "\n"); rest == "" {
		value = strings.TrimSuffix(line, "\r")
	}
	if value == "" {
		return "", mistake("the value comes by standard input or --file, and there it is empty")
	}
	return value, nil
}

func secretPath(name string, scope map[string]string) string {
	query := url.Values{}
	for field, value := range scope {
		query.Set(field, value)
	}
	path := "/secrets/" + url.PathEscape(name)
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

func secretRemove(o *options) func(context.Context, *call) error {
	which := whichScope(o)
	return func(ctx context.Context, c *call) error {
		scope, err := which.fields(ctx, c)
		if err != nil {
			return err
		}
		if err := c.do(ctx, http.MethodDelete, secretPath(c.words[0], scope), nil, nil); err != nil || c.json {
			return err
		}
		return c.say("secret %s is removed", c.words[0])
	}
}

func secretList(*options) func(context.Context, *call) error {
	return func(ctx context.Context, c *call) error {
		list := []raw[secretInfo]{}
		err := eachPage(ctx, c, "/secrets", nil, func(s raw[secretInfo]) bool {
			list = append(list, s)
			return true
		})
		if err != nil || c.json {
			return orJSON(c, err, list)
		}
		if len(list) == 0 {
			return c.say("no secret yet; `buildit secret set NAME` sets one")
		}
		names, err := repositoryNames(ctx, c)
		if err != nil {
			return err
		}
		now := time.Now()
		var rows [][]string
		for _, s := range list {
			rows = append(rows, s.value.row(names, now))
		}
		return c.columns([]string{"SECRET", "SCOPE", "SET", "BY", "LAST USED", "IN"}, rows)
	}
}

func (s secretInfo) row(names map[string]string, now time.Time) []string {
	scope := "organization"
	switch {
	case s.Environment != "":
		scope = "environment " + s.Environment
	case s.Pipeline != "":
		scope = firstOf(names[s.Repository], s.Repository) + " " + s.Pipeline
	case s.Repository != "":
		scope = firstOf(names[s.Repository], s.Repository)
	}
	used, in := "never", ""
	if !s.UsedAt.IsZero() {
		used, in = ago(s.UsedAt, now), fmt.Sprintf("%s of %s", clean(s.Stage, 40), s.Run)
	}
	return []string{clean(s.Name, 63), clean(scope, 60), ago(s.SetAt, now), clean(s.By, 30), used, in}
}

// repositoryNames are the names of the connected repositories, by id.
func repositoryNames(ctx context.Context, c *call) (map[string]string, error) {
	names := map[string]string{}
	err := eachPage(ctx, c, "/repositories", nil, func(r raw[repository]) bool {
		names[r.value.ID] = r.value.Name
		return true
	})
	return names, err
}
