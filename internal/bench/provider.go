package main

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// hook is a connected repository and the webhook that its provider was told.
type hook struct {
	name, provider string
	repository     string // its id here
	path, secret   string
	heads          string // folder of the served repository's branches
	commit         string // that all of them point to
}

// providers whose deliveries are mixed.
var providers = []string{"github", "gitlab", "bitbucket"}

// connectHook makes a repository of one quick stage, serves it and connects it.
func (p *platform) connectHook(ctx context.Context, provider string) (*hook, error) {
	h := &hook{name: "hooked-" + provider, provider: provider}
	work := filepath.Join(p.dir, "work", h.name)
	if err := workload(ctx, work, []stage{{name: "hello", run: "true"}}, peers(p.root)[:1]); err != nil {
		return nil, err
	}
	head := exec.CommandContext(ctx, "git", "rev-parse", "HEAD")
	head.Dir = work
	out, err := head.Output()
	if err != nil {
		return nil, err
	}
	h.commit = strings.TrimSpace(string(out))
	h.heads = filepath.Join(p.dir, "git", h.name+".git", "refs", "heads")
	if err := command(ctx, p.dir, "git", "clone", "--quiet", "--bare", work, filepath.Dir(filepath.Dir(h.heads))); err != nil {
		return nil, err
	}
	var answer struct {
		Repository struct{ ID string }
		Webhook    struct{ Path, Secret string }
	}
	err = p.call(ctx, http.MethodPost, "/repositories", map[string]any{
		"name": h.name, "url": p.git.URL + "/" + h.name + ".git", "provider": provider, "run_pipelines": true,
		"provider_id": "17",
	}, &answer)
	h.repository, h.path, h.secret = answer.Repository.ID, answer.Webhook.Path, answer.Webhook.Secret
	return h, err
}

// branch makes a branch in the served repository.
func (h *hook) branch(name string) error {
	return os.WriteFile(filepath.Join(h.heads, name), []byte(h.commit+"\n"), 0o644)
}

// push is a provider's delivery of a new branch.
func (h *hook) push(ctx context.Context, url, id, branch string) (*http.Request, error) {
	const none = "0000000000000000000000000000000000000000"
	var body any
	headers := map[string]string{}
	switch h.provider {
	case "github":
		headers = map[string]string{"X-GitHub-Event": "push", "X-GitHub-Delivery": id}
		body = map[string]any{
			"ref": "refs/heads/" + branch, "before": none, "after": h.commit, "created": true,
			"repository": map[string]any{"id": 17, "full_name": h.name, "default_branch": "main"},
			"sender":     map[string]any{"id": 1, "login": "bench"},
		}
	case "gitlab":
		headers = map[string]string{"X-Gitlab-Event": "Push Hook", "X-Gitlab-Event-UUID": id, "X-Gitlab-Token": h.secret}
		body = map[string]any{
			"ref": "refs/heads/" + branch, "before": none, "after": h.commit, "user_id": 1, "user_username": "bench",
			"project": map[string]any{"id": 17, "path_with_namespace": h.name, "default_branch": "main"},
		}
	case "bitbucket":
		headers = map[string]string{"X-Event-Key": "repo:push", "X-Request-UUID": id}
		made := map[string]any{"type": "branch", "name": branch, "target": map[string]any{"hash": h.commit}}
		body = map[string]any{
			"push":       map[string]any{"changes": []any{map[string]any{"old": nil, "new": made}}},
			"repository": map[string]any{"uuid": "17", "full_name": h.name},
			"actor":      map[string]any{"uuid": "1", "nickname": "bench"},
		}
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, []byte(h.secret))
	mac.Write(text)
	signature := "sha256=" + hex.EncodeToString(mac.Sum(nil))
	headers["X-Hub-Signature-256"], headers["X-Hub-Signature"] = signature, signature
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+h.path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	return req, nil
}

// deliver sends a delivery and says how long the answer took.
func (h *hook) deliver(ctx context.Context, url, id, branch string) (status int, took time.Duration, err error) {
	req, err := h.push(ctx, url, id, branch)
	if err != nil {
		return 0, 0, err
	}
	begin := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, time.Since(begin), errors.Join(err, res.Body.Close())
}
