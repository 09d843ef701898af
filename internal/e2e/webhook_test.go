package e2e

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/golden"
	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

// hook is a webhook as its provider knows it.
type hook struct {
	site               *site
	provider           string
	repo, path, secret string
	sent               int
}

// connectHook connects a repository of a provider whose pushes the test delivers.
func (s *site) connectHook(server *gittest.Server, provider, name string, flags ...string) (*gittest.Tree, *hook) {
	s.t.Helper()
	tree := server.New(s.t, name)
	tree.Commit("first", ".buildit.kdl", hello)
	tree.Push()
	var made struct {
		Repository struct{ ID string }
		Webhook    struct{ Path, Secret string }
	}
	args := []string{"repo", "connect", tree.URL, "--name", strings.ToLower(filepath.Base(name)), "--provider", provider, "--json"}
	s.decode(s.ok(append(args, flags...)...), &made)
	return tree, &hook{site: s, provider: provider, repo: made.Repository.ID, path: made.Webhook.Path, secret: made.Webhook.Secret}
}

func mac(key, text []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return h.Sum(nil)
}

// headers are those that the provider sends with a body.
func (h *hook) headers(event, id string, body []byte) []string {
	h.site.t.Helper()
	signature := "sha256=" + hex.EncodeToString(mac([]byte(h.secret), body))
	switch h.provider {
	case "github":
		return []string{"X-GitHub-Event", event, "X-GitHub-Delivery", id, "X-Hub-Signature-256", signature}
	case "bitbucket":
		return []string{"X-Event-Key", event, "X-Request-UUID", id, "X-Hub-Signature", signature, "X-Attempt-Number", "1"}
	}
	all := []string{"X-Gitlab-Event", event, "Idempotency-Key", id}
	encoded, signs := strings.CutPrefix(h.secret, "whsec_")
	if !signs {
		return append(all, "X-Gitlab-Token", h.secret)
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		h.site.t.Fatal(err)
	}
	stamp := fmt.Sprint(time.Now().Unix())
	signed := mac(key, []byte(id+"."+stamp+"."+string(body)))
	return append(all, "webhook-id", id, "webhook-timestamp", stamp, "webhook-signature", "v1,"+base64.StdEncoding.EncodeToString(signed))
}

// deliver sends a body, which is an object or the bytes of a file.
func (h *hook) deliver(event string, body any) {
	h.site.t.Helper()
	h.sent++
	h.deliverAs(fmt.Sprintf("delivery-%d", h.sent), event, body)
}

func (h *hook) deliverAs(id, event string, body any) {
	h.site.t.Helper()
	data, raw := body.([]byte)
	if !raw {
		var err error
		if data, err = json.Marshal(body); err != nil {
			h.site.t.Fatal(err)
		}
	}
	if code, answer := h.post(data, h.headers(event, id, data)...); code != http.StatusAccepted {
		h.site.t.Fatalf("%s %s: %d %s", h.provider, event, code, answer)
	}
}

func (h *hook) post(body []byte, headers ...string) (int, string) {
	h.site.t.Helper()
	return h.site.call(http.MethodPost, h.path, bytes.NewReader(body), append(headers, "Content-Type", "application/json")...)
}

type deliveryRow struct {
	ID, Event, Status, Note string
	Runs                    []string
}

// settled waits until every delivery that was sent is settled, and answers them by id.
func (h *hook) settled() map[string]deliveryRow {
	h.site.t.Helper()
	byID := map[string]deliveryRow{}
	h.site.await("deliveries are settled", func() bool {
		var list []deliveryRow
		h.site.decode(h.site.ok("repo", "deliveries", h.repo, "--limit", "1000", "--json"), &list)
		open := 0
		for _, d := range list {
			byID[d.ID] = d
			if d.Status == "received" {
				open++
			}
		}
		return open == 0 && len(list) >= h.sent
	})
	return byID
}

type object = map[string]any

const zeros = "0000000000000000000000000000000000000000"

