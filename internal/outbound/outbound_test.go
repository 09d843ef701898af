package outbound

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// hostile are spellings of addresses that nobody outside may make us call.
var hostile = []string{
	"127.0.0.1", "127.1", "127.0.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "017700000001", "127.0.0.1.", "127.255.255.254",
	"0.0.0.0", "0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "012.0.0.1", "100.64.0.1", "100.127.255.255", "100.100.100.200",
	"169.254.169.254", "169.254.170.2", "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "169.254.43518",
	"172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.1", "3232235521",
	"198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
	"[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:169.254.169.254]", "[::ffff:0a00:0001]",
	"[64:ff9b::7f00:1]", "[64:ff9b::169.254.169.254]", "[64:ff9b:1::1]", "[100::1]", "[2001::1]", "[2001:db8::1]", "[2002:7f00:1::]", "[2002:a9fe:a9fe::]",
	"[fc00::1]", "[fd00:ec2::254]", "[fdff::1]", "[fe80::1]", "[fe80::1%25eth0]", "[fec0::1]", "[ff02::1]", "[::127.0.0.1]",
	"１２７.0.0.1", "127。0。0。1", "①②⑦.⓪.⓪.①",
}

// T51: no spelling of an inner address gets through, neither as text nor as what a
// name resolves to.
func TestSpellingsOfAddresses(t *testing.T) {
	if len(hostile) < 60 {
		t.Fatalf("%d spellings", len(hostile))
	}
	called := errors.New("it was resolved or dialled")
	c := New(Policy{Schemes: []string{"https", "http"}, AnyPort: true}, lookup(func(string) ([]netip.Addr, error) { return nil, called }))
	for _, host := range hostile {
		for _, scheme := range []string{"http", "https"} {
			_, err := c.HTTP().Get(scheme + "://" + host + "/")
			if err == nil || errors.Is(err, called) {
				t.Errorf("%s: %v", host, err)
			}
			var parse *url.Error
			if !errors.Is(err, ErrRefused) && !(errors.As(err, &parse) && parse.Op == "parse") {
				t.Errorf("%s: %v, want refused", host, err)
			}
		}
		addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil {
			continue
		}
		c := New(Policy{}, lookup(func(string) ([]netip.Addr, error) { return []netip.Addr{addr}, nil }))
		if _, err := c.HTTP().Get("https://inner.example/"); !errors.Is(err, ErrRefused) {
			t.Errorf("a name with the address %s: %v", host, err)
		}
	}
}

type lookup func(string) ([]netip.Addr, error)

func (l lookup) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) { return l(host) }

