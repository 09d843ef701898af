package pipeline

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// Limits of caches.
const (
	MaxRepositoryCache = 10 << 30 // bytes of all entries of a repository, packed
	cacheUnused        = 30 * 24 * time.Hour
	cacheNewest        = 3 // entries that share a prefix
	maxCachePrefixes   = 8
)

// scopes are where an attempt keeps its caches and where it finds some: the table of
// pipelines.md 3.10. They come from the run's trigger alone. Information flows only
// downwards: whatever a scope holds was written with at least the trust of those who
// read it.
type scopes struct {
	write string   // "" for none
	read  []string // in order
	// public says that of the scopes of others only caches count that a maintainer
	// marked public.
	public bool
}

// Kinds of scopes. A colon is in no ref's name, so that no branch is taken for a tag.
const (
	scopeTrusted = "trusted/"
	scopeTag     = "trusted/tag:"
	scopeBranch  = "branch/"
	scopePull    = "pr/"
	scopeFork    = "fork/"
)

// cacheScopes decides the scopes of a stage. deploys says that it has an environment,
// readOnly that its cache is never saved.
func cacheScopes(t Trigger, deploys, readOnly bool) scopes {
	main := scopeTrusted + t.DefaultBranch
	var s scopes
	switch {
	case t.Trust != "trusted":
		if t.PullRequest > 0 {
			s.write = scopeFork + strconv.Itoa(t.PullRequest)
		}
		s.read, s.public = []string{s.write, main}, true
	case t.PullRequest > 0:
		s.write = scopePull + strconv.Itoa(t.PullRequest)
		s.read = []string{s.write, scopeBranch + t.Head, scopeTrusted + t.Base}
	case t.Tag != "":
		s.write = scopeTag + t.Tag
		s.read = []string{s.write, main}
	case t.Branch != "" && t.Branch == t.DefaultBranch:
		s.write = main
		s.read = []string{main}
	case t.Branch != "":
		s.write = scopeBranch + t.Branch
		s.read = []string{s.write, main}
	default: // an event without a ref of its own
		s.read = []string{main}
	}
	if deploys {
		s.write = ""
		if !readOnly {
			s.read = nil
		}
		s.read = slices.DeleteFunc(s.read, func(scope string) bool { return !strings.HasPrefix(scope, scopeTrusted) })
	}
	if readOnly {
		s.write = ""
	}
	s.read = slices.DeleteFunc(s.read, func(scope string) bool { return scope == "" || scope == scopeTrusted })
	return s
}

// caches are the caches of a job. A stage that deploys has none that is not marked
// read: what goes to an environment comes from its commit alone.
func (g *Graph) caches(node int, facts language.Facts) ([]supervisor.CacheUse, error) {
	var list []supervisor.CacheUse
	spec := g.spec(node)
	for _, c := range spec.Caches {
		if spec.Environment != nil && !c.ReadOnly {
			continue
		}
		use := supervisor.CacheUse{Name: c.Name, Read: c.ReadOnly, Fresh: g.Trigger.NoCache}
		key, err := language.ExpandKey(c.KeyT, facts)
		if err != nil {
			return nil, err
		}
		use.Key = keyParts(key)
		for _, text := range c.RestoreT {
			prefix, err := language.ExpandKey(text, facts)
			if err != nil {
				return nil, err
			}
			use.Restore = append(use.Restore, keyParts(prefix))
		}
		for _, text := range c.PathT {
			place, err := language.Expand(text, facts)
			if err != nil {
				return nil, err
			}
			use.Paths = append(use.Paths, place)
		}
		list = append(list, use)
	}
	return list, nil
}

func keyParts(parts []language.KeyPart) []supervisor.KeyPart {
	list := make([]supervisor.KeyPart, len(parts))
	for i, p := range parts {
		list[i] = supervisor.KeyPart(p)
	}
	return list
}

// Cache is an entry of a cache.
type Cache struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Scope   string    `json:"scope"`
	Key     string    `json:"key"`
	Bytes   int64     `json:"bytes"` // as it is stored
	Raw     int64     `json:"raw_bytes"`
	Files   int       `json:"files"`
	Public  bool      `json:"public,omitempty"` // runs of forks may read it
	Created time.Time `json:"created_at"`
	Used    time.Time `json:"used_at"`
	Run     RunID     `json:"run,omitempty"` // that made it

	Version   string `json:"-"`
	Prefix    string `json:"-"`
	Index     string `json:"-"` // digest
	IndexSize int64  `json:"-"`
}

