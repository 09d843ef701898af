package platformtest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// BlobStore is a driver under test, on an empty store.
type BlobStore struct {
	platform.Blobs
	Client *http.Client        // reaches the signed URLs
	Elapse func(time.Duration) // has time pass for the store
}

// Blobs checks everything that platform.Blobs promises. open returns a driver on an
// empty store, once for each case.
func Blobs(t *testing.T, open func(t *testing.T) BlobStore) {
	run(t, open, []Case[BlobStore]{
		{"blob/create-once-race", blobCreateOnceRace},
		{"blob/create-once-after-delete", blobCreateOnceAfterDelete},
		{"blob/swap-etag-race", blobSwapRace},
		{"blob/swap-missing", blobSwapMissing},
		{"blob/swap-equal-bytes", blobSwapEqualBytes},
		{"blob/failed-body", blobFailedBody},
		{"blob/key-bounds", blobKeyBounds},
		{"blob/range", blobRange},
		{"blob/list-bytes-order", blobListOrder},
		{"blob/key-beside-prefix", blobKeyBesidePrefix},
		{"blob/list-stays-in-organization", blobListTenant},
		{"blob/multipart", blobMultipart},
		{"blob/multipart-small-part", blobMultipartSmallPart},
		{"blob/multipart-conditional", blobMultipartConditional},
		{"blob/multipart-abort", blobMultipartAbort},
		{"blob/versions", blobVersions},
		{"blob/version-deleted", blobVersionDeleted},
		{"blob/lock", blobLock},
		{"blob/presign", blobPresign},
		{"blob/presign-exact", blobPresignExact},
		{"blob/presign-expired", blobPresignExpired},
		{"blob/presign-credential-lifetime", blobPresignLifetime},
		{"blob/checksum-refused", blobChecksumRefused},
		{"blob/T44-overwrite-refused", blobOverwriteRefused},
	})
}

func blobKey(name string) platform.BlobKey { return acme.Blob("log", name) }

func content(text string) io.ReadSeeker { return strings.NewReader(text) }

func create(t *testing.T, b platform.Blobs, key platform.BlobKey, text string) platform.ETag {
	t.Helper()
	tag, err := b.Create(t.Context(), key, content(text))
	noError(t, err)
	return tag
}

// holds checks what readers see under a key.
func holds(t *testing.T, b platform.Blobs, key platform.BlobKey, want string) platform.BlobInfo {
	t.Helper()
	body, info, err := b.Open(t.Context(), key, 0)
	noError(t, err)
	equal(t, "the bytes of "+key.String(), readAll(t, body), want)
	equal(t, "the size of "+key.String(), info.Size, int64(len(want)))
	stat, err := b.Stat(t.Context(), key)
	noError(t, err)
	if stat.ETag != info.ETag || stat.Version != info.Version || stat.Key != key || !stat.Modified.Equal(info.Modified) {
		t.Errorf("Stat says %+v, Open %+v", stat, info)
	}
	return info
}

func readAll(t *testing.T, body io.ReadCloser) string {
	t.Helper()
	text, err := io.ReadAll(body)
	noError(t, errors.Join(err, body.Close()))
	return string(text)
}

func absent(t *testing.T, b platform.Blobs, key platform.BlobKey) {
	t.Helper()
	_, err := b.Stat(t.Context(), key)
	isError(t, err, platform.ErrNotFound)
	_, _, err = b.Open(t.Context(), key, 0)
	isError(t, err, platform.ErrNotFound)
}

func blobCreateOnceRace(t *testing.T, b BlobStore) {
	key := blobKey("once")
	errs := race(24, func(i int) error {
		_, err := b.Create(t.Context(), key, content(fmt.Sprintf("writer %02d", i)))
		return err
	})
	oneWins(t, errs, platform.ErrExists)
	for i, err := range errs {
		if err == nil {
			holds(t, b, key, fmt.Sprintf("writer %02d", i))
		}
	}
}