// The public bodies of GitHub, sent for a repository of the name that they speak of,
// signed with its secret: the first binds the repository's id, each is accepted and
// settled, and a push among them makes the run of what the remote has now.
func TestPublicBodiesOfGitHub(t *testing.T) {
	t.Parallel()
	folder := golden.Folder(t, "BUILDIT_FIXTURES", "../shared/fixtures")
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree, h := s.connectHook(server, "github", "Codertocat/Hello-World")
	tree.Commit("second", "a", "1")
	tree.Push("main", "main:changes", "main:refs/tags/simple-tag", "main:refs/pull/2/head")
	sent, skipped := 0, 0
	for _, pattern := range []string{"push", "pull_request", "ping", "create", "delete", "repository", "check_run", "issue_comment", "release"} {
		paths, err := filepath.Glob(filepath.Join(folder, "octokit", pattern, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			body, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Contains(body, []byte(`"id": 186853002`)) {
				skipped++ // a body of another repository, which this hook must not take
				h.refuses(body, pattern)
				continue
			}
			h.deliver(pattern, body)
			sent++
		}
	}
	if sent < 10 {
		t.Fatalf("%d bodies were sent, %d are of other repositories", sent, skipped)
	}
	for id, d := range h.settled() {
		if d.Status != "handled" && (d.Status != "ignored" || d.Note == "") {
			t.Errorf("%s: %+v", id, d)
		}
	}
	found := map[string]bool{}
	for _, r := range s.over("hello-world") {
		found[r.String()] = true
		if r.Status != "succeeded" && r.Status != "skipped" {
			t.Errorf("%+v", r)
		}
	}
	if len(found) == 0 {
		t.Error("the public pushes made no run")
	}
	t.Logf("bodies: %d sent, %d of other repositories refused, runs: %v", sent, skipped, found)
}

// refuses sends a proved body of another repository.
func (h *hook) refuses(body []byte, event string) {
	h.site.t.Helper()
	if code, answer := h.post(body, h.headers(event, "other", body)...); code != http.StatusUnauthorized {
		h.site.t.Errorf("%s of another repository: %d %s", event, code, answer)
	}
}

// What GitHub sends for pushes, tags and pull requests of branches and of forks makes
// the runs that the default events want; a fork's does not run unisolated, and says so.
func TestGitHubEvents(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree, h := s.connectHook(server, "github", "acme/shop")
	repository := object{"id": 42, "full_name": "acme/shop", "default_branch": "main"}
	push := func(ref, before, after string) {
		h.deliver("push", object{"ref": ref, "before": before, "after": after, "repository": repository, "sender": object{"id": 1, "login": "ann"}})
	}
	pull := func(number int, head, branch string, from any) object {
		return object{
			"action": "opened", "number": number, "repository": repository, "sender": object{"id": 2, "login": "bob"},
			"pull_request": object{
				"head": object{"sha": head, "ref": branch, "repo": from}, "base": object{"sha": zeros, "ref": "main", "repo": repository}, "user": object{"id": 2},
			},
		}
	}
	one := tree.Commit("on main", "a", "1")
	tree.Push()
	push("refs/heads/main", zeros, one)
	s.ended("shop", 1)
	tree.Git("checkout", "--quiet", "-b", "topic/ünï#1%20$(id)")
	two := tree.Commit("on topic", "a", "2")
	tree.Push("HEAD", "HEAD:refs/pull/1/head")
	push("refs/heads/topic/ünï#1%20$(id)", zeros, two)
	h.deliver("pull_request", pull(1, two, "topic/ünï#1%20$(id)", repository))
	tree.Git("checkout", "--quiet", "main")
	stranger := tree.Commit("a stranger's", ".buildit.kdl", "pipeline \"shop\"\nstage \"test\" {\n    run \"touch "+s.dir+"/pwned\"\n}\n")
	tree.Push("HEAD:refs/pull/2/head")
	h.deliver("pull_request", pull(2, stranger, "main", object{"id": 43, "full_name": "bob/shop"}))
	tree.Git("reset", "--quiet", "--hard", one)
	tree.Push("HEAD:refs/tags/v1")
	push("refs/tags/v1", zeros, one)
	h.settled()
	want := map[string]string{
		"push main":                "succeeded ",
		"push topic/ünï#1%20$(id)": "succeeded ",
		"pull-request 1":           "skipped no-match",
		"pull-request 2":           "skipped untrusted",
		"tag v1":                   "skipped no-match",
	}
	for _, r := range s.ended("shop", len(want)) {
		name := r.Event + " " + firstOf(r.Branch, r.Tag, r.Subject)
		if got := r.Status + " " + r.Reason; got != want[name] {
			t.Errorf("%s: %s, want %s: %s", name, got, want[name], r.Why)
		}
		if said := s.buildit("runs", "show", r.ID).out; r.Reason == "untrusted" && (r.Trust != "untrusted" || !strings.Contains(said, "stranger")) {
			t.Errorf("%s: %s", r.Trust, said)
		}
		if r.Branch != "" && r.Branch != "main" && !strings.Contains(s.ok("logs", r.ID), "hello from "+r.Branch+"\n") {
			t.Errorf("%s", s.ok("logs", r.ID))
		}
	}
	if _, err := os.Stat(filepath.Join(s.dir, "pwned")); err == nil {
		t.Error("a stranger's commit ran")
	}
}

func firstOf(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// GitLab proves with its token or, where the repository has one, with its signing
// token alone; its events make runs.
func TestGitLabEvents(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	signing := "whsec_" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("k"), 32))
	for name, secret := range map[string]string{"token": "a-plain-token-of-24-bytes", "signed": signing} {
		tree := server.New(t, "group/"+name)
		tree.Commit("first", ".buildit.kdl", hello)
		tree.Push()
		var made struct {
			Repository struct{ ID string }
			Webhook    struct{ Path, Secret string }
		}
		connected := s.with([]string{"HOOK=" + secret}, "repo", "connect", tree.URL, "--provider", "gitlab", "--secret-env", "HOOK", "--json")
		s.decode(connected.out, &made)
		h := &hook{site: s, provider: "gitlab", repo: made.Repository.ID, path: made.Webhook.Path, secret: secret}
		project := object{"id": 7, "path_with_namespace": "group/" + name, "default_branch": "main"}
		one := tree.Commit("second", "a", "1")
		tree.Push("main", "main:refs/tags/v1", "main:topic", "main:refs/merge-requests/3/head")
		h.deliver("Push Hook", object{"ref": "refs/heads/main", "before": zeros, "after": one, "user_id": 1, "user_username": "ann", "project": project})
		h.deliver("Tag Push Hook", object{"ref": "refs/tags/v1", "before": zeros, "after": one, "user_id": 1, "project": project})
		h.deliver("Merge Request Hook", object{
			"project": project, "user": object{"id": 1, "username": "ann"},
			"object_attributes": object{
				"iid": 3, "action": "open", "source_branch": "topic", "target_branch": "main",
				"source_project_id": 7, "target_project_id": 7, "last_commit": object{"id": one},
			},
		})
		h.settled()
		want := map[string]string{"push": "succeeded", "tag": "skipped", "pull-request": "skipped"}
		for _, r := range s.ended(name, len(want)) {
			if r.Status != want[r.Event] {
				t.Errorf("%s: %v %s", name, r, r.Why)
			}
		}
		body := []byte(`{}`)
		if code, _ := h.post(body, "X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", secret[:len(secret)-1]); code != http.StatusUnauthorized {
			t.Errorf("a wrong token: %d", code)
		}
		if code, _ := h.post(body, "X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", secret); name == "signed" && code != http.StatusUnauthorized {
			t.Errorf("a plain token beside a signing one: %d", code)
		}
	}
}

