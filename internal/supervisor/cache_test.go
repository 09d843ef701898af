package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform/system"
)

// FindCache implements CacheStore on the entries that were saved, the newest last.
func (h *home) FindCache(ctx context.Context, query CacheQuery) (CacheFound, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.check(ctx, "find cache"); err != nil {
		return CacheFound{}, err
	}
	for _, prefix := range append([]string{query.Key}, query.Prefixes...) {
		for _, save := range slices.Backward(h.saved) {
			if save.Version == query.Version && save.Name == query.Name && strings.HasPrefix(save.Key, prefix) {
				return CacheFound{&CacheEntry{ID: save.Key, Scope: "test", Key: save.Key, Index: save.Index}, save.Key == query.Key}, nil
			}
		}
	}
	return CacheFound{}, nil
}

func (h *home) SaveCache(ctx context.Context, save CacheSave) (CacheSaved, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.check(ctx, "save cache"); err != nil {
		return CacheSaved{}, err
	}
	for i, there := range h.saved {
		if there.Key == save.Key && save.Instead != there.Key {
			return CacheSaved{Why: "another one was first"}, nil
		} else if there.Key == save.Key {
			h.saved = slices.Delete(h.saved, i, i+1)
		}
	}
	h.saved = append(h.saved, save)
	return CacheSaved{Saved: true, Scope: "test"}, nil
}

func (h *home) CacheFault(_ context.Context, fault CacheFault) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, fault)
	return nil
}

func text(parts ...string) (key []KeyPart) {
	for _, part := range parts {
		if globs, ok := strings.CutPrefix(part, "hash:"); ok {
			key = append(key, KeyPart{Hash: strings.Split(globs, ",")})
		} else {
			key = append(key, KeyPart{Text: part})
		}
	}
	return key
}

// cached is a home whose job has one cache.
func cached(t *testing.T, use CacheUse, scripts ...string) *home {
	h := &home{job: jobOf(t, scripts...), missing: true}
	if use.Name == "" {
		use.Name = "deps"
	}
	h.job.Caches = []CacheUse{use}
	return h
}

// next is a second attempt of the same stage with a workspace of its own.
func (h *home) next(t *testing.T, scripts ...string) *home {
	n := cached(t, h.job.Caches[0], scripts...)
	n.objects, n.saved = h.objects, h.saved
	return n
}

func TestCacheTravels(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "mod")
	use := CacheUse{Key: text("deps-", "hash:go.sum"), Restore: [][]KeyPart{text("deps-")}, Paths: []string{"deps", "one.file", "~/.cache/x", outside, "none"}}
	maker := cached(t, use, `mkdir -p deps/a/empty ~/.cache/x `+outside+`; echo one > deps/a/f; printf '#!/bin/sh\necho ran' > deps/run; chmod 755 deps/run
: > deps/nothing; ln -s a/f deps/link; ln -s ../one.file deps/up; echo file > one.file; echo home > ~/.cache/x/h; echo abs > `+outside+`/m
touch -d 2001-02-03T04:05:06Z deps/a/f; head -c 9000000 /dev/urandom > deps/large; cp deps/large ~/large; sha256sum < deps/large > deps/sum`)
	writeFile(t, maker.job.Workspace, "go.sum", "sums")
	want(t, maker, maker.run(t), ReasonOK)
	if err := os.RemoveAll(outside); err != nil {
		t.Fatal(err)
	}
	taker := maker.next(t, `cat deps/a/f one.file ~/.cache/x/h `+outside+`/m deps/link deps/up; deps/run; test -d deps/a/empty; test -f deps/nothing; test ! -s deps/nothing
sha256sum < deps/large | cmp - deps/sum; date -u -r deps/a/f +%FT%TZ; ls -A; cat deps/tracked`)
	writeFile(t, taker.job.Workspace, "go.sum", "sums")
	writeFile(t, taker.job.Workspace, "deps/tracked", "stays") // what is there and not in the cache stays
	want(t, taker, taker.run(t), ReasonOK)
	for _, part := range []string{"one\nfile\nhome\nabs\none\nfile\nran", "2001-02-03T04:05:06Z", "deps\ngo.sum\none.file\nstays", "cache deps: restored deps-", " MB/s)"} {
		if !strings.Contains(taker.text(), part) {
			t.Errorf("no %q in the log %q", part, taker.text())
		}
	}
	if len(taker.saved) != 1 || len(taker.sent) != 0 {
		t.Errorf("after an exact hit %d entries, %d objects were sent", len(taker.saved), len(taker.sent))
	}
}

