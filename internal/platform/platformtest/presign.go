package platformtest

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// grantPut is the grant for exactly this text.
func grantPut(key platform.BlobKey, text string) platform.Grant {
	sum := sha256.Sum256([]byte(text))
	return platform.Grant{
		Key: key, Method: http.MethodPut, Expire: time.Minute,
		Size: int64(len(text)), SHA256: hex.EncodeToString(sum[:]),
	}
}

func grantGet(key platform.BlobKey) platform.Grant {
	return platform.Grant{Key: key, Method: http.MethodGet, Expire: time.Minute}
}

func sign(t *testing.T, b platform.Blobs, grant platform.Grant) platform.SignedRequest {
	t.Helper()
	signed, err := b.Presign(t.Context(), grant)
	noError(t, err)
	return signed
}

// send sends a signed request with a body, and returns status and answer.
func send(t *testing.T, b BlobStore, signed platform.SignedRequest, body string) (int, string) {
	t.Helper()
	var reader io.Reader
	if signed.Method == http.MethodPut {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(t.Context(), signed.Method, signed.URL, reader)
	noError(t, err)
	for name, values := range signed.Header {
		r.Header[name] = values
	}
	answer, err := b.Client.Do(r)
	noError(t, err)
	text := readAll(t, answer.Body)
	return answer.StatusCode, text
}

// refused checks that a request is refused, with words in place of an empty answer.
func refused(t *testing.T, what string, status int, answer string) {
	t.Helper()
	if status < 400 || status >= 500 || answer == "" {
		t.Errorf("%s: status %d, answer %q: want a refusal", what, status, answer)
	}
}

func blobPresign(t *testing.T, b BlobStore) {
	for _, name := range []string{"plain", "a b+c%2F?&#é", "..", "%"} {
		key := acme.Blob("grant", name, "deeper")
		status, answer := send(t, b, sign(t, b, grantPut(key, "ten bytes.")), "ten bytes.")
		if status/100 != 2 {
			t.Fatalf("PUT %s: status %d: %s", key, status, answer)
		}
		holds(t, b, key, "ten bytes.")
		get := sign(t, b, grantGet(key))
		status, answer = send(t, b, get, "")
		equal(t, "status of GET", status, http.StatusOK)
		equal(t, "answer of GET", answer, "ten bytes.")
		get.Header = http.Header{"Range": {"bytes=4-8"}}
		status, answer = send(t, b, get, "")
		equal(t, "status of GET with a range", status, http.StatusPartialContent)
		equal(t, "answer of GET with a range", answer, "bytes")
	}
	empty := acme.Blob("grant", "empty")
	status, _ := send(t, b, sign(t, b, grantPut(empty, "")), "")
	equal(t, "status of an empty PUT", status/100, 2)
	holds(t, b, empty, "")
	status, _ = send(t, b, sign(t, b, grantGet(acme.Blob("grant", "missing"))), "")
	equal(t, "status of GET of nothing", status, http.StatusNotFound)
}

// blobPresignExact: T43, a signed URL allows one thing.
func blobPresignExact(t *testing.T, b BlobStore) {
	const text = "exactly this"
	key, other := acme.Blob("grant", "one"), acme.Blob("grant", "two")
	create(t, b, other, "another's")
	put, get := sign(t, b, grantPut(key, text)), sign(t, b, grantGet(other))
	tamper := func(name string, from platform.SignedRequest, change func(*platform.SignedRequest, *url.URL)) {
		t.Helper()
		at, err := url.Parse(from.URL)
		noError(t, err)
		changed := from
		change(&changed, at)
		changed.URL = at.String()
		status, answer := send(t, b, changed, text)
		refused(t, name, status, answer)
	}
	swap := func(old, next string) func(*platform.SignedRequest, *url.URL) {
		return func(_ *platform.SignedRequest, at *url.URL) { at.Path = strings.Replace(at.Path, old, next, 1) }
	}
	tamper("PUT of another key", put, swap("/one", "/three"))
	tamper("PUT for another organization", put, swap("acme", "globex"))
	tamper("GET of another key", get, swap("/two", "/one"))
	tamper("GET by a PUT", put, func(r *platform.SignedRequest, _ *url.URL) { r.Method = http.MethodGet })
	tamper("PUT by a GET", get, func(r *platform.SignedRequest, _ *url.URL) { r.Method = http.MethodPut })
	tamper("DELETE", get, func(r *platform.SignedRequest, _ *url.URL) { r.Method = http.MethodDelete })
	for name := range mustQuery(t, put.URL) {
		for _, value := range []string{"", "0", "4102444800", strings.Repeat("ab", 32)} {
			tamper("PUT with "+name+"="+value, put, func(_ *platform.SignedRequest, at *url.URL) {
				query := at.Query()
				query.Set(name, value)
				at.RawQuery = query.Encode()
			})
		}
	}
	tamper("PUT without a query", put, func(_ *platform.SignedRequest, at *url.URL) { at.RawQuery = "" })
	equalList(t, "objects", listed(t, b, acme.Blob("grant").Under(), platform.BlobKey{}, 10), []string{"two"})
	status, answer := send(t, b, put, text) // as it was given it still works
	equal(t, "status of the true PUT ("+answer+")", status/100, 2)
}

func mustQuery(t *testing.T, address string) url.Values {
	t.Helper()
	at, err := url.Parse(address)
	noError(t, err)
	return at.Query()
}

func blobPresignExpired(t *testing.T, b BlobStore) {
	key := acme.Blob("grant", "late")
	grant := grantPut(key, "late")
	grant.Expire = 2 * time.Second
	put := sign(t, b, grant)
	b.Elapse(3 * time.Second)
	status, answer := send(t, b, put, "late")
	refused(t, "PUT after its time", status, answer)
	absent(t, b, key)
}

func blobPresignLifetime(t *testing.T, b BlobStore) {
	key := acme.Blob("grant", "long")
	grant := grantPut(key, "long")
	grant.Expire = time.Hour
	put := sign(t, b, grant)
	b.Elapse(5*time.Minute + time.Second)
	status, answer := send(t, b, put, "long")
	refused(t, "PUT after 5 minutes", status, answer)
	absent(t, b, key)
	for name, change := range map[string]func(*platform.Grant){
		"no time":         func(g *platform.Grant) { g.Expire = 0 },
		"no key":          func(g *platform.Grant) { g.Key = platform.BlobKey{} },
		"no checksum":     func(g *platform.Grant) { g.SHA256 = "" },
		"a checksum of 2": func(g *platform.Grant) { g.SHA256 = "ab" },
		"a negative size": func(g *platform.Grant) { g.Size = -1 },
		"a DELETE":        func(g *platform.Grant) { g.Method = http.MethodDelete },
	} {
		grant := grantPut(key, "x")
		change(&grant)
		if _, err := b.Presign(t.Context(), grant); err == nil {
			t.Errorf("a grant with %s was signed", name)
		}
	}
}

func blobChecksumRefused(t *testing.T, b BlobStore) {
	key := acme.Blob("grant", "sum")
	put := sign(t, b, grantPut(key, "these bytes"))
	for _, body := range []string{"those bytes", "these bytes and more", "these", ""} {
		status, answer := send(t, b, put, body)
		refused(t, "PUT of "+body, status, answer)
		absent(t, b, key)
	}
	equal(t, "objects", len(listed(t, b, acme.Blob("grant").Under(), platform.BlobKey{}, 10)), 0)
	status, _ := send(t, b, put, "these bytes")
	equal(t, "status of the true bytes", status/100, 2)
}

func blobOverwriteRefused(t *testing.T, b BlobStore) {
	key := acme.Blob("plan", "sha256-of-what-was-approved")
	create(t, b, key, "approved")
	status, answer := send(t, b, sign(t, b, grantPut(key, "swapped!")), "swapped!")
	refused(t, "PUT over an object", status, answer)
	holds(t, b, key, "approved")
}
