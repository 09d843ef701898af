package memory

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/etag"
	"github.com/buildit-dev/buildit/internal/platform/presign"
)

// Blobs is the blob port in memory.
type Blobs struct {
	clock  platform.Clock
	signer *presign.Signer

	mu      sync.Mutex
	objects map[platform.BlobKey][]*version // oldest first
	uploads map[string]*upload
	stored  int // versions and uploads since the start, which numbers them
}

// version is one version of an object, or the mark that it was deleted.
type version struct {
	platform.BlobInfo
	bytes   []byte
	deleted bool
	locked  time.Time // until then it cannot be deleted
}

type upload struct {
	key   platform.BlobKey
	parts map[int]part
}

type part struct {
	etag  platform.ETag
	bytes []byte
}

// origin is what signed URLs of this home begin with. Nothing listens there: Handler
// serves them, and presign.Client brings requests to it without a network.
const origin = "http://memory.invalid"

// NewBlobs makes an empty store. clock dates objects and ends signed URLs.
func NewBlobs(clock platform.Clock) *Blobs {
	secret := NewKeys().Derive("presign")
	return &Blobs{
		clock:   clock,
		signer:  presign.NewSigner(origin, secret, clock),
		objects: map[platform.BlobKey][]*version{},
		uploads: map[string]*upload{},
	}
}

// Handler serves the URLs that Presign makes.
func (b *Blobs) Handler(log *slog.Logger) http.Handler { return b.signer.Handler(b, log) }

// Create implements platform.Blobs.
func (b *Blobs) Create(_ context.Context, key platform.BlobKey, body io.ReadSeeker) (platform.ETag, error) {
	content, err := read(key, body)
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.create(key, content, etag.Of(sha256.Sum256(content)))
}

func (b *Blobs) create(key platform.BlobKey, content []byte, tag platform.ETag) (platform.ETag, error) {
	if b.current(key) != nil {
		return "", fmt.Errorf("create %s: %w", key, platform.ErrExists)
	}
	b.store(key, content, tag)
	return tag, nil
}

// Replace implements platform.Blobs.
func (b *Blobs) Replace(_ context.Context, key platform.BlobKey, old platform.ETag, body io.ReadSeeker) (platform.ETag, error) {
	content, err := read(key, body)
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	current := b.current(key)
	switch {
	case current == nil:
		return "", fmt.Errorf("replace %s: %w", key, platform.ErrNotFound)
	case current.ETag != old:
		return "", fmt.Errorf("replace %s: %w", key, platform.ErrChanged)
	case bytes.Equal(current.bytes, content):
		return old, nil
	}
	tag := etag.Of(sha256.Sum256(content))
	b.store(key, content, tag)
	return tag, nil
}

// Open implements platform.Blobs.
func (b *Blobs) Open(_ context.Context, key platform.BlobKey, offset int64) (io.ReadCloser, platform.BlobInfo, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	current := b.current(key)
	if current == nil {
		return nil, platform.BlobInfo{}, fmt.Errorf("open %s: %w", key, platform.ErrNotFound)
	}
	start, err := platform.RangeStart(current.BlobInfo, offset)
	if err != nil {
		return nil, platform.BlobInfo{}, err
	}
	return io.NopCloser(bytes.NewReader(current.bytes[start:])), current.BlobInfo, nil
}

// Stat implements platform.Blobs.
func (b *Blobs) Stat(_ context.Context, key platform.BlobKey) (platform.BlobInfo, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if current := b.current(key); current != nil {
		return current.BlobInfo, nil
	}
	return platform.BlobInfo{}, fmt.Errorf("stat %s: %w", key, platform.ErrNotFound)
}

// Delete implements platform.Blobs.
func (b *Blobs) Delete(_ context.Context, key platform.BlobKey) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current(key) != nil {
		b.objects[key] = append(b.objects[key], &version{deleted: true})
	}
	return nil
}

// List implements platform.Blobs.
func (b *Blobs) List(_ context.Context, under platform.BlobPrefix, after platform.BlobKey, limit int) ([]platform.BlobInfo, error) {
	if err := platform.CheckList(under, limit); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var found []platform.BlobInfo
	for key := range b.objects {
		if strings.HasPrefix(key.String(), under.String()) && key.String() > after.String() {
			if current := b.current(key); current != nil {
				found = append(found, current.BlobInfo)
			}
		}
	}
	slices.SortFunc(found, func(x, y platform.BlobInfo) int { return cmp.Compare(x.Key.String(), y.Key.String()) })
	return found[:min(limit, len(found))], nil
}

// Presign implements platform.Blobs.
func (b *Blobs) Presign(_ context.Context, grant platform.Grant) (platform.SignedRequest, error) {
	return b.signer.Sign(grant)
}

// Upload implements platform.Blobs.
func (b *Blobs) Upload(_ context.Context, key platform.BlobKey) (string, error) {
	if err := key.Check(); err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stored++
	id := strconv.Itoa(b.stored)
	b.uploads[id] = &upload{key, map[int]part{}}
	return id, nil
}

