package local

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/bell"
)

// queueSchema keeps messages by the instant at which they become visible, in Unix
// nanoseconds. Numbers are never given twice (AUTOINCREMENT), so that a receipt,
// which is number and delivery, never fits another message.
var queueSchema = []string{
	`CREATE TABLE IF NOT EXISTS messages (
		number INTEGER PRIMARY KEY AUTOINCREMENT, queue TEXT NOT NULL, body BLOB NOT NULL, sent INTEGER NOT NULL,
		visible INTEGER NOT NULL, receives INTEGER NOT NULL DEFAULT 0, delivered INTEGER NOT NULL DEFAULT 0
	)`,
	`CREATE INDEX IF NOT EXISTS messages_visible ON messages (queue, visible, number)`,
}

// Queues keeps messages in the data folder's SQLite file. A message that was sent
// is on the disk; a delivery and its end need not be, since what a power cut takes
// back is delivered again.
type Queues struct {
	db    *DB
	clock platform.Clock
	bells bell.Bells
}

// NewQueues returns the queues of an open file.
func NewQueues(db *DB, clock platform.Clock) *Queues { return &Queues{db: db, clock: clock} }

// Send implements platform.Queues.
func (q *Queues) Send(ctx context.Context, name string, body []byte, delay time.Duration) error {
	if err := platform.CheckSend(name, body, delay); err != nil {
		return err
	}
	err := q.db.write(ctx, platform.IsRelaxed(ctx), func(tx *tx) error { return q.send(tx, name, body, delay) })
	if err != nil {
		return fmt.Errorf("send to %s: %w", name, err)
	}
	return nil
}

// send stores a message in the transaction of whoever sends it.
func (q *Queues) send(tx *tx, name string, body []byte, delay time.Duration) error {
	now := q.clock.Now()
	tx.onCommit(func() { q.bells.Ring(name) })
	_, err := tx.exec(`INSERT INTO messages (queue, body, sent, visible) VALUES (?, ?, ?, ?)`,
		name, body, now.UnixNano(), now.Add(delay).UnixNano())
	return err
}

// Receive implements platform.Queues.
func (q *Queues) Receive(ctx context.Context, name string, limit int, wait, visibility time.Duration) ([]platform.Message, error) {
	if err := platform.CheckReceive(name, limit, wait, visibility); err != nil {
		return nil, err
	}
	waiter := q.bells.Listen(name)
	defer waiter.Stop()
	for end := q.clock.Now().Add(wait); ; {
		messages, next, err := q.take(ctx, name, limit, visibility)
		if err != nil {
			return nil, fmt.Errorf("receive from %s: %w", name, err)
		}
		left := end.Sub(q.clock.Now())
		if len(messages) > 0 || left <= 0 {
			return messages, nil
		}
		if err := waiter.Wait(ctx, q.clock, min(left, next)); err != nil {
			return nil, err
		}
	}
}

// take delivers what is visible now, and says in how long it is worth looking again.
// Looking does not write, so that waiting costs nothing.
func (q *Queues) take(ctx context.Context, name string, limit int, visibility time.Duration) (messages []platform.Message, next time.Duration, err error) {
	for {
		next, err = q.nextVisible(ctx, name)
		if err != nil || next > 0 {
			return nil, next, err
		}
		err = q.db.write(ctx, true, func(tx *tx) error {
			messages, err = q.deliver(tx, name, limit, visibility)
			return err
		})
		if err != nil || len(messages) > 0 {
			return messages, 0, err
		}
	}
}

// nextVisible is in how long the next message becomes visible.
func (q *Queues) nextVisible(ctx context.Context, name string) (next time.Duration, err error) {
	rows, err := q.db.query(ctx, `SELECT visible FROM messages WHERE queue = ? ORDER BY visible LIMIT 1`, name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return platform.MaxVisibility, rows.Err()
	}
	var visible int64
	if err := rows.Scan(&visible); err != nil {
		return 0, err
	}
	return time.Unix(0, visible).Sub(q.clock.Now()), nil
}

