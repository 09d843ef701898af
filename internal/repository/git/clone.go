package git

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// Clone is what a fetch brought: objects in a folder of their own.
type Clone struct {
	dir     string
	storage *filesystem.Storage
	limits  Limits

	shallow    []plumbing.Hash
	tags       map[Ref]CommitSHA
	tagObjects map[Ref]string
}

// Close removes the folder.
func (c *Clone) Close() error { return errors.Join(c.storage.Close(), os.RemoveAll(c.dir)) }

// Has says whether the fetch brought a commit.
func (c *Clone) Has(commit CommitSHA) bool {
	_, err := c.commit(commit)
	return err == nil
}

// Commit describes a commit, for people and for rules that read its message.
type Commit struct {
	SHA     CommitSHA
	Message string // at most 4 KiB of it
	Author  string // name <address>
	When    time.Time
	Parents []CommitSHA
}

// Commit reads a commit that the fetch brought.
func (c *Clone) Commit(sha CommitSHA) (Commit, error) {
	commit, err := c.commit(sha)
	if err != nil {
		return Commit{}, err
	}
	info := Commit{SHA: sha, Message: readable(commit.Message, 4096), When: commit.Committer.When.UTC()}
	info.Author = readable(fmt.Sprintf("%s <%s>", commit.Author.Name, commit.Author.Email), 256)
	for _, parent := range commit.ParentHashes {
		info.Parents = append(info.Parents, CommitSHA(parent.String()))
	}
	return info, nil
}

func (c *Clone) commit(sha CommitSHA) (*object.Commit, error) {
	commit, err := object.GetCommit(c.storage, plumbing.NewHash(string(sha)))
	if err != nil {
		return nil, fmt.Errorf("commit %s: %w", sha.Short(), err)
	}
	return commit, nil
}

// readable cuts text to a size and to valid UTF-8.
func readable(text string, size int) string {
	return strings.ToValidUTF8(text[:min(len(text), size)], "\uFFFD")
}
