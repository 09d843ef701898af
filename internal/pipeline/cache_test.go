package pipeline_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// cacheFile is a pipeline whose stage shows what its cache holds and adds to it.
const cacheFile = `pipeline "p"
on "push"
on "tag"
on "pull-request"
cache "deps" { key "deps-${git.sha}"; path "deps"; restore "deps-"; }
stage "a" { cache "deps"; run "cat deps/f || echo nothing"; run "mkdir -p deps; echo $BUILDIT_COMMIT_AUTHOR >> deps/f"; }
`

// fill runs cacheFile for a trigger, and answers what the stage saw.
func (w *world) fill(t pipeline.Trigger) (pipeline.View, string) {
	w.t.Helper()
	run, err := w.service.StartFile(w.t.Context(), w.org, t, load(w.t, cacheFile), pipeline.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	view := w.end(run)
	if view.Status != pipeline.Succeeded {
		w.t.Fatalf("%s: %s\n%s", view.Status, statuses(view), w.log(view.ID, view.Stages[0].Key))
	}
	return view, w.log(view.ID, view.Stages[0].Key)
}

// from is a trigger of a branch of a repository whose default branch is main.
func from(branch, author string, commit byte) pipeline.Trigger {
	t := push(branch)
	t.DefaultBranch, t.Author, t.Commit = "main", author, strings.Repeat(string(commit), 40)
	return t
}

// cacheFork is the trigger of a stranger's pull request against main.
func cacheFork(number int, author string, commit byte) pipeline.Trigger {
	t := from("", author, commit)
	t.Event, t.Subject, t.Ref = "pull-request", fmt.Sprint(number), fmt.Sprintf("refs/pull/%d/head", number)
	t.Base, t.Head, t.PullRequest, t.Fork, t.Trust = "main", "main", number, true, "untrusted"
	return t
}

// ForkCannotWriteTrustedCache: what a stranger's commit keeps, even under the very key
// that the default branch asks for, is found by its own pull request alone, and it
// finds nothing of the repository's unless a maintainer has published it.
func TestForkCannotWriteTrustedCache(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(cacheFork(7, "stranger", 'a'))
	if _, log := w.fill(from("main", "owner", 'a')); !strings.Contains(log, "nothing") {
		t.Errorf("main restored what a fork wrote: %q", log)
	}
	if _, log := w.fill(cacheFork(8, "other", 'b')); !strings.Contains(log, "nothing") {
		t.Errorf("a fork restored what is not its own: %q", log)
	}
	if _, log := w.fill(cacheFork(7, "stranger", 'c')); !strings.Contains(log, "stranger") || !strings.Contains(log, "fork/7") {
		t.Errorf("a fork did not find its own: %q", log)
	}
	if err := w.service.PublishCache(t.Context(), w.org, "r1", "deps", "owner", true); err != nil {
		t.Fatal(err)
	}
	if _, log := w.fill(cacheFork(9, "third", 'd')); !strings.Contains(log, "owner") || strings.Contains(log, "stranger") || !strings.Contains(log, "fork/9") {
		t.Errorf("a fork with a published cache: %q", log)
	}
	list, err := w.service.Caches(t.Context(), w.org, "r1")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list {
		if (c.Scope == "trusted/main") != (c.Run != "" && !strings.HasPrefix(c.Scope, "fork/")) {
			t.Errorf("entry %+v", c)
		}
	}
}

// The table of pipelines.md 3.10, by what a run of each kind sees of all the others.
func TestCacheScopes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	pull := from("", "pull", 'c')
	pull.Event, pull.Subject, pull.Ref, pull.PullRequest, pull.Base, pull.Head = "pull-request", "3", "refs/pull/3/head", 3, "main", "feature"
	tag := from("", "tag", 'd')
	tag.Event, tag.Subject, tag.Ref, tag.Branch, tag.Tag = "tag", "v1", "refs/tags/v1", "", "v1"
	w.fill(from("main", "main", 'a'))
	for _, step := range []struct {
		name    string
		trigger pipeline.Trigger
		sees    string
		writes  string
	}{
		{"branch", from("feature", "feature", 'b'), "main", "branch/feature"},
		{"branch called like a scope", from("trusted/main", "liar", 'b'), "main", "branch/trusted/main"},
		{"pull request of the branch", pull, "main\nfeature", "pr/3"},
		{"tag", tag, "main", "trusted/tag:v1"},
		{"default branch", from("main", "again", 'e'), "main", "trusted/main"},
	} {
		_, log := w.fill(step.trigger)
		if !strings.Contains(log, "files, ") || !strings.Contains(log, "\n"+step.sees+"\ncache deps: saved") || !strings.Contains(log, "("+step.writes+")") {
			t.Errorf("%s: %q", step.name, log)
		}
	}
}

