package supervisor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"time"
)

// How long caches may hold up a stage. All that takes longer is a miss.
const (
	cacheCall    = 30 * time.Second // one question to the platform
	cacheRestore = 10 * time.Minute
	cacheSave    = 10 * time.Minute
	maxCacheKey  = 512 // bytes, after all is replaced
)

// cacheWork is one cache of the attempt on its way from restore to save.
type cacheWork struct {
	use   CacheUse
	roots []cacheRoot
	query CacheQuery
	found CacheFound
	bad   string // the entry of the very key, if it could not be restored
}

// errCache is a fault of a cache in words for people. It never ends a stage.
var errCache = errors.New("cache")

func cacheTrouble(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errCache}, args...)...)
}

// restoreCaches brings the caches that the stage names. Whatever goes wrong is a
// warning in the log, and the stage does without.
func (a *attempt) restoreCaches(ctx context.Context) {
	for _, use := range a.job.Caches {
		work := &cacheWork{use: use}
		err := a.planCache(ctx, work)
		if err == nil {
			a.caches = append(a.caches, work)
			err = a.restoreCache(ctx, work)
		}
		if err != nil && ctx.Err() == nil {
			a.notice("cache-miss", "The cache %s was not restored: %v.", use.Name, err)
		}
	}
}

// planCache finds out the key and the places of a cache.
func (a *attempt) planCache(ctx context.Context, work *cacheWork) (err error) {
	if work.roots, err = cacheRoots(work.use.Paths, a.folders.workspace, a.folders.home); err != nil {
		return err
	}
	work.query = CacheQuery{Name: work.use.Name, Version: cacheVersion(work.use.Paths)}
	if work.query.Key, err = a.cacheKey(ctx, work.use.Name, work.use.Key); err != nil {
		return err
	}
	for _, parts := range work.use.Restore {
		prefix, err := a.cacheKey(ctx, work.use.Name, parts)
		if err != nil {
			return err
		}
		work.query.Prefixes = append(work.query.Prefixes, prefix)
	}
	return nil
}

// cacheVersion tells apart what must not be mixed under one key.
func cacheVersion(paths []string) string {
	text, err := json.Marshal([]any{paths, runtime.GOOS, runtime.GOARCH, cacheFormat})
	if err != nil {
		panic(err) // strings and numbers have a form
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// cacheKey puts the hashes of files into a key.
func (a *attempt) cacheKey(ctx context.Context, name string, parts []KeyPart) (string, error) {
	key := ""
	for _, part := range parts {
		key += part.Text
		if part.Hash == nil {
			continue
		}
		sum, err := hashOfFiles(ctx, a.folders.workspace, part.Hash)
		if err != nil {
			return "", fmt.Errorf("${hash:…} has no value: %w", err)
		}
		if sum == noFiles {
			a.notice("cache-hash-empty", "The key of the cache %s hashes %q, which matches no file.", name, part.Hash)
		}
		key += sum
	}
	if key == "" || len(key) > maxCacheKey {
		return "", fmt.Errorf("its key has %d bytes; 1 to %d are allowed", len(key), maxCacheKey)
	}
	return key, nil
}

// noFiles stands in a key where no file matches.
const noFiles = "empty"

// hashOfFiles is the SHA-256 over path and content of the files that match, sorted by
// path.
func hashOfFiles(ctx context.Context, dir string, patterns []string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", err
	}
	defer root.Close()
	manifest, err := collect(ctx, root, patterns, nil)
	if err != nil || len(manifest.Files) == 0 {
		return noFiles, err
	}
	for i := range manifest.Files {
		manifest.Files[i].X = false // a mode is no content
	}
	object, _, err := manifest.Encode("")
	return object.SHA256, err
}

// restoreCache brings one cache, if there is an entry.
func (a *attempt) restoreCache(ctx context.Context, work *cacheWork) error {
	if work.use.Fresh {
		a.out.say("cache %s: not restored, as this run was asked to do without", work.use.Name)
		return nil
	}
	began := a.clock.Now()
	found, err := a.findCache(ctx, work.query)
	if err != nil {
		return err
	}
	if found.Entry == nil {
		a.out.say("cache %s: no entry for %s", work.use.Name, a.masks.Text(work.query.Key))
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cacheRestore, cacheTrouble("it took longer than %s", cacheRestore))
	defer cancel()
	t := &cacheTransfer{control: a.control, clock: a.clock}
	index, err := t.index(ctx, found.Entry.Index, work.roots)
	if err == nil {
		err = unpackCache(ctx, work.roots, index, t.want, t.pack)
	}
	if err != nil {
		if a.tellFault(ctx, work, *found.Entry, err); found.Exact {
			work.bad = found.Entry.ID
		}
		return err
	}
	work.found = found
	how := "restored"
	if !found.Exact {
		how = "restored the older"
	}
	what := fmt.Sprintf("cache %s: %s %s (%s), %d files", work.use.Name, how, a.masks.Text(found.Entry.Key), found.Entry.Scope, len(index.Files))
	a.out.say("%s", speed(what, index.raw(), a.clock.Now().Sub(began)))
	return nil
}

func (a *attempt) findCache(ctx context.Context, query CacheQuery) (CacheFound, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cacheCall, cacheTrouble("the platform did not answer within %s", cacheCall))
	defer cancel()
	return a.control.FindCache(ctx, query)
}