// A key that is new saves anew; packs that are there are not sent again, and an entry
// of a prefix is restored.
func TestRestorePrefix(t *testing.T) {
	t.Parallel()
	maker := cached(t, CacheUse{Key: text("deps-", "hash:go.sum"), Restore: [][]KeyPart{text("deps-")}, Paths: []string{"deps"}}, "mkdir deps; echo one > deps/f")
	writeFile(t, maker.job.Workspace, "go.sum", "1")
	want(t, maker, maker.run(t), ReasonOK)
	taker := maker.next(t, "cat deps/f; rm deps/f; echo two > deps/g")
	writeFile(t, taker.job.Workspace, "go.sum", "2")
	want(t, taker, taker.run(t), ReasonOK)
	if !strings.Contains(taker.text(), "restored the older deps-") || len(taker.saved) != 2 {
		t.Errorf("%d entries; log %q", len(taker.saved), taker.text())
	}
}

func TestCacheNotSavedAfterFailure(t *testing.T) {
	t.Parallel()
	use := CacheUse{Key: text("k"), Paths: []string{"deps"}}
	failing := cached(t, use, "mkdir deps; echo half > deps/f; exit 3")
	want(t, failing, failing.run(t), ReasonExit)
	missing := cached(t, use, "mkdir deps; echo half > deps/f")
	missing.job.Artifacts = []ArtifactUse{{Name: "x", Paths: []string{"no-such-file"}, On: "succeeded"}}
	want(t, missing, missing.run(t), ReasonArtifactMissing)
	use.Read = true
	reading := cached(t, use, "mkdir deps; echo whole > deps/f")
	want(t, reading, reading.run(t), ReasonOK)
	for name, h := range map[string]*home{"command failed": failing, "artifact missing": missing, "mode read": reading} {
		if len(h.saved) != 0 || len(h.sent) != 0 {
			t.Errorf("%s: %d entries, %d objects", name, len(h.saved), len(h.sent))
		}
	}
}

// Whatever is wrong with an entry, the stage goes on as if there were none, and finds
// nothing of it.
func TestCorruptCacheIsAMiss(t *testing.T) {
	t.Parallel()
	maker := cached(t, CacheUse{Key: text("k"), Paths: []string{"deps"}}, "mkdir -p deps/a; echo one > deps/f; head -c 9000000 /dev/urandom > deps/large")
	want(t, maker, maker.run(t), ReasonOK)
	save := maker.saved[0]
	last := save.Packs[len(save.Packs)-1]
	bomb, err := newPacker()
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func(h *home){
		"truncated":       func(h *home) { h.objects[last.SHA256] = h.objects[last.SHA256][:last.Size-1] },
		"longer":          func(h *home) { h.objects[last.SHA256] = append(slices.Clone(h.objects[last.SHA256]), 0) },
		"other bytes":     func(h *home) { h.objects[last.SHA256] = bytes.Repeat([]byte{1}, int(last.Size)) },
		"pack missing":    func(h *home) { delete(h.objects, last.SHA256) },
		"index missing":   func(h *home) { delete(h.objects, save.Index.SHA256) },
		"index truncated": func(h *home) { h.objects[save.Index.SHA256] = h.objects[save.Index.SHA256][:10] },
		"index is no zstd": func(h *home) {
			h.saved[0].Index = named(h.put([]byte("garbage")))
		},
		"index is a bomb": func(h *home) {
			h.saved[0].Index = named(h.put(bomb.EncodeAll(make([]byte, maxCacheIndex+1), nil)))
		},
		"platform says no": func(h *home) { h.refuse = refuseCall("find cache") },
		"store fails":      func(h *home) { h.refuse = refuseCall("download") },
	} {
		t.Run(name, func(t *testing.T) {
			h := maker.next(t, "ls -A; test ! -e deps")
			h.objects = make(map[string][]byte)
			for digest, text := range maker.objects {
				h.objects[digest] = text
			}
			h.saved = slices.Clone(maker.saved)
			damage(h)
			result := h.run(t)
			want(t, h, result, ReasonOK)
			if len(result.Notices) == 0 || result.Notices[0].Code != "cache-miss" {
				t.Errorf("notices %+v", result.Notices)
			}
			if strings.Contains(h.text(), stagingPrefix) {
				t.Errorf("something is left: %q", h.text())
			}
			if told, ours := len(h.faults) > 0, h.refuse != nil; told == ours { // an entry is to blame, or the platform
				t.Errorf("faults that were told: %+v", h.faults)
			}
		})
	}
}

func refuseCall(name string) func(string) error {
	return func(call string) error {
		if call == name {
			return errors.New("out of order")
		}
		return nil
	}
}

func named(o Object) Object { o.Kind, o.Name = "cache", o.SHA256; return o }