// deliver hides up to limit visible messages and returns them. Those that were
// received too often go to the dead letters instead.
func (q *Queues) deliver(tx *tx, name string, limit int, visibility time.Duration) ([]platform.Message, error) {
	now := q.clock.Now()
	if err := q.bury(tx, name, now); err != nil {
		return nil, err
	}
	messages, err := visibleMessages(tx, name, limit, now)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		m := &messages[i]
		m.Receives++
		m.Receipt = m.ID + "." + strconv.Itoa(m.Receives)
		_, err := tx.exec(`UPDATE messages SET receives = ?, delivered = ?, visible = ? WHERE number = ?`,
			m.Receives, now.UnixNano(), now.Add(visibility).UnixNano(), m.ID)
		if err != nil {
			return nil, err
		}
	}
	return messages, nil
}

// bury moves visible messages that were received too often to the dead letters.
func (q *Queues) bury(tx *tx, name string, now time.Time) error {
	if platform.IsDeadLetters(name) {
		return nil
	}
	dead := platform.DeadLetters(name)
	result, err := tx.exec(`UPDATE messages SET queue = ?, receives = 0 WHERE queue = ? AND visible <= ? AND receives >= ?`,
		dead, name, now.UnixNano(), platform.MaxReceives)
	if err != nil {
		return err
	}
	buried, err := result.RowsAffected()
	if buried > 0 {
		tx.onCommit(func() { q.bells.Ring(dead) })
	}
	return err
}

func visibleMessages(tx *tx, name string, limit int, now time.Time) (messages []platform.Message, err error) {
	rows, err := tx.query(`SELECT number, body, receives, sent FROM messages WHERE queue = ? AND visible <= ?
		ORDER BY visible, number LIMIT ?`, name, now.UnixNano(), limit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var m platform.Message
		var sent int64
		if err := rows.Scan(&m.ID, &m.Body, &m.Receives, &sent); err != nil {
			return nil, err
		}
		m.Sent = time.Unix(0, sent).UTC()
		messages = append(messages, m)
	}
	return messages, rows.Err()
}

// Delete implements platform.Queues.
func (q *Queues) Delete(ctx context.Context, name string, receipts ...string) error {
	if len(receipts) == 0 {
		return nil
	}
	err := q.db.write(ctx, true, func(tx *tx) error {
		for _, receipt := range receipts {
			number, receives, ok := splitReceipt(receipt)
			if !ok {
				continue
			}
			if _, err := tx.exec(`DELETE FROM messages WHERE number = ? AND queue = ? AND receives = ?`, number, name, receives); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete from %s: %w", name, err)
	}
	return nil
}

// Extend implements platform.Queues.
func (q *Queues) Extend(ctx context.Context, name, receipt string, d time.Duration) error {
	number, receives, ok := splitReceipt(receipt)
	if !ok {
		return fmt.Errorf("extend a message of %s: receipt %q: %w", name, receipt, platform.ErrGone)
	}
	err := q.db.write(ctx, true, func(tx *tx) error {
		now := q.clock.Now()
		var delivered int64
		err := tx.one(`SELECT delivered FROM messages WHERE number = ? AND queue = ? AND receives = ? AND visible > ?`,
			[]any{number, name, receives, now.UnixNano()}, &delivered)
		if errors.Is(err, sql.ErrNoRows) {
			return fmt.Errorf("its delivery is over: %w", platform.ErrGone)
		}
		if err != nil {
			return err
		}
		if err := platform.CheckExtend(now.Sub(time.Unix(0, delivered)), d); err != nil {
			return err
		}
		tx.onCommit(func() { q.bells.Ring(name) }) // its end may be nearer than what a waiter waits for
		_, err = tx.exec(`UPDATE messages SET visible = ? WHERE number = ?`, now.Add(d).UnixNano(), number)
		return err
	})
	if err != nil {
		return fmt.Errorf("extend a message of %s: %w", name, err)
	}
	return nil
}

// splitReceipt is the message and the delivery that a receipt belongs to.
func splitReceipt(receipt string) (number int64, receives int, ok bool) {
	message, delivery, _ := strings.Cut(receipt, ".")
	number, err := strconv.ParseInt(message, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	receives, err = strconv.Atoi(delivery)
	return number, receives, err == nil
}
