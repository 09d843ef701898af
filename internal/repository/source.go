package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/repository/git"
	"github.com/buildit-dev/buildit/internal/repository/scan"
)

// source is what runs of a commit read: the bundle, and its pipeline files.
type source struct {
	parts     []string
	sha256    string
	size      int64
	config    []string
	pipelines []string
	notices   []string
}

const shownNotices = 3 // of a commit, on each of its runs; its scan has more

// remarks are what people should know of a commit that was taken other than it is.
func (s source) remarks() string {
	text := strings.Join(s.notices[:min(len(s.notices), shownNotices)], "; ")
	if more := len(s.notices) - shownNotices; more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}

// source makes the bundles of a commit, once: later calls find the row. A bundle
// that is there without its row was made by a call that was cut off, or by another
// one at this moment; it is read and described.
func (s *Service) source(ctx context.Context, org platform.Org, r Repository, clone *git.Clone, commit git.CommitSHA) (source, error) {
	if found, ok, err := s.knownSource(ctx, org, r, commit); ok || err != nil {
		return found, err
	}
	tree, err := clone.Tree(ctx, commit)
	if err != nil {
		return source{}, err
	}
	made := source{parts: sourceParts(r.ID, commit, s.options.Depth), config: configParts(r.ID, commit)}
	var more bool
	if made.pipelines, more = tree.Pipelines(); more {
		made.notices = append(made.notices, fmt.Sprintf("the repository has more than %d pipeline files; the rest is not run", git.MaxPipelines))
	}
	made.notices = append(made.notices, tree.Notices[:min(len(tree.Notices), 20)]...)
	var config bytes.Buffer
	if err := tree.Config(ctx, &config); err != nil {
		return source{}, err
	}
	if _, err := s.home.Blobs.Create(ctx, blob(org, made.config), bytes.NewReader(config.Bytes())); err != nil && !errors.Is(err, platform.ErrExists) {
		return source{}, err
	}
	if made.sha256, made.size, err = s.bundle(ctx, blob(org, made.parts), tree); err != nil {
		return source{}, err
	}
	_, err = s.home.Table.Write(ctx, platform.Put{Key: sourceRow(org, r.ID, commit, s.options.Depth), Item: platform.Item{
		"sha256": platform.Text(made.sha256), "size": platform.Int(made.size),
		"pipelines": platform.TextList(made.pipelines), "notices": platform.TextList(made.notices),
	}})
	return made, err
}

func (s *Service) knownSource(ctx context.Context, org platform.Org, r Repository, commit git.CommitSHA) (source, bool, error) {
	row, err := s.home.Table.Get(ctx, sourceRow(org, r.ID, commit, s.options.Depth))
	if errors.Is(err, platform.ErrNotFound) {
		return source{}, false, nil
	}
	return source{
		parts: sourceParts(r.ID, commit, s.options.Depth), config: configParts(r.ID, commit),
		sha256: row.Text("sha256"), size: row.Int("size"), pipelines: row.Texts("pipelines"), notices: row.Texts("notices"),
	}, err == nil, err
}

// bundle writes a commit to a file and stores that, since a blob is read twice.
func (s *Service) bundle(ctx context.Context, key platform.BlobKey, tree *git.Tree) (sum string, size int64, err error) {
	f, err := os.CreateTemp(s.options.TempDir, "buildit-bundle-")
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	hash := sha256.New()
	if err := tree.Bundle(ctx, io.MultiWriter(f, hash), s.options.Depth); err != nil {
		return "", 0, err
	}
	if size, err = f.Seek(0, io.SeekCurrent); err != nil {
		return "", 0, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", 0, err
	}
	_, err = s.home.Blobs.Create(ctx, key, f)
	if errors.Is(err, platform.ErrExists) {
		return s.describe(ctx, key)
	}
	return hex.EncodeToString(hash.Sum(nil)), size, err
}

