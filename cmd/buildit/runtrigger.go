package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
)

// localTrigger is the event of a local run: what the flags say, and what git's
// files tell about the tree. git itself is not asked: starting it takes as long as
// a short stage.
func localTrigger(root string, git bool, file string, flags runFlags) pipeline.Trigger {
	t := pipeline.Trigger{
		Repository: "local", File: file, Event: flags.event, Attempt: 1,
		Subject: strconv.FormatInt(time.Now().UnixNano(), 36),
		Trust:   "trusted", Actor: os.Getenv("USER"), RepoName: filepath.Base(root), RepoURL: "file://" + root,
		Branch: flags.branch, Tag: flags.tag, Params: flags.params, DefaultBranch: "main",
		Source: []string{"working-tree"}, Why: "started by buildit run",
	}
	if git {
		readHead(root, &t)
	}
	if t.Event == "pull-request" {
		t.Head, t.Branch = t.Branch, ""
	}
	switch {
	case t.Tag != "":
		t.Ref = "refs/tags/" + t.Tag
	case t.Branch != "":
		t.Ref = "refs/heads/" + t.Branch
	}
	return t
}

// readHead finds the commit and the branch of the tree. A tree without a commit
// has neither.
func readHead(root string, t *pipeline.Trigger) {
	dir := filepath.Join(root, ".git")
	head, err := os.ReadFile(filepath.Join(dir, "HEAD"))
	if err != nil {
		return // a linked tree: its commit is not worth a process
	}
	ref, onBranch := strings.CutPrefix(strings.TrimSpace(string(head)), "ref: ")
	if !onBranch {
		t.Commit = ref
		return
	}
	if branch, ok := strings.CutPrefix(ref, "refs/heads/"); ok && t.Branch == "" && t.Tag == "" {
		t.Branch = branch
	}
	if sha, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(ref))); err == nil {
		t.Commit = strings.TrimSpace(string(sha))
		return
	}
	packed, err := os.ReadFile(filepath.Join(dir, "packed-refs"))
	if err != nil {
		return
	}
	for line := range strings.Lines(string(packed)) {
		if sha, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == ref {
			t.Commit = sha
			return
		}
	}
}

// asksForFiles tells whether a condition of the file speaks of changed files.
func asksForFiles(file *language.Pipeline) bool {
	for _, event := range file.Events {
		if len(event.Paths)+len(event.PathsIgnore) > 0 {
			return true
		}
	}
	for _, stage := range file.Stages {
		for _, when := range stage.When {
			if len(when.Path) > 0 || strings.Contains(when.Expression, "changed") {
				return true
			}
		}
	}
	return false
}

// changedFiles are those that differ from the merge base with the default branch,
// uncommitted ones included; known is false where git cannot tell.
func changedFiles(root, defaultBranch string) (names []string, known bool) {
	base, err := gitOutput(root, "merge-base", "HEAD", defaultBranch)
	if err != nil {
		return nil, false
	}
	diff, err := gitOutput(root, "diff", "--name-only", "-z", strings.TrimSpace(base))
	if err != nil {
		return nil, false
	}
	untracked, err := gitOutput(root, "ls-files", "-z", "--others", "--exclude-standard")
	if err != nil {
		return nil, false
	}
	for name := range strings.SplitSeq(diff+untracked, "\x00") {
		if name != "" {
			names = append(names, name)
		}
	}
	return names, true
}

func gitOutput(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	return string(out), err
}