func blobCreateOnceAfterDelete(t *testing.T, b BlobStore) {
	key := blobKey("again")
	create(t, b, key, "first")
	for range 2 { // no object is no error
		noError(t, b.Delete(t.Context(), key))
		absent(t, b, key)
	}
	create(t, b, key, "second")
	holds(t, b, key, "second")
	_, err := b.Create(t.Context(), key, content("third"))
	isError(t, err, platform.ErrExists)
}

func blobSwapRace(t *testing.T, b BlobStore) {
	key := blobKey("swap")
	old := create(t, b, key, "old")
	errs := race(16, func(i int) error {
		_, err := b.Replace(t.Context(), key, old, content(fmt.Sprintf("writer %02d", i)))
		return err
	})
	oneWins(t, errs, platform.ErrChanged)
	for i, err := range errs {
		if err == nil {
			holds(t, b, key, fmt.Sprintf("writer %02d", i))
		}
	}
}

func blobSwapMissing(t *testing.T, b BlobStore) {
	key := blobKey("missing")
	tag := create(t, b, blobKey("other"), "x")
	_, err := b.Replace(t.Context(), key, tag, content("x"))
	isError(t, err, platform.ErrNotFound)
	tag = create(t, b, key, "x")
	noError(t, b.Delete(t.Context(), key))
	_, err = b.Replace(t.Context(), key, tag, content("y"))
	isError(t, err, platform.ErrNotFound) // a mark of deletion counts as absent
	absent(t, b, key)
}

// blobSwapEqualBytes: some stores of rows count no row in such a write.
func blobSwapEqualBytes(t *testing.T, b BlobStore) {
	key := blobKey("equal")
	tag := create(t, b, key, "same")
	for range 2 {
		next, err := b.Replace(t.Context(), key, tag, content("same"))
		noError(t, err)
		tag = next
	}
	holds(t, b, key, "same")
	next, err := b.Replace(t.Context(), key, tag, content("other"))
	noError(t, err)
	if next == tag {
		t.Errorf("other bytes have the same tag %s", tag)
	}
	_, err = b.Replace(t.Context(), key, tag, content("late"))
	isError(t, err, platform.ErrChanged)
	equal(t, "the tag", holds(t, b, key, "other").ETag, next)
}

// brokenBody fails after some bytes.
type brokenBody struct{ io.Reader }

var errBroken = errors.New("the body broke")

func (brokenBody) Seek(int64, int) (int64, error) { return 0, nil }

func newBrokenBody(text string) brokenBody {
	return brokenBody{io.MultiReader(strings.NewReader(text), failing{})}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBroken }

func blobFailedBody(t *testing.T, b BlobStore) {
	key := blobKey("broken")
	_, err := b.Create(t.Context(), key, newBrokenBody("half of it"))
	isError(t, err, errBroken)
	absent(t, b, key)
	tag := create(t, b, key, "whole")
	_, err = b.Replace(t.Context(), key, tag, newBrokenBody("half of it"))
	isError(t, err, errBroken)
	holds(t, b, key, "whole")
	infos, err := b.List(t.Context(), acme.Blob("log").Under(), platform.BlobKey{}, 10)
	noError(t, err)
	equal(t, "objects", len(infos), 1)
}

func blobKeyBounds(t *testing.T, b BlobStore) {
	room := 1024 - len("acme/log/")
	longest := acme.Blob("log", strings.Repeat("k", room))
	create(t, b, longest, "longest")
	holds(t, b, longest, "longest")
	for _, key := range []platform.BlobKey{
		{},
		platform.Org{}.Blob("log", "x"),
		acme.Blob("log", strings.Repeat("k", room+1)),
	} {
		_, err := b.Create(t.Context(), key, content("x"))
		isError(t, err, platform.ErrInvalid)
	}
	for _, part := range []string{"", ".", "..", "a/b", "\x00", "\xff", "é", "A", "a", "%2F", "~", "+", "x y", "\\", ":"} {
		key := acme.Blob("odd", part)
		create(t, b, key, part)
		holds(t, b, key, part)
	}
}