func (s *Service) describe(ctx context.Context, key platform.BlobKey) (sum string, size int64, err error) {
	body, _, err := s.home.Blobs.Open(ctx, key, 0)
	if err != nil {
		return "", 0, err
	}
	hash := sha256.New()
	size, err = io.Copy(hash, body)
	return hex.EncodeToString(hash.Sum(nil)), size, errors.Join(err, body.Close())
}

// ScanResult is what the last scan found.
type ScanResult struct {
	Commit string `json:"commit"`
	At     string `json:"at"`
	scan.Result
}

// Scan looks at the head of the default branch, or at a commit.
func (s *Service) Scan(ctx context.Context, org platform.Org, idOrName, commit string) (ScanResult, error) {
	r, err := s.Get(ctx, org, idOrName)
	if err != nil {
		return ScanResult{}, err
	}
	remote, err := s.ask(ctx, org, r)
	if err != nil {
		return ScanResult{}, err
	}
	sha := remote.Head(git.Ref(git.Heads + remote.DefaultBranch()))
	if commit != "" {
		sha, err = git.ParseCommit(commit)
	}
	if err == nil && sha == "" {
		err = problem.New(problem.Conflict, "%s has no branch yet: push a commit first.", r.Name)
	}
	if err == nil {
		_, err = s.scanCommit(ctx, org, r, remote, sha)
	}
	if err = errors.Join(err, remote.Close()); err != nil {
		return ScanResult{}, err
	}
	return s.LastScan(ctx, org, r.ID)
}

func (s *Service) scanCommit(ctx context.Context, org platform.Org, r Repository, remote *git.Remote, commit git.CommitSHA) (result scan.Result, err error) {
	clone, err := remote.Fetch(ctx, git.Want{Commit: commit, Branch: remote.DefaultBranch(), Depth: 1})
	if err != nil {
		return result, err
	}
	defer func() { err = errors.Join(err, clone.Close()) }()
	tree, err := clone.Tree(ctx, commit)
	if err != nil {
		return result, err
	}
	if result, err = scan.Scan(ctx, tree.FS()); err != nil {
		return result, err
	}
	result.Notices = append(result.Notices, tree.Notices...)
	return result, s.keepScan(ctx, org, r, commit, result)
}

// keepScan stores a result under its digest, and the row that names it.
func (s *Service) keepScan(ctx context.Context, org platform.Org, r Repository, commit git.CommitSHA, result scan.Result) error {
	data, err := json.Marshal(result)
	if err != nil {
		return err
	}
	name := digest(data)
	if _, err := s.home.Blobs.Create(ctx, scanBlob(org, r.ID, name), bytes.NewReader(data)); err != nil && !errors.Is(err, platform.ErrExists) {
		return err
	}
	_, err = s.home.Table.Write(ctx, platform.Put{Key: scanRow(org, r.ID), Item: platform.Item{
		"commit": platform.Text(commit), "digest": platform.Text(name), "at": platform.Stamp(s.home.Clock.Now()),
		"findings": platform.Int(len(result.Findings)),
	}})
	return err
}

// LastScan reads what the last scan found.
func (s *Service) LastScan(ctx context.Context, org platform.Org, idOrName string) (out ScanResult, err error) {
	r, err := s.Get(ctx, org, idOrName)
	if err != nil {
		return out, err
	}
	row, err := s.home.Table.Get(ctx, scanRow(org, r.ID))
	if errors.Is(err, platform.ErrNotFound) {
		return out, problem.New(problem.NotFound, "%s was not scanned yet: `buildit repo scan %s` does it.", r.Name, r.Name)
	}
	if err != nil {
		return out, err
	}
	body, _, err := s.home.Blobs.Open(ctx, scanBlob(org, r.ID, row.Text("digest")), 0)
	if err != nil {
		return out, err
	}
	err = errors.Join(json.NewDecoder(body).Decode(&out.Result), body.Close())
	out.Commit, out.At = row.Text("commit"), row.Text("at")
	return out, err
}
