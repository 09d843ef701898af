package git

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// Remote is a remote as it answered once: its refs, and the way to fetch.
type Remote struct {
	client     *Client
	at         RepoURL
	credential Credential
	session    transport.UploadPackSession // nil once it is used up

	adv     *packp.AdvRefs
	heads   map[Ref]CommitSHA // branches, and heads of pull requests
	tags    map[Ref]CommitSHA // the commit that a tag names in the end
	objects map[Ref]string    // the tag object of an annotated tag
	branch  string
	skipped int
}

// Ask lists what the remote has. The caller closes the Remote.
func (c *Client) Ask(ctx context.Context, at RepoURL, credential Credential) (*Remote, error) {
	r := &Remote{client: c, at: at, credential: credential}
	session, err := c.session(at, credential)
	if err != nil {
		return nil, explain(at, "opening it", err)
	}
	adv, err := session.AdvertisedReferencesContext(ctx)
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return r, closing(session, nil)
	}
	if err != nil {
		return nil, explain(at, "listing its branches", closing(session, err))
	}
	if format := adv.Capabilities.Get(capability.Capability("object-format")); len(format) > 0 && format[0] != "sha1" {
		return nil, closing(session, hostile("%s is a SHA-256 repository, which is not supported yet.", at))
	}
	r.session, r.adv = session, adv
	if err := r.read(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// closing ends a session and returns err, which explains more than what closing says.
func closing(session transport.UploadPackSession, err error) error {
	closeErr := session.Close()
	if err != nil {
		return err
	}
	return closeErr
}

// Close ends the conversation.
func (r *Remote) Close() error {
	if r.session == nil {
		return nil
	}
	session := r.session
	r.session = nil
	return session.Close()
}

// read keeps the refs that we look at. A name that is no valid ref is left out: it
// is never asked for, written down or shown.
func (r *Remote) read() error {
	r.heads, r.tags, r.objects = map[Ref]CommitSHA{}, map[Ref]CommitSHA{}, map[Ref]string{}
	for name, hash := range r.adv.References {
		ref, err := ParseRef(name)
		if err != nil {
			r.skipped++
			continue
		}
		switch {
		case ref.Branch() != "" || ref.PullRequest() > 0:
			r.heads[ref] = CommitSHA(hash.String())
		case ref.Tag() != "":
			r.tags[ref] = CommitSHA(hash.String())
			if peeled, ok := r.adv.Peeled[name]; ok {
				r.tags[ref], r.objects[ref] = CommitSHA(peeled.String()), hash.String()
			}
		}
	}
	if limit := r.client.options.Limits.Refs; len(r.heads)+len(r.tags) > limit {
		return tooLarge("%s has %d branches and tags; at most %d are followed.", r.at, len(r.heads)+len(r.tags), limit)
	}
	r.branch = r.defaultBranch()
	return nil
}

func (r *Remote) defaultBranch() string {
	for _, link := range r.adv.Capabilities.Get(capability.SymRef) {
		if target, ok := cutPrefix(link, "HEAD:"); ok {
			if ref, err := ParseRef(target); err == nil {
				return ref.Branch()
			}
		}
	}
	for _, name := range []string{"main", "master"} { // a server that does not say
		if _, ok := r.heads[Ref(Heads+name)]; ok {
			return name
		}
	}
	return ""
}

func cutPrefix(text, prefix string) (string, bool) {
	if len(text) < len(prefix) || text[:len(prefix)] != prefix {
		return "", false
	}
	return text[len(prefix):], true
}

// DefaultBranch is the short name of the branch that HEAD names, "" if the remote
// is empty or does not say.
func (r *Remote) DefaultBranch() string { return r.branch }

// Head is what a ref names now: the commit, for a tag too. "" if there is none.
func (r *Remote) Head(ref Ref) CommitSHA {
	if commit, ok := r.heads[ref]; ok {
		return commit
	}
	return r.tags[ref]
}

// Refs are all refs that we look at, in order.
func (r *Remote) Refs() []Ref {
	return slices.Sorted(func(yield func(Ref) bool) {
		for _, m := range []map[Ref]CommitSHA{r.heads, r.tags} {
			for ref := range maps.Keys(m) {
				if !yield(ref) {
					return
				}
			}
		}
	})
}

// Skipped counts refs of the remote whose names are not valid.
func (r *Remote) Skipped() int { return r.skipped }

// HasBranchAt says whether a branch of the remote itself is at commit.
func (r *Remote) HasBranchAt(branch string, commit CommitSHA) bool {
	return branch != "" && commit != "" && r.heads[Ref(Heads+branch)] == commit
}

// tips says whether some ref is at the commit, so that every server hands it out.
func (r *Remote) tips(commit CommitSHA) bool {
	for _, hash := range r.adv.References {
		if hash == plumbing.NewHash(string(commit)) {
			return true
		}
	}
	return false
}
