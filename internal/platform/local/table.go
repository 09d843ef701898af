package local

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// tableSchema keeps items as platform.AppendItem writes them. Their index keys
// and expiry stand beside them in columns, which are copies and never read back.
// Text compares by its UTF-8 bytes (BINARY), which is the port's order.
var tableSchema = []string{
	`CREATE TABLE IF NOT EXISTS rows (
		pk TEXT NOT NULL, sk TEXT NOT NULL, item BLOB NOT NULL,
		list_pk TEXT, list_sk TEXT, due_pk TEXT, due_sk TEXT, expires INTEGER,
		PRIMARY KEY (pk, sk)
	) WITHOUT ROWID`,
	`CREATE INDEX IF NOT EXISTS rows_list ON rows (list_pk, list_sk, pk, sk) WHERE list_pk IS NOT NULL`,
	`CREATE INDEX IF NOT EXISTS rows_due ON rows (due_pk, due_sk, pk, sk) WHERE due_pk IS NOT NULL`,
	`CREATE INDEX IF NOT EXISTS rows_expires ON rows (expires) WHERE expires IS NOT NULL`,
	`CREATE TABLE IF NOT EXISTS tokens (
		token TEXT PRIMARY KEY, fingerprint BLOB NOT NULL, at INTEGER NOT NULL
	) WITHOUT ROWID`,
}

// Table keeps rows in the data folder's SQLite file, and feeds their changes to
// consumers. Conditions are evaluated in the write's transaction, by the same
// code as in memory.
type Table struct {
	db    *DB
	clock platform.Clock
	feed  feed

	tidied time.Time // when a write last removed what is over; the writer's alone
}

// NewTable returns the table of an open file.
func NewTable(db *DB, clock platform.Clock) *Table {
	t := &Table{db: db, clock: clock, tidied: clock.Now()}
	t.feed.init()
	return t
}

// Get implements [platform.Table].
func (t *Table) Get(ctx context.Context, key platform.RowKey) (platform.Item, error) {
	if err := platform.CheckKey(key); err != nil {
		return nil, err
	}
	item, err := t.live(ctx, key)
	if err == nil && item == nil {
		err = fmt.Errorf("row %s: %w", key.SK(), platform.ErrNotFound)
	}
	return item, err
}

// live is a row that has not expired, or nil.
func (t *Table) live(ctx context.Context, key platform.RowKey) (platform.Item, error) {
	var item platform.Item
	err := t.read(ctx, `SELECT pk, sk, item, sk FROM rows WHERE pk = ? AND sk = ?`, []any{key.PK(), key.SK()},
		func(r platform.Row, _ string) bool {
			item = r.Item
			return false
		})
	if err != nil || item.Expired(t.clock.Now()) {
		return nil, err
	}
	return item, nil
}

// GetMany implements [platform.Table].
func (t *Table) GetMany(ctx context.Context, keys []platform.RowKey) ([]platform.Row, error) {
	rows := make([]platform.Row, 0, len(keys))
	seen := make(map[platform.RowKey]bool, len(keys))
	for _, key := range keys {
		if err := platform.CheckKey(key); err != nil {
			return nil, err
		}
		if seen[key] {
			continue
		}
		seen[key] = true
		item, err := t.live(ctx, key)
		if err != nil {
			return nil, err
		}
		if item != nil {
			rows = append(rows, platform.Row{Key: key, Item: item})
		}
	}
	return rows, nil
}

// Write implements [platform.Table].
func (t *Table) Write(ctx context.Context, action platform.Action) (platform.Item, error) {
	action, err := platform.CheckAction(action)
	if err != nil {
		return nil, err
	}
	var next []platform.Item
	err = t.write(ctx, func(tx *tx, now time.Time) error {
		var err error
		next, err = t.act(tx, []platform.Action{action}, now)
		return err
	})
	if _, checked := action.(platform.Check); checked || err != nil {
		return nil, err
	}
	return next[0].Clone(), nil
}

// Transact implements [platform.Table].
func (t *Table) Transact(ctx context.Context, token string, actions ...platform.Action) error {
	actions, err := platform.CheckActions(token, actions)
	if err != nil {
		return err
	}
	return t.write(ctx, func(tx *tx, now time.Time) error {
		if token != "" {
			repeated, err := t.remember(tx, token, actions, now)
			if repeated || err != nil {
				return err
			}
		}
		_, err := t.act(tx, actions, now)
		return err
	})
}

