package main

import (
	"context"
	"net/http"
)

// repoToken replaces the token by which the repository is cloned and its provider is
// told of checks. It comes from a file, from a variable or from standard input.
func repoToken(o *options) func(context.Context, *call) error {
	in := map[string]string{}
	file := o.flags.String("token-file", "", "")
	o.flags.Func("token-env", "", func(variable string) (err error) {
		in["token"], err = o.variable(variable)
		return err
	})
	api := o.flags.String("api", "", "")
	none := o.flags.Bool("none", false, "")
	return func(ctx context.Context, c *call) error {
		found, err := findRepository(ctx, c, c.words[0])
		if err != nil {
			return err
		}
		if in["token"] == "" && !*none {
			if in["token"], err = readSecret(c.env, *file); err == nil && in["token"] == "" {
				err = mistake("there is no token; --none forgets the one that the repository has")
			}
			if err != nil {
				return err
			}
		}
		in["api_url"] = *api
		var answer raw[repository]
		if err := c.do(ctx, http.MethodPut, repositoryPath(found.value.ID, "/token"), in, &answer); err != nil || c.json {
			return orJSON(c, err, answer)
		}
		if *none {
			return c.say("%s has no token any more", answer.value.Name)
		}
		return c.say("%s has a new token; it is tried with the next check and the next look (buildit repo sync %s looks now)", answer.value.Name, answer.value.Name)
	}
}
