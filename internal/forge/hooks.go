package forge

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HookEvents are the events that a webhook needs, by provider and in its words.
// Without one of them something is noticed only when the remote is looked at.
var HookEvents = map[string][]string{
	"github":    {"push", "pull_request", "merge_group", "repository"},
	"gitlab":    {"push_events", "tag_push_events", "merge_requests_events"},
	"bitbucket": {"repo:push", "repo:updated", "pullrequest:created", "pullrequest:updated", "pullrequest:fulfilled", "pullrequest:rejected"},
}

// Hook is a webhook as its provider has it.
type Hook struct {
	ID     string
	URL    string
	Events []string
	Off    bool // by a person, or by the provider after too many failures

	insecure string // GitHub: "1" if the certificate is not checked
}

// WantedHook is the webhook that a repository should have.
type WantedHook struct {
	URL    string
	Secret string
	// Told: the provider has the secret. No provider shows it, so nobody can look.
	Told bool
}

// Hooks lists the webhooks. No provider lets a repository have more than one page
// of them: 100 at GitLab, 20 for one event at GitHub, 50 at Bitbucket.
//
// Source: GitHub REST, "List repository webhooks"; GitLab REST, "List webhooks for a
// project"; Bitbucket Cloud REST, "List webhooks for a repository".
func (a API) Hooks(ctx context.Context) ([]Hook, error) {
	var hooks []Hook
	switch a.Provider {
	case "github":
		var list []githubHook
		err := a.call(ctx, http.MethodGet, a.hooksPath()+"?per_page=100", nil, &list)
		for _, h := range list {
			hooks = append(hooks, Hook{string(h.ID), h.Config.URL, h.Events, !h.Active, string(h.Config.Insecure)})
		}
		return hooks, err
	case "gitlab":
		var list []gitlabHook
		err := a.call(ctx, http.MethodGet, a.hooksPath()+"?per_page=100", nil, &list)
		for _, h := range list {
			hooks = append(hooks, h.hook())
		}
		return hooks, err
	}
	var page struct {
		Values []bitbucketHook `json:"values"`
	}
	err := a.call(ctx, http.MethodGet, a.hooksPath()+"?pagelen=100", nil, &page)
	for _, h := range page.Values {
		hooks = append(hooks, Hook{ID: h.UUID, URL: h.URL, Events: h.Events, Off: !h.Active})
	}
	return hooks, err
}

// EnsureHook makes the webhook that is wanted, or repairs the one that is there: of
// our address, or else of another address with our path, which ends in an id that is
// nobody else's. did says what was changed, "" for nothing.
func (a API) EnsureHook(ctx context.Context, want WantedHook) (hook Hook, did string, err error) {
	defer func() { err = without(want.Secret, err) }()
	hooks, err := a.Hooks(ctx)
	if err != nil {
		return hook, "", err
	}
	found, is := ours(hooks, want.URL)
	if !is {
		made := Hook{URL: want.URL, Events: HookEvents[a.Provider]}
		made.ID, err = a.writeHook(ctx, made, want.Secret)
		return made, "created", err
	}
	faults := a.faults(found, want)
	if len(faults) == 0 {
		return found, "", nil
	}
	hook = found
	hook.URL, hook.Off = want.URL, false
	for _, event := range HookEvents[a.Provider] {
		if !slices.Contains(hook.Events, event) {
			hook.Events = append(hook.Events, event)
		}
	}
	if _, err = a.writeHook(ctx, hook, want.Secret); err == nil && found.Off && a.Provider == "gitlab" {
		err = a.tryHook(ctx, hook.ID)
	}
	return hook, "repaired: " + strings.Join(faults, ", "), err
}

func ours(hooks []Hook, address string) (Hook, bool) {
	if i := slices.IndexFunc(hooks, func(h Hook) bool { return h.URL == address }); i >= 0 {
		return hooks[i], true
	}
	path := pathOf(address)
	i := slices.IndexFunc(hooks, func(h Hook) bool { return path != "" && pathOf(h.URL) == path })
	if i < 0 {
		return Hook{}, false
	}
	return hooks[i], true
}

