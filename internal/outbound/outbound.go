// Package outbound is the one client for every address that a user chose: git
// remotes, webhooks out, chart and registry hosts.
//
// A URL is checked before anything is sent, every answer of DNS is checked, and
// the checked address is the one that is dialled, so that a name that changes its
// mind in between gains nothing. Redirects stay on their host. Everything has a
// limit. Proxies of the environment are not used.
package outbound

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of every call.
const (
	connectTimeout = 5 * time.Second
	headerTimeout  = 10 * time.Second
	maxHeaders     = 64 << 10 // bytes of an answer's headers
	maxRedirects   = 3
)

// ErrRefused says that we do not call such an address.
var ErrRefused = errors.New("refused")

// Policy says what a feature may call. The zero Policy allows https on port 443
// of public addresses.
type Policy struct {
	Schemes []string // nil: https
	Ports   []int    // nil: 443; with AnyPort not looked at
	AnyPort bool
	// Private opens ranges that the operator has named; Loopback opens this
	// machine, which only the owner of a one-machine home may do. Metadata
	// addresses stay closed whatever is said here.
	Private  []netip.Prefix
	Loopback bool
	// Headers is how long an answer's headers may take; 10 s if 0. A git server
	// counts objects before it answers.
	Headers time.Duration
}

// Resolver answers names. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Client calls what its policy allows.
type Client struct {
	policy   Policy
	resolver Resolver
	http     *http.Client
}

// New makes a client; a nil resolver is the system's.
func New(policy Policy, resolver Resolver) *Client {
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	if policy.Schemes == nil {
		policy.Schemes = []string{"https"}
	}
	if policy.Ports == nil {
		policy.Ports = []int{443}
	}
	if policy.Headers == 0 {
		policy.Headers = headerTimeout
	}
	c := &Client{policy: policy, resolver: resolver}
	c.http = &http.Client{
		Transport: checked{c, &http.Transport{
			Proxy:                  nil,
			DialContext:            c.dial,
			TLSHandshakeTimeout:    connectTimeout,
			ResponseHeaderTimeout:  policy.Headers,
			MaxResponseHeaderBytes: maxHeaders,
			IdleConnTimeout:        30 * time.Second,
			MaxIdleConnsPerHost:    4,
			ForceAttemptHTTP2:      true,
		}},
		CheckRedirect: c.redirect,
	}
	return c
}

// HTTP is the client for libraries that want one. It keeps no cookies.
func (c *Client) HTTP() *http.Client { return c.http }

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Check refuses a URL that is never called, whatever its name resolves to.
func (c *Client) Check(u *url.URL) error {
	host := u.Hostname()
	switch {
	case !slices.Contains(c.policy.Schemes, u.Scheme):
		return refused("the scheme is %q; %s is called", u.Scheme, strings.Join(c.policy.Schemes, " or "))
	case u.User != nil:
		return refused("the URL holds a user or password")
	case host == "" || u.Opaque != "":
		return refused("the URL names no host")
	case strings.ContainsAny(host, "%"):
		return refused("the address names a zone of this machine")
	}
	if err := c.checkPort(u); err != nil {
		return err
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return c.policy.checkAddress(addr)
	}
	return checkName(host)
}

func (c *Client) checkPort(u *url.URL) error {
	text := u.Port()
	if text == "" {
		text = map[string]string{"http": "80", "https": "443", "ssh": "22"}[u.Scheme]
	}
	port, err := strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 {
		return refused("the port %q is none", text)
	}
	if !c.policy.AnyPort && !slices.Contains(c.policy.Ports, port) {
		return refused("port %d is not called", port)
	}
	return nil
}

// checkName takes names that DNS can have and refuses addresses in disguise: what
// begins its last label with a digit is an address to some resolvers (127.1,
// 0x7f.1, 2130706433) and a name to none. A name outside ASCII is refused in that
// form, since two readers may fold it to two names.
func checkName(host string) error {
	host = strings.TrimSuffix(host, ".")
	labels := strings.Split(host, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(label, nameLetters) != "" {
			return refused("%q is no host name; write one outside ASCII in its xn-- form", host)
		}
	}
	if last := labels[len(labels)-1]; len(host) > 253 || (last[0] >= '0' && last[0] <= '9') {
		return refused("%q is neither a name nor an address in its usual form", host)
	}
	return nil
}

const nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

// dial resolves once, checks every answer and dials those.
func (c *Client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	addrs, err := c.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{ControlContext: c.control}
	var failures error
	for _, a := range addrs {
		conn, err := dialer.DialContext(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return conn, nil
		}
		failures = errors.Join(failures, err)
	}
	return nil, failures
}

func (c *Client) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, c.policy.checkAddress(addr)
	}
	if err := checkName(host); err != nil {
		return nil, err
	}
	addrs, err := c.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, refused("%s has no address", host)
	}
	for _, a := range addrs { // one private answer among public ones refuses the name
		if err := c.policy.checkAddress(a); err != nil {
			return nil, err
		}
	}
	return addrs, nil
}

// checked holds every request to Check, the first as well as one that a library
// makes behind a redirect of its own.
type checked struct {
	client *Client
	next   http.RoundTripper
}

func (t checked) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.client.Check(r.URL); err != nil {
		return nil, err
	}
	return t.next.RoundTrip(r)
}

func (t checked) CloseIdleConnections() {
	if closer, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

// redirect follows at most three hops on one host, none at all with a credential.
func (c *Client) redirect(r *http.Request, via []*http.Request) error {
	first := via[0]
	switch {
	case first.Header.Get("Authorization") != "" || first.Header.Get("Cookie") != "":
		return refused("the server redirects a call that carries a credential; connect the address that it redirects to")
	case len(via) > maxRedirects:
		return refused("more than %d redirects", maxRedirects)
	case r.URL.Host != first.URL.Host || (first.URL.Scheme == "https" && r.URL.Scheme != "https"):
		return refused("the server redirects to another host; connect that address if you trust it")
	}
	return c.Check(r.URL)
}
