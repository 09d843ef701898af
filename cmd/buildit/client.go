package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/problem"
)

const (
	defaultServer = "http://127.0.0.1:8080"
	callTimeout   = 30 * time.Second
	maxAnswer     = 16 << 20 // bytes of a JSON answer
)

// client calls the API of one server for one organization.
type client struct {
	server string // without a slash at its end
	org    string
	token  string
	from   string // where the token came from, for messages
	http   *http.Client
}

// newClient finds out which server and who we are: flags, then BUILDIT_URL,
// BUILDIT_TOKEN and BUILDIT_ORG, then the platform of this folder.
func newClient(env *environment, o options) (*client, error) {
	c := &client{
		server: strings.TrimRight(firstOf(o.server, env.getenv("BUILDIT_URL"), defaultServer), "/"),
		org:    firstOf(o.org, env.getenv("BUILDIT_ORG"), access.DefaultOrg),
		token:  env.getenv("BUILDIT_TOKEN"), from: "BUILDIT_TOKEN",
		http: &http.Client{},
	}
	if at, err := url.Parse(c.server); err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
		return nil, fmt.Errorf("%q is no address of a server: use http://HOST:PORT or https://HOST", c.server)
	}
	if c.token != "" {
		return c, nil
	}
	c.from = filepath.Join(env.dir, ".buildit", "data", access.TokenFile)
	token, err := access.ReadTokenFile(c.from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no token: set BUILDIT_TOKEN, or run this in the folder where `buildit up` was started "+
			"(there would be %s; where --data was given, `buildit up` prints the file of the owner's token)", c.from)
	}
	c.token = token
	return c, err
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// get reads what is below the organization into out.
func (c *client) get(ctx context.Context, path string, out any) error {
	return c.do(ctx, http.MethodGet, path, nil, out)
}

// post sends in and reads the answer into out.
func (c *client) post(ctx context.Context, path string, in, out any) error {
	return c.do(ctx, http.MethodPost, path, in, out)
}

func (c *client) do(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	body, err := c.open(ctx, method, path, in)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(body, maxAnswer))
	if err := errors.Join(err, body.Close()); err != nil {
		return fmt.Errorf("the answer of %s broke off: %w", c.server, err)
	}
	if out == nil || len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s does not answer as a BuildIt server of this version: %w", c.server, err)
	}
	return nil
}

// open sends a request and returns the body of a good answer, which the caller
// closes. Another answer is a *refusal.
func (c *client) open(ctx context.Context, method, path string, in any) (io.ReadCloser, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.address(path), body)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if answer.StatusCode >= 300 {
		return nil, c.refused(answer)
	}
	return answer.Body, nil
}

func (c *client) address(path string) string {
	return c.server + "/api/v1/orgs/" + url.PathEscape(c.org) + path
}

// unreachable says what to do where nobody answers.
func (c *client) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return fmt.Errorf("no server at %s (%w): start one with `buildit up`, or name one with --server or BUILDIT_URL", c.server, err)
}

// refusal is a problem document that the server answered with.
type refusal struct {
	problem.Document
	hint string
}

// Error is the problem in words: what, where, and what to do.
func (r *refusal) Error() string {
	var b strings.Builder
	b.WriteString(firstOf(r.Detail, r.Title))
	for _, place := range r.At {
		if place.Detail == r.Detail && place.Help == "" {
			continue
		}
		fmt.Fprintf(&b, "\n  %s", placeText(place))
	}
	if r.hint != "" {
		b.WriteString("\n" + r.hint)
	}
	return b.String()
}

// placeText is one place of a problem in one line.
func placeText(p problem.Place) string {
	at := p.Field
	if p.File != "" {
		at = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
	text := strings.TrimPrefix(at+": "+p.Detail, ": ")
	if p.Help != "" {
		text += " (" + p.Help + ")"
	}
	return text
}

const maxProblem = 1 << 20 // bytes

func (c *client) refused(answer *http.Response) error {
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxProblem))
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		return fmt.Errorf("%s answered %s, and broke off: %w", c.server, answer.Status, err)
	}
	r := &refusal{}
	if err := json.Unmarshal(text, &r.Document); err != nil || r.Type == "" {
		return fmt.Errorf("%s answered %s, and not as a BuildIt server does; is it one?", c.server, answer.Status)
	}
	r.Status = answer.StatusCode
	if r.Status == http.StatusUnauthorized {
		r.hint = fmt.Sprintf("The token is that of %s; the server is %s.", c.from, c.server)
	}
	return r
}

// code is the exit code that an error means, of the one table.
func code(err error) int {
	var r *refusal
	var usage usageMistake
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &r) && (r.Status == http.StatusForbidden || r.Status == http.StatusConflict || r.Status == http.StatusUnprocessableEntity):
		return exitRefused
	}
	return exitError
}
