package main

import (
	"cmp"
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

func init() {
	register(verb{
		name: "secret", summary: "keep values that stages name; nothing shows one again",
		usage: "set NAME [--repo REPO [--pipeline NAME] | --environment NAME] [--file FILE] | list [--rotate] |\n" +
			"         rm NAME [--repo REPO [--pipeline NAME] | --environment NAME] [--json]",
		example: "buildit secret set DEPLOY_KEY --repo shop --file key.pem",
		flags:   append([]string{"set", "list", "rm", "--repo", "--pipeline", "--environment", "--file", "--rotate"}, apiFlags...),
		run:     secretVerb,
	})
}

var secretVerbs = map[string]func(context.Context, *environment, []string) int{
	"set":  apiVerb("secret set", 1, 1, secretSet),
	"list": apiVerb("secret list", 0, 0, secretList),
	"rm":   apiVerb("secret rm", 1, 1, secretRemove),
}

func secretVerb(ctx context.Context, env *environment, args []string) int {
	if len(args) == 0 {
		return verbs["secret"].usageError(env, "what about secrets?")
	}
	do, ok := secretVerbs[args[0]]
	if !ok {
		return verbs["secret"].usageError(env, "there is no %q%s", args[0], meant(args[0], slices.Sorted(maps.Keys(secretVerbs))))
	}
	return do(ctx, env, args[1:])
}

// secretInfo is what the CLI prints of a secret.
type secretInfo struct {
	Name        string    `json:"name"`
	Scope       string    `json:"scope"`
	Repository  string    `json:"repository"`
	Pipeline    string    `json:"pipeline"`
	Environment string    `json:"environment"`
	SetBy       string    `json:"set_by"`
	SetAt       time.Time `json:"set_at"`
	LastUsed    *struct {
		Run   string    `json:"run"`
		Stage string    `json:"stage"`
		At    time.Time `json:"at"`
	} `json:"last_used"`
}

// scope says where a secret is valid.
func (s secretInfo) scope() string {
	switch s.Scope {
	case "pipeline":
		return "pipeline " + s.Pipeline + " of " + s.Repository
	case "repository":
		return "repository " + s.Repository
	case "environment":
		return "environment " + s.Environment
	}
	return s.Scope
}

// flags are the words that name the scope again.
func (s secretInfo) flags() string {
	var words []string
	for _, f := range [][2]string{{"--repo", s.Repository}, {"--pipeline", s.Pipeline}, {"--environment", s.Environment}} {
		if f[1] != "" {
			words = append(words, f[0], f[1])
		}
	}
	return strings.Join(words, " ")
}

// secretScope are the flags that say where a secret is valid.
type secretScope struct{ repository, pipeline, environment string }

func (s *secretScope) add(o *options) {
	o.flags.StringVar(&s.repository, "repo", "", "")
	o.flags.StringVar(&s.pipeline, "pipeline", "", "")
	o.flags.StringVar(&s.environment, "environment", "", "")
}

func secretSet(o *options) func(context.Context, *call) error {
	var scope secretScope
	scope.add(o)
	file := o.flags.String("file", "", "")
	return func(ctx context.Context, c *call) error {
		value, err := readSecret(c.env, *file)
		if err != nil {
			return err
		}
		var answer raw[secretInfo]
		err = c.do(ctx, http.MethodPut, "/secrets/"+url.PathEscape(c.words[0]), map[string]string{
			"value": value, "repository": scope.repository, "pipeline": scope.pipeline, "environment": scope.environment,
		}, &answer)
		if err != nil || c.json {
			return orJSON(c, err, answer)
		}
		return c.say("%s is set for the %s; a stage names it: secret %q", answer.value.Name, answer.value.scope(), answer.value.Name)
	}
}

const maxSecretFile = 1 << 20 // bytes; the server says what is too much

// readSecret takes a value from a file, or from standard input. One newline at its
// end is the editor's or echo's, not the value's, except in a text of several lines.
func readSecret(env *environment, file string) (string, error) {
	from := env.stdin
	if file != "" && file != "-" {
		if !filepath.IsAbs(file) {
			file = filepath.Join(env.dir, file)
		}
		opened, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer opened.Close()
		from = opened
	} else if terminal, is := from.(*os.File); is {
		if at, err := terminal.Stat(); err == nil && at.Mode()&os.ModeCharDevice != 0 {
			return "", mistake("the value comes from standard input (< FILE) or from a file that a flag names, so that no other program sees it")
		}
	}
	data, err := io.ReadAll(io.LimitReader(from, maxSecretFile))
	value := string(data)
	if line := strings.TrimSuffix(strings.TrimSuffix(value, "\n"), "\r"); !strings.Contains(line, "\n") {
		value = line
	}
	return value, err
}

func secretList(o *options) func(context.Context, *call) error {
	rotate := o.flags.Bool("rotate", false, "")
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
			return c.say("no secret; `buildit secret set NAME` keeps one, with its value from standard input")
		}
		if *rotate {
			return c.printRotation(list)
		}
		now := time.Now()
		var rows [][]string
		for _, item := range list {
			s, used := item.value, "never"
			if s.LastUsed != nil {
				used = ago(s.LastUsed.At, now) + " by " + clean(s.LastUsed.Stage, 40) + " of run " + clean(s.LastUsed.Run, 26)
			}
			rows = append(rows, []string{clean(s.Name, 60), clean(s.scope(), 80), clean(s.SetBy, 30), ago(s.SetAt, now), used})
		}
		return c.columns([]string{"NAME", "SCOPE", "SET BY", "SET", "LAST USED"}, rows)
	}
}

// printRotation lists what to type to replace every value, the oldest first: for the
// day on which somebody may have seen them all.
func (c *call) printRotation(list []raw[secretInfo]) error {
	slices.SortStableFunc(list, func(a, b raw[secretInfo]) int { return cmp.Compare(a.value.SetAt.UnixNano(), b.value.SetAt.UnixNano()) })
	now := time.Now()
	for _, item := range list {
		s := item.value
		line := strings.TrimRight("buildit secret set "+clean(s.Name, 100)+" "+clean(s.flags(), 500), " ")
		if err := c.say("%s  # set %s", line, ago(s.SetAt, now)); err != nil {
			return err
		}
	}
	return nil
}

func secretRemove(o *options) func(context.Context, *call) error {
	var scope secretScope
	scope.add(o)
	return func(ctx context.Context, c *call) error {
		query := url.Values{}
		for name, value := range map[string]string{"repository": scope.repository, "pipeline": scope.pipeline, "environment": scope.environment} {
			if value != "" {
				query.Set(name, value)
			}
		}
		path := "/secrets/" + url.PathEscape(c.words[0])
		if len(query) > 0 {
			path += "?" + query.Encode()
		}
		if err := c.do(ctx, http.MethodDelete, path, nil, nil); err != nil {
			return err
		}
		if c.json {
			return c.printJSON(map[string]string{"deleted": c.words[0]})
		}
		return c.say("%s is deleted; attempts that are running keep it", c.words[0])
	}
}