func TestRestorePrefixTakesNewest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, author := range []string{"first", "second", "third"} {
		if _, log := w.fill(from("main", author, "abc"[i])); i > 0 && !strings.Contains(log, "restored the older deps-"+strings.Repeat("abc"[i-1:i], 40)) {
			t.Errorf("%s: %q", author, log)
		}
	}
}

// CacheNotSavedAfterFailure, and a run without caches restores none.
func TestCacheNotSavedAfterFailure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	trigger := from("main", "x", 'a')
	run, err := w.service.StartFile(t.Context(), w.org, trigger, load(t, strings.Replace(cacheFile, ">> deps/f", ">> deps/f; exit 1", 1)), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, w.end(run), pipeline.Failed, "a failed")
	if list, err := w.service.Caches(t.Context(), w.org, "r1"); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
	w.fill(from("main", "kept", 'b'))
	trigger = from("main", "fresh", 'c')
	trigger.NoCache = true
	if _, log := w.fill(trigger); !strings.Contains(log, "nothing") || !strings.Contains(log, "asked to do without") {
		t.Errorf("a run without caches: %q", log)
	}
}

// caching is a running attempt of cacheFile whose supervisor is the test.
func (w *world) caching(trigger pipeline.Trigger) (*pipeline.Attempt, pipeline.RunID) {
	w.t.Helper()
	run, err := w.service.StartFile(w.t.Context(), w.org, trigger, load(w.t, strings.Replace(cacheFile, `run "mkdir`, `run "sleep 60"; run "mkdir`, 1)), pipeline.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.await("a running")
	view, err := w.service.View(w.t.Context(), w.org, run.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	attempt, err := w.service.Attempt(w.t.Context(), w.org, run.ID, view.Stages[0].Key, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if _, err := w.service.Cancel(context.WithoutCancel(w.t.Context()), w.org, run.ID, "user", "the test is over"); err != nil {
			w.t.Error(err)
		}
		<-w.final(run.ID)
	})
	return attempt, run.ID
}

func isProblem(err error) bool {
	var known *problem.Error
	return errors.As(err, &known)
}

// cacheObject puts bytes into the store as an object of a cache.
func cacheObject(t *testing.T, a *pipeline.Attempt, text string) supervisor.Object {
	t.Helper()
	sum := sha256.Sum256([]byte(text))
	o := supervisor.Object{Kind: "cache", Name: hex.EncodeToString(sum[:]), SHA256: hex.EncodeToString(sum[:]), Size: int64(len(text))}
	if err := a.Upload(t.Context(), o, bytes.NewReader([]byte(text))); err != nil {
		t.Fatal(err)
	}
	return o
}

func entryOf(key string, index supervisor.Object, packs ...supervisor.Object) supervisor.CacheSave {
	return supervisor.CacheSave{Name: "deps", Version: strings.Repeat("0", 64), Key: key, Index: index, Packs: packs, Files: 1}
}

// TwoWritersOfOneKey: the first wins, the others are told so, and what is found is
// what the first has written.
func TestTwoWritersOfOneKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, run := w.caching(from("main", "x", 'a'))
	var writers sync.WaitGroup
	var mu sync.Mutex
	won := ""
	for i := range 8 {
		index := cacheObject(t, a, fmt.Sprint("index ", i))
		writers.Go(func() {
			saved, err := a.SaveCache(t.Context(), entryOf("k", index))
			if err != nil || !saved.Saved && saved.Why == "" {
				t.Errorf("%+v, %v", saved, err)
			}
			if saved.Saved {
				mu.Lock()
				defer mu.Unlock()
				if won != "" {
					t.Error("two writers were told that they had won")
				}
				won = index.SHA256
			}
		})
	}
	writers.Wait()
	found, err := a.FindCache(t.Context(), supervisor.CacheQuery{Name: "deps", Version: strings.Repeat("0", 64), Key: "k"})
	if err != nil || found.Entry == nil || !found.Exact || found.Entry.Index.SHA256 != won {
		t.Errorf("%+v, %v; %s had won", found.Entry, err, won)
	}
	events := 0
	for _, row := range w.events(run) {
		if row.Item.Text("entity") == "cache" {
			events++
		}
	}
	if events != 1 {
		t.Errorf("%d events of a write", events)
	}
}

