package local

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// feedSchema keeps changes in the order of their commits, and how far each
// consumer is: done is the last change that it is done with.
var feedSchema = []string{
	`CREATE TABLE IF NOT EXISTS changes (
		seq INTEGER PRIMARY KEY, pk TEXT NOT NULL, sk TEXT NOT NULL, old BLOB, new BLOB, at INTEGER NOT NULL
	)`,
	`CREATE TABLE IF NOT EXISTS consumers (
		name TEXT PRIMARY KEY, done INTEGER NOT NULL
	) WITHOUT ROWID`,
}

// Limits of a delivery, and of the pause before it comes again.
const (
	batch    = 100 // changes
	gather   = 5 * time.Millisecond // from one delivery to the next, where changes trickle in
	minPause = 10 * time.Millisecond
	maxPause = 5 * time.Second
)

// feed wakes consumers when there are changes. One goroutine a consumer, the one
// that called Consume: one that hangs holds up nobody else.
type feed struct {
	mu     sync.Mutex
	active map[string]bool
	more   chan struct{} // closed when changes are stored
	last   int64         // the latest seq; the writer's alone
}

func (f *feed) init() {
	f.active = map[string]bool{}
	f.more = make(chan struct{})
}

// append records a change, by its two images, in the transaction that makes it.
func (f *feed) append(tx *tx, key platform.RowKey, old, next []byte, now time.Time) error {
	if err := f.load(tx); err != nil {
		return err
	}
	f.last++
	_, err := tx.exec(`INSERT INTO changes (seq, pk, sk, old, new, at) VALUES (?, ?, ?, ?, ?, ?)`,
		f.last, key.PK(), key.SK(), old, next, now.UnixMilli())
	return err
}

// load finds the latest position that was ever given, once.
func (f *feed) load(tx *tx) error {
	if f.last > 0 {
		return nil
	}
	return tx.one(`SELECT max(ifnull((SELECT max(seq) FROM changes), 0), ifnull((SELECT max(done) FROM consumers), 0))`, nil, &f.last)
}

func (f *feed) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.more)
	f.more = make(chan struct{})
}

// trim removes what every consumer has done, and what is too old.
func (f *feed) trim(tx *tx, now time.Time) error {
	if _, err := tx.exec(`DELETE FROM changes WHERE seq <= (SELECT min(done) FROM consumers)`); err != nil {
		return err
	}
	_, err := tx.exec(`DELETE FROM changes WHERE seq < ifnull(
		(SELECT seq FROM changes WHERE at >= ? ORDER BY seq LIMIT 1), 9223372036854775807)`,
		now.Add(-platform.ChangesKept).UnixMilli())
	return err
}

// Consume implements [platform.Feed].
func (t *Table) Consume(ctx context.Context, consumer string, handle platform.Handler) error {
	if !t.feed.join(consumer) {
		return fmt.Errorf("%w: a consumer %q is running", platform.ErrExists, consumer)
	}
	defer t.feed.leave(consumer)
	done, err := t.position(ctx, consumer)
	if err == nil {
		err = t.consume(ctx, consumer, done, handle)
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (f *feed) join(consumer string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.active[consumer] {
		return false
	}
	f.active[consumer] = true
	return true
}

func (f *feed) leave(consumer string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.active, consumer)
}

// position is the last change that the consumer is done with. One that is new is
// made known, so that what it has not seen is kept for it.
func (t *Table) position(ctx context.Context, consumer string) (done int64, err error) {
	err = t.db.write(ctx, false, func(tx *tx) error {
		if err := errors.Join(t.feed.load(tx), t.feed.trim(tx, t.clock.Now())); err != nil {
			return err
		}
		err := tx.one(`SELECT done FROM consumers WHERE name = ?`, []any{consumer}, &done)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if err := tx.one(`SELECT ifnull(min(seq) - 1, ?) FROM changes`, []any{t.feed.last}, &done); err != nil {
			return err
		}
		_, err = tx.exec(`INSERT INTO consumers (name, done) VALUES (?, ?)`, consumer, done)
		return err
	})
	return done, err
}

func (t *Table) consume(ctx context.Context, consumer string, done int64, handle platform.Handler) error {
	pause := minPause
	for ctx.Err() == nil {
		more := t.feed.bell()
		changes, last, err := t.unread(ctx, done)
		if err != nil {
			return err
		}
		if len(changes) == 0 {
			select {
			case <-more:
			case <-ctx.Done():
			}
			continue
		}
		n, err := handle(ctx, changes)
		if n = min(max(n, 0), len(changes)); n > 0 {
			done, pause = last[n-1], minPause
			if err := t.advance(ctx, consumer, done); err != nil {
				return err
			}
		}
		if err == nil && n == len(changes) {
			if len(changes) < batch {
				pauseToGather(ctx)
			}
			continue
		}
		if err := t.clock.Sleep(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, maxPause)
	}
	return nil
}

// pauseToGather lets changes gather: each delivery costs a read and a write, and many rows
// change together. It is short for machines, so it goes by the machine's clock.
func pauseToGather(ctx context.Context) {
	timer := time.NewTimer(gather)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (f *feed) bell() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.more
}

// unread is the next changes behind done, and their positions.
func (t *Table) unread(ctx context.Context, done int64) (changes []platform.Change, positions []int64, err error) {
	rows, err := t.db.query(ctx, `SELECT seq, pk, sk, old, new, at FROM changes WHERE seq > ? ORDER BY seq LIMIT ?`, done, batch)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var seq, at int64
		var pk, sk string
		var old, next sql.RawBytes
		if err := rows.Scan(&seq, &pk, &sk, &old, &next, &at); err != nil {
			return nil, nil, err
		}
		c := platform.Change{Seq: strconv.FormatInt(seq, 10), Key: platform.StoredKey(pk, sk), At: time.UnixMilli(at).UTC()}
		if c.Old, err = image(old); err != nil {
			return nil, nil, err
		}
		if c.New, err = image(next); err != nil {
			return nil, nil, err
		}
		changes, positions = append(changes, c), append(positions, seq)
	}
	return changes, positions, rows.Err()
}

func image(stored []byte) (platform.Item, error) {
	if stored == nil {
		return nil, nil
	}
	return platform.ParseItem(stored)
}

// advance keeps a consumer's position. It need not wait for the disk: what a
// power cut takes back is delivered again. It keeps it also when ctx has ended
// meanwhile, since the changes are done.
func (t *Table) advance(ctx context.Context, consumer string, done int64) error {
	return t.db.write(context.WithoutCancel(ctx), true, func(tx *tx) error {
		if _, err := tx.exec(`UPDATE consumers SET done = ? WHERE name = ?`, done, consumer); err != nil {
			return err
		}
		_, err := tx.exec(`DELETE FROM changes WHERE seq <= (SELECT min(done) FROM consumers)`)
		return err
	})
}
