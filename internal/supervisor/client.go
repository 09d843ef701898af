package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/system"
	"github.com/buildit-dev/buildit/internal/problem"
)

// How calls are repeated while the platform is out of reach: with growing pauses,
// but often enough that it is back soon after the platform is.
const (
	firstPause  = 100 * time.Millisecond
	longPause   = 15 * time.Second
	callTimeout = 40 * time.Second // one try; hello may be held for 20 s
	maxAnswer   = 16 << 20         // bytes
	maxGarbage  = 5                // answers in a row that are no JSON
	// helloPatience is how long a platform may be silent before a supervisor that has
	// not begun believes that it is gone for good. One that comes back later finds the
	// task ended, and tries the attempt again.
	helloPatience = 15 * time.Minute
)

// Client is Control over HTTP. It repeats what fails for as long as the context
// lives, renews its token, and moves objects by grants.
type Client struct {
	url    string
	http   *http.Client
	clock  platform.Clock
	ticket string
	// patience is helloPatience; a test has less.
	patience time.Duration

	mu     sync.Mutex
	token  string
	beat   Beat             // the last, to renew a token that has expired
	grants map[string]Grant // to store, by digest, not used yet
}

var _ Control = (*Client)(nil)

// NewClient is a supervisor's side of /runner/v1 at url, for who shows the ticket.
func NewClient(url, ticket string) *Client {
	return &Client{
		url: strings.TrimRight(url, "/"), http: &http.Client{Transport: newTransport()}, clock: system.Clock{},
		ticket: ticket, patience: helloPatience, grants: map[string]Grant{},
	}
}

// newTransport makes connections to a platform, which know no attempt.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: transfers + 2, MaxIdleConns: 2 * transfers,
		IdleConnTimeout: time.Minute, ResponseHeaderTimeout: callTimeout, DisableCompression: true,
	}
}

// Token is what the client shows now; no log may.
func (c *Client) Token() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

// Hello asks until there is a job, or no answer for helloPatience.
func (c *Client) Hello(ctx context.Context, hello Hello) (Job, error) {
	for {
		answer, err := c.hello(ctx, hello)
		if err != nil {
			return Job{}, err
		}
		if answer.Job != nil {
			c.renew(answer.Renewal)
			return *answer.Job, nil
		}
		if !answer.Nothing {
			return Job{}, errors.New("the platform answered hello with neither a job nor nothing")
		}
	}
}

func (c *Client) hello(ctx context.Context, hello Hello) (answer HelloAnswer, err error) {
	ctx, giveUp := context.WithTimeout(ctx, c.patience)
	defer giveUp()
	err = c.call(ctx, PathHello, hello, &answer)
	return answer, err
}

// Secrets brings the values.
func (c *Client) Secrets(ctx context.Context) (map[string]string, error) {
	var answer SecretsAnswer
	err := c.call(ctx, PathSecrets, SecretsRequest{}, &answer)
	return answer.Values, err
}

// Log sends one part.
func (c *Client) Log(ctx context.Context, part LogPart) error {
	var answer LogAnswer
	return c.call(ctx, PathLog, LogRequest{[]LogPart{part}}, &answer)
}

// Beat sends a sign of life, and takes the token that may come back.
func (c *Client) Beat(ctx context.Context, beat Beat) (Order, error) {
	c.mu.Lock()
	c.beat = beat
	c.mu.Unlock()
	var answer BeatAnswer
	if err := c.call(ctx, PathBeat, beat, &answer); err != nil {
		return Order{}, err
	}
	c.renew(answer.Renewal)
	return answer.Order, nil
}

// Finish reports the result.
func (c *Client) Finish(ctx context.Context, result Result) error {
	var answer FinishAnswer
	if err := c.call(ctx, PathFinish, result, &answer); err != nil {
		return err
	}
	if !answer.Accepted {
		return errors.New("the platform did not accept the result")
	}
	return nil
}

func (c *Client) renew(r Renewal) {
	if r.Token == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = r.Token
}

