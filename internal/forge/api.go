package forge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/outbound"
)

// CheckState is how a check stands, in our words; each provider has its own.
type CheckState string

// The states. Neutral is neither good nor bad, and is no reason to hold up a merge.
const (
	CheckPending  CheckState = "pending"
	CheckRunning  CheckState = "running"
	CheckSuccess  CheckState = "success"
	CheckFailure  CheckState = "failure"
	CheckError    CheckState = "error"
	CheckCanceled CheckState = "canceled"
	CheckNeutral  CheckState = "neutral"
)

// Check is what a commit shows under one name.
type Check struct {
	Commit      string
	Name        string
	State       CheckState
	Description string
	URL         string
	Run         string // whose check it is
	// Remote is what the provider called it the last time, for the same run; "" if it
	// has not been made, or has no name.
	Remote string
}

// API is a repository at its provider, with the credential that opens it.
type API struct {
	Provider string // github, gitlab, bitbucket
	Base     string // of the API; BaseOf proposes it
	FullName string // owner/name
	Token    string // Bitbucket: also user:app password
	HTTP     *http.Client
}

// Refusal is an answer of a provider that is no success.
type Refusal struct {
	Status  int
	Message string
	// After is how long the provider wants to be left alone, 0 if it does not say.
	After time.Duration
	// Limited: not this call is wrong, there were too many.
	Limited bool
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d: %s", r.Status, r.Message) }

// ForGood tells whether the same call will be refused again.
func ForGood(err error) bool {
	var refused *Refusal
	if errors.As(err, &refused) {
		return !refused.Limited && refused.Status < 500 && refused.Status != http.StatusRequestTimeout
	}
	return errors.Is(err, outbound.ErrRefused)
}

// BaseOf is the API of the server that a clone URL names, "" for none that we know.
//
// Source: the three providers' REST documentation; GitHub Enterprise Server has its
// API below /api/v3, GitLab below /api/v4.
func BaseOf(provider, clone string) string {
	at, err := url.Parse(clone)
	if err != nil || at.Host == "" {
		return ""
	}
	switch own := at.Scheme + "://" + at.Host; {
	case provider == "github" && at.Host == "github.com":
		return "https://api.github.com"
	case provider == "github":
		return own + "/api/v3"
	case provider == "gitlab":
		return own + "/api/v4"
	case provider == "bitbucket" && at.Host == "bitbucket.org":
		return "https://api.bitbucket.org/2.0"
	case provider == "bitbucket":
		return own + "/2.0"
	}
	return ""
}

const (
	callTimeout = 20 * time.Second
	maxAnswer   = 1 << 20 // bytes
	maxMessage  = 300     // bytes of a provider's answer that people see
)

// call sends JSON, or no body for a nil in, and reads JSON. Nothing of the credential is
// in an error.
func (a API) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, a.Base+path, bytes.NewReader(body))
	if err != nil {
		return &Refusal{Status: http.StatusBadRequest, Message: "the address of the API cannot be called"}
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "buildit")
	if user, password, is := strings.Cut(a.Token, ":"); is && a.Provider == "bitbucket" {
		r.SetBasicAuth(user, password)
	} else {
		r.Header.Set("Authorization", "Bearer "+a.Token)
	}
	answer, err := a.HTTP.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return err
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return refusalOf(answer, text)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("the provider's answer is no JSON: %w", err)
	}
	return nil
}

// refusalOf reads what a provider says against a call. Too many calls are 429, and at
// GitHub also 403 with Retry-After (secondary limits) or with nothing left of the
// hour's (X-RateLimit-Remaining: 0, until X-RateLimit-Reset).
func refusalOf(answer *http.Response, text []byte) *Refusal {
	var said struct {
		Message json.RawMessage `json:"message"`
		Error   json.RawMessage `json:"error"`
	}
	message := ""
	if json.Unmarshal(text, &said) == nil {
		message = strings.Trim(string(append(said.Message, said.Error...)), `"`)
	}
	if message == "" {
		message = http.StatusText(answer.StatusCode)
	}
	r := &Refusal{Status: answer.StatusCode, Message: strings.ToValidUTF8(message[:min(len(message), maxMessage)], "")}
	h := answer.Header
	if seconds, err := strconv.Atoi(h.Get("Retry-After")); err == nil && seconds >= 0 {
		r.After = time.Duration(min(seconds, 24*3600)) * time.Second
	}
	spent := h.Get("X-RateLimit-Remaining") == "0"
	r.Limited = r.Status == http.StatusTooManyRequests || r.Status == http.StatusForbidden && (r.After > 0 || spent)
	if r.Limited && r.After == 0 && spent {
		reset, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
		now, dated := http.ParseTime(h.Get("Date")) // by the provider's own clock
		if err == nil && dated == nil {
			r.After = min(max(0, time.Unix(reset, 0).Sub(now)), time.Hour)
		}
	}
	return r
}