// An entry of the very key that cannot be restored is replaced by the next success.
func TestBrokenEntryIsReplaced(t *testing.T) {
	t.Parallel()
	maker := cached(t, CacheUse{Key: text("k"), Paths: []string{"deps"}}, "mkdir deps; echo one > deps/f")
	want(t, maker, maker.run(t), ReasonOK)
	delete(maker.objects, maker.saved[0].Packs[0].SHA256)
	again := maker.next(t, "mkdir deps; echo two > deps/f")
	want(t, again, again.run(t), ReasonOK)
	last := again.next(t, "cat deps/f")
	want(t, last, last.run(t), ReasonOK)
	if !strings.Contains(last.text(), "two") {
		t.Errorf("log %q", last.text())
	}
}

// A stage goes on without its cache, and says why, where key or paths are impossible.
func TestCacheThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		use  CacheUse
		code string
	}{
		"long key":            {CacheUse{Key: text(strings.Repeat("k", 10<<10)), Paths: []string{"deps"}}, "cache-miss"},
		"key of nothing":      {CacheUse{Key: text(""), Paths: []string{"deps"}}, "cache-miss"},
		"hash of no file":     {CacheUse{Key: text("k-", "hash:none.lock"), Paths: []string{"deps"}}, "cache-hash-empty"},
		"outside":             {CacheUse{Key: text("k"), Paths: []string{"../x"}}, "cache-miss"},
		"outside home":        {CacheUse{Key: text("k"), Paths: []string{"~/../x"}}, "cache-miss"},
		"everything":          {CacheUse{Key: text("k"), Paths: []string{"/"}}, "cache-miss"},
		"link out of the way": {CacheUse{Key: text("k"), Paths: []string{"linked"}}, "cache-not-saved"},
		"device":              {CacheUse{Key: text("k"), Paths: []string{"pipe"}}, "cache-not-saved"},
	} {
		t.Run(name, func(t *testing.T) {
			h := cached(t, tt.use, "mkdir deps linked pipe; echo x > deps/f; ln -s /etc/passwd linked/l; mkfifo pipe/p")
			result := h.run(t)
			want(t, h, result, ReasonOK)
			if len(result.Notices) == 0 || result.Notices[0].Code != tt.code {
				t.Errorf("notices %+v", result.Notices)
			}
			if strings.Contains(tt.code, "miss") && len(h.saved) != 0 {
				t.Errorf("saved %+v", h.saved)
			}
		})
	}
}