// One push of Bitbucket with several changes makes several runs; a pull request has
// no ref there, and its branch says what its head is.
func TestBitbucketEvents(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree, h := s.connectHook(server, "bitbucket", "acme/shop")
	repository := object{"uuid": "{1b}", "full_name": "acme/shop"}
	one := tree.Commit("second", "a", "1")
	tree.Push("main", "main:topic", "main:refs/tags/v1")
	change := func(kind, name string) object {
		return object{"old": nil, "new": object{"type": kind, "name": name, "target": object{"hash": one}}, "created": true}
	}
	h.deliver("repo:push", object{
		"repository": repository, "actor": object{"uuid": "{a}", "nickname": "ann"},
		"push": object{"changes": []object{change("branch", "main"), change("branch", "topic"), change("tag", "v1")}},
	})
	side := func(branch string, of any) object {
		return object{"branch": object{"name": branch}, "commit": object{"hash": one[:12]}, "repository": of}
	}
	pull := func(id int, from any) object {
		return object{"repository": repository, "pullrequest": object{"id": id, "source": side("topic", from), "destination": side("main", repository)}}
	}
	h.deliver("pullrequest:created", pull(1, repository))
	h.deliver("pullrequest:created", pull(2, object{"uuid": "{fork}", "full_name": "bob/shop"}))
	rows := h.settled()
	if len(rows["delivery-1"].Runs) != 3 || len(rows["delivery-2"].Runs) != 1 || !strings.Contains(rows["delivery-3"].Note, "fork") {
		t.Errorf("%+v", rows)
	}
	want := map[string]string{"push main": "succeeded", "push topic": "succeeded", "tag v1": "skipped", "pull-request 1": "skipped"}
	for _, r := range s.ended("shop", len(want)) {
		if name := r.Event + " " + firstOf(r.Branch, r.Tag, r.Subject); r.Status != want[name] {
			t.Errorf("%s: %v %s", name, r, r.Why)
		}
	}
}

