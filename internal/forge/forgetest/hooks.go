package forgetest

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Hook is a webhook that the server has.
type Hook struct {
	ID          string
	URL, Secret string
	Events      []string
	Off         bool
	Insecure    string // GitHub: "1" if the certificate is not checked
}

// attempt is one try of a delivery.
type attempt struct {
	ID          int       `json:"id"`
	GUID        string    `json:"guid"`
	At          time.Time `json:"delivered_at"`
	Code        int       `json:"status_code"`
	Event       string    `json:"event"`
	Redelivered bool      `json:"redelivery"`

	hook string
	body []byte
}

// PutHook adds a webhook, or replaces the one of its ID: what a person does on the
// provider's page.
func (s *Server) PutHook(h Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putHook(h)
}

func (s *Server) putHook(h Hook) Hook {
	if h.ID == "" {
		s.made++
		h.ID = fmt.Sprint(s.made)
		if s.provider == "bitbucket" {
			h.ID = fmt.Sprintf("{%08d-0000-4000-8000-000000000000}", s.made)
		}
	}
	s.hooks = slices.DeleteFunc(s.hooks, func(old Hook) bool { return old.ID == h.ID })
	s.hooks = append(s.hooks, h)
	return h
}

// Hooks are the webhooks that there are.
func (s *Server) Hooks() []Hook {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.hooks)
}

// Deliver sends an event to the webhooks that want it and are on, signed as the
// provider signs, at a time of the provider's clock. It answers how many took it.
func (s *Server) Deliver(event, guid string, body any, at time.Time) (took int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // a mistake of the test that made the body
	}
	wanted := event
	if s.provider == "gitlab" {
		wanted = map[string]string{"Push Hook": "push_events", "Tag Push Hook": "tag_push_events", "Merge Request Hook": "merge_requests_events"}[event]
	}
	for _, h := range s.hooks {
		if h.Off || !slices.Contains(h.Events, wanted) {
			continue
		}
		if code := s.send(h, attempt{GUID: guid, At: at, Event: event, body: text}); code/100 == 2 {
			took++
		}
	}
	return took
}

// send tries a delivery and remembers the attempt. No answer is the code 0.
func (s *Server) send(h Hook, a attempt) int {
	r, err := http.NewRequest(http.MethodPost, h.URL, bytes.NewReader(a.body))
	if err == nil {
		mac := hmac.New(sha256.New, []byte(h.Secret))
		mac.Write(a.body)
		signature := "sha256=" + hex.EncodeToString(mac.Sum(nil))
		headers := map[string]map[string]string{
			"github":    {"X-GitHub-Event": a.Event, "X-GitHub-Delivery": a.GUID, "X-Hub-Signature-256": signature},
			"gitlab":    {"X-Gitlab-Event": a.Event, "Idempotency-Key": a.GUID, "X-Gitlab-Token": h.Secret},
			"bitbucket": {"X-Event-Key": a.Event, "X-Request-UUID": a.GUID, "X-Hub-Signature": signature},
		}
		r.Header.Set("Content-Type", "application/json")
		for name, value := range headers[s.provider] {
			r.Header.Set(name, value)
		}
		var answer *http.Response
		if answer, err = http.DefaultClient.Do(r); err == nil {
			a.Code = answer.StatusCode
			answer.Body.Close()
		}
	}
	a.ID, a.hook = len(s.attempts)+1, h.ID
	s.attempts = append(s.attempts, a)
	return a.Code
}

// Attempts are the answers that the attempts of a delivery had, the first one first.
func (s *Server) Attempts(guid string) (codes []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.attempts {
		if a.GUID == guid {
			codes = append(codes, a.Code)
		}
	}
	return codes
}

// serveHooks answers the calls of webhooks, and tells whether this is one.
func (s *Server) serveHooks(w http.ResponseWriter, r *http.Request) bool {
	parts := strings.Split(strings.Trim(r.URL.EscapedPath(), "/"), "/")
	i := slices.Index(parts, "hooks")
	if i < 0 || i != map[string]int{"github": 3, "gitlab": 2, "bitbucket": 3}[s.provider] {
		return false
	}
	rest := parts[i+1:]
	if len(rest) == 0 {
		s.serveAll(w, r)
		return true
	}
	name, err := url.PathUnescape(rest[0])
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return true
	}
	at := slices.IndexFunc(s.hooks, func(h Hook) bool { return h.ID == name })
	update := http.MethodPut
	if s.provider == "github" {
		update = http.MethodPatch
	}
	switch call := r.Method + " " + strings.Join(rest[1:], "/"); {
	case at < 0:
		refuse(w, http.StatusNotFound, "Not Found")
	case call == update+" ":
		s.write(w, r, s.hooks[at])
	case s.provider == "gitlab" && call == "POST test/push_events":
		s.try(w, s.hooks[at])
	case s.provider == "github" && call == "GET deliveries":
		s.serveAttempts(w, name)
	case s.provider == "github" && len(rest) == 4 && rest[1] == "deliveries" && rest[3] == "attempts" && r.Method == http.MethodPost:
		s.again(w, s.hooks[at], rest[2])
	default:
		refuse(w, http.StatusNotFound, "no such address: "+r.Method+" "+r.URL.Path)
	}
	return true
}

func (s *Server) serveAll(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		s.write(w, r, Hook{})
	case http.MethodGet:
		all := []any{}
		for _, h := range s.hooks {
			all = append(all, s.shown(h))
		}
		if s.provider == "bitbucket" {
			answer(w, http.StatusOK, map[string]any{"values": all})
			return
		}
		answer(w, http.StatusOK, all)
	default:
		refuse(w, http.StatusMethodNotAllowed, "Method Not Allowed")
	}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		panic(http.ErrAbortHandler) // the client has gone, and must not take this for an answer
	}
}

