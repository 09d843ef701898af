package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

const (
	// careEvery is how often the caches of a repository are looked at if nothing is
	// written: entries end by the day.
	careEvery = 24 * time.Hour
	// looseKept is how long an object that belongs to no entry stays: as long as the
	// longest attempt, which may be about to make the entry.
	looseKept = 25 * time.Hour
)

// KeepCaches looks at the caches of every repository that is due: it drops the entries
// whose time is over and removes the objects that no entry names any more. Every step
// may be done twice. Errors are joined; what failed is due again.
func (s *Service) KeepCaches(ctx context.Context) error {
	var errs []error
	for shard := range dueShards {
		partition := cacheDuePartition(shard)
		page, err := s.home.Table.Query(ctx, platform.Query{
			Partition: partition, Index: platform.Due,
			Until: partition.Index(string(platform.Stamp(s.home.Clock.Now()))).SK(),
		})
		if err != nil {
			errs = append(errs, fmt.Errorf("which caches are due: %w", err))
			continue
		}
		for _, row := range page.Rows {
			parents := row.Key.Parents()
			if len(parents) == 3 {
				errs = append(errs, s.keepCaches(ctx, platform.System(parents[0], "cache keeper"), parents[2]))
			}
		}
	}
	return errors.Join(errs...)
}

// keepCaches looks at one repository.
func (s *Service) keepCaches(ctx context.Context, org platform.Org, repository string) error {
	care, err := s.home.Table.Get(ctx, cachePartition(org, repository).Row("care"))
	if errors.Is(err, platform.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	entries, err := s.cacheEntries(ctx, org, repository)
	if err != nil {
		return err
	}
	drop := CachesToDrop(entries, MaxRepositoryCache, s.home.Clock.Now())
	kept := 0
	for _, c := range entries {
		why, ends := drop[c.ID]
		if !ends {
			kept++
			continue
		}
		s.Log.InfoContext(ctx, "cache dropped", "org", org.ID(), "repository", repository, "cache", c.Name, "scope", c.Scope, "bytes", c.Bytes, "why", why)
		if err := s.dropCache(ctx, org, repository, c); err != nil {
			return err
		}
	}
	left, err := s.removeLooseCaches(ctx, org, repository)
	if err != nil {
		return err
	}
	next := s.cacheCare(org, repository, s.home.Clock.Now().Add(careEvery))
	// A save since the look has made it due anew, and so has a drop of ours.
	due := platform.Equal{Attribute: "due", Value: care["due"]}
	if len(drop) > 0 {
		due = platform.Equal{Attribute: "repository", Value: platform.Text(repository)}
	}
	next.If = due
	var last platform.Action = next
	if kept == 0 && left == 0 {
		last = platform.Delete{Key: next.Key, If: due}
	}
	_, err = s.home.Table.Write(platform.Relaxed(ctx), last)
	if lost(err) {
		return nil
	}
	return err
}

// removeLooseCaches removes the objects that no entry names, and answers how many there
// are left. An attempt that counted on one of them is told so when it makes its entry.
func (s *Service) removeLooseCaches(ctx context.Context, org platform.Org, repository string) (left int, err error) {
	rows, err := s.cacheRows(ctx, org, repository, "packs")
	if err != nil {
		return 0, err
	}
	named := make(map[string]bool)
	for _, row := range rows {
		for _, digest := range digests(row.Item.Bytes("objects")) {
			named[cacheBlob(org, repository, digest).String()] = true
		}
	}
	under := org.Blob("caches", repository).Under()
	for after := (platform.BlobKey{}); ; {
		page, err := s.home.Blobs.List(ctx, under, after, listBlobs)
		if err != nil {
			return left, err
		}
		for _, info := range page {
			if named[info.Key.String()] || s.home.Clock.Now().Sub(info.Modified) < looseKept {
				left++
				continue
			}
			if err := s.removeBlob(ctx, info.Key); err != nil {
				return left, err
			}
		}
		if len(page) < listBlobs {
			return left, nil
		}
		after = page[len(page)-1].Key
	}
}

// listBlobs is how many objects one list shows.
const listBlobs = 1000

// removeBlob removes an object for good, with its versions: Delete alone would hide it
// and keep the room that it takes.
func (s *Service) removeBlob(ctx context.Context, key platform.BlobKey) error {
	versions, err := s.home.Blobs.Versions(ctx, key)
	if err != nil {
		return err
	}
	for _, version := range versions {
		if err := s.home.Blobs.DeleteVersion(ctx, key, version.Version); err != nil && !errors.Is(err, platform.ErrNotFound) {
			return err
		}
	}
	return nil
}
