package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/supervisor"
	"github.com/buildit-dev/buildit/internal/wiring/localrun"
)

// earlierRun is a run of a server that is repeated here: what passed there stands,
// and what it left behind is read when a stage fetches it.
type earlierRun struct {
	call *call
	view pipeline.View

	mu     sync.Mutex
	grants map[string]platform.SignedRequest // for the bytes of files, by digest
}

// findEarlierRun asks the server for a run, and says how the tree here differs.
func findEarlierRun(ctx context.Context, env *environment, flags *runFlags, root string, git bool) (*earlierRun, error) {
	o := newOptions("run", env)
	which := whichRun(o)
	o.server, o.org = flags.server, flags.org
	c, err := newClient(env, *o)
	if err != nil {
		return nil, err
	}
	before := &earlierRun{
		call:   &call{client: c, env: env, json: flags.json, words: []string{flags.from}},
		grants: make(map[string]platform.SignedRequest),
	}
	id, err := which.find(ctx, before.call, false)
	if err != nil {
		return nil, err
	}
	if err := before.call.get(ctx, runPath(id, ""), &before.view); err != nil {
		return nil, err
	}
	run := before.view.Run
	switch {
	case !run.Status.Final():
		return nil, mistake("run %s is %s: what failed is known when it has ended", flags.from, run.Status)
	case len(before.view.Stages) == 0:
		return nil, mistake("run %s has no stages: it is %s, %s", flags.from, run.Status, firstOf(run.Why, run.Reason))
	case run.Status == pipeline.Succeeded || run.Status == pipeline.Skipped:
		return nil, mistake("run %s is %s: nothing of it has failed; `buildit run` runs all of it here", flags.from, run.Status)
	}
	if flags.file == "" {
		flags.file = root + "/" + run.File
	}
	if note := differs(root, git, run.Commit); note != "" {
		fmt.Fprintf(env.stderr, "buildit run: note: %s\n", note)
	}
	return before, nil
}

// namedFiles is how many files a sentence names.
const namedFiles = 3

// differs says how the tree is another one than that of a commit, "" if it is not.
func differs(root string, git bool, commit string) string {
	if !git {
		return "this is no git repository: whether these are the files of commit " + short(commit) + " is not known"
	}
	if _, err := gitOutput(root, "cat-file", "-e", commit+"^{commit}"); err != nil {
		return fmt.Sprintf("commit %s is not in this repository (git fetch brings it); the stages run on the files that are here", short(commit))
	}
	diff, err := gitOutput(root, "diff", "--name-only", "-z", commit)
	if err != nil {
		return fmt.Sprintf("whether the files are those of commit %s is not known: %v", short(commit), err)
	}
	untracked, err := gitOutput(root, "ls-files", "-z", "--others", "--exclude-standard")
	if err != nil {
		return fmt.Sprintf("whether the files are those of commit %s is not known: %v", short(commit), err)
	}
	names := strings.Split(strings.TrimSuffix(diff+untracked, "\x00"), "\x00")
	if names[0] == "" {
		return ""
	}
	return fmt.Sprintf("the files here are not those of commit %s: %s", short(commit), fileList(names))
}

