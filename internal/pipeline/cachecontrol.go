package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// hasCache tells whether a stage may read, or write, objects of caches.
func (a *Attempt) hasCache(spec *language.Stage, write bool) bool {
	return slices.ContainsFunc(spec.Caches, func(c language.Cache) bool {
		s := cacheScopes(a.r.graph.Trigger, spec.Environment != nil, c.ReadOnly)
		return write && s.write != "" || !write && len(s.read) > 0
	})
}

// cacheScopes are the scopes of a cache that the stage declares.
func (a *Attempt) cacheScopes(name string) (scopes, error) {
	node, err := a.r.graph.node(a.key)
	if err != nil {
		return scopes{}, err
	}
	spec := a.r.graph.spec(node)
	for _, c := range spec.Caches {
		if c.Name == name {
			return cacheScopes(a.r.graph.Trigger, spec.Environment != nil, c.ReadOnly), nil
		}
	}
	return scopes{}, problem.New(problem.Forbidden, "Stage %q declares no cache %q.", spec.Name, name)
}

// repository is whose caches the attempt uses.
func (a *Attempt) repository() string { return a.r.graph.Trigger.Repository }

// FindCache implements supervisor.CacheStore.
func (a *Attempt) FindCache(ctx context.Context, query supervisor.CacheQuery) (supervisor.CacheFound, error) {
	if !isDigest(query.Version) || !isCacheKey(query.Key) || len(query.Prefixes) > maxCachePrefixes ||
		slices.ContainsFunc(query.Prefixes, func(p string) bool { return !isCacheKey(p) }) {
		return supervisor.CacheFound{}, problem.New(problem.Invalid, "A key of a cache, and each of at most %d prefixes, has 1 to %d bytes; a version is a SHA-256.", maxCachePrefixes, language.MaxCacheKey)
	}
	s, err := a.cacheScopes(query.Name)
	if err != nil {
		return supervisor.CacheFound{}, err
	}
	if s.public {
		public, err := a.s.publicCache(ctx, a.r.org, a.repository(), query.Name)
		if err != nil {
			return supervisor.CacheFound{}, err
		}
		if !public {
			s.read = slices.DeleteFunc(s.read, func(scope string) bool { return scope != s.write })
		}
	}
	found, exact, err := ChooseCache(query, s.read, func(scope string) ([]Cache, error) {
		return a.s.cacheEntries(ctx, a.r.org, a.repository(), shortHash(scope), query.Name, query.Version)
	})
	if err != nil || found == nil {
		return supervisor.CacheFound{}, err
	}
	return supervisor.CacheFound{Entry: found.Entry(), Exact: exact}, a.s.cacheUsed(ctx, a.r.org, a.repository(), *found)
}

// usedEvery is how exactly the last use of an entry is known.
const usedEvery = time.Hour

// cacheUsed notes the use of an entry, which puts off its end.
func (s *Service) cacheUsed(ctx context.Context, org platform.Org, repository string, c Cache) error {
	now := s.home.Clock.Now()
	if now.Sub(c.Used) < usedEvery {
		return nil
	}
	_, err := s.home.Table.Write(platform.Relaxed(ctx), platform.Update{
		Key: cacheRow("entry", org, repository, c), Set: platform.Item{"used": platform.Stamp(now)}, If: platform.RowIs,
	})
	if lost(err) {
		return nil // it has gone
	}
	return err
}

// SaveCache implements supervisor.CacheStore.
func (a *Attempt) SaveCache(ctx context.Context, save supervisor.CacheSave) (supervisor.CacheSaved, error) {
	s, err := a.cacheScopes(save.Name)
	switch {
	case err != nil:
		return supervisor.CacheSaved{}, err
	case s.write == "":
		return supervisor.CacheSaved{Why: "this stage only reads it"}, nil
	}
	if err := checkSave(save); err != nil {
		return supervisor.CacheSaved{}, err
	}
	if err := a.checkStored(ctx, save); err != nil {
		return supervisor.CacheSaved{}, err
	}
	c := NewCache(s.write, save, a.r.run, a.s.home.Clock.Now())
	err = a.s.putCache(ctx, a.r, a.key, c, save)
	if lost(err) {
		return supervisor.CacheSaved{Why: "another writer of the same key was first"}, nil
	}
	return supervisor.CacheSaved{Saved: err == nil, Scope: c.Scope}, err
}

// checkSave refuses an entry that nobody could restore, or that is too large.
func checkSave(save supervisor.CacheSave) error {
	objects := append(slices.Clone(save.Packs), save.Index)
	bytes := int64(0)
	for _, object := range objects {
		if object.Kind != "cache" || !isDigest(object.SHA256) || object.Size < 1 || object.Size > supervisor.MaxCacheObject {
			return problem.New(problem.Invalid, "%s %q is no object of a cache.", object.Kind, object.Name)
		}
		bytes += object.Size
	}
	switch {
	case !isDigest(save.Version) || !isCacheKey(save.Key) || len(save.Prefix) > language.MaxCacheKey:
		return problem.New(problem.Invalid, "The key of a cache has 1 to %d bytes; a version is a SHA-256.", language.MaxCacheKey)
	case len(save.Packs) > supervisor.MaxCachePacks || save.Files < 1 || save.Files > supervisor.MaxCacheFiles:
		return problem.New(problem.TooLarge, "A cache has at most %d files in %d packs.", supervisor.MaxCacheFiles, supervisor.MaxCachePacks)
	case bytes > supervisor.MaxCacheBytes || save.Raw < 0 || save.Raw > supervisor.MaxCacheBytes:
		return problem.New(problem.TooLarge, "A cache has at most %d bytes.", int64(supervisor.MaxCacheBytes))
	}
	return nil
}