// PutMany implements [platform.Table].
func (t *Table) PutMany(ctx context.Context, rows []platform.Row) error {
	rows, err := platform.CheckRows(rows)
	if err != nil || len(rows) == 0 {
		return err
	}
	return t.write(ctx, func(tx *tx, now time.Time) error {
		for _, row := range rows {
			old, err := t.stored(tx, row.Key)
			if err != nil {
				return err
			}
			if err := t.set(tx, row.Key, old, row.Item, now); err != nil {
				return err
			}
		}
		return nil
	})
}

// write runs do in a transaction, which also tidies now and then.
func (t *Table) write(ctx context.Context, do func(*tx, time.Time) error) error {
	return t.db.write(ctx, platform.IsRelaxed(ctx), func(tx *tx) error {
		now, before := t.clock.Now(), t.feed.last
		if err := do(tx, now); err != nil {
			return err
		}
		if t.untidy(now) {
			if err := t.tidy(tx, now); err != nil {
				return err
			}
		}
		if t.feed.last != before {
			tx.onCommit(t.feed.wake)
		}
		return nil
	})
}

// act does all of the actions or fails with what was in the way of them, and
// returns the rows as they are afterwards.
func (t *Table) act(tx *tx, actions []platform.Action, now time.Time) ([]platform.Item, error) {
	old := make([]storedRow, len(actions))
	var refused *platform.WriteError
	for i, a := range actions {
		key, condition := platform.Target(a)
		var err error
		if old[i], err = t.stored(tx, key); err != nil {
			return nil, err
		}
		if platform.Match(condition, old[i].item) {
			continue
		}
		if refused == nil {
			refused = &platform.WriteError{Reasons: make([]platform.Reason, len(actions))}
		}
		refused.Reasons[i] = platform.Reason{Err: platform.ErrConditionFailed, Row: old[i].item}
	}
	if refused != nil {
		return nil, refused
	}
	next := make([]platform.Item, len(actions))
	for i, a := range actions {
		var err error
		if next[i], err = platform.Next(a, old[i].item); err != nil {
			return nil, fmt.Errorf("action %d: %w", i, err)
		}
	}
	for i, a := range actions {
		key, _ := platform.Target(a)
		if err := t.set(tx, key, old[i], next[i], now); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// storedRow is a row as the file has it. Of no row, both are nil.
type storedRow struct {
	item  platform.Item
	image []byte // its encoding: equal rows are equal bytes
}

func (t *Table) stored(tx *tx, key platform.RowKey) (row storedRow, err error) {
	err = tx.one(`SELECT item FROM rows WHERE pk = ? AND sk = ?`, []any{key.PK(), key.SK()}, &row.image)
	if errors.Is(err, sql.ErrNoRows) {
		return storedRow{}, nil
	}
	if err == nil {
		row.item, err = platform.ParseItem(row.image)
	}
	return row, err
}

// set stores a row's next item, nil for none, and records the change if it is one.
func (t *Table) set(tx *tx, key platform.RowKey, old storedRow, next platform.Item, now time.Time) error {
	var image []byte
	var err error
	switch {
	case next == nil && old.image == nil:
		return nil
	case next == nil:
		_, err = tx.exec(`DELETE FROM rows WHERE pk = ? AND sk = ?`, key.PK(), key.SK())
	default:
		image = platform.AppendItem(make([]byte, 0, len(old.image)+64), next)
		if old.image != nil && bytes.Equal(image, old.image) {
			return nil
		}
		err = t.upsert(tx, key, next, image)
	}
	if err != nil {
		return err
	}
	return t.feed.append(tx, key, old.image, image, now)
}

func (t *Table) upsert(tx *tx, key platform.RowKey, item platform.Item, image []byte) error {
	listPK, listSK := indexColumns(item, platform.List1)
	duePK, dueSK := indexColumns(item, platform.Due)
	_, err := tx.exec(`INSERT INTO rows (pk, sk, item, list_pk, list_sk, due_pk, due_sk, expires)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (pk, sk) DO UPDATE SET item = excluded.item, list_pk = excluded.list_pk, list_sk = excluded.list_sk,
			due_pk = excluded.due_pk, due_sk = excluded.due_sk, expires = excluded.expires`,
		key.PK(), key.SK(), image, listPK, listSK, duePK, dueSK, expiryColumn(item))
	return err
}

func indexColumns(item platform.Item, index platform.Index) (pk, sk any) {
	at, ok := item.IndexKey(index)
	if !ok {
		return nil, nil
	}
	return at.PK(), at.SK()
}

func expiryColumn(item platform.Item) any {
	if _, expires := item[platform.ExpiresAttribute]; !expires {
		return nil
	}
	return item.Int(platform.ExpiresAttribute)
}

// remember says whether the transaction has been done under this token, and
// otherwise keeps the token.
func (t *Table) remember(tx *tx, token string, actions []platform.Action, now time.Time) (repeated bool, err error) {
	fingerprint := platform.Fingerprint(actions)
	var before []byte
	err = tx.one(`SELECT fingerprint FROM tokens WHERE token = ? AND at > ?`,
		[]any{token, now.Add(-platform.TokenKept).UnixMilli()}, &before)
	switch {
	case err == nil && string(before) == string(fingerprint[:]):
		return true, nil
	case err == nil:
		return false, fmt.Errorf("%w: token %q has stood for another transaction", platform.ErrInvalid, token)
	case !errors.Is(err, sql.ErrNoRows):
		return false, err
	}
	_, err = tx.exec(`INSERT OR REPLACE INTO tokens (token, fingerprint, at) VALUES (?, ?, ?)`, token, fingerprint[:], now.UnixMilli())
	return false, err
}

// Query implements [platform.Table].
func (t *Table) Query(ctx context.Context, q platform.Query) (platform.Page, error) {
	if err := q.Check(); err != nil {
		return platform.Page{}, err
	}
	at, resumed, err := q.Position()
	if err != nil {
		return platform.Page{}, err
	}
	now := t.clock.Now()
	var page platform.Page
	var last platform.Position
	seen, size := 0, 0
	statement, args := selection(q, at, resumed)
	err = t.read(ctx, statement, args, func(r platform.Row, sort string) bool {
		if (q.Limit > 0 && seen == q.Limit) || size >= platform.MaxPage {
			page.Cursor = q.CursorAt(last)
			return false
		}
		seen, size = seen+1, size+platform.RowSize(r.Key, r.Item)
		last = platform.Position{Sort: sort, Row: r.Key}
		if !r.Item.Expired(now) && platform.Match(q.Filter, r.Item) {
			page.Rows = append(page.Rows, r)
		}
		return true
	})
	if err != nil {
		return platform.Page{}, err
	}
	return page, nil
}

// indexNames are the columns that each index is read by.
var indexNames = [...]struct{ pk, sk string }{
	platform.Base:  {"pk", "sk"},
	platform.List1: {"list_pk", "list_sk"},
	platform.Due:   {"due_pk", "due_sk"},
}

// selection is the statement of a query. A cursor, which lies within the query's
// bounds, takes the place of the bound that it is behind.
func selection(q platform.Query, at platform.Position, resumed bool) (statement string, args []any) {
	names := indexNames[q.Index]
	from, to := q.Bounds()
	statement = fmt.Sprintf(`SELECT pk, sk, item, %[2]s FROM rows WHERE %[1]s = ?`, names.pk, names.sk)
	args = []any{q.Partition.PK()}
	if q.Reverse || !resumed {
		statement += fmt.Sprintf(` AND %s >= ?`, names.sk)
		args = append(args, from)
	}
	if to != "" && (!q.Reverse || !resumed) {
		statement += fmt.Sprintf(` AND %s < ?`, names.sk)
		args = append(args, to)
	}
	direction, beyond := "", ">"
	if q.Reverse {
		direction, beyond = " DESC", "<"
	}
	if resumed {
		statement += fmt.Sprintf(` AND (%s, pk, sk) %s (?, ?, ?)`, names.sk, beyond)
		args = append(args, at.Sort, at.Row.PK(), at.Row.SK())
	}
	return statement + fmt.Sprintf(` ORDER BY %[1]s%[2]s, pk%[2]s, sk%[2]s`, names.sk, direction), args
}

// read calls yield for each row that the statement selects, with the sort key
// that it was found by, until yield answers false.
func (t *Table) read(ctx context.Context, statement string, args []any, yield func(r platform.Row, sort string) bool) (err error) {
	rows, err := t.db.query(ctx, statement, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var pk, sk, sort string
		var stored sql.RawBytes
		if err := rows.Scan(&pk, &sk, &stored, &sort); err != nil {
			return err
		}
		item, err := platform.ParseItem(stored)
		if err != nil {
			return fmt.Errorf("row %s: %w", sk, err)
		}
		if !yield(platform.Row{Key: platform.StoredKey(pk, sk), Item: item}, sort) {
			return nil
		}
	}
	return rows.Err()
}