// tellFault lets the platform look at an object that came damaged or not at all.
func (a *attempt) tellFault(ctx context.Context, work *cacheWork, entry CacheEntry, err error) {
	var damaged *damage
	if !errors.As(err, &damaged) || ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, cacheCall)
	defer cancel()
	err = a.control.CacheFault(ctx, CacheFault{Name: work.use.Name, Entry: entry.ID, Object: damaged.object})
	if err != nil {
		a.log.Info("fault of a cache not told", "cache", work.use.Name, "err", err)
	}
}

// saveCaches keeps what the commands left at the paths, after they have succeeded.
// Like a restore it never decides how the stage ends, and to be cut short does no
// harm: an entry is made in the last step.
func (a *attempt) saveCaches(ctx context.Context) {
	for _, work := range a.caches {
		if work.use.Read || work.found.Exact || ctx.Err() != nil {
			continue
		}
		if err := a.saveCache(ctx, work); err != nil && ctx.Err() == nil {
			a.notice("cache-not-saved", "The cache %s was not saved: %v.", work.use.Name, err)
		}
	}
}

func (a *attempt) saveCache(ctx context.Context, work *cacheWork) error {
	began := a.clock.Now()
	query := work.query
	query.Prefixes = nil
	if there, err := a.findCache(ctx, query); err == nil && there.Exact && there.Entry.ID != work.bad {
		a.out.say("cache %s: not saved, %s is there already", work.use.Name, a.masks.Text(query.Key))
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cacheSave, cacheTrouble("it took longer than %s", cacheSave))
	defer cancel()
	index, err := packCache(ctx, work.roots, func(ctx context.Context, pack Object, form []byte) error {
		return a.control.Upload(ctx, pack, bytes.NewReader(form))
	})
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(index.Files) == 0:
		a.out.say("cache %s: nothing to save at %q", work.use.Name, work.use.Paths)
		return nil
	case err != nil:
		return err
	}
	save, err := a.uploadIndex(ctx, work, index)
	if err != nil {
		return err
	}
	saved, err := a.control.SaveCache(ctx, save)
	if err != nil {
		return err
	}
	if !saved.Saved {
		a.out.say("cache %s: not saved, %s", work.use.Name, saved.Why)
		return nil
	}
	what := fmt.Sprintf("cache %s: saved %s (%s), %d files", work.use.Name, a.masks.Text(save.Key), saved.Scope, save.Files)
	a.out.say("%s", speed(what, save.Raw, a.clock.Now().Sub(began)))
	return nil
}

// uploadIndex sends the index, after the packs, and describes the entry.
func (a *attempt) uploadIndex(ctx context.Context, work *cacheWork, index *cacheIndex) (CacheSave, error) {
	object, form, err := index.encode()
	if err != nil {
		return CacheSave{}, err
	}
	if err := a.control.Upload(ctx, object, bytes.NewReader(form)); err != nil {
		return CacheSave{}, err
	}
	save := CacheSave{
		Name: work.query.Name, Version: work.query.Version, Key: work.query.Key, Index: object, Packs: index.objects(),
		Files: len(index.Files), Raw: index.raw(), Instead: work.bad,
	}
	if len(work.query.Prefixes) > 0 {
		save.Prefix = work.query.Prefixes[0]
	}
	return save, nil
}