func blobRange(t *testing.T, b BlobStore) {
	key, empty := blobKey("ten"), blobKey("empty")
	create(t, b, key, "0123456789")
	create(t, b, empty, "")
	for _, tt := range []struct {
		key    platform.BlobKey
		offset int64
		want   string
	}{
		{key, 0, "0123456789"},
		{key, 4, "456789"},
		{key, 9, "9"},
		{key, -3, "789"},
		{key, -10, "0123456789"},
		{key, -11, "0123456789"}, // clipped
		{empty, 0, ""},
	} {
		body, info, err := b.Open(t.Context(), tt.key, tt.offset)
		noError(t, err)
		equal(t, fmt.Sprintf("%s from %d", tt.key, tt.offset), readAll(t, body), tt.want)
		if tt.key == key {
			equal(t, "the size of the whole object", info.Size, 10)
		}
	}
	for _, offset := range []int64{10, 11} {
		_, _, err := b.Open(t.Context(), key, offset)
		isError(t, err, platform.ErrInvalid)
	}
}

func listed(t *testing.T, b platform.Blobs, under platform.BlobPrefix, after platform.BlobKey, limit int) (keys []string) {
	t.Helper()
	infos, err := b.List(t.Context(), under, after, limit)
	noError(t, err)
	for _, info := range infos {
		keys = append(keys, strings.TrimPrefix(info.Key.String(), under.String()))
	}
	return keys
}

func blobListOrder(t *testing.T, b BlobStore) {
	under := acme.Blob("order").Under()
	long := strings.Repeat("l", 300)
	want := []string{
		"10", "9", "A", "B", "a", "a!", "a!b", "a-", "a/b", "a/b/c", "a0", "aa", "b/a",
		long, long + "!", long + "/x", long + "0", "é", "\uffff", "\U0001f600",
	}
	for i := range want {
		segments := strings.Split(want[(i*7)%len(want)], "/") // in another order
		key := acme.Blob("order", segments...)
		create(t, b, key, key.String())
	}
	equalList(t, "all", listed(t, b, under, platform.BlobKey{}, 100), want)
	for i, name := range want {
		after := acme.Blob("order", strings.Split(name, "/")...)
		equalList(t, "after "+name, listed(t, b, under, after, 3), want[i+1:min(i+4, len(want))])
	}
	// A key to begin after need not exist.
	equalList(t, "after a/a", listed(t, b, under, acme.Blob("order", "a", "a"), 1), []string{"a/b"})
	infos, err := b.List(t.Context(), under, platform.BlobKey{}, 1)
	noError(t, err)
	if stat, err := b.Stat(t.Context(), infos[0].Key); err != nil || stat.ETag != infos[0].ETag || stat.Size != infos[0].Size || stat.Version != infos[0].Version {
		t.Errorf("List says %+v, Stat %+v, %v", infos[0], stat, err)
	}
	_, err = b.List(t.Context(), under, platform.BlobKey{}, 0)
	isError(t, err, platform.ErrInvalid)
}

func blobKeyBesidePrefix(t *testing.T, b BlobStore) {
	a, below := acme.Blob("log", "a"), acme.Blob("log", "a", "b")
	create(t, b, below, "below")
	create(t, b, a, "beside")
	holds(t, b, a, "beside")
	holds(t, b, below, "below")
	equalList(t, "below a", listed(t, b, a.Under(), platform.BlobKey{}, 10), []string{"b"})
	noError(t, b.Delete(t.Context(), a))
	holds(t, b, below, "below")
	equalList(t, "all", listed(t, b, acme.Blob("log").Under(), platform.BlobKey{}, 10), []string{"a/b"})
}

func blobListTenant(t *testing.T, b BlobStore) {
	create(t, b, acme.Blob("log", "x"), "acme's")
	create(t, b, globex.Blob("log", "x"), "globex's")
	equalList(t, "acme's", listed(t, b, acme.Blob("log").Under(), platform.BlobKey{}, 10), []string{"x"})
	for _, open := range []platform.BlobPrefix{{}, platform.BlobKey{}.Under(), platform.Org{}.Blob("log").Under()} {
		_, err := b.List(t.Context(), open, platform.BlobKey{}, 10)
		isError(t, err, platform.ErrInvalid)
	}
}

