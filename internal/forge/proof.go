package forge

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// signingPrefix marks a secret that signs, in the notation of Standard Webhooks:
// the base64 behind it is the key.
const signingPrefix = "whsec_"

// signedHex checks a header of the form sha256=<hex>, HMAC-SHA256 of the body.
//
// Source: GitHub, "Validating webhook deliveries"; Bitbucket Cloud, "Secure webhooks".
func signedHex(given string, body []byte, secrets []string) Verdict {
	verdict := Refused
	mac, err := hex.DecodeString(strings.TrimPrefix(given, "sha256="))
	if err != nil || !strings.HasPrefix(given, "sha256=") {
		mac = nil // compared all the same: a missing proof takes as long as a wrong one
	}
	for _, secret := range secrets {
		if secret != "" && hmac.Equal(mac, sum([]byte(secret), body)) {
			verdict = Accepted
		}
	}
	return verdict
}

// signedStandard checks the three webhook-… headers: HMAC-SHA256 over id,
// timestamp and body. The header may hold several signatures, by blanks apart.
//
// Source: GitLab, "Webhooks: signing tokens"; Standard Webhooks 1.0.
func signedStandard(header http.Header, body []byte, secrets []string, now time.Time) Verdict {
	stamp := header.Get("webhook-timestamp")
	signed := append([]byte(header.Get("webhook-id")+"."+stamp+"."), body...)
	right := false
	for _, secret := range secrets {
		key, ok := signingKey(secret)
		if !ok {
			continue
		}
		want := sum(key, signed)
		for given := range strings.FieldsSeq(header.Get("webhook-signature")) {
			mac, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(given, "v1,"))
			if err == nil && strings.HasPrefix(given, "v1,") && hmac.Equal(mac, want) {
				right = true
			}
		}
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	switch {
	case !right || err != nil:
		return Refused
	case now.Sub(time.Unix(seconds, 0)).Abs() > ReplayWindow:
		return Stale
	}
	return Accepted
}

// SigningSecret says whether a secret is one that signs (whsec_…, GitLab only).
func SigningSecret(secret string) bool { return strings.HasPrefix(secret, signingPrefix) }

func signingKey(secret string) ([]byte, bool) {
	key, err := base64.StdEncoding.Strict().DecodeString(strings.TrimPrefix(secret, signingPrefix))
	return key, err == nil && SigningSecret(secret) && len(key) > 0
}

// sameToken compares a plain token in constant time. Digests are compared, so that
// the length tells nothing either.
func sameToken(given string, secrets []string) Verdict {
	verdict := Refused
	a := sha256.Sum256([]byte(given))
	for _, secret := range secrets {
		b := sha256.Sum256([]byte(secret))
		if secret != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1 {
			verdict = Accepted
		}
	}
	return verdict
}

func sum(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}