// shown is a webhook as the provider shows it: without its secret.
func (s *Server) shown(h Hook) any {
	switch s.provider {
	case "github":
		config := map[string]any{"url": h.URL, "content_type": "json", "insecure_ssl": cmp.Or(h.Insecure, "0")}
		if h.Secret != "" {
			config["secret"] = "********"
		}
		return map[string]any{"id": json.Number(h.ID), "name": "web", "active": !h.Off, "events": h.Events, "config": config}
	case "gitlab":
		alert := "executable"
		if h.Off {
			alert = "disabled"
		}
		one := map[string]any{"id": json.Number(h.ID), "url": h.URL, "alert_status": alert, "disabled_until": nil}
		for _, event := range gitlabEvents {
			one[event] = slices.Contains(h.Events, event)
		}
		return one
	}
	return map[string]any{"uuid": h.ID, "url": h.URL, "active": !h.Off, "events": h.Events, "secret_set": h.Secret != ""}
}

var gitlabEvents = []string{"push_events", "tag_push_events", "merge_requests_events", "note_events"}

// write makes or changes a webhook as the provider documents it.
func (s *Server) write(w http.ResponseWriter, r *http.Request, h Hook) {
	var in struct {
		Name   string `json:"name"`
		URL    string `json:"url"`
		Active bool   `json:"active"`
		Secret string `json:"secret"`
		Token  string `json:"token"`
		Sign   string `json:"signing_token"`
		Config struct {
			URL    string `json:"url"`
			Type   string `json:"content_type"`
			Secret string `json:"secret"`
			Unsafe string `json:"insecure_ssl"`
		} `json:"config"`
		Events []string `json:"events"`
		Push   *bool    `json:"push_events"`
		Tags   *bool    `json:"tag_push_events"`
		Merges *bool    `json:"merge_requests_events"`
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		refuse(w, http.StatusBadRequest, "Problems parsing JSON")
		return
	}
	status := http.StatusOK
	if h.ID == "" {
		status = http.StatusCreated
	}
	switch s.provider {
	case "github":
		if in.Config.Type != "json" || h.ID == "" && slices.ContainsFunc(s.hooks, func(old Hook) bool { return old.URL == in.Config.URL }) {
			refuse(w, http.StatusUnprocessableEntity, "Validation Failed")
			return
		}
		h = Hook{h.ID, in.Config.URL, in.Config.Secret, in.Events, !in.Active, in.Config.Unsafe}
	case "gitlab": // what is not sent stays, and nothing here switches it on
		h.URL = in.URL
		if secret := in.Token + in.Sign; secret != "" {
			h.Secret = secret
		}
		if (in.Sign != "") != strings.HasPrefix(h.Secret, "whsec_") {
			refuse(w, http.StatusUnprocessableEntity, "signing_token must be whsec_<base64>, and a token is none")
			return
		}
		for event, on := range map[string]*bool{"push_events": in.Push, "tag_push_events": in.Tags, "merge_requests_events": in.Merges} {
			if on != nil && *on && !slices.Contains(h.Events, event) {
				h.Events = append(slices.Clone(h.Events), event)
			}
		}
	default:
		if in.Secret == "" {
			in.Secret = h.Secret
		}
		h = Hook{h.ID, in.URL, in.Secret, in.Events, !in.Active, ""}
	}
	if at, err := url.Parse(h.URL); err != nil || at.Host == "" {
		refuse(w, http.StatusUnprocessableEntity, "url is not valid")
		return
	}
	answer(w, status, s.shown(s.putHook(h)))
}

// try is GitLab's test of a webhook: one that is switched off is on again if the
// test is taken.
func (s *Server) try(w http.ResponseWriter, h Hook) {
	body, _ := json.Marshal(map[string]any{
		"object_kind": "push", "ref": "refs/heads/main", "before": strings.Repeat("1", 40), "after": strings.Repeat("1", 40),
		"project_id": s.ProjectID, "project": map[string]any{"id": s.ProjectID, "path_with_namespace": "acme/shop"},
	})
	if code := s.send(h, attempt{GUID: fmt.Sprintf("test-%d", len(s.attempts)), Event: "Push Hook", body: body}); code/100 != 2 {
		refuse(w, http.StatusUnprocessableEntity, fmt.Sprintf("Hook execution failed: %d", code))
		return
	}
	h.Off = false
	s.putHook(h)
	answer(w, http.StatusCreated, map[string]string{"message": "201 Created"})
}

// serveAttempts lists the newest attempt first.
func (s *Server) serveAttempts(w http.ResponseWriter, hook string) {
	all := []attempt{}
	for _, a := range slices.Backward(s.attempts) {
		if a.hook == hook {
			all = append(all, a)
		}
	}
	answer(w, http.StatusOK, all[:min(len(all), 100)])
}

// again delivers what an attempt could not, under the same id.
func (s *Server) again(w http.ResponseWriter, h Hook, id string) {
	for _, a := range s.attempts {
		if a.hook == h.ID && fmt.Sprint(a.ID) == id {
			s.send(h, attempt{GUID: a.GUID, At: a.At, Event: a.Event, Redelivered: true, body: a.body})
			answer(w, http.StatusAccepted, struct{}{})
			return
		}
	}
	refuse(w, http.StatusNotFound, "Not Found")
}