// pathOf is what stays of our address when the platform moves: the last three parts.
func pathOf(address string) string {
	at, err := url.Parse(address)
	if err != nil {
		return ""
	}
	parts := strings.Split(at.Path, "/")
	return strings.Join(parts[max(0, len(parts)-3):], "/")
}

// faults are what is wrong with a webhook, for people.
func (a API) faults(h Hook, want WantedHook) []string {
	var faults []string
	if h.Off {
		faults = append(faults, "it was switched off")
	}
	if h.URL != want.URL {
		faults = append(faults, "it pointed to another address")
	}
	if !slices.Contains(h.Events, "*") { // GitHub's word for all
		for _, event := range HookEvents[a.Provider] {
			if !slices.Contains(h.Events, event) {
				faults = append(faults, "it lacked "+event)
			}
		}
	}
	if !want.Told {
		faults = append(faults, "it was given the secret")
	}
	return faults
}

func (a API) hooksPath() string {
	switch a.Provider {
	case "github":
		return "/repos/" + a.FullName + "/hooks"
	case "gitlab":
		return "/projects/" + url.PathEscape(a.FullName) + "/hooks"
	}
	return "/repositories/" + a.FullName + "/hooks"
}

// githubHook is a webhook in GitHub's words. To send a config replaces all of it: one
// without a secret takes the secret away.
type githubHook struct {
	ID     id       `json:"id,omitempty"`
	Name   string   `json:"name,omitempty"`
	Active bool     `json:"active"`
	Events []string `json:"events"`
	Config struct {
		URL         string `json:"url"`
		ContentType string `json:"content_type"`
		Insecure    id     `json:"insecure_ssl"` // "0", or the number
		Secret      string `json:"secret,omitempty"`
	} `json:"config"`
}

// gitlabHook is a webhook in GitLab's words. It has no switch; alert_status tells
// whether GitLab has switched it off.
type gitlabHook struct {
	ID     id     `json:"id"`
	URL    string `json:"url"`
	Push   bool   `json:"push_events"`
	Tags   bool   `json:"tag_push_events"`
	Merges bool   `json:"merge_requests_events"`
	Alert  string `json:"alert_status"` // executable, temporarily_disabled, disabled
}

func (h gitlabHook) hook() Hook {
	out := Hook{ID: string(h.ID), URL: h.URL, Off: h.Alert == "disabled" || h.Alert == "temporarily_disabled"}
	for event, on := range map[string]bool{"push_events": h.Push, "tag_push_events": h.Tags, "merge_requests_events": h.Merges} {
		if on {
			out.Events = append(out.Events, event)
		}
	}
	slices.Sort(out.Events)
	return out
}

type bitbucketHook struct {
	UUID        string   `json:"uuid,omitempty"`
	Description string   `json:"description"`
	URL         string   `json:"url"`
	Active      bool     `json:"active"`
	Events      []string `json:"events"`
	Secret      string   `json:"secret,omitempty"`
}

// writeHook makes a webhook, or replaces the one of hook.ID, and answers its id.
//
// Source: GitHub REST, "Create/Update a repository webhook"; GitLab REST, "Add/Edit a
// project webhook"; Bitbucket Cloud REST, "Create/Update a webhook for a repository".
func (a API) writeHook(ctx context.Context, hook Hook, secret string) (string, error) {
	method, path := http.MethodPost, a.hooksPath()
	if hook.ID != "" {
		method, path = http.MethodPut, path+"/"+url.PathEscape(hook.ID)
	}
	var answer struct {
		ID   id     `json:"id"`
		UUID string `json:"uuid"`
	}
	var body any
	switch a.Provider {
	case "github":
		in := githubHook{Name: "web", Active: true, Events: hook.Events}
		in.Config.URL, in.Config.ContentType, in.Config.Secret = hook.URL, "json", secret
		in.Config.Insecure = "0"
		if hook.insecure == "1" {
			in.Config.Insecure = "1"
		}
		if hook.ID != "" {
			method, in.Name = http.MethodPatch, ""
		}
		body = in
	case "gitlab":
		in := map[string]any{"url": hook.URL, "token": secret}
		if SigningSecret(secret) {
			in = map[string]any{"url": hook.URL, "signing_token": secret}
		}
		for _, event := range hook.Events {
			in[event] = true
		}
		body = in
	default:
		body = bitbucketHook{Description: "BuildIt", URL: hook.URL, Active: true, Events: hook.Events, Secret: secret}
	}
	err := a.call(ctx, method, path, body, &answer)
	return string(answer.ID) + answer.UUID, err
}