// NewCache is an entry as SaveCache describes it.
func NewCache(scope string, save supervisor.CacheSave, run RunID, now time.Time) Cache {
	c := Cache{
		Name: save.Name, Scope: scope, Key: save.Key, Bytes: save.Index.Size, Raw: save.Raw, Files: save.Files,
		Created: now, Used: now, Run: run,
		Version: save.Version, Prefix: save.Prefix, Index: save.Index.SHA256, IndexSize: save.Index.Size,
	}
	for _, pack := range save.Packs {
		c.Bytes += pack.Size
	}
	c.ID = c.id()
	return c
}

// id names an entry: of two that have had the same key each has its own.
func (c *Cache) id() string {
	text, err := json.Marshal([]string{c.Scope, c.Name, c.Version, c.Key, c.Index})
	if err != nil {
		panic(err) // strings have a form
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}

// Entry is the entry as a supervisor sees it.
func (c *Cache) Entry() *supervisor.CacheEntry {
	return &supervisor.CacheEntry{
		ID: c.ID, Scope: c.Scope, Key: c.Key, Created: c.Created,
		Index: supervisor.Object{Kind: "cache", Name: supervisor.CacheIndex, SHA256: c.Index, Size: c.IndexSize},
	}
}

// newestUnder is the newest entry whose key begins with a prefix, nil for none.
func newestUnder(entries []Cache, prefix string) *Cache {
	var newest *Cache
	for i := range entries {
		c := &entries[i]
		if strings.HasPrefix(c.Key, prefix) && (newest == nil || c.Created.After(newest.Created)) {
			newest = c
		}
	}
	return newest
}

// ChooseCache finds the entry to restore: the key in each scope, then the newest
// under each prefix in each scope. list answers the entries of a scope that have the
// name and version asked for.
func ChooseCache(query supervisor.CacheQuery, read []string, list func(scope string) ([]Cache, error)) (*Cache, bool, error) {
	byScope := make(map[string][]Cache, len(read))
	for _, scope := range read {
		entries, err := list(scope)
		if err != nil {
			return nil, false, err
		}
		byScope[scope] = entries
		if i := slices.IndexFunc(entries, func(c Cache) bool { return c.Key == query.Key }); i >= 0 {
			return &entries[i], true, nil
		}
	}
	for _, prefix := range query.Prefixes {
		for _, scope := range read {
			if found := newestUnder(byScope[scope], prefix); found != nil {
				return found, false, nil
			}
		}
	}
	return nil, false, nil
}

// CachesToDrop are the entries of a repository that have had their time, by reason:
// those unused for 30 days, all but the newest three that share a prefix, and what is
// above the limit, of the least trusted scopes first and then the longest unused.
func CachesToDrop(entries []Cache, limit int64, now time.Time) map[string]string {
	drop := make(map[string]string)
	left := slices.Clone(entries)
	slices.SortFunc(left, func(a, b Cache) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID)) })
	sharing := make(map[[4]string]int)
	total := int64(0)
	left = slices.DeleteFunc(left, func(c Cache) bool {
		switch group := [4]string{c.Scope, c.Name, c.Version, c.Prefix}; {
		case now.Sub(c.Used) > cacheUnused:
			drop[c.ID] = "unused for 30 days"
		case c.Prefix != "" && sharing[group] == cacheNewest:
			drop[c.ID] = "three newer ones share its prefix"
		default:
			sharing[group]++
			total += c.Bytes
			return false
		}
		return true
	})
	slices.SortFunc(left, func(a, b Cache) int {
		return cmp.Or(cmp.Compare(scopeRank(a.Scope), scopeRank(b.Scope)), a.Used.Compare(b.Used), cmp.Compare(a.ID, b.ID))
	})
	for _, c := range left {
		if total <= limit {
			break
		}
		total -= c.Bytes
		drop[c.ID] = "the caches of the repository are above their limit"
	}
	return drop
}

// scopeRank orders scopes by what they are worth: a fork's go first.
func scopeRank(scope string) int {
	for rank, kind := range []string{scopeFork, scopePull, scopeBranch} {
		if strings.HasPrefix(scope, kind) {
			return rank
		}
	}
	return 3
}

// isCacheKey tells whether a key, or a prefix of keys, is one.
func isCacheKey(key string) bool { return key != "" && len(key) <= language.MaxCacheKey }
