package forge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

const (
	plainSecret   = "It's a Secret to Everybody"
	signingSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// Vectors that others have published, so that a mistake in our own signing cannot
// hide one in our checking.
//
// Sources: GitHub Docs, "Testing the webhook payload validation"; the JavaScript
// library of Standard Webhooks, its signing example.
func TestGoldenVectors(t *testing.T) {
	github := http.Header{"X-Hub-Signature-256": {"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}}
	if got := (GitHub{}).Verify(github, []byte("Hello, World!"), []string{plainSecret}, noon); got != Accepted {
		t.Errorf("GitHub: %v", got)
	}
	standard := http.Header{}
	standard.Set("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
	standard.Set("webhook-timestamp", "1614265330")
	standard.Set("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	body := []byte(`{"test": 2432232314}`)
	for at, want := range map[int64]Verdict{1614265330: Accepted, 1614265330 + 299: Accepted, 1614265330 + 301: Stale, 1614265330 - 301: Stale} {
		if got := (GitLab{}).Verify(standard, body, []string{signingSecret}, time.Unix(at, 0)); got != want {
			t.Errorf("at %d: %v, want %v", at, got, want)
		}
	}
}

// proof is a way to prove a delivery, with its header made by this test.
type proof struct {
	name     string
	provider Provider
	secret   string
	sign     func(secret string, body []byte) http.Header
}

func mac(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}

func hexHeader(name string) func(string, []byte) http.Header {
	return func(secret string, body []byte) http.Header {
		h := http.Header{}
		h.Set(name, "sha256="+hex.EncodeToString(mac([]byte(secret), body)))
		return h
	}
}

var proofs = []proof{
	{"github", GitHub{}, plainSecret, hexHeader("X-Hub-Signature-256")},
	{"bitbucket", Bitbucket{}, plainSecret, hexHeader("X-Hub-Signature")},
	{"gitlab token", GitLab{}, plainSecret, func(secret string, _ []byte) http.Header {
		return http.Header{"X-Gitlab-Token": {secret}}
	}},
	{"gitlab signature", GitLab{}, signingSecret, func(secret string, body []byte) http.Header {
		stamp := strconv.FormatInt(noon.Unix(), 10)
		key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
		h := http.Header{}
		h.Set("webhook-id", "msg_1")
		h.Set("webhook-timestamp", stamp)
		h.Set("webhook-signature", "v1,AAAA v1,"+base64.StdEncoding.EncodeToString(mac(key, []byte("msg_1."+stamp+"."+string(body)))))
		return h
	}},
}

// T1: whatever bit of body, proof or secret is flipped, the delivery is refused.
func TestAnyFlippedBitIsRefused(t *testing.T) {
	body := []byte(`{"repository":{"id":7}}`)
	for _, p := range proofs {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			header := p.sign(p.secret, body)
			if got := p.provider.Verify(header, body, []string{p.secret}, noon); got != Accepted {
				t.Fatalf("the right proof: %v", got)
			}
			if got := p.provider.Verify(header, body, []string{"another", p.secret}, noon); got != Accepted {
				t.Errorf("the right proof during a rotation: %v", got)
			}
			for name := range header {
				eachFlip(header.Get(name), func(text string) {
					flipped := header.Clone()
					flipped.Set(name, text)
					if sameMeaning(name, header.Get(name), text) {
						return
					}
					if got := p.provider.Verify(flipped, body, []string{p.secret}, noon); got != Refused {
						t.Errorf("%s = %q: %v", name, text, got)
					}
				})
			}
			eachFlip(p.secret, func(secret string) {
				if got := p.provider.Verify(header, body, []string{secret}, noon); got != Refused {
					t.Errorf("secret %q: %v", secret, got)
				}
			})
			if p.name != "gitlab token" { // a token does not cover the body: that is why GitLab has signing ones
				eachFlip(string(body), func(text string) {
					if got := p.provider.Verify(header, []byte(text), []string{p.secret}, noon); got != Refused {
						t.Errorf("body %q: %v", text, got)
					}
				})
			}
		})
	}
}

// sameMeaning excuses the flips that change no meaning: case of hex digits, and
// the decoy signature in front of the right one.
func sameMeaning(name, before, after string) bool {
	if name == "Webhook-Signature" {
		return strings.HasSuffix(after, before[len("v1,AAAA "):])
	}
	return strings.HasPrefix(name, "X-Hub") && strings.EqualFold(before, after) && strings.HasPrefix(after, "sha256=")
}

func eachFlip(text string, try func(string)) {
	for i := range len(text) {
		for bit := range 8 {
			flipped := []byte(text)
			flipped[i] ^= 1 << bit
			try(string(flipped))
		}
	}
}

func TestWithoutProofIsRefused(t *testing.T) {
	for _, p := range proofs {
		for _, secrets := range [][]string{nil, {""}, {p.secret}} {
			if got := p.provider.Verify(http.Header{}, []byte("{}"), secrets, noon); got != Refused {
				t.Errorf("%s without headers, secrets %q: %v", p.name, secrets, got)
			}
		}
		if got := p.provider.Verify(p.sign("", []byte("{}")), []byte("{}"), []string{""}, noon); got != Refused {
			t.Errorf("%s: an empty secret proves nothing: %v", p.name, got)
		}
	}
	sha1 := http.Header{"X-Hub-Signature": proofs[0].sign(plainSecret, []byte("{}"))["X-Hub-Signature-256"]}
	if got := (GitHub{}).Verify(sha1, []byte("{}"), []string{plainSecret}, noon); got != Refused {
		t.Errorf("GitHub's old header: %v", got)
	}
	token := http.Header{"X-Gitlab-Token": {signingSecret}}
	if got := (GitLab{}).Verify(token, []byte("{}"), []string{signingSecret, plainSecret}, noon); got != Refused {
		t.Errorf("a plain token where a signature is due: %v", got)
	}
}

// T4: a hostile body is refused by its shape, before anything of it is decoded.
func TestShapeIsCapped(t *testing.T) {
	for name, body := range map[string]string{
		"deep":      strings.Repeat("[", MaxDepth+1),
		"deep late": `{"a":"` + strings.Repeat("[", 200) + `","b":` + strings.Repeat(`{"c":`, MaxDepth) + "1",
		"wide":      `{"commits":[` + strings.Repeat("0,", MaxElements) + "0]}",
		"large":     `{"a":"` + strings.Repeat("x", MaxBody) + `"}`,
		"no object": "[]",
		"no json":   "hello",
		"empty":     "",
		"cut":       `{"repository":{"id":`,
	} {
		for _, p := range Providers {
			if _, err := p.Identify([]byte(body)); !errors.Is(err, ErrBody) {
				t.Errorf("%s: Identify of %s: %v", p.Name(), name, err)
			}
			if _, err := p.Parse("push", []byte(body)); !errors.Is(err, ErrBody) {
				t.Errorf("%s: Parse of %s: %v", p.Name(), name, err)
			}
		}
	}
	quoted := `{"text":"` + strings.Repeat(`[{\"`, 100) + `","repository":{"id":1,"uuid":"{1}"},"project":{"id":1}}`
	for _, p := range Providers {
		if _, err := p.Identify([]byte(quoted)); err != nil {
			t.Errorf("%s: brackets in a string are text: %v", p.Name(), err)
		}
	}
}

func TestGitHubFormIsUnwrapped(t *testing.T) {
	form := "payload=" + url.QueryEscape(`{"ref":"refs/heads/a&b","after":"`+strings.Repeat("a", 40)+`","repository":{"id":7,"full_name":"o/r"}}`)
	e, err := (GitHub{}).Parse("push", []byte(form))
	if err != nil || e.Changes[0].Ref != "refs/heads/a&b" || e.Repository.ID != "7" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestGitLabMergeRequest(t *testing.T) {
	const form = `{"user":{"id":4,"username":"ann"},"project":{"id":1,"path_with_namespace":"g/p","default_branch":"main"},
		"object_attributes":{"iid":12,"action":%q,"oldrev":%q,"source_branch":"f","target_branch":"main","source_project_id":%d,
		"target_project_id":1,"draft":false,"author_id":9,"last_commit":{"id":"da1560886d4f094c3e6c9ef40349f7d38b5d27d7"}},"changes":%s}`
	for _, tt := range []struct {
		action, oldrev, changes string
		want                    string // "" is ignored
	}{
		{"open", "", "{}", Opened},
		{"reopen", "", "{}", Reopened},
		{"close", "", "{}", Closed},
		{"merge", "", "{}", Closed},
		{"update", "abc", "{}", Updated},
		{"update", "", `{"target_branch":{"previous":"a","current":"main"}}`, Retargeted},
		{"update", "", `{"draft":{"previous":true,"current":false}}`, Ready},
		{"update", "", `{"draft":{"previous":false,"current":true}}`, ""},
		{"update", "", `{"labels":{}}`, ""},
		{"approved", "", "{}", ""},
	} {
		for _, source := range []int{1, 2} {
			e, err := (GitLab{}).Parse("Merge Request Hook", fmt.Appendf(nil, form, tt.action, tt.oldrev, source, tt.changes))
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				if e.Kind != Ignored {
					t.Errorf("%+v: %s %s", tt, e.Kind, e.Action)
				}
				continue
			}
			p := e.PullRequest
			if e.Kind != PullRequest || e.Action != tt.want || p.Number != 12 || p.Fork() != (source == 2) || p.AuthorID != "9" || e.ActorName != "ann" {
				t.Errorf("%+v: %+v", tt, e)
			}
		}
	}
}

func TestBitbucketPushOfSeveralRefs(t *testing.T) {
	a, b := strings.Repeat("a", 40), strings.Repeat("b", 40)
	body := `{"repository":{"uuid":"{673a}","full_name":"t/r"},"actor":{"uuid":"{d301}","nickname":"emma"},"push":{"changes":[
		{"old":{"type":"branch","name":"main","target":{"hash":"` + a + `"}},"new":{"type":"branch","name":"main","target":{"hash":"` + b + `"}}},
		{"old":null,"new":{"type":"tag","name":"v1","target":{"hash":"` + b + `"}}},
		{"old":{"type":"branch","name":"gone","target":{"hash":"` + a + `"}},"new":null}]}}`
	e, err := (Bitbucket{}).Parse("repo:push", []byte(body))
	want := []Change{{"refs/heads/main", a, b}, {"refs/tags/v1", "", b}, {"refs/heads/gone", a, ""}}
	if err != nil || e.Kind != Push || fmt.Sprint(e.Changes) != fmt.Sprint(want) || e.ActorID != "{d301}" {
		t.Errorf("%+v, %v", e, err)
	}
	many := `{"push":{"changes":[` + strings.Repeat(`{"new":{"type":"branch","name":"x","target":{"hash":"`+a+`"}}},`, MaxChanges) +
		`{"new":{"type":"branch","name":"x","target":{"hash":"` + a + `"}}}]}}`
	if e, err := (Bitbucket{}).Parse("repo:push", []byte(many)); err != nil || len(e.Changes) != MaxChanges || !e.Cut {
		t.Errorf("%d changes, cut %v, %v", len(e.Changes), e.Cut, err)
	}
}

func TestBitbucketPullRequest(t *testing.T) {
	body := `{"repository":{"uuid":"{1}"},"pullrequest":{"id":3,"draft":true,"author":{"uuid":"{u}"},
		"source":{"branch":{"name":"f"},"commit":{"hash":"abc"},"repository":%s},
		"destination":{"branch":{"name":"main"},"commit":{"hash":"def"},"repository":{"uuid":"{1}"}}}}`
	for source, fork := range map[string]bool{`{"uuid":"{1}"}`: false, `{"uuid":"{2}"}`: true, `null`: true} {
		e, err := (Bitbucket{}).Parse("pullrequest:created", fmt.Appendf(nil, body, source))
		if err != nil || e.PullRequest.Fork() != fork || e.PullRequest.Number != 3 || !e.PullRequest.Draft || e.PullRequest.Base.Branch != "main" {
			t.Errorf("%s: %+v, %v", source, e, err)
		}
	}
}
