package forge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// SetCheck makes a commit show a check, in place of what it showed under that name,
// and answers what the provider calls it. To set the same twice does no harm.
func (a API) SetCheck(ctx context.Context, c Check) (remote string, err error) {
	switch {
	case a.Provider == "gitlab":
		return "", a.gitlabStatus(ctx, c)
	case a.Provider == "bitbucket":
		return "", a.bitbucketStatus(ctx, c)
	case strings.HasPrefix(a.Token, installation):
		return a.githubCheckRun(ctx, c)
	}
	return "", a.githubStatus(ctx, c)
}

// installation begins the tokens of GitHub apps, which alone may make check runs.
const installation = "ghs_"

// Limits of what providers show.
const (
	maxGitHubText    = 140 // characters of a status's description
	maxText          = 255
	maxBitbucketName = 40 // characters of a key
)

// githubStatus uses commit statuses, which any token may make.
//
// Source: GitHub REST, "Create a commit status".
func (a API) githubStatus(ctx context.Context, c Check) error {
	state := map[CheckState]string{
		CheckPending: "pending", CheckRunning: "pending", CheckSuccess: "success", CheckNeutral: "success",
		CheckFailure: "failure", CheckError: "error", CheckCanceled: "error",
	}[c.State]
	return a.call(ctx, http.MethodPost, "/repos/"+a.FullName+"/statuses/"+url.PathEscape(c.Commit), map[string]string{
		"state": state, "context": c.Name, "description": shorten(c.Description, maxGitHubText), "target_url": c.URL,
	}, nil)
}

// githubCheckRun uses check runs: one for each run of ours, updated while it goes.
//
// Source: GitHub REST, "Create a check run", "Update a check run".
func (a API) githubCheckRun(ctx context.Context, c Check) (string, error) {
	body := map[string]any{
		"name": c.Name, "head_sha": c.Commit, "details_url": c.URL, "external_id": c.Run,
		"output": map[string]string{"title": shorten(c.Description, maxText), "summary": c.Description},
	}
	switch c.State {
	case CheckPending:
		body["status"] = "queued"
	case CheckRunning:
		body["status"] = "in_progress"
	default:
		body["status"] = "completed"
		body["conclusion"] = map[CheckState]string{
			CheckSuccess: "success", CheckNeutral: "neutral", CheckFailure: "failure", CheckError: "failure", CheckCanceled: "cancelled",
		}[c.State]
	}
	method, path := http.MethodPost, "/repos/"+a.FullName+"/check-runs"
	if c.Remote != "" {
		method, path = http.MethodPatch, path+"/"+url.PathEscape(c.Remote)
		delete(body, "head_sha")
	}
	var answer struct {
		ID id `json:"id"`
	}
	err := a.call(ctx, method, path, body, &answer)
	return string(answer.ID), err
}

// gitlabStatus uses commit statuses. A server that is asked for the state that it has
// may say that it cannot get there: it is there.
//
// Source: GitLab REST, "Set commit pipeline status".
func (a API) gitlabStatus(ctx context.Context, c Check) error {
	state := map[CheckState]string{
		CheckPending: "pending", CheckRunning: "running", CheckSuccess: "success", CheckNeutral: "success",
		CheckFailure: "failed", CheckError: "failed", CheckCanceled: "canceled",
	}[c.State]
	err := a.call(ctx, http.MethodPost, "/projects/"+url.PathEscape(a.FullName)+"/statuses/"+url.PathEscape(c.Commit), map[string]string{
		"state": state, "name": c.Name, "description": shorten(c.Description, maxText), "target_url": c.URL,
	}, nil)
	var refused *Refusal
	if errors.As(err, &refused) && refused.Status == http.StatusBadRequest && strings.Contains(refused.Message, "Cannot transition status") &&
		strings.Contains(refused.Message, "from :"+state) {
		return nil
	}
	return err
}

// bitbucketStatus uses build statuses, whose key is short: a digest of the name.
//
// Source: Bitbucket Cloud REST, "Create a build status for a commit".
func (a API) bitbucketStatus(ctx context.Context, c Check) error {
	state := map[CheckState]string{
		CheckPending: "INPROGRESS", CheckRunning: "INPROGRESS", CheckSuccess: "SUCCESSFUL", CheckNeutral: "SUCCESSFUL",
		CheckFailure: "FAILED", CheckError: "FAILED", CheckCanceled: "STOPPED",
	}[c.State]
	sum := sha256.Sum256([]byte(c.Name))
	return a.call(ctx, http.MethodPost, "/repositories/"+a.FullName+"/commit/"+url.PathEscape(c.Commit)+"/statuses/build", map[string]string{
		"state": state, "key": hex.EncodeToString(sum[:])[:maxBitbucketName], "name": shorten(c.Name, maxText),
		"description": shorten(c.Description, maxText), "url": c.URL,
	}, nil)
}

// shorten cuts a text to a number of characters.
func shorten(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return string(runes[:most-1]) + "…"
}