func blobVersions(t *testing.T, b BlobStore) {
	key := blobKey("versions")
	tag := create(t, b, key, "one")
	_, err := b.Replace(t.Context(), key, tag, content("two"))
	noError(t, err)
	noError(t, b.Delete(t.Context(), key))
	create(t, b, key, "three")
	noError(t, b.Delete(t.Context(), key))
	absent(t, b, key)
	equalList(t, "versions", versionTexts(t, b, key), []string{"three", "two", "one"})
	versions, err := b.Versions(t.Context(), blobKey("never"))
	noError(t, err)
	equal(t, "versions of what never was", len(versions), 0)
	_, _, err = b.OpenVersion(t.Context(), key, "nonsense")
	isError(t, err, platform.ErrNotFound)
}

// versionTexts is the bytes of every version of a key, newest first.
func versionTexts(t *testing.T, b platform.Blobs, key platform.BlobKey) (texts []string) {
	t.Helper()
	versions, err := b.Versions(t.Context(), key)
	noError(t, err)
	for _, v := range versions {
		body, info, err := b.OpenVersion(t.Context(), key, v.Version)
		noError(t, err)
		equal(t, "the version's name", info.Version, v.Version)
		texts = append(texts, readAll(t, body))
	}
	return texts
}

func blobVersionDeleted(t *testing.T, b BlobStore) {
	key := blobKey("gone")
	create(t, b, key, "one")
	noError(t, b.Delete(t.Context(), key))
	tag := create(t, b, key, "two")
	_, err := b.Replace(t.Context(), key, tag, content("three"))
	noError(t, err)
	remove := func(text string) {
		t.Helper()
		versions, err := b.Versions(t.Context(), key)
		noError(t, err)
		for i, have := range versionTexts(t, b, key) {
			if have == text {
				noError(t, b.DeleteVersion(t.Context(), key, versions[i].Version))
				isError(t, b.DeleteVersion(t.Context(), key, versions[i].Version), platform.ErrNotFound)
			}
		}
	}
	remove("three")
	holds(t, b, key, "two") // what was before it is seen again
	remove("two")
	absent(t, b, key) // before it the object was deleted
	equalList(t, "versions", versionTexts(t, b, key), []string{"one"})
	remove("one")
	equalList(t, "versions", versionTexts(t, b, key), nil)
	create(t, b, key, "anew")
	holds(t, b, key, "anew")
}

func blobLock(t *testing.T, b BlobStore) {
	key := blobKey("locked")
	tag := create(t, b, key, "kept")
	version := holds(t, b, key, "kept").Version
	until := time.Now()
	if info, err := b.Stat(t.Context(), key); err == nil {
		until = info.Modified.Add(time.Hour) // of the store's clock
	}
	noError(t, b.Lock(t.Context(), key, version, until))
	isError(t, b.DeleteVersion(t.Context(), key, version), platform.ErrDenied)
	isError(t, b.Lock(t.Context(), key, version, until.Add(-time.Minute)), platform.ErrDenied)
	_, err := b.Replace(t.Context(), key, tag, content("newer"))
	noError(t, err) // a lock holds a version, not a key
	isError(t, b.DeleteVersion(t.Context(), key, version), platform.ErrDenied)
	noError(t, b.Delete(t.Context(), key))
	isError(t, b.DeleteVersion(t.Context(), key, version), platform.ErrDenied)
	equalList(t, "versions", versionTexts(t, b, key), []string{"newer", "kept"})
	isError(t, b.Lock(t.Context(), key, "nonsense", until), platform.ErrNotFound)
	b.Elapse(2 * time.Hour)
	noError(t, b.DeleteVersion(t.Context(), key, version))
	equalList(t, "versions", versionTexts(t, b, key), []string{"newer"})
}