// checkStored makes sure that every object of a new entry is there, as it says.
func (a *Attempt) checkStored(ctx context.Context, save supervisor.CacheSave) error {
	for _, object := range append(slices.Clone(save.Packs), save.Index) {
		info, err := a.s.home.Blobs.Stat(ctx, cacheBlob(a.r.org, a.repository(), object.SHA256))
		if errors.Is(err, platform.ErrNotFound) || err == nil && info.Size != object.Size {
			return problem.New(problem.Invalid, "The object %s of the cache is not stored.", object.SHA256)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// putCache makes an entry, with the event that says who wrote what where, and sees to
// it that the entries of the repository are looked at. It fails with
// platform.ErrConditionFailed if the key has an entry, unless that is to be replaced.
func (s *Service) putCache(ctx context.Context, r ref, key StageKey, c Cache, save supervisor.CacheSave) error {
	repository, now := r.graph.Trigger.Repository, c.Created
	var if_ platform.Condition = platform.Absent{Attribute: "id"}
	if save.Instead != "" {
		if_ = platform.Any{if_, platform.Equal{Attribute: "id", Value: platform.Text(save.Instead)}}
	}
	objects := make([]byte, 0, (len(save.Packs)+1)*sha256.Size)
	for _, object := range append(slices.Clone(save.Packs), save.Index) {
		sum, err := hex.DecodeString(object.SHA256)
		if err != nil {
			return err
		}
		objects = append(objects, sum...)
	}
	return s.transact(
		ctx,
		platform.Put{Key: cacheRow("entry", r.org, repository, c), Item: c.item(), If: if_},
		platform.Put{Key: cacheRow("packs", r.org, repository, c), Item: platform.Item{"objects": platform.Bytes(objects)}},
		platform.Put{Key: eventRow(r.org, r.run, "cache-"+c.ID, 1), Item: platform.Item{
			"entity": platform.Text("cache"), "key": platform.Text(key), "name": platform.Text(c.Name), "status": platform.Text("saved"),
			"why":     platform.Text(fmt.Sprintf("%s, %d files, %d bytes", c.Scope, c.Files, c.Bytes)),
			"version": platform.Int(1), "at": platform.Stamp(now),
		}},
		s.cacheCare(r.org, repository, now),
	)
}

// CacheFault implements supervisor.CacheStore: a damaged object is removed, so that it
// can be stored anew, and the entry with it. An object that is in order stays, whoever
// says what.
func (a *Attempt) CacheFault(ctx context.Context, fault supervisor.CacheFault) error {
	s, err := a.cacheScopes(fault.Name)
	if err != nil {
		return err
	}
	if fault.Object.Kind != "cache" || !isDigest(fault.Object.SHA256) {
		return problem.New(problem.Invalid, "%s %q is no object of a cache.", fault.Object.Kind, fault.Object.Name)
	}
	entries, err := a.s.cacheEntries(ctx, a.r.org, a.repository())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(entries, func(c Cache) bool {
		return c.ID == fault.Entry && c.Name == fault.Name && slices.Contains(s.read, c.Scope)
	})
	if i < 0 {
		return nil // it has gone
	}
	objects, err := a.s.cacheObjects(ctx, a.r.org, a.repository(), entries[i])
	if err != nil || !slices.Contains(objects, fault.Object.SHA256) {
		return err
	}
	key := cacheBlob(a.r.org, a.repository(), fault.Object.SHA256)
	damaged, err := a.s.damaged(ctx, key, fault.Object.SHA256)
	if err != nil || !damaged {
		return err
	}
	a.s.Log.WarnContext(ctx, "object of a cache is damaged", "org", a.r.org.ID(), "run", a.r.run, "cache", fault.Name, "object", fault.Object.SHA256)
	return errors.Join(a.s.removeBlob(ctx, key), a.s.dropCache(ctx, a.r.org, a.repository(), entries[i]))
}

// damaged tells whether an object is missing or has other bytes than its digest says.
func (s *Service) damaged(ctx context.Context, key platform.BlobKey, digest string) (bool, error) {
	body, _, err := s.home.Blobs.Open(ctx, key, 0)
	if errors.Is(err, platform.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	sum := sha256.New()
	_, err = io.Copy(sum, body)
	if err = errors.Join(err, body.Close()); err != nil {
		return false, err
	}
	return hex.EncodeToString(sum.Sum(nil)) != digest, nil
}
