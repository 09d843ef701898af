package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/file"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/buildit-dev/buildit/internal/outbound"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Options choose what a Client may reach.
type Options struct {
	HTTP *http.Client // from package outbound
	// LocalPaths opens file URLs: the paths of this machine. Only the owner of a
	// one-machine home may want that.
	LocalPaths bool
	Limits     Limits // the zero Limits are DefaultLimits
	TempDir    string // for packs; "" is the system's
}

// Client reaches remotes. Its methods may be called concurrently.
type Client struct {
	options Options
	open    transport.Transport // follows redirects of the first request, on one host
	private transport.Transport // with a credential: follows none
	local   transport.Transport
}

// NewClient makes a client.
func NewClient(o Options) *Client {
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits
	}
	web := *o.HTTP
	web.Transport = capped{next: o.HTTP.Transport, refs: o.Limits.RefBytes}
	return &Client{
		options: o,
		open:    githttp.NewClientWithOptions(&web, &githttp.ClientOptions{RedirectPolicy: githttp.FollowInitialRedirects}),
		private: githttp.NewClientWithOptions(&web, &githttp.ClientOptions{RedirectPolicy: githttp.NoFollowRedirects}),
		local:   file.DefaultClient,
	}
}

// Credential opens a private repository: basic authentication with a token. The
// zero Credential opens a public one.
type Credential struct {
	User  string // "" is git
	Token string
}

// String keeps a token out of logs.
func (Credential) String() string { return "[secret]" }

// GoString does so for %#v.
func (Credential) GoString() string { return "[secret]" }

func (c *Client) session(at RepoURL, credential Credential) (transport.UploadPackSession, error) {
	if at.Local() && !c.options.LocalPaths {
		return nil, problem.New(problem.Forbidden, "This platform does not read repositories from its own disk. Its owner allows it with --allow-local; else serve the repository over http.")
	}
	endpoint, err := transport.NewEndpoint(string(at))
	if err != nil {
		return nil, fmt.Errorf("endpoint of %s: %w", at, err)
	}
	switch {
	case at.Local():
		return c.local.NewUploadPackSession(endpoint, nil)
	case credential.Token != "":
		user := credential.User
		if user == "" {
			user = "git"
		}
		return c.private.NewUploadPackSession(endpoint, &githttp.BasicAuth{Username: user, Password: credential.Token})
	}
	return c.open.NewUploadPackSession(endpoint, nil)
}

// capped ends the list of refs where it grows over its limit, so that a remote
// cannot fill our memory before we have looked at anything.
type capped struct {
	next http.RoundTripper
	refs int64
}

func (c capped) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.next.RoundTrip(r)
	if err == nil && strings.HasSuffix(r.URL.Path, "/info/refs") {
		answer.Body = &cappedBody{answer.Body, c.refs}
	}
	return answer, err
}

var errRefs = errors.New("the list of refs is too long")

type cappedBody struct {
	io.ReadCloser
	left int64
}

func (b *cappedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errRefs
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// ErrGone says that the remote no longer has the repository, or hides it from us.
var ErrGone = errors.New("the repository is not there")

// explain turns what a remote did into a problem that says what to do next.
func explain(at RepoURL, doing string, err error) error {
	var known *problem.Error
	where := string(at)
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, errRefs):
		return tooLarge("%s has too many branches and tags to list.", where)
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return &problem.Error{Kind: problem.Upstream, Err: errors.Join(ErrGone, err), Detail: fmt.Sprintf(
			"There is no git repository at %s, or it is private: check the URL, or give a token.", where)}
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return &problem.Error{Kind: problem.Upstream, Err: errors.Join(ErrGone, err), Detail: fmt.Sprintf(
			"%s asks who we are, or refuses our token: give a token that may read it.", where)}
	case errors.Is(err, outbound.ErrRefused):
		return &problem.Error{Kind: problem.Invalid, Err: err, Detail: fmt.Sprintf("%s is not called: %s.", where, refusal(err))}
	}
	return &problem.Error{Kind: problem.Upstream, Err: err, Detail: fmt.Sprintf(
		"%s while %s: %s. It is tried again; sync looks at once.", where, doing, outbound.Explain(err))}
}

// refusal is the part of the error that outbound wrote.
func refusal(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, outbound.ErrRefused.Error()+": "); i >= 0 {
		return text[i+len(outbound.ErrRefused.Error())+2:]
	}
	return text
}
