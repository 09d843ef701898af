package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// One object of a cache has this long; a second request for it starts when the first
// is slower than three times the median, and the faster of them counts.
const (
	rangeTime  = 10 * time.Second
	rangeSlow  = 3
	rangeLeast = 500 * time.Millisecond // not slow, whatever the median is
	rangeTries = 2
)

// damage is an object of an entry that is missing, or has other bytes than its digest.
type damage struct {
	object Object
	err    error
}

func (d *damage) Error() string { return d.err.Error() }
func (d *damage) Unwrap() error { return d.err }

// cacheTransfer fetches the objects of one entry.
type cacheTransfer struct {
	control Control
	clock   platform.Clock

	mu   sync.Mutex
	took []time.Duration // of the last objects
}

// index fetches and reads the index.
func (t *cacheTransfer) index(ctx context.Context, object Object, roots []cacheRoot) (*cacheIndex, error) {
	form, err := t.fetch(ctx, object)
	if err != nil {
		return nil, err
	}
	index, err := parseCacheIndex(form, roots)
	if err != nil {
		return nil, &damage{object, err}
	}
	return index, nil
}

func (t *cacheTransfer) want(ctx context.Context, packs []cachePack) error {
	list := make([]Object, len(packs))
	for i, p := range packs {
		list[i] = p.object()
	}
	return t.control.Wants(ctx, list)
}

func (t *cacheTransfer) pack(ctx context.Context, pack cachePack) ([]byte, error) {
	return t.fetch(ctx, pack.object())
}

// fetch brings an object whose digest is right.
func (t *cacheTransfer) fetch(ctx context.Context, object Object) ([]byte, error) {
	if object.Size < 0 || object.Size > MaxCacheObject {
		return nil, &damage{object, fmt.Errorf("an object has %d bytes", object.Size)}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	type answer struct {
		form []byte
		err  error
	}
	answers := make(chan answer, rangeTries+1) // and the clock
	ask := func() {
		form, err := t.try(ctx, object)
		answers <- answer{form, err}
	}
	asked, open := 1, 1
	go ask()
	slow := t.clock.AfterFunc(t.patience(), func() { answers <- answer{nil, errSlow} })
	defer slow()
	for {
		got := <-answers
		var broken *damage
		switch {
		case got.err == nil:
			return got.form, nil
		case errors.Is(got.err, errSlow):
			if asked < rangeTries {
				asked, open = asked+1, open+1
				go ask()
			}
			continue
		case errors.As(got.err, &broken) || ctx.Err() != nil:
			return nil, got.err
		}
		if open--; open > 0 {
			continue // the other one may still come
		}
		if asked == rangeTries {
			return nil, got.err
		}
		asked, open = asked+1, open+1
		go ask()
	}
}

var errSlow = errors.New("slow")

// patience is how long a request may take before a second one starts.
func (t *cacheTransfer) patience() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.took) == 0 {
		return rangeTime / rangeSlow
	}
	sorted := slices.Sorted(slices.Values(t.took))
	return max(rangeLeast, rangeSlow*sorted[len(sorted)/2])
}

// try makes one request.
func (t *cacheTransfer) try(ctx context.Context, object Object) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, rangeTime, fmt.Errorf("an object did not come within %s", rangeTime))
	defer cancel()
	began := t.clock.Now()
	body, err := t.control.Download(ctx, object)
	if errors.Is(err, platform.ErrNotFound) || errors.Is(err, platform.ErrGone) {
		return nil, &damage{object, errors.New("a part of it is not there any more")}
	}
	if err != nil {
		return nil, errors.Join(context.Cause(ctx), err)
	}
	form := make([]byte, object.Size+1)
	n, err := io.ReadFull(body, form)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil // it is as long as it should be, or its digest is wrong
	}
	if err = errors.Join(err, body.Close()); err != nil {
		return nil, err
	}
	form = form[:n]
	if got := objectOf(form); got.SHA256 != object.SHA256 || got.Size != object.Size {
		return nil, &damage{object, fmt.Errorf("a part of it is damaged: %d bytes came with the digest %.12s, not %d with %.12s", got.Size, got.SHA256, object.Size, object.SHA256)}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.took = append(t.took, t.clock.Now().Sub(began)); len(t.took) > 32 {
		t.took = t.took[1:]
	}
	return form, nil
}
