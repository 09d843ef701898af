package supervisor

import (
	"context"
	"time"
)

// Calls of /runner/v1 for caches. Objects of caches (kind "cache": packs and indexes)
// travel by grants as all others.
const (
	PathCacheFind  = "/runner/v1/cache/find"
	PathCacheSave  = "/runner/v1/cache/save"
	PathCacheFault = "/runner/v1/cache/fault"
)

// CacheUse is a cache of the stage. Its key and its prefixes of keys are without the
// hashes of files, which the supervisor puts in.
type CacheUse struct {
	Name    string      `json:"name"`
	Key     []KeyPart   `json:"key"`
	Restore [][]KeyPart `json:"restore,omitempty"`
	Paths   []string    `json:"paths"`
	Read    bool        `json:"read,omitempty"`  // never saved
	Fresh   bool        `json:"fresh,omitempty"` // not restored: the run is one without caches
}

// KeyPart is text, or the patterns of the files whose hash stands there.
type KeyPart struct {
	Text string   `json:"text,omitempty"`
	Hash []string `json:"hash,omitempty"`
}

// CacheStore finds and makes entries of caches. In which scopes, the platform alone
// decides, by the attempt: nothing that is sent can name one.
type CacheStore interface {
	// FindCache answers the entry to restore, or none.
	FindCache(ctx context.Context, query CacheQuery) (CacheFound, error)
	// SaveCache makes an entry of objects that are stored. Of two writers of one key
	// the first wins, and the other is told so.
	SaveCache(ctx context.Context, save CacheSave) (CacheSaved, error)
	// CacheFault says that an object of an entry is not what it should be. If the
	// platform finds so too, the entry goes.
	CacheFault(ctx context.Context, fault CacheFault) error
}

// CacheQuery asks for an entry: that of the key, or the newest under the first prefix
// that has one. Version is the digest of paths, system and format.
type CacheQuery struct {
	Name     string   `json:"name"`
	Version  string   `json:"version"`
	Key      string   `json:"key"`
	Prefixes []string `json:"prefixes,omitempty"`
}

// CacheEntry is an entry as a supervisor sees it.
type CacheEntry struct {
	ID      string    `json:"id"`
	Scope   string    `json:"scope"`
	Key     string    `json:"key"`
	Index   Object    `json:"index"`
	Created time.Time `json:"created_at"`
}

// CacheFound is the entry, nil for none; Exact says that it has the very key.
type CacheFound struct {
	Entry *CacheEntry `json:"entry,omitempty"`
	Exact bool        `json:"exact,omitempty"`
}

// CacheSave describes a new entry.
type CacheSave struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Key     string   `json:"key"`
	Index   Object   `json:"index"`
	Packs   []Object `json:"packs"`
	// Prefix is the first prefix that the entry would be found under, "" for none: of
	// those that share it only the newest stay.
	Prefix string `json:"prefix,omitempty"`
	// Instead is the entry of this key that could not be restored, and whose place the
	// new one takes.
	Instead string `json:"instead,omitempty"`
	Files   int    `json:"files"`
	Raw     int64  `json:"raw"` // bytes, unpacked
}

// CacheSaved tells whether the entry was made, or why not.
type CacheSaved struct {
	Saved bool   `json:"saved"`
	Scope string `json:"scope,omitempty"`
	Why   string `json:"why,omitempty"`
}

// CacheFault names an entry and the object of it that is damaged or missing.
type CacheFault struct {
	Name   string `json:"name"`
	Entry  string `json:"entry"`
	Object Object `json:"object"`
}

// FindCache implements CacheStore.
func (c *Client) FindCache(ctx context.Context, query CacheQuery) (found CacheFound, err error) {
	err = c.call(ctx, PathCacheFind, query, &found)
	return found, err
}

// SaveCache implements CacheStore.
func (c *Client) SaveCache(ctx context.Context, save CacheSave) (saved CacheSaved, err error) {
	err = c.call(ctx, PathCacheSave, save, &saved)
	return saved, err
}

// CacheFault implements CacheStore.
func (c *Client) CacheFault(ctx context.Context, fault CacheFault) error {
	var answer struct{}
	return c.call(ctx, PathCacheFault, fault, &answer)
}

func (s Side) cacheFault(ctx context.Context, in CacheFault) (struct{}, error) {
	return struct{}{}, s.CacheFault(ctx, in)
}