func addrs(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func TestURLsThatAreNeverCalled(t *testing.T) {
	c := New(Policy{}, nil)
	for text, ok := range map[string]bool{
		"https://example.com/":                true,
		"https://example.com:443/x":           true,
		"https://1.1.1.1/":                    true,
		"http://example.com/":                 false,
		"https://example.com:22/":             false,
		"https://user@example.com/":           false,
		"https://user:pw@example.com/":        false,
		"https:///path":                       false,
		"https:opaque":                        false,
		"file:///etc/passwd":                  false,
		"gopher://example.com/":               false,
		"https://exa mple.com/":               false,
		"https://-bad-.example-/":             false,
		"https://example.com:99999999/":       false,
		"https://host.0x7f/":                  false,
		"https://" + strings.Repeat("a", 300): false,
	} {
		u, err := url.Parse(text)
		if err == nil {
			err = c.Check(u)
		}
		if (err == nil) != ok {
			t.Errorf("%s: %v, want allowed %v", text, err, ok)
		}
	}
}

// One private answer among public ones refuses the name: which one is dialled is
// not ours to say.
func TestMixedAnswersAreRefused(t *testing.T) {
	for _, answers := range [][]netip.Addr{addrs("93.184.216.34", "10.0.0.1"), addrs("10.0.0.1", "93.184.216.34"), addrs("93.184.216.34", "::1"), nil} {
		c := New(Policy{}, lookup(func(string) ([]netip.Addr, error) { return answers, nil }))
		if _, err := c.HTTP().Get("https://mixed.example/"); !errors.Is(err, ErrRefused) {
			t.Errorf("%v: %v", answers, err)
		}
	}
}

// A name that answers a public address first and an inner one then never leads
// inside: each connection resolves once, and what was checked is dialled.
func TestRebinding(t *testing.T) {
	inner := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("reached") }))
	defer inner.Close()
	_, port, err := net.SplitHostPort(inner.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	c := New(Policy{Schemes: []string{"http"}, AnyPort: true}, lookup(func(string) ([]netip.Addr, error) {
		if asked.Add(1) == 1 {
			return addrs("192.0.43.10"), nil
		}
		return addrs("127.0.0.1"), nil
	}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // the first, public address is not really called from a test
	for range 2 {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://rebind.example:"+port, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.HTTP().Do(r); err == nil {
			t.Error("it was called")
		}
	}
	if _, err := c.HTTP().Get("http://rebind.example:" + port); asked.Load() > 1 && !errors.Is(err, ErrRefused) {
		t.Errorf("the second answer: %v", err)
	}
	if err := c.control(t.Context(), "tcp", "127.0.0.1:"+port, nil); !errors.Is(err, ErrRefused) {
		t.Errorf("the last check before the call: %v", err)
	}
}

func TestLoopbackIsTheOwnersChoice(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer server.Close()
	policy := Policy{Schemes: []string{"http"}, AnyPort: true, Private: prefixes("127.0.0.0/8", "169.254.0.0/16")}
	if _, err := New(policy, nil).HTTP().Get(server.URL); !errors.Is(err, ErrRefused) {
		t.Errorf("a private range does not open loopback: %v", err)
	}
	if _, err := New(policy, nil).HTTP().Get("http://169.254.169.254/"); !errors.Is(err, ErrRefused) {
		t.Errorf("nothing opens metadata: %v", err)
	}
	policy.Loopback = true
	answer, err := New(policy, nil).HTTP().Get(server.URL)
	if err != nil || answer.StatusCode != http.StatusTeapot {
		t.Fatalf("%v %v", answer, err)
	}
	if err := answer.Body.Close(); err != nil {
		t.Error(err)
	}
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	if _, err := New(policy, nil).HTTP().Get(server.URL); err != nil {
		t.Errorf("a proxy of the environment: %v", err)
	}
}

// T25: a credential crosses no redirect, and no redirect crosses hosts.
func TestRedirects(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the other host was called, with Authorization %q", r.Header.Get("Authorization"))
	}))
	defer other.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/inner":
			http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/near":
			http.Redirect(w, r, "/here", http.StatusFound)
		}
	}))
	defer server.Close()
	c := New(Policy{Schemes: []string{"http"}, AnyPort: true, Loopback: true}, nil)
	for _, tt := range []struct {
		path, credential string
		ok               bool
	}{
		{"/near", "", true},
		{"/near", "Basic eDp5", false},
		{"/away", "", false},
		{"/away", "Basic eDp5", false},
		{"/inner", "", false},
		{"/loop", "", false},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tt.credential != "" {
			r.Header.Set("Authorization", tt.credential)
		}
		_, err = c.HTTP().Do(r)
		if (err == nil) != tt.ok || (err != nil && !errors.Is(err, ErrRefused)) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

func TestExplainTellsNoAddressesOfOthers(t *testing.T) {
	c := New(Policy{Schemes: []string{"http", "https"}, AnyPort: true, Loopback: true}, nil)
	closed := httptest.NewServer(nil)
	closed.Close()
	plain := httptest.NewServer(nil)
	defer plain.Close()
	for target, want := range map[string]string{
		closed.URL: "the connection was refused",
		strings.Replace(plain.URL, "http:", "https:", 1): "TLS: its certificate or protocol is not accepted",
	} {
		_, err := c.HTTP().Get(target)
		if got := Explain(err); got != want {
			t.Errorf("%s: %q (%v), want %q", target, got, err, want)
		}
	}
}
