package localrun

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// Caches stay from run to run: their entries in .buildit/run/caches/entries, a file
// each, and their packs beside them by digest. All runs of a tree are one person's, so
// that there is one scope.
const (
	cacheScope   = "local"
	cacheEntries = "caches/entries"
	cachePacks   = "caches/packs"
)

// caches are those of a tree. One run at a time has them, and its stages share them.
type caches struct {
	dir string // .buildit/run

	mu      sync.Mutex
	touched bool // there may be something to drop
}

// kept is an entry with the digests of all its objects.
type kept struct {
	pipeline.Cache
	Version   string   `json:"version"`
	Prefix    string   `json:"prefix"`
	Index     string   `json:"index"`
	IndexSize int64    `json:"index_size"`
	Objects   []string `json:"objects"`
}

func (k *kept) cache() pipeline.Cache {
	c := k.Cache
	c.Version, c.Prefix, c.Index, c.IndexSize = k.Version, k.Prefix, k.Index, k.IndexSize
	return c
}

// file is where the entry of a key lies.
func (s *caches) file(name, version, key string) string {
	sum := sha256.Sum256([]byte(name + "\x00" + version + "\x00" + key))
	return filepath.Join(s.dir, cacheEntries, hex.EncodeToString(sum[:])+".json")
}

// all reads the entries. One that cannot be read was cut short, and is none.
func (s *caches) all() ([]kept, error) {
	files, err := os.ReadDir(filepath.Join(s.dir, cacheEntries))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var list []kept
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(s.dir, cacheEntries, file.Name()))
		if err != nil {
			return nil, err
		}
		var k kept
		if json.Unmarshal(text, &k) == nil {
			list = append(list, k)
		}
	}
	return list, nil
}

func (s *caches) find(query supervisor.CacheQuery, now time.Time) (supervisor.CacheFound, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.all()
	if err != nil {
		return supervisor.CacheFound{}, err
	}
	found, exact, err := pipeline.ChooseCache(query, []string{cacheScope}, func(string) ([]pipeline.Cache, error) {
		var list []pipeline.Cache
		for _, k := range all {
			if k.Name == query.Name && k.Version == query.Version {
				list = append(list, k.cache())
			}
		}
		return list, nil
	})
	if err != nil || found == nil {
		return supervisor.CacheFound{}, err
	}
	used := all[slices.IndexFunc(all, func(k kept) bool { return k.ID == found.ID })]
	used.Used = now
	return supervisor.CacheFound{Entry: found.Entry(), Exact: exact}, s.write(used)
}

func (s *caches) save(save supervisor.CacheSave, now time.Time) (supervisor.CacheSaved, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.all()
	if err != nil {
		return supervisor.CacheSaved{}, err
	}
	for _, k := range all {
		if k.Name == save.Name && k.Version == save.Version && k.Key == save.Key && k.ID != save.Instead {
			return supervisor.CacheSaved{Why: "another stage was first"}, nil
		}
	}
	k := kept{Cache: pipeline.NewCache(cacheScope, save, "", now)}
	k.Version, k.Prefix, k.Index, k.IndexSize = k.Cache.Version, k.Cache.Prefix, k.Cache.Index, k.Cache.IndexSize
	for _, object := range append(slices.Clone(save.Packs), save.Index) {
		k.Objects = append(k.Objects, object.SHA256)
	}
	s.touched = true
	return supervisor.CacheSaved{Saved: true, Scope: cacheScope}, s.write(k)
}

// write keeps an entry, whole or not at all.
func (s *caches) write(k kept) error {
	path := s.file(k.Name, k.Version, k.Key)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	draft := path + ".new"
	return errors.Join(os.WriteFile(draft, text, 0o644), os.Rename(draft, path))
}

// fault removes an object that is damaged, and the entry.
func (s *caches) fault(fault supervisor.CacheFault) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, err := s.all()
	i := slices.IndexFunc(all, func(k kept) bool { return k.ID == fault.Entry })
	if err != nil || i < 0 || !slices.Contains(all[i].Objects, fault.Object.SHA256) {
		return err
	}
	s.touched = true
	return errors.Join(
		os.RemoveAll(filepath.Join(s.dir, cachePacks, fault.Object.SHA256)),
		os.Remove(s.file(all[i].Name, all[i].Version, all[i].Key)),
	)
}

// keep drops what has had its time, after a run that has written something.
func (s *caches) keep(now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.touched {
		return nil
	}
	all, err := s.all()
	if err != nil {
		return err
	}
	entries := make([]pipeline.Cache, len(all))
	for i := range all {
		entries[i] = all[i].cache()
	}
	drop := pipeline.CachesToDrop(entries, pipeline.MaxRepositoryCache, now)
	named := make(map[string]bool)
	for _, k := range all {
		if _, ends := drop[k.ID]; ends {
			if err := os.Remove(s.file(k.Name, k.Version, k.Key)); err != nil {
				return err
			}
			continue
		}
		for _, digest := range k.Objects {
			named[digest] = true
		}
	}
	packs, err := os.ReadDir(filepath.Join(s.dir, cachePacks))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, pack := range packs {
		if !named[pack.Name()] {
			err = errors.Join(err, os.Remove(filepath.Join(s.dir, cachePacks, pack.Name())))
		}
	}
	return err
}

// FindCache implements supervisor.CacheStore, as do the two below it.
func (c *control) FindCache(_ context.Context, query supervisor.CacheQuery) (supervisor.CacheFound, error) {
	return c.all.caches.find(query, time.Now())
}

func (c *control) SaveCache(_ context.Context, save supervisor.CacheSave) (supervisor.CacheSaved, error) {
	return c.all.caches.save(save, time.Now())
}

func (c *control) CacheFault(_ context.Context, fault supervisor.CacheFault) error {
	return c.all.caches.fault(fault)
}
