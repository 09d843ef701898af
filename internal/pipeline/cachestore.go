package pipeline

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

func (c Cache) item() platform.Item {
	return platform.Item{
		"id": platform.Text(c.ID), "name": platform.Text(c.Name), "scope": platform.Text(c.Scope), "key": platform.Text(c.Key),
		"version": platform.Text(c.Version), "prefix": platform.Text(c.Prefix),
		"index": platform.Text(c.Index), "index_size": platform.Int(c.IndexSize),
		"bytes": platform.Int(c.Bytes), "raw": platform.Int(c.Raw), "files": platform.Int(c.Files),
		"created": platform.Stamp(c.Created), "used": platform.Stamp(c.Used), "run": platform.Text(c.Run),
	}
}

func cacheOf(item platform.Item) Cache {
	return Cache{
		ID: item.Text("id"), Name: item.Text("name"), Scope: item.Text("scope"), Key: item.Text("key"),
		Version: item.Text("version"), Prefix: item.Text("prefix"),
		Index: item.Text("index"), IndexSize: item.Int("index_size"),
		Bytes: item.Int("bytes"), Raw: item.Int("raw"), Files: int(item.Int("files")),
		Created: item.Time("created"), Used: item.Time("used"), Run: RunID(item.Text("run")),
	}
}

// cacheRows reads the rows of one kind of a repository's caches.
func (s *Service) cacheRows(ctx context.Context, org platform.Org, repository, kind string, parts ...string) ([]platform.Row, error) {
	q := platform.Query{Partition: cachePartition(org, repository)}
	q.Prefix = q.Partition.Rows(kind, parts...)
	var all []platform.Row
	for {
		page, err := s.home.Table.Query(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("caches of %s: %w", repository, err)
		}
		all = append(all, page.Rows...)
		if q.Cursor = page.Cursor; q.Cursor == "" {
			return all, nil
		}
	}
}

// cacheEntries reads the entries of a repository whose keys begin with parts: hash of
// the scope, name, version.
func (s *Service) cacheEntries(ctx context.Context, org platform.Org, repository string, parts ...string) ([]Cache, error) {
	rows, err := s.cacheRows(ctx, org, repository, "entry", parts...)
	entries := make([]Cache, len(rows))
	for i, row := range rows {
		entries[i] = cacheOf(row.Item)
	}
	return entries, err
}

// cacheObjects are the digests of an entry's objects.
func (s *Service) cacheObjects(ctx context.Context, org platform.Org, repository string, c Cache) ([]string, error) {
	item, err := s.home.Table.Get(ctx, cacheRow("packs", org, repository, c))
	if errors.Is(err, platform.ErrNotFound) {
		return nil, nil
	}
	return digests(item.Bytes("objects")), err
}

func digests(sums []byte) []string {
	var list []string
	for sum := range slices.Chunk(sums, 32) {
		list = append(list, hex.EncodeToString(sum))
	}
	return list
}

// publicCache tells whether runs of forks may read the default branch's entries.
func (s *Service) publicCache(ctx context.Context, org platform.Org, repository, name string) (bool, error) {
	_, err := s.home.Table.Get(ctx, cachePartition(org, repository).Row("public", name))
	if errors.Is(err, platform.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// PublishCache lets runs of forks read what the default branch keeps under a name, or
// not any more.
func (s *Service) PublishCache(ctx context.Context, org platform.Org, repository, name, by string, public bool) error {
	key := cachePartition(org, repository).Row("public", name)
	var action platform.Action = platform.Delete{Key: key}
	if public {
		action = platform.Put{Key: key, Item: platform.Item{
			"name": platform.Text(name), "by": platform.Text(by), "at": platform.Stamp(s.home.Clock.Now()),
		}}
	}
	_, err := s.home.Table.Write(ctx, action)
	return err
}

// Caches lists the entries of a repository, the last used first.
func (s *Service) Caches(ctx context.Context, org platform.Org, repository string) ([]Cache, error) {
	entries, err := s.cacheEntries(ctx, org, repository)
	if err != nil {
		return nil, err
	}
	public, err := s.cacheRows(ctx, org, repository, "public")
	if err != nil {
		return nil, err
	}
	for i := range entries {
		entries[i].Public = slices.ContainsFunc(public, func(row platform.Row) bool { return row.Item.Text("name") == entries[i].Name })
	}
	slices.SortFunc(entries, func(a, b Cache) int { return b.Used.Compare(a.Used) })
	return entries, nil
}

// DeleteCache removes an entry. Its bytes go with the next look at the caches of the
// repository.
func (s *Service) DeleteCache(ctx context.Context, org platform.Org, repository, id string) error {
	entries, err := s.cacheEntries(ctx, org, repository)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(entries, func(c Cache) bool { return c.ID == id })
	if i < 0 {
		return problem.New(problem.NotFound, "The repository has no cache entry %q.", id)
	}
	return s.dropCache(ctx, org, repository, entries[i])
}

// dropCache removes the rows of an entry, if it is still the same, and sees to it that
// its objects follow.
func (s *Service) dropCache(ctx context.Context, org platform.Org, repository string, c Cache) error {
	err := s.transact(
		ctx,
		platform.Delete{Key: cacheRow("entry", org, repository, c), If: platform.Equal{Attribute: "id", Value: platform.Text(c.ID)}},
		platform.Delete{Key: cacheRow("packs", org, repository, c)},
		s.cacheCare(org, repository, s.home.Clock.Now()),
	)
	if lost(err) {
		return nil // it has gone, or there is another one
	}
	return err
}

// cacheCare makes the caches of a repository due for a look.
func (s *Service) cacheCare(org platform.Org, repository string, at time.Time) platform.Put {
	return platform.Put{
		Key:  cachePartition(org, repository).Row("care"),
		Item: platform.Item{"repository": platform.Text(repository), "due": platform.Stamp(at)}.DueAt(cacheDueKey(org, repository, at)),
	}
}

func cacheDuePartition(shard int) platform.Partition {
	return platform.Global("due", "cache", strconv.Itoa(shard))
}

func cacheDueKey(org platform.Org, repository string, at time.Time) platform.IndexKey {
	h := fnv.New32a()
	h.Write([]byte(org.ID() + "\x00" + repository))
	return cacheDuePartition(int(h.Sum32()%dueShards)).Index(string(platform.Stamp(at)), org.ID(), repository)
}
