// Package presign makes and serves URLs that allow exactly one method on exactly
// one object, for the homes that have no S3.
//
// What a URL allows is authenticated by HMAC-SHA256 over its fields, each with its
// length before it and behind a label of the purpose, so that no two grants, and
// nothing else that the same secret may ever sign, are the same bytes (T43). A PUT
// creates: its length and SHA-256 are part of the grant, and other bytes never
// become an object.
package presign

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Path is where the handler is mounted, below the base URL.
const Path = "/blobs/"

// purpose keeps these MACs apart from every other use of the secret.
const purpose = "buildit blob grant 2"

// Signer makes and checks URLs.
type Signer struct {
	base   string
	secret []byte
	clock  platform.Clock
}

// NewSigner makes a signer for the server at base, such as http://127.0.0.1:8080.
func NewSigner(base string, secret []byte, clock platform.Clock) *Signer {
	return &Signer{strings.TrimSuffix(base, "/"), secret, clock}
}

// Sign makes the request that grant allows. It implements platform.Blobs.Presign.
func (s *Signer) Sign(grant platform.Grant) (platform.SignedRequest, error) {
	life, err := grant.Check()
	if err != nil {
		return platform.SignedRequest{}, err
	}
	expires := s.clock.Now().Add(life).Truncate(time.Second).UTC()
	query := url.Values{"expires": {strconv.FormatInt(expires.Unix(), 10)}}
	header := http.Header{}
	if grant.Method == http.MethodPut {
		query.Set("size", strconv.FormatInt(grant.Size, 10))
		query.Set("sha256", grant.SHA256)
		if grant.Relaxed {
			query.Set("relaxed", "1")
		}
		header.Set("Content-Length", strconv.FormatInt(grant.Size, 10))
	}
	query.Set("signature", hex.EncodeToString(s.mac(grant, expires.Unix())))
	path := (&url.URL{Path: Path + grant.Key.String()}).EscapedPath()
	return platform.SignedRequest{
		Method:  grant.Method,
		URL:     s.base + path + "?" + query.Encode(),
		Header:  header,
		Expires: expires,
	}, nil
}

// verify returns what the request's URL allows, if the request is that.
func (s *Signer) verify(r *http.Request) (platform.Grant, error) {
	query := r.URL.Query()
	grant := platform.Grant{
		Key:    platform.StoredBlobKey(strings.TrimPrefix(r.URL.Path, Path)),
		Method: r.Method,
		SHA256: query.Get("sha256"),

		Relaxed: query.Get("relaxed") == "1",
	}
	if r.Method == http.MethodHead {
		grant.Method = http.MethodGet
	}
	expires, err := strconv.ParseInt(query.Get("expires"), 10, 64)
	if err != nil {
		return grant, refused("the URL is not one that BuildIt has signed: ask for a new one")
	}
	if size := query.Get("size"); size != "" {
		if grant.Size, err = strconv.ParseInt(size, 10, 64); err != nil {
			return grant, refused("the URL is not one that BuildIt has signed: ask for a new one")
		}
	}
	signature, err := hex.DecodeString(query.Get("signature"))
	if err != nil || !hmac.Equal(signature, s.mac(grant, expires)) {
		return grant, refused("the URL's signature does not fit this method, object, length and checksum: use it exactly as it was given")
	}
	if now := s.clock.Now(); now.Unix() >= expires {
		return grant, refused("the URL has expired at %s: ask for a new one", time.Unix(expires, 0).UTC().Format(time.RFC3339))
	}
	return grant, nil
}

func refused(format string, args ...any) error {
	p := problem.New(problem.Forbidden, format, args...)
	p.Err = fmt.Errorf("grant: %w", platform.ErrDenied)
	return p
}

// mac authenticates a grant that ends at expires, in Unix seconds.
func (s *Signer) mac(grant platform.Grant, expires int64) []byte {
	mac := hmac.New(sha256.New, s.secret)
	mac.Write(macInput(grant, expires)) // a hash never fails
	return mac.Sum(nil)
}

// macInput is every field of a grant with its length before it.
func macInput(grant platform.Grant, expires int64) []byte {
	var input []byte
	for _, field := range []string{
		purpose,
		grant.Method,
		grant.Key.String(),
		strconv.FormatInt(grant.Size, 10),
		grant.SHA256,
		strconv.FormatBool(grant.Relaxed),
		strconv.FormatInt(expires, 10),
	} {
		input = binary.BigEndian.AppendUint32(input, uint32(len(field)))
		input = append(input, field...)
	}
	return input
}