// bearer is what a call shows: the ticket until there is a token.
func (c *Client) bearer() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == "" {
		return c.ticket
	}
	return c.token
}

// refusal is an answer that repeating the call would not change.
type refusal struct {
	status int
	doc    problem.Document
}

func (r *refusal) Error() string {
	if r.doc.Detail != "" {
		return r.doc.Detail
	}
	return fmt.Sprintf("the platform answered %d", r.status)
}

// Unwrap names the refusals that callers tell apart.
func (r *refusal) Unwrap() error {
	switch {
	case r.doc.Type == Settled.TypeURI():
		return ErrSettled
	case r.status == http.StatusNotFound:
		return platform.ErrNotFound
	case r.status == http.StatusGone:
		return platform.ErrGone
	case r.status == http.StatusForbidden:
		return platform.ErrDenied
	}
	return nil
}

// call makes one call, and repeats it until it is answered or ctx ends.
func (c *Client) call(ctx context.Context, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	retry := c.retry()
	for garbage := 0; ; {
		status, answer, wait, err := c.post(ctx, path, body)
		switch {
		case err != nil: // out of reach
		case status == http.StatusUnauthorized && path != PathBeat && path != PathHello:
			if err = c.renewExpired(ctx); err != nil {
				return err
			}
			continue
		case status == http.StatusUnauthorized && path == PathBeat:
			return fmt.Errorf("the token opens nothing any more: %w", ErrSettled)
		case status == http.StatusOK || status == http.StatusCreated || status == http.StatusAccepted:
			if err = json.Unmarshal(answer, out); err == nil {
				return nil
			}
			if garbage++; garbage >= maxGarbage {
				return fmt.Errorf("the platform's answers to %s are no JSON: %w", path, err)
			}
		case status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout:
			err = fmt.Errorf("the platform answered %d", status)
		default:
			return refused(status, answer)
		}
		if pauseErr := retry.pause(ctx, wait); pauseErr != nil {
			return fmt.Errorf("%s was given up: %w (last: %w)", path, pauseErr, err)
		}
	}
}

func refused(status int, answer []byte) error {
	r := &refusal{status: status}
	if err := json.Unmarshal(answer, &r.doc); err != nil {
		r.doc = problem.Document{}
	}
	return r
}

// renewExpired beats, which an expired token still opens as long as its attempt is
// open.
func (c *Client) renewExpired(ctx context.Context) error {
	c.mu.Lock()
	old, beat := c.token, c.beat
	c.mu.Unlock()
	if _, err := c.Beat(ctx, beat); err != nil {
		return err
	}
	if c.bearer() == old {
		return fmt.Errorf("the platform refuses the token and gives no other: %w", platform.ErrDenied)
	}
	return nil
}

// post makes one try. wait is what the server asks for.
func (c *Client) post(ctx context.Context, path string, body []byte) (status int, answer []byte, wait time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(ProtocolHeader, strconv.Itoa(Protocol))
	r.Header.Set("Authorization", "Bearer "+c.bearer())
	response, err := c.http.Do(r)
	if err != nil {
		return 0, nil, 0, err
	}
	answer, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err = errors.Join(err, response.Body.Close()); err != nil {
		return 0, nil, 0, err
	}
	return response.StatusCode, answer, retryAfter(response), nil
}

// retryAfter is the pause that a server asks for, in whole seconds. (RFC 9110, 10.2.3)
func retryAfter(response *http.Response) time.Duration {
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// retry spaces the tries of one call.
type retry struct {
	clock platform.Clock
	next  time.Duration
}

func (c *Client) retry() *retry { return &retry{c.clock, firstPause} }

// pause waits before the next try: at least what the server asks for, within
// reason, and never the same as everybody else.
func (r *retry) pause(ctx context.Context, asked time.Duration) error {
	wait := r.next/2 + rand.N(r.next)
	r.next = min(2*r.next, longPause)
	return r.clock.Sleep(ctx, max(wait, min(asked, 2*longPause)))
}