// What a supervisor sends about caches is judged: none of it makes an entry, or shows
// one, beyond what the stage declares.
func TestCacheCallsAreJudged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, _ := w.caching(from("main", "x", 'a'))
	index := cacheObject(t, a, "index")
	absent := index
	absent.SHA256 = strings.Repeat("e", 64)
	long := entryOf(strings.Repeat("k", 513), index)
	other := entryOf("k", index)
	other.Name = "other"
	large := entryOf("k", index)
	large.Packs = []supervisor.Object{{Kind: "cache", SHA256: index.SHA256, Size: supervisor.MaxCacheObject + 1}}
	foreign := entryOf("k", supervisor.Object{Kind: "blob", SHA256: index.SHA256, Size: 5})
	size := index
	size.Size++
	for name, save := range map[string]supervisor.CacheSave{
		"absent pack": entryOf("k", index, absent), "absent index": entryOf("k", absent), "long key": long, "no key": entryOf("", index),
		"other cache": other, "large pack": large, "other kind": foreign, "other size": entryOf("k", size),
	} {
		if saved, err := a.SaveCache(t.Context(), save); err == nil || saved.Saved || !isProblem(err) {
			t.Errorf("%s: %+v, %v", name, saved, err)
		}
	}
	for name, query := range map[string]supervisor.CacheQuery{
		"long key":    {Name: "deps", Version: strings.Repeat("0", 64), Key: strings.Repeat("k", 513)},
		"no version":  {Name: "deps", Key: "k"},
		"other cache": {Name: "other", Version: strings.Repeat("0", 64), Key: "k"},
		"prefixes":    {Name: "deps", Version: strings.Repeat("0", 64), Key: "k", Prefixes: make([]string, 9)},
	} {
		if found, err := a.FindCache(t.Context(), query); err == nil || !isProblem(err) {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
}

// A fault is believed only if the platform sees it too; then object and entry go, and
// the same bytes can be stored anew.
func TestCacheFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, _ := w.caching(from("main", "x", 'a'))
	index, pack := cacheObject(t, a, "index"), cacheObject(t, a, "pack")
	if saved, err := a.SaveCache(t.Context(), entryOf("k", index, pack)); err != nil || !saved.Saved {
		t.Fatalf("%+v, %v", saved, err)
	}
	query := supervisor.CacheQuery{Name: "deps", Version: strings.Repeat("0", 64), Key: "k"}
	found, err := a.FindCache(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	fault := supervisor.CacheFault{Name: "deps", Entry: found.Entry.ID, Object: pack}
	if err := a.CacheFault(t.Context(), fault); err != nil {
		t.Fatal(err)
	}
	if found, err := a.FindCache(t.Context(), query); err != nil || found.Entry == nil {
		t.Fatalf("a lie has removed the entry: %v", err)
	}
	key := w.org.Blob("caches", "r1", pack.SHA256)
	info, err := w.home.Blobs.Stat(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.home.Blobs.Replace(t.Context(), key, info.ETag, strings.NewReader("pick")); err != nil {
		t.Fatal(err)
	}
	if err := a.CacheFault(t.Context(), fault); err != nil {
		t.Fatal(err)
	}
	if found, err := a.FindCache(t.Context(), query); err != nil || found.Entry != nil {
		t.Errorf("a damaged entry is found: %+v, %v", found.Entry, err)
	}
	cacheObject(t, a, "pack")
	body, _, err := w.home.Blobs.Open(t.Context(), key, 0)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(body); err != nil || string(text) != "pack" {
		t.Errorf("stored anew: %q, %v", text, err)
	}
}

// Entries end by the rules, and their bytes follow once no entry names them.
func TestCachesToDrop(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	entry := func(id, scope, prefix string, bytes int64, days int) pipeline.Cache {
		at := now.AddDate(0, 0, -days)
		return pipeline.Cache{ID: id, Name: "deps", Scope: scope, Prefix: prefix, Key: prefix + id, Bytes: bytes, Created: at, Used: at}
	}
	for name, tt := range map[string]struct {
		entries []pipeline.Cache
		drop    string
	}{
		"unused":              {[]pipeline.Cache{entry("a", "trusted/main", "", 1, 31), entry("b", "trusted/main", "", 1, 29)}, "a"},
		"newest three":        {[]pipeline.Cache{entry("a", "pr/1", "p", 1, 1), entry("b", "pr/1", "p", 1, 4), entry("c", "pr/1", "p", 1, 2), entry("d", "pr/1", "p", 1, 3)}, "b"},
		"other scopes":        {[]pipeline.Cache{entry("a", "pr/1", "p", 1, 1), entry("b", "pr/2", "p", 1, 4), entry("c", "pr/3", "p", 1, 2), entry("d", "pr/4", "p", 1, 3)}, ""},
		"no prefix":           {[]pipeline.Cache{entry("a", "pr/1", "", 1, 1), entry("b", "pr/1", "", 1, 4), entry("c", "pr/1", "", 1, 2), entry("d", "pr/1", "", 1, 3)}, ""},
		"forks first":         {[]pipeline.Cache{entry("a", "trusted/main", "", 60, 9), entry("b", "branch/x", "", 30, 8), entry("c", "pr/1", "", 10, 7), entry("d", "fork/1", "", 5, 0)}, "d"},
		"then pull requests":  {[]pipeline.Cache{entry("a", "trusted/main", "", 60, 9), entry("b", "branch/x", "", 38, 8), entry("c", "pr/1", "", 10, 7), entry("d", "fork/1", "", 5, 0)}, "c,d"},
		"the longest unused":  {[]pipeline.Cache{entry("a", "trusted/main", "", 60, 9), entry("b", "trusted/main", "", 60, 3)}, "a"},
		"at the limit":        {[]pipeline.Cache{entry("a", "trusted/main", "", 100, 9)}, ""},
		"one above the limit": {[]pipeline.Cache{entry("a", "trusted/main", "", 101, 9)}, "a"},
	} {
		var dropped []string
		drop := pipeline.CachesToDrop(tt.entries, 100, now)
		for _, e := range tt.entries {
			if drop[e.ID] != "" {
				dropped = append(dropped, e.ID)
			}
		}
		if strings.Join(dropped, ",") != tt.drop {
			t.Errorf("%s: dropped %v, want %q", name, drop, tt.drop)
		}
	}
}

// laterHome puts a clock that a test can move between the service and its home.
type laterClock struct {
	platform.Clock
	mu    sync.Mutex
	ahead time.Duration
}

func (c *laterClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Clock.Now().Add(c.ahead)
}

func (c *laterClock) move(by time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += by
}

func TestKeepCaches(t *testing.T) {
	t.Parallel()
	clock := &laterClock{}
	w := newWorld(t, func(_ *world, home *platform.Home) {
		clock.Clock = home.Clock
		home.Clock = clock
	})
	w.fill(from("main", "one", 'a'))
	view, _ := w.fill(from("main", "two", 'b'))
	a, err := w.service.Attempt(t.Context(), w.org, view.ID, view.Stages[0].Key, 1)
	if err != nil {
		t.Fatal(err)
	}
	loose := cacheObject(t, a, "of no entry")
	keep := func() (entries, objects int) {
		t.Helper()
		if err := w.service.KeepCaches(t.Context()); err != nil {
			t.Fatal(err)
		}
		list, err := w.service.Caches(t.Context(), w.org, "r1")
		if err != nil {
			t.Fatal(err)
		}
		infos, err := w.home.Blobs.List(t.Context(), w.org.Blob("caches", "r1").Under(), platform.BlobKey{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		return len(list), len(infos)
	}
	if entries, objects := keep(); entries != 2 || objects != 5 {
		t.Errorf("at once: %d entries, %d objects", entries, objects)
	}
	clock.move(26 * time.Hour)
	if entries, objects := keep(); entries != 2 || objects != 4 {
		t.Errorf("after a day: %d entries, %d objects; %s belongs to none", entries, objects, loose.SHA256)
	}
	clock.move(30 * 24 * time.Hour)
	if entries, objects := keep(); entries != 0 || objects != 0 {
		t.Errorf("after a month: %d entries, %d objects", entries, objects)
	}
	if due, err := w.home.Table.Get(t.Context(), w.org.Partition("cache", "r1").Row("care")); err == nil {
		t.Errorf("caches that are gone are cared for: %v", due)
	}
}

func TestCachesOverTheAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.fill(from("main", "one", 'a'))
	a := newAPI(w)
	list := answer[struct{ Items []pipeline.Cache }](a, "/repositories/r1/caches").Items
	if len(list) != 1 || list[0].Scope != "trusted/main" || list[0].Name != "deps" || list[0].Files == 0 || list[0].Bytes == 0 || list[0].Public {
		t.Fatalf("%+v", list)
	}
	if status, body := a.call("POST /repositories/r1/caches/deps/publish", `{"public":true}`); status != http.StatusOK {
		t.Errorf("publish: %d %s", status, body)
	}
	if list := answer[struct{ Items []pipeline.Cache }](a, "/repositories/r1/caches").Items; !list[0].Public {
		t.Errorf("after publish %+v", list)
	}
	if status, body := a.call("POST /repositories/r1/caches/"+strings.Repeat("n", 64)+"/publish", `{"public":true}`); status != http.StatusBadRequest {
		t.Errorf("publish a name that none can have: %d %s", status, body)
	}
	for _, want := range []int{http.StatusNoContent, http.StatusNotFound} {
		if status, body := a.call("DELETE /repositories/r1/caches/"+list[0].ID, ""); status != want {
			t.Errorf("delete: %d %s, want %d", status, body, want)
		}
	}
}
