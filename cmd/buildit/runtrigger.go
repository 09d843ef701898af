package main

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/pipeline/workspace"
)

// localTrigger is the event of a local run: what the flags say, and what git's
// files tell about the tree.
func localTrigger(root string, git bool, file string, flags runFlags, getenv func(string) string) pipeline.Trigger {
	t := pipeline.Trigger{
		Repository: "local", File: file, Event: flags.event, Attempt: 1,
		Subject: strconv.FormatInt(time.Now().UnixNano(), 36),
		Trust:   "trusted", RepoName: filepath.Base(root), RepoURL: "file://" + root,
		Branch: flags.branch, Tag: flags.tag, Params: flags.params, DefaultBranch: "main",
		Source: []string{"working-tree"}, Why: "started by buildit run",
	}
	for _, name := range []string{"USER", "LOGNAME"} {
		if t.Actor == "" {
			t.Actor = getenv(name)
		}
	}
	if git {
		head := workspace.ReadHead(root)
		t.Commit, t.Message, t.Author, t.CommitTime = head.Commit, head.Message, head.Author, head.Time
		t.DefaultBranch = head.Default
		if t.Branch == "" && t.Tag == "" {
			t.Branch = head.Branch
		}
	}
	if t.Event == "pull-request" { // of this branch, into the default one
		t.Head, t.Branch, t.Base = t.Branch, "", t.DefaultBranch
	}
	switch {
	case t.Tag != "":
		t.Ref, t.Branch = "refs/tags/"+t.Tag, ""
	case t.Branch != "":
		t.Ref = "refs/heads/" + t.Branch
	}
	return t
}

// asksForFiles tells whether a condition of the file speaks of changed files.
func asksForFiles(file *language.Pipeline) bool {
	for _, event := range file.Events {
		if len(event.Paths)+len(event.PathsIgnore) > 0 {
			return true
		}
	}
	for _, stage := range file.Stages {
		if stage.Component != "" {
			return true
		}
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