// tryHook has GitLab send a test push, which is how a webhook that GitLab has
// switched off is switched on: it is if we take the push.
//
// Source: GitLab REST, "Trigger a test project webhook"; GitLab, "Re-enable disabled
// webhooks".
func (a API) tryHook(ctx context.Context, hook string) error {
	return a.call(ctx, http.MethodPost, a.hooksPath()+"/"+url.PathEscape(hook)+"/test/push_events", map[string]string{}, nil)
}

// FailedDelivery is a delivery of which no attempt has reached us.
type FailedDelivery struct {
	ID   string // of the last attempt
	GUID string // of the delivery, the same for each attempt: Provider.Delivery
}

// maxAttempts is how often a delivery is tried, the first time included: one that we
// refuse is refused again.
const maxAttempts = 4

// FailedDeliveries lists what GitHub could not deliver since a time, the oldest
// first, as far as its last hundred attempts tell. Other providers keep no such list.
//
// Source: GitHub REST, "List deliveries for a repository webhook".
func (a API) FailedDeliveries(ctx context.Context, hook string, since time.Time) ([]FailedDelivery, error) {
	if a.Provider != "github" {
		return nil, nil
	}
	var attempts []struct {
		ID   id        `json:"id"`
		GUID string    `json:"guid"`
		At   time.Time `json:"delivered_at"`
		Code int       `json:"status_code"` // 0 if there was no answer
	}
	if err := a.call(ctx, http.MethodGet, a.hooksPath()+"/"+url.PathEscape(hook)+"/deliveries?per_page=100", nil, &attempts); err != nil {
		return nil, err
	}
	tries, done := map[string]int{}, map[string]bool{}
	for _, t := range attempts {
		tries[t.GUID]++
		done[t.GUID] = done[t.GUID] || t.Code >= 200 && t.Code <= 299
	}
	var failed []FailedDelivery
	for _, t := range attempts { // the newest first
		if done[t.GUID] || tries[t.GUID] >= maxAttempts || t.At.Before(since) {
			continue
		}
		done[t.GUID] = true // its older attempts say nothing more
		failed = append(failed, FailedDelivery{string(t.ID), t.GUID})
	}
	slices.Reverse(failed)
	return failed, nil
}

// Redeliver asks GitHub to deliver once more.
//
// Source: GitHub REST, "Redeliver a delivery for a repository webhook".
func (a API) Redeliver(ctx context.Context, hook string, d FailedDelivery) error {
	if _, err := strconv.ParseUint(d.ID, 10, 64); err != nil {
		return &Refusal{Status: http.StatusBadRequest, Message: "the provider's id of a delivery is no number"}
	}
	return a.call(ctx, http.MethodPost, a.hooksPath()+"/"+url.PathEscape(hook)+"/deliveries/"+d.ID+"/attempts", map[string]string{}, nil)
}

// without leaves out what a provider says against a call if it repeats the secret, be
// it cut off at the end.
func without(secret string, err error) error {
	var refused *Refusal
	if errors.As(err, &refused) && secret != "" && strings.Contains(refused.Message, secret[:min(8, len(secret))]) {
		refused.Message = "(what it says repeats the secret, and is left out)"
	}
	return err
}
