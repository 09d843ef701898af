package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/buildit-dev/buildit/internal/problem"
)

// Want is what a fetch brings.
type Want struct {
	Commit CommitSHA // must be there afterwards
	Branch string    // of the remote, on which Commit lies; for servers that hand out tips alone
	Also   []CommitSHA
	Depth  int // commits below each, at least 1
}

// deepest is how far back a commit is looked for on a server that hands out tips alone.
const deepest = 1000

// ErrNoCommit says that the remote does not have the commit, or hands out tips
// alone and has it too far below.
var ErrNoCommit = errors.New("the remote does not hand out this commit")

// Fetch brings commits with their trees and files into a folder of their own. What
// is in Also is brought if the server hands it out. The caller closes the Clone.
func (r *Remote) Fetch(ctx context.Context, want Want) (*Clone, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.client.options.Limits.Time, tooLarge(
		"Fetching %s took longer than %s.", r.at, r.client.options.Limits.Time))
	defer cancel()
	clone, err := r.fetch(ctx, want)
	if err != nil && ctx.Err() != nil && context.Cause(ctx) != ctx.Err() {
		err = context.Cause(ctx)
	}
	return clone, explain(r.at, "fetching "+want.Commit.Short(), err)
}

func (r *Remote) fetch(ctx context.Context, want Want) (*Clone, error) {
	if r.adv == nil {
		return nil, r.noCommit(want)
	}
	anything := r.adv.Capabilities.Supports(capability.AllowReachableSHA1InWant) || r.adv.Capabilities.Supports("allow-any-sha1-in-want")
	wants := []CommitSHA{}
	for _, commit := range append([]CommitSHA{want.Commit}, want.Also...) {
		if commit != "" && (anything || r.tips(commit)) {
			wants = append(wants, commit)
		}
	}
	if len(wants) > 0 && wants[0] == want.Commit {
		clone, err := r.pull(ctx, wants, want)
		if err == nil && !clone.Has(want.Commit) {
			return nil, errors.Join(hostile("%s did not send the commit %s.", r.at, want.Commit.Short()), clone.Close())
		}
		if err == nil || !anything || r.tips(want.Commit) {
			return clone, err
		}
		// a server may say that it hands out anything and mean only what is reachable
	}
	tip := r.heads[Ref(Heads+want.Branch)]
	if tip == "" {
		return nil, r.noCommit(want)
	}
	want.Depth = deepest
	clone, err := r.pull(ctx, []CommitSHA{tip}, want)
	if err != nil {
		return nil, err
	}
	if !clone.Has(want.Commit) {
		return nil, errors.Join(r.noCommit(want), clone.Close())
	}
	return clone, nil
}

func (r *Remote) noCommit(want Want) error {
	return &problem.Error{Kind: problem.Upstream, Err: ErrNoCommit, Detail: fmt.Sprintf(
		"%s does not hand out commit %s: it was removed by a force push, or lies more than %d commits below the head.", r.at, want.Commit.Short(), deepest)}
}

// pull does one fetch of these commits.
func (r *Remote) pull(ctx context.Context, wants []CommitSHA, want Want) (*Clone, error) {
	request := packp.NewUploadPackRequestFromCapabilities(r.adv.Capabilities)
	shallow := r.adv.Capabilities.Supports(capability.Shallow)
	if shallow {
		request.Depth = packp.DepthCommits(max(1, want.Depth))
		if err := request.Capabilities.Set(capability.Shallow); err != nil {
			return nil, err
		}
	}
	for _, wish := range []capability.Capability{capability.NoProgress, capability.IncludeTag} {
		if r.adv.Capabilities.Supports(wish) {
			if err := request.Capabilities.Set(wish); err != nil {
				return nil, err
			}
		}
	}
	for _, commit := range append(wants, r.tagsAt(wants)...) {
		request.Wants = append(request.Wants, plumbing.NewHash(string(commit)))
	}
	session := r.session
	r.session = nil // a session fetches once
	if session == nil {
		var err error
		if session, err = r.client.session(r.at, r.credential); err != nil {
			return nil, err
		}
	}
	answer, err := session.UploadPack(ctx, request)
	if err != nil {
		return nil, closing(session, err)
	}
	clone, err := r.client.receive(ctx, r.at, unwrap(request, answer))
	err = errors.Join(err, answer.Close())
	if err != nil {
		if clone != nil {
			err = errors.Join(err, clone.Close())
		}
		return nil, err
	}
	clone.shallow = answer.Shallows
	clone.tags = r.tags
	clone.tagObjects = r.objects
	return clone, nil
}

// tagsAt are the annotated tags of these commits, so that describe finds them.
func (r *Remote) tagsAt(commits []CommitSHA) []CommitSHA {
	var objects []CommitSHA
	for ref, object := range r.objects {
		for _, commit := range commits {
			if r.tags[ref] == commit {
				objects = append(objects, CommitSHA(object))
			}
		}
	}
	return objects
}

func unwrap(request *packp.UploadPackRequest, r io.Reader) io.Reader {
	switch {
	case request.Capabilities.Supports(capability.Sideband64k):
		return sideband.NewDemuxer(sideband.Sideband64k, r)
	case request.Capabilities.Supports(capability.Sideband):
		return sideband.NewDemuxer(sideband.Sideband, r)
	}
	return r
}

// receive stores a pack in a new folder, measures it and makes its index.
func (c *Client) receive(ctx context.Context, at RepoURL, pack io.Reader) (*Clone, error) {
	dir, err := os.MkdirTemp(c.options.TempDir, "buildit-git-")
	if err != nil {
		return nil, err
	}
	clone := &Clone{dir: dir, limits: c.options.Limits}
	fail := func(err error) (*Clone, error) { return nil, errors.Join(err, os.RemoveAll(dir)) }
	folder := filepath.Join(dir, "objects", "pack")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fail(err)
	}
	temp := filepath.Join(folder, "incoming")
	if err := store(ctx, temp, pack, c.options.Limits.PackBytes, at); err != nil {
		return fail(err)
	}
	if err := keepPack(ctx, temp, folder, c.options.Limits); err != nil {
		return fail(err)
	}
	clone.storage = filesystem.NewStorageWithOptions(osfs.New(dir, osfs.WithBoundOS()), cache.NewObjectLRU(32*cache.MiByte),
		filesystem.Options{ExclusiveAccess: true, KeepDescriptors: true, LargeObjectThreshold: 1 << 20})
	return clone, nil
}

func store(ctx context.Context, name string, pack io.Reader, limit int64, at RepoURL) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(reader{ctx, pack}, limit+1))
	if n > limit {
		err = tooLarge("%s sends more than %d MB for one commit.", at, limit>>20)
	}
	return errors.Join(err, f.Close())
}

// reader ends with its context, whatever is read from.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