// fileList names some files, and how many more there are.
func fileList(names []string) string {
	shown := make([]string, 0, namedFiles)
	for _, name := range names[:min(len(names), namedFiles)] {
		shown = append(shown, clean(name, 200))
	}
	text := strings.Join(shown, ", ")
	if more := len(names) - len(shown); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// apply makes a local run a repetition of the earlier one; nil changes nothing.
func (b *earlierRun) apply(t *pipeline.Trigger, opt *pipeline.Options, config *localrun.Config) {
	if b == nil {
		return
	}
	run := b.view.Run
	t.Event, t.Commit, t.Branch, t.Tag, t.Attempt = run.Event, run.Commit, run.Branch, run.Tag, run.Attempt+1
	t.Why = "repeats run " + string(run.ID)
	if given := b.view.Params; len(given) > 0 {
		params := make(map[string]string, len(given))
		for name, value := range given {
			params[name] = value
		}
		for name, value := range t.Params { // --param
			params[name] = value
		}
		t.Params = params
	}
	if f := b.view.Facts; f != nil {
		t.Ref, t.Base, t.Head, t.BaseSHA, t.DefaultBranch = f.Ref, f.Base, f.Head, f.BaseSHA, firstOf(f.DefaultBranch, t.DefaultBranch)
		t.PullRequest, t.Fork, t.Draft, t.Action = f.PullRequest, f.Fork, f.Draft, f.Action
		t.Message, t.Author, t.CommitTime = f.Message, f.Author, f.CommitTime
		t.RepoName, t.RepoOwner, t.RepoURL = firstOf(f.RepoName, t.RepoName), f.RepoOwner, firstOf(f.RepoURL, t.RepoURL)
	}
	opt.Given, config.Given, config.Fetch = b.given()
}

// maxWhy is how much of a sentence of the server is shown, in characters.
const maxWhy = 500

// given is what passed: it stands, as do the stages whose condition did not hold.
func (b *earlierRun) given() (map[pipeline.StageKey]pipeline.Given, map[pipeline.StageKey]pipeline.Made, func(context.Context, supervisor.Object) (io.ReadCloser, error)) {
	ends, made := make(map[pipeline.StageKey]pipeline.Given), make(map[pipeline.StageKey]pipeline.Made)
	for _, st := range b.view.Stages {
		switch {
		case st.Status == pipeline.StageSkipped && (st.Reason == "condition" || st.Reason == "component"):
			ends[st.Key] = pipeline.Given{Status: st.Status, Reason: st.Reason, Why: clean(st.Why, maxWhy)}
		case st.Status == pipeline.StageSucceeded || st.Status == pipeline.StageAllowed:
			ends[st.Key] = pipeline.Given{Status: st.Status}
			made[st.Key] = pipeline.Made{
				Status: st.Status, Reason: "unchanged", Why: fmt.Sprintf("as in run #%d of %s", b.view.Number, b.call.server), Result: b.result(st),
			}
		}
	}
	return ends, made, b.fetch
}

// result is what a stage left behind, as its supervisor reported it.
func (b *earlierRun) result(st pipeline.Stage) supervisor.Result {
	r := supervisor.Result{V: 1, Reason: supervisor.ReasonOK, Command: -1, Outputs: st.Outputs, LogLines: st.Lines}
	if st.Exit != nil {
		r.ExitCode = *st.Exit
	}
	for _, a := range b.view.Artifacts {
		if a.Key != st.Key {
			continue
		}
		made := supervisor.ArtifactResult{Name: a.Name, Value: a.Value, Files: a.Files, Bytes: a.Bytes}
		if a.SHA256 != "" {
			made.Manifest = supervisor.Object{Kind: "artifact", Name: a.Name, SHA256: a.SHA256, Size: a.ManifestSize}
		}
		r.Artifacts = append(r.Artifacts, made)
	}
	return r
}

// fetch reads a manifest, or the bytes of a file that a manifest read before names.
// The supervisor holds both to their digests.
func (b *earlierRun) fetch(ctx context.Context, object supervisor.Object) (io.ReadCloser, error) {
	if object.Kind == "artifact" {
		return b.fetchManifest(ctx, object)
	}
	b.mu.Lock()
	grant, has := b.grants[object.SHA256]
	b.mu.Unlock()
	if !has {
		return nil, fmt.Errorf("no artifact of run %s has the bytes %s: %w", b.view.ID, object.SHA256, platform.ErrNotFound)
	}
	return b.call.granted(ctx, grant, 0)
}

func (b *earlierRun) fetchManifest(ctx context.Context, object supervisor.Object) (io.ReadCloser, error) {
	for _, a := range b.view.Artifacts {
		if a.SHA256 != object.SHA256 {
			continue
		}
		var got download
		path := runPath(string(b.view.ID), "/artifacts/"+url.PathEscape(a.Name)+"?"+url.Values{"stage": {string(a.Key)}}.Encode())
		if err := b.call.get(ctx, path, &got); err != nil {
			return nil, err
		}
		b.mu.Lock()
		for digest, grant := range got.Blobs {
			b.grants[digest] = grant
		}
		b.mu.Unlock()
		var form bytes.Buffer
		if err := json.Compact(&form, got.Manifest); err != nil {
			return nil, fmt.Errorf("the manifest of %s cannot be read: %w", a.Name, err)
		}
		return io.NopCloser(&form), nil
	}
	return nil, fmt.Errorf("run %s has no artifact with the digest %s: %w", b.view.ID, object.SHA256, platform.ErrNotFound)
}