// The hash of a key is of paths and contents, whatever the order of the patterns.
func TestCacheHash(t *testing.T) {
	t.Parallel()
	sum := func(files map[string]string, patterns ...string) string {
		dir := t.TempDir()
		for name, content := range files {
			writeFile(t, dir, name, content)
		}
		got, err := hashOfFiles(t.Context(), dir, patterns)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	one := sum(map[string]string{"go.sum": "1", "b/go.sum": "2", "x": "3"}, "go.sum", "b/go.sum")
	if same := sum(map[string]string{"go.sum": "1", "b/go.sum": "2", "x": "4"}, "**/go.sum"); same != one {
		t.Error("the same files have another hash")
	}
	if other := sum(map[string]string{"go.sum": "1", "c/go.sum": "2"}, "**/go.sum"); other == one {
		t.Error("another path has the same hash")
	}
	if other := sum(map[string]string{"go.sum": "2", "b/go.sum": "1"}, "**/go.sum"); other == one {
		t.Error("other contents have the same hash")
	}
	if none := sum(nil, "go.sum"); none != noFiles {
		t.Errorf("no file has the hash %q", none)
	}
}

// A request that hangs does not hold up a restore: a second one is made.
func TestHangingRangeIsAskedAgain(t *testing.T) {
	t.Parallel()
	h := &home{}
	object := named(h.put([]byte("bytes")))
	hanging := &hangs{home: h}
	transfer := &cacheTransfer{control: hanging, clock: system.Clock{}, took: []time.Duration{time.Millisecond}}
	form, err := transfer.fetch(t.Context(), object)
	if err != nil || string(form) != "bytes" || hanging.calls != 2 {
		t.Errorf("%q, %v after %d calls", form, err, hanging.calls)
	}
}

// hangs never answers the first download.
type hangs struct {
	*home
	calls int
}

func (h *hangs) Download(ctx context.Context, object Object) (io.ReadCloser, error) {
	h.mu.Lock()
	h.calls++
	first := h.calls == 1
	h.mu.Unlock()
	if first {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return h.home.Download(ctx, object)
}

// hostile are indexes that must be refused as a whole.
var hostile = map[string]cacheIndex{
	"climbs":            {Files: []cacheFile{dir("deps"), {Path: "deps/../../x"}}},
	"absolute":          {Files: []cacheFile{dir("deps"), {Path: "/etc/x"}}},
	"other path":        {Files: []cacheFile{{Path: "other"}}},
	"begins alike":      {Files: []cacheFile{dir("deps"), {Path: "deps-of-others"}}},
	"above":             {Files: []cacheFile{dir(".")}},
	"no such root":      {Files: []cacheFile{{Root: 1, Path: "deps"}}},
	"negative root":     {Files: []cacheFile{{Root: -1, Path: "deps"}}},
	"link out":          {Files: []cacheFile{dir("deps"), {Path: "deps/l", Link: "../../x"}}},
	"absolute link":     {Files: []cacheFile{dir("deps"), {Path: "deps/l", Link: "/etc"}}},
	"below a link":      {Files: []cacheFile{dir("deps"), {Path: "deps/l", Link: "a"}, {Path: "deps/l/f"}}},
	"below a file":      {Files: []cacheFile{dir("deps"), {Path: "deps/f"}, {Path: "deps/f/g"}}},
	"twice":             {Files: []cacheFile{dir("deps"), {Path: "deps/f"}, {Path: "deps/f"}}},
	"no parent":         {Files: []cacheFile{dir("deps"), {Path: "deps/a/f"}}},
	"zero byte":         {Files: []cacheFile{dir("deps"), {Path: "deps/a\x00b"}}},
	"long path":         {Files: []cacheFile{dir("deps"), {Path: "deps/" + strings.Repeat("a", maxPath)}}},
	"folder with bytes": {Files: []cacheFile{{Path: "deps", Dir: true, Size: 1}}, Packs: []cachePack{onePack(1)}},
	"negative size":     {Files: []cacheFile{dir("deps"), {Path: "deps/f", Size: -1}}},
	"bytes of nowhere":  {Files: []cacheFile{dir("deps"), {Path: "deps/f", Size: 5}}},
	"bytes of nobody":   {Files: []cacheFile{dir("deps")}, Packs: []cachePack{onePack(1)}},
	"too many bytes":    {Files: []cacheFile{dir("deps"), {Path: "deps/f", Size: MaxCacheBytes + 1}}},
	"large pack":        {Files: []cacheFile{dir("deps"), {Path: "deps/f", Size: packBytes + 1}}, Packs: []cachePack{onePack(packBytes + 1)}},
	"no digest":         {Files: []cacheFile{dir("deps"), {Path: "deps/f", Size: 1}}, Packs: []cachePack{{"xyz", 1, 1}}},
}

func dir(path string) cacheFile { return cacheFile{Path: path, Dir: true} }

func onePack(raw int64) cachePack { return cachePack{strings.Repeat("a", 64), 1, raw} }

func TestHostileIndexIsRefused(t *testing.T) {
	t.Parallel()
	roots := []cacheRoot{{t.TempDir(), "deps"}}
	for name, index := range hostile {
		index.V = cacheFormat
		_, form, err := index.encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseCacheIndex(form, roots); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

// FuzzCacheIndex: whatever an index says, and whatever its packs hold, nothing is
// written outside the paths of the cache, and what is refused leaves nothing.
func FuzzCacheIndex(f *testing.F) {
	for _, index := range hostile {
		index.V = cacheFormat
		text, err := json.Marshal(index)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, []byte("pack"))
	}
	f.Add([]byte(`{"v":1,"files":[{"p":"deps","d":true},{"p":"deps/f","s":4},{"p":"deps/l","l":"f"},{"r":1,"p":".cache/x"}],"packs":[{"h":"`+strings.Repeat("ab", 32)+`","s":9,"r":4}]}`), []byte("pack"))
	encoder, err := newPacker()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text, pack []byte) {
		top := t.TempDir()
		roots, err := cacheRoots([]string{"deps", "~/.cache/x"}, filepath.Join(top, "w"), filepath.Join(top, "h"))
		if err != nil {
			t.Fatal(err)
		}
		index, err := parseCacheIndex(encoder.EncodeAll(text, nil), roots)
		if err == nil {
			err = unpackCache(t.Context(), roots, index, func(context.Context, []cachePack) error { return nil }, func(context.Context, cachePack) ([]byte, error) {
				return encoder.EncodeAll(pack, nil), nil
			})
		}
		walked := filepath.WalkDir(top, func(path string, d fs.DirEntry, walkErr error) error {
			rel, relErr := filepath.Rel(top, path)
			inside := rel == "." || rel == "w" || rel == "h" || rel == "h/.cache" && d.IsDir()
			for _, at := range []string{"w/deps", "h/.cache/x"} {
				inside = inside || rel == at || strings.HasPrefix(rel, at+"/")
			}
			if !inside {
				return fmt.Errorf("%s was written", rel)
			}
			if err != nil && !d.IsDir() {
				return fmt.Errorf("%s is left though it failed: %w", rel, err)
			}
			return errors.Join(walkErr, relErr)
		})
		if walked != nil {
			t.Error(walked)
		}
	})
}

func writeFile(t *testing.T, dir, name, content string) {
	t.Helper()
	at := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}