// SendPart implements platform.Blobs.
func (b *Blobs) SendPart(_ context.Context, key platform.BlobKey, id string, number int, body io.ReadSeeker) (platform.Part, error) {
	if err := platform.CheckPartNumber(number); err != nil {
		return platform.Part{}, err
	}
	content, err := read(key, body)
	if err != nil {
		return platform.Part{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	up, err := b.upload(key, id)
	if err != nil {
		return platform.Part{}, err
	}
	up.parts[number] = part{etag.Of(sha256.Sum256(content)), content}
	return platform.Part{Number: number, ETag: up.parts[number].etag}, nil
}

// Complete implements platform.Blobs.
func (b *Blobs) Complete(_ context.Context, key platform.BlobKey, id string, parts []platform.Part) (platform.ETag, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	tag := etag.OfParts(parts)
	up, err := b.upload(key, id)
	if err != nil {
		if current := b.current(key); current != nil && current.ETag == tag {
			return tag, nil // completed before: the answer was lost
		}
		return "", err
	}
	err = platform.CheckParts(parts, func(p platform.Part) (int64, bool) {
		sent, ok := up.parts[p.Number]
		return int64(len(sent.bytes)), ok && sent.etag == p.ETag
	})
	if err != nil {
		return "", err
	}
	var content []byte
	for _, p := range parts {
		content = append(content, up.parts[p.Number].bytes...)
	}
	if _, err := b.create(key, content, tag); err != nil {
		return "", err
	}
	delete(b.uploads, id)
	return tag, nil
}

// Abort implements platform.Blobs.
func (b *Blobs) Abort(_ context.Context, _ platform.BlobKey, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.uploads, id)
	return nil
}

// Versions implements platform.Blobs.
func (b *Blobs) Versions(_ context.Context, key platform.BlobKey) ([]platform.BlobInfo, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var infos []platform.BlobInfo
	for _, v := range slices.Backward(b.objects[key]) {
		if !v.deleted {
			infos = append(infos, v.BlobInfo)
		}
	}
	return infos, nil
}

// OpenVersion implements platform.Blobs.
func (b *Blobs) OpenVersion(_ context.Context, key platform.BlobKey, name string) (io.ReadCloser, platform.BlobInfo, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, err := b.find(key, name)
	if err != nil {
		return nil, platform.BlobInfo{}, err
	}
	v := b.objects[key][i]
	return io.NopCloser(bytes.NewReader(v.bytes)), v.BlobInfo, nil
}

// DeleteVersion implements platform.Blobs.
func (b *Blobs) DeleteVersion(_ context.Context, key platform.BlobKey, name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, err := b.find(key, name)
	if err != nil {
		return err
	}
	if until := b.objects[key][i].locked; until.After(b.clock.Now()) {
		return fmt.Errorf("delete version %s of %s: locked until %s: %w", name, key, until.UTC().Format(time.RFC3339), platform.ErrDenied)
	}
	b.objects[key] = slices.Delete(b.objects[key], i, i+1)
	return nil
}

// Lock implements platform.Blobs.
func (b *Blobs) Lock(_ context.Context, key platform.BlobKey, name string, until time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, err := b.find(key, name)
	if err != nil {
		return err
	}
	v := b.objects[key][i]
	if until.Before(v.locked) {
		return fmt.Errorf("lock version %s of %s: it is locked until %s, which cannot be shortened: %w", name, key, v.locked.UTC().Format(time.RFC3339), platform.ErrDenied)
	}
	v.locked = until
	return nil
}

// read takes a body as a whole.
func read(key platform.BlobKey, body io.Reader) ([]byte, error) {
	if err := key.Check(); err != nil {
		return nil, err
	}
	content, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("read the body of %s: %w", key, err)
	}
	return content, nil
}

// current is the version that readers see, nil if there is none.
func (b *Blobs) current(key platform.BlobKey) *version {
	versions := b.objects[key]
	if len(versions) == 0 || versions[len(versions)-1].deleted {
		return nil
	}
	return versions[len(versions)-1]
}

// store adds a version that readers see from now on.
func (b *Blobs) store(key platform.BlobKey, content []byte, tag platform.ETag) {
	b.stored++
	b.objects[key] = append(b.objects[key], &version{bytes: content, BlobInfo: platform.BlobInfo{
		Key:      key,
		Size:     int64(len(content)),
		ETag:     tag,
		Modified: b.clock.Now(),
		Version:  strconv.Itoa(b.stored),
	}})
}

func (b *Blobs) upload(key platform.BlobKey, id string) (*upload, error) {
	up, ok := b.uploads[id]
	if !ok || up.key != key {
		return nil, fmt.Errorf("upload %s of %s: ended or aborted: %w", id, key, platform.ErrGone)
	}
	return up, nil
}

// find is the place of a version among those of its key.
func (b *Blobs) find(key platform.BlobKey, name string) (int, error) {
	i := slices.IndexFunc(b.objects[key], func(v *version) bool { return !v.deleted && v.Version == name })
	if i < 0 {
		return 0, fmt.Errorf("version %s of %s: %w", name, key, platform.ErrNotFound)
	}
	return i, nil
}
