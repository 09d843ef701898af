package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// change is one change of one row, with images that are shared with the table.
type change struct {
	key      platform.RowKey
	old, new platform.Item
	at       time.Time
}

// feed is the changes that are kept and who reads them. The table's lock is its.
type feed struct {
	first     int64 // the position of changes[0]
	changes   []change
	consumers map[string]*consumer
	more      chan struct{} // closed when changes are appended and somebody waits
	waiting   int
}

// consumer is the position of one reader: the next change that it has not done.
type consumer struct {
	next   int64
	active bool
}

// Limits of a delivery, and of the pause before it comes again.
const (
	batch    = 100 // changes
	minPause = 10 * time.Millisecond
	maxPause = 5 * time.Second
)

func (f *feed) init() {
	f.consumers = map[string]*consumer{}
	f.more = make(chan struct{})
}

func (f *feed) append(c change) {
	f.changes = append(f.changes, c)
	if f.waiting > 0 {
		close(f.more)
		f.more, f.waiting = make(chan struct{}), 0
	}
}

// trim lets go of what every consumer has done, and of what is too old.
func (f *feed) trim(now time.Time) {
	slowest := f.first + int64(len(f.changes))
	if len(f.consumers) == 0 {
		slowest = f.first
	}
	for _, c := range f.consumers {
		slowest = min(slowest, c.next)
	}
	n := max(0, int(slowest-f.first))
	for n < len(f.changes) && now.Sub(f.changes[n].at) > platform.ChangesKept {
		n++
	}
	clear(f.changes[:n])
	f.changes = f.changes[n:]
	f.first += int64(n)
}

// Consume implements [platform.Feed].
func (t *Table) Consume(ctx context.Context, name string, handle platform.Handler) error {
	c, err := t.join(name)
	if err != nil {
		return err
	}
	defer t.leave(c)
	pause := minPause
	for ctx.Err() == nil {
		changes, more := t.unread(c)
		if len(changes) == 0 {
			select {
			case <-more:
			case <-ctx.Done():
			}
			continue
		}
		done, err := handle(ctx, changes)
		if done = min(max(done, 0), len(changes)); done > 0 {
			t.advance(c, done)
			pause = minPause
		}
		if err == nil && done == len(changes) {
			continue
		}
		if t.clock.Sleep(ctx, pause) != nil {
			return nil
		}
		pause = min(2*pause, maxPause)
	}
	return nil
}

func (t *Table) join(name string) (*consumer, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.feed.consumers[name]
	switch {
	case c == nil:
		c = &consumer{next: t.feed.first}
		t.feed.consumers[name] = c
	case c.active:
		return nil, fmt.Errorf("%w: a consumer %q is running", platform.ErrExists, name)
	}
	c.active = true
	return c, nil
}

func (t *Table) leave(c *consumer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.active = false
}

// unread is the next changes for a consumer; if there are none, more is closed
// when there are.
func (t *Table) unread(c *consumer) (changes []platform.Change, more <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.feed.trim(t.clock.Now())
	c.next = max(c.next, t.feed.first)
	from := int(c.next - t.feed.first)
	unread := t.feed.changes[from:min(from+batch, len(t.feed.changes))]
	if len(unread) == 0 {
		t.feed.waiting++
		return nil, t.feed.more
	}
	changes = make([]platform.Change, len(unread))
	for i, u := range unread {
		changes[i] = platform.Change{
			Seq: fmt.Sprintf("%020d", c.next+int64(i)),
			Key: u.key, Old: u.old.Clone(), New: u.new.Clone(), At: u.at,
		}
	}
	return changes, nil
}

func (t *Table) advance(c *consumer, done int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.next += int64(done)
	t.feed.trim(t.clock.Now())
}
