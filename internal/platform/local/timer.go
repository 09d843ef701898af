package local

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/bell"
)

// timerSchema keeps timers by their instant, in Unix nanoseconds.
var timerSchema = []string{
	`CREATE TABLE IF NOT EXISTS timers (
		name TEXT PRIMARY KEY, at INTEGER NOT NULL, queue TEXT NOT NULL, body BLOB NOT NULL
	) WITHOUT ROWID`,
	`CREATE INDEX IF NOT EXISTS timers_at ON timers (at)`,
}

// Timers keeps timers in the data folder's SQLite file. A timer becomes a message
// in one transaction, so that none is lost and none is sent twice. Run brings them
// up.
type Timers struct {
	db     *DB
	clock  platform.Clock
	queues *Queues
	bells  bell.Bells // one, which rings when the next instant may have changed
}

// NewTimers returns the timers of the file that queues are in.
func NewTimers(queues *Queues) *Timers {
	return &Timers{db: queues.db, clock: queues.clock, queues: queues}
}

const (
	timersPerWrite = 100              // timers that become messages in one transaction
	maxTimerWait   = 30 * time.Second // after which the clock is read again: it may have been set, or the machine have slept
	retryTimer     = time.Second      // after which a transaction that found no lock is tried again
)

// Set implements platform.Timers.
func (t *Timers) Set(ctx context.Context, timer platform.Timer) error {
	if err := timer.Check(); err != nil {
		return err
	}
	err := t.db.write(ctx, platform.IsRelaxed(ctx), func(tx *tx) error {
		tx.onCommit(func() { t.bells.Ring("") })
		_, err := tx.exec(`INSERT INTO timers (name, at, queue, body) VALUES (?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET at = excluded.at, queue = excluded.queue, body = excluded.body`,
			timer.Name, timer.At.UnixNano(), timer.Queue, timer.Body)
		return err
	})
	if err != nil {
		return fmt.Errorf("set timer %s: %w", timer.Name, err)
	}
	return nil
}

// Cancel implements platform.Timers.
func (t *Timers) Cancel(ctx context.Context, name string) error {
	err := t.db.write(ctx, platform.IsRelaxed(ctx), func(tx *tx) error {
		_, err := tx.exec(`DELETE FROM timers WHERE name = ?`, name)
		return err
	})
	if err != nil {
		return fmt.Errorf("cancel timer %s: %w", name, err)
	}
	return nil
}

// Run sends what falls due until ctx ends, and returns nil then. What fell due
// while nobody ran is sent first, the oldest before the others.
func (t *Timers) Run(ctx context.Context) error {
	waiter := t.bells.Listen("")
	defer waiter.Stop()
	for {
		wait, err := t.fire(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("timers: %w", err)
		}
		if wait <= 0 {
			continue
		}
		if err := waiter.Wait(ctx, t.clock, wait); err != nil {
			return nil
		}
	}
}

// fire makes messages of due timers, and says in how long there is more to do.
func (t *Timers) fire(ctx context.Context) (wait time.Duration, err error) {
	if wait, err = t.next(ctx); err != nil || wait > 0 {
		return wait, err
	}
	err = t.db.write(ctx, false, func(tx *tx) error {
		due, err := dueTimers(tx, t.clock.Now())
		if err != nil {
			return err
		}
		for _, timer := range due {
			if _, err := tx.exec(`DELETE FROM timers WHERE name = ?`, timer.Name); err != nil {
				return err
			}
			if err := t.queues.send(tx, timer.Queue, timer.Body, 0); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, platform.ErrThrottled) {
		return retryTimer, nil
	}
	return 0, err
}

// next is in how long the next timer is due.
func (t *Timers) next(ctx context.Context) (wait time.Duration, err error) {
	rows, err := t.db.query(ctx, `SELECT at FROM timers ORDER BY at LIMIT 1`)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return maxTimerWait, rows.Err()
	}
	var at int64
	if err := rows.Scan(&at); err != nil {
		return 0, err
	}
	return min(maxTimerWait, time.Unix(0, at).Sub(t.clock.Now())), nil
}

func dueTimers(tx *tx, now time.Time) (due []platform.Timer, err error) {
	rows, err := tx.query(`SELECT name, queue, body FROM timers WHERE at <= ? ORDER BY at, name LIMIT ?`, now.UnixNano(), timersPerWrite)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var timer platform.Timer
		if err := rows.Scan(&timer.Name, &timer.Queue, &timer.Body); err != nil {
			return nil, err
		}
		due = append(due, timer)
	}
	return due, rows.Err()
}
