package workspace

import (
	"bufio"
	"compress/zlib"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Head is the commit that a working tree stands on, and its branch. Each field is
// empty where git's files do not tell it: a new repository has no commit, a
// detached head no branch.
type Head struct {
	Commit  string // 40 or 64 hex digits
	Branch  string
	Default string // the repository's default branch
	Author  string // name <address>
	Message string
	Time    time.Time // of the commit, by its committer
}

// ReadHead reads git's own files. git itself is asked only for a commit that lies
// in a pack: starting it takes as long as a short stage.
//
// Source: gitrepository-layout(5).
func ReadHead(root string) Head {
	private, common, err := gitFolders(root)
	if err != nil {
		return Head{}
	}
	text, err := os.ReadFile(filepath.Join(private, "HEAD"))
	if err != nil {
		return Head{}
	}
	h := Head{Default: defaultBranch(common)}
	ref, onBranch := strings.CutPrefix(strings.TrimSpace(string(text)), "ref: ")
	if onBranch {
		h.Branch, _ = strings.CutPrefix(ref, "refs/heads/")
		h.Commit = readRef(common, ref)
	} else {
		h.Commit = ref
	}
	if h.Default == "" {
		h.Default = orText(h.Branch, "main")
	}
	if h.Commit != "" {
		h.readCommit(root, common)
	}
	return h
}

// defaultBranch is what the remote calls so, else the usual name that exists.
func defaultBranch(common string) string {
	if text, err := os.ReadFile(filepath.Join(common, "refs", "remotes", "origin", "HEAD")); err == nil {
		if branch, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "ref: refs/remotes/origin/"); ok {
			return branch
		}
	}
	for _, usual := range []string{"main", "master"} {
		if readRef(common, "refs/heads/"+usual) != "" {
			return usual
		}
	}
	return ""
}

// readRef is the commit of a ref, "" if there is no such ref.
func readRef(common, ref string) string {
	if sha, err := os.ReadFile(filepath.Join(common, filepath.FromSlash(ref))); err == nil {
		return strings.TrimSpace(string(sha))
	}
	packed, err := os.ReadFile(filepath.Join(common, "packed-refs"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(packed)) {
		if sha, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == ref {
			return sha
		}
	}
	return ""
}

// readCommit fills in what the commit itself says.
func (h *Head) readCommit(root, common string) {
	text, err := looseObject(common, h.Commit)
	if err != nil {
		cmd := exec.Command("git", "cat-file", "commit", h.Commit)
		cmd.Dir = root
		if text, err = cmd.Output(); err != nil {
			return // the run goes on without what the commit says
		}
	}
	headers, message, _ := strings.Cut(string(text), "\n\n")
	h.Message = strings.TrimSpace(message)
	for line := range strings.Lines(headers) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		person, seconds := splitPerson(value)
		switch name {
		case "author":
			h.Author = person
		case "committer":
			h.Time = time.Unix(seconds, 0).UTC()
		}
	}
}

// splitPerson separates "name <address> seconds zone".
func splitPerson(value string) (person string, seconds int64) {
	end := strings.LastIndexByte(value, '>') + 1
	if fields := strings.Fields(value[end:]); len(fields) > 0 {
		seconds, _ = strconv.ParseInt(fields[0], 10, 64) // 0 is what git shows for a broken one
	}
	return value[:end], seconds
}

// largestCommit bounds what is read of a commit, in bytes.
const largestCommit = 1 << 20

// looseObject reads an object that is a file of its own.
func looseObject(common, sha string) (text []byte, err error) {
	if len(sha) < 40 {
		return nil, os.ErrNotExist
	}
	file, err := os.Open(filepath.Join(common, "objects", sha[:2], sha[2:]))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	unpacked, err := zlib.NewReader(file)
	if err != nil {
		return nil, err
	}
	object := bufio.NewReader(io.LimitReader(unpacked, largestCommit))
	if _, err := object.ReadString(0); err != nil { // kind and size
		return nil, err
	}
	return io.ReadAll(object)
}

func orText(text, fallback string) string {
	if text == "" {
		return fallback
	}
	return text
}