// What nobody proved writes nothing, and a duplicate makes nothing; a body of 100 MB
// is refused and leaves the server as small as it was.
func TestRefusedDeliveries(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree, h := s.connectHook(server, "github", "acme/shop")
	one := tree.Commit("second", "a", "1")
	tree.Push()
	push := object{"ref": "refs/heads/main", "before": zeros, "after": one, "repository": object{"id": 42, "full_name": "acme/shop"}}
	body, err := json.Marshal(push)
	if err != nil {
		t.Fatal(err)
	}
	forged := []string{"X-GitHub-Event", "push", "X-GitHub-Delivery", "d", "X-Hub-Signature-256", "sha256=" + strings.Repeat("0", 64)}
	code, answer := h.post(body, forged...)
	unknown := *h
	unknown.path = "/webhooks/github/nosuchrepository"
	otherCode, otherAnswer := unknown.post(body, forged...)
	if code != http.StatusUnauthorized || otherCode != code || withoutRequest(t, answer) != withoutRequest(t, otherAnswer) {
		t.Errorf("forged %d %s, unknown repository %d %s", code, answer, otherCode, otherAnswer)
	}
	if rows := h.settled(); len(rows) > 0 || len(s.runs("shop")) > 0 {
		t.Errorf("a forged delivery was kept: %v", rows)
	}
	before := s.resident()
	huge := make([]byte, 100<<20)
	h.huge(huge)
	if grown := s.resident() - before; grown > 64<<20 {
		t.Errorf("100 MB made the server %d MB bigger", grown>>20)
	}
	for range 20 {
		h.deliverAs("the-same", "push", push)
	}
	h.sent = 1
	h.settled()
	s.ended("shop", 1)
}

// huge sends a body that is over every limit. The server may answer and hang up
// before it has read all of it.
func (h *hook) huge(body []byte) {
	h.site.t.Helper()
	r, err := http.NewRequestWithContext(h.site.t.Context(), http.MethodPost, h.site.url+h.path, bytes.NewReader(body))
	if err != nil {
		h.site.t.Fatal(err)
	}
	r.Header.Set("Expect", "100-continue")
	client := http.Client{Transport: &http.Transport{ExpectContinueTimeout: 10 * time.Second}}
	answer, err := client.Do(r)
	if err != nil {
		h.site.t.Fatalf("100 MB: %v", err)
	}
	if text := read(h.site.t, answer.Body); answer.StatusCode != http.StatusRequestEntityTooLarge {
		h.site.t.Errorf("100 MB: %d %s", answer.StatusCode, text)
	}
}

func withoutRequest(t *testing.T, answer string) string {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(answer), &fields); err != nil {
		t.Fatal(err)
	}
	delete(fields, "request")
	delete(fields, "instance")
	return fmt.Sprint(fields)
}

// resident is the memory of the server, in bytes.
func (s *site) resident() int64 {
	s.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", s.cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		s.t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