// multipart sends parts of these sizes, each filled with a letter of its own.
func multipart(t *testing.T, b platform.Blobs, key platform.BlobKey, id string, sizes ...int) (parts []platform.Part, all []byte) {
	t.Helper()
	for i, size := range sizes {
		body := bytes.Repeat([]byte{byte('a' + i)}, size)
		part, err := b.SendPart(t.Context(), key, id, i+1, bytes.NewReader(body))
		noError(t, err)
		parts, all = append(parts, part), append(all, body...)
	}
	return parts, all
}

func upload(t *testing.T, b platform.Blobs, key platform.BlobKey) string {
	t.Helper()
	id, err := b.Upload(t.Context(), key)
	noError(t, err)
	return id
}

func blobMultipart(t *testing.T, b BlobStore) {
	key := blobKey("parts")
	id := upload(t, b, key)
	_, err := b.SendPart(t.Context(), key, id, 2, content("sent again below"))
	noError(t, err)
	parts, all := multipart(t, b, key, id, platform.MinPart, platform.MinPart+1, 3)
	absent(t, b, key)
	equal(t, "objects before completion", len(listed(t, b, acme.Blob("log").Under(), platform.BlobKey{}, 10)), 0)
	tag, err := b.Complete(t.Context(), key, id, parts)
	noError(t, err)
	equal(t, "the tag", holds(t, b, key, string(all)).ETag, tag)
	// Completing twice may succeed or say that the upload is over. The object stays.
	if again, err := b.Complete(t.Context(), key, id, parts); err == nil {
		equal(t, "the tag of the second completion", again, tag)
	} else {
		isError(t, err, platform.ErrGone)
	}
	tag, err = b.Replace(t.Context(), key, tag, content("in one piece"))
	noError(t, err)
	equal(t, "the tag", holds(t, b, key, "in one piece").ETag, tag)
}

func blobMultipartSmallPart(t *testing.T, b BlobStore) {
	key := blobKey("small")
	id := upload(t, b, key)
	parts, _ := multipart(t, b, key, id, platform.MinPart-1, 1)
	for name, list := range map[string][]platform.Part{
		"a small part":     parts,
		"no part":          nil,
		"the wrong order":  {parts[1], parts[0]},
		"another's tag":    {{Number: 1, ETag: parts[1].ETag}},
		"a part not there": {parts[0], {Number: 7, ETag: parts[1].ETag}},
	} {
		if _, err := b.Complete(t.Context(), key, id, list); !errors.Is(err, platform.ErrInvalid) {
			t.Errorf("%s: err = %v, want %v", name, err, platform.ErrInvalid)
		}
	}
	absent(t, b, key)
	for _, number := range []int{0, platform.MaxPartNumber + 1} {
		_, err := b.SendPart(t.Context(), key, id, number, content("x"))
		isError(t, err, platform.ErrInvalid)
	}
	_, err := b.Complete(t.Context(), key, id, parts[1:]) // the last may have any size
	noError(t, err)
	holds(t, b, key, "b")
}

func blobMultipartConditional(t *testing.T, b BlobStore) {
	key := blobKey("first")
	id := upload(t, b, key)
	parts, _ := multipart(t, b, key, id, 3)
	create(t, b, key, "was faster")
	_, err := b.Complete(t.Context(), key, id, parts)
	isError(t, err, platform.ErrExists)
	holds(t, b, key, "was faster")
}

func blobMultipartAbort(t *testing.T, b BlobStore) {
	key := blobKey("aborted")
	id := upload(t, b, key)
	parts, _ := multipart(t, b, key, id, 3)
	_, err := b.SendPart(t.Context(), blobKey("another"), id, 1, content("x"))
	isError(t, err, platform.ErrGone) // an upload belongs to its key
	for range 2 {
		noError(t, b.Abort(t.Context(), key, id))
	}
	_, err = b.SendPart(t.Context(), key, id, 2, content("late"))
	isError(t, err, platform.ErrGone)
	_, err = b.Complete(t.Context(), key, id, parts)
	isError(t, err, platform.ErrGone)
	absent(t, b, key)
	equal(t, "objects", len(listed(t, b, acme.Blob("log").Under(), platform.BlobKey{}, 10)), 0)
}
