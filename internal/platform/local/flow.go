package local

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/buildit-dev/buildit/internal/asl/engine"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/system"
)

// flowSchema keeps executions, with the interpreter's state while they run, their
// histories where they are wanted, and the definitions that they began with.
// forget is when an ended execution's name is free again, in Unix nanoseconds.
var flowSchema = []string{
	`CREATE TABLE IF NOT EXISTS executions (
		machine TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, status TEXT NOT NULL,
		input BLOB NOT NULL, output BLOB, error TEXT NOT NULL, cause TEXT NOT NULL,
		started INTEGER NOT NULL, stopped INTEGER, forget INTEGER, state BLOB,
		UNIQUE (machine, name)
	)`,
	`CREATE INDEX IF NOT EXISTS executions_open ON executions (machine, name) WHERE forget IS NULL`,
	`CREATE INDEX IF NOT EXISTS executions_forget ON executions (forget) WHERE forget IS NOT NULL`,
	`CREATE TABLE IF NOT EXISTS history (
		machine TEXT NOT NULL, name TEXT NOT NULL, id INTEGER NOT NULL, event BLOB NOT NULL,
		PRIMARY KEY (machine, name, id)
	) WITHOUT ROWID`,
	`CREATE TABLE IF NOT EXISTS definitions (digest TEXT PRIMARY KEY, definition BLOB NOT NULL) WITHOUT ROWID`,
}

// forgottenAtOnce is how many executions whose names are free again a start
// removes, so that the file does not grow for ever.
const forgottenAtOnce = 20

// NewFlow returns a flow whose executions are in the data folder: they go on where
// they were when the process starts again. Without a clock or ids it takes the
// machine's own.
func NewFlow(ctx context.Context, db *DB, o engine.Options) (*engine.Flow, error) {
	if o.Clock == nil {
		o.Clock = system.Clock{}
	}
	if o.IDs == nil {
		o.IDs = system.IDs{}
	}
	o.Store = NewExecutions(db)
	return engine.New(ctx, o)
}

// Executions is the store of a flow.
type Executions struct{ db *DB }

// NewExecutions returns the executions of an open file.
func NewExecutions(db *DB) *Executions { return &Executions{db} }

// Create implements [engine.Store].
func (s *Executions) Create(ctx context.Context, r engine.Record, now time.Time) (taken *engine.Record, err error) {
	state, err := r.State()
	if err != nil {
		return nil, fmt.Errorf("write the state of an execution: %w", err)
	}
	err = s.write(ctx, func(tx *tx) error {
		taken = nil
		if err := forget(tx, now); err != nil {
			return err
		}
		old, err := scanRecord(func(dest ...any) error {
			return tx.one(selectExecution, []any{r.Machine, r.Name}, dest...)
		})
		switch {
		case err == nil && !isOver(old, now):
			taken = &old
			return nil
		case err == nil:
			if err := remove(tx, r.Machine, r.Name); err != nil {
				return err
			}
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		if _, err := tx.exec(insertExecution, r.Machine, r.Name, r.Digest, r.Status, []byte(r.Input),
			r.Started.UnixNano(), state); err != nil {
			return err
		}
		return end(tx, r, nil)
	})
	return taken, err
}

// Save implements [engine.Store].
func (s *Executions) Save(ctx context.Context, r engine.Record) error {
	var state []byte
	if r.Forget.IsZero() {
		var err error
		if state, err = r.State(); err != nil {
			return fmt.Errorf("write the state of an execution: %w", err)
		}
	}
	return s.write(ctx, func(tx *tx) error { return end(tx, r, state) })
}

// end stores what has changed: the state while an execution runs, its result when
// it has ended; and its new events. A nil state is stored already.
func end(tx *tx, r engine.Record, state []byte) error {
	for _, event := range r.Events {
		text, err := json.Marshal(event)
		if err != nil {
			return fmt.Errorf("write event %d: %w", event.ID, err)
		}
		if _, err := tx.exec(insertEvent, r.Machine, r.Name, event.ID, text); err != nil {
			return err
		}
	}
	if r.Forget.IsZero() {
		if state == nil {
			return nil
		}
		_, err := tx.exec(updateState, state, r.Machine, r.Name)
		return err
	}
	_, err := tx.exec(updateEnded, r.Status, []byte(r.Output), r.Error, r.Cause,
		r.Stopped.UnixNano(), r.Forget.UnixNano(), r.Machine, r.Name)
	return err
}

func (s *Executions) write(ctx context.Context, do func(*tx) error) error {
	return s.db.write(ctx, platform.IsRelaxed(ctx), do)
}

// Load implements [engine.Store].
func (s *Executions) Load(ctx context.Context, machine, name string, now time.Time) (engine.Record, error) {
	records, err := s.read(ctx, selectExecution, machine, name)
	if err != nil {
		return engine.Record{}, err
	}
	if len(records) == 0 || isOver(records[0], now) {
		return engine.Record{}, platform.ErrNotFound
	}
	return records[0], nil
}

// Open implements [engine.Store].
func (s *Executions) Open(ctx context.Context) ([]engine.Record, error) {
	return s.read(ctx, selectOpen)
}

func (s *Executions) read(ctx context.Context, query string, args ...any) (records []engine.Record, err error) {
	rows, err := s.db.query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r, err := scanRecord(rows.Scan)
		if err != nil {
			return nil, describe(err)
		}
		records = append(records, r)
	}
	return records, describe(rows.Err())
}

// Events implements [engine.Store].
func (s *Executions) Events(ctx context.Context, machine, name string) (events []platform.HistoryEvent, err error) {
	rows, err := s.db.query(ctx, selectEvents, machine, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var text []byte
		if err := rows.Scan(&text); err != nil {
			return nil, describe(err)
		}
		var event platform.HistoryEvent
		if err := json.Unmarshal(text, &event); err != nil {
			return nil, fmt.Errorf("read an event of execution %s of %s: %w", name, machine, err)
		}
		events = append(events, event)
	}
	return events, describe(rows.Err())
}

// Define implements [engine.Store].
func (s *Executions) Define(ctx context.Context, digest string, definition []byte) error {
	return s.write(ctx, func(tx *tx) error {
		_, err := tx.exec(`INSERT INTO definitions (digest, definition) VALUES (?, ?) ON CONFLICT DO NOTHING`, digest, definition)
		return err
	})
}

// Definition implements [engine.Store].
func (s *Executions) Definition(ctx context.Context, digest string) (definition []byte, err error) {
	rows, err := s.db.query(ctx, `SELECT definition FROM definitions WHERE digest = ?`, digest)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	if !rows.Next() {
		return nil, errors.Join(fmt.Errorf("definition %s: %w", digest, platform.ErrNotFound), describe(rows.Err()))
	}
	err = rows.Scan(&definition)
	return definition, describe(err)
}

const (
	executionColumns = `machine, name, digest, status, input, output, error, cause, started, stopped, forget, state`
	selectExecution  = `SELECT ` + executionColumns + ` FROM executions WHERE machine = ? AND name = ?`
	selectOpen       = `SELECT ` + executionColumns + ` FROM executions WHERE forget IS NULL ORDER BY machine, name`
	selectEvents     = `SELECT event FROM history WHERE machine = ? AND name = ? ORDER BY id`
	insertExecution  = `INSERT INTO executions (machine, name, digest, status, input, error, cause, started, state)
		VALUES (?, ?, ?, ?, ?, '', '', ?, ?)`
	insertEvent = `INSERT INTO history (machine, name, id, event) VALUES (?, ?, ?, ?)`
	updateState = `UPDATE executions SET state = ? WHERE machine = ? AND name = ?`
	updateEnded = `UPDATE executions SET status = ?, output = ?, error = ?, cause = ?, stopped = ?, forget = ?, state = NULL
		WHERE machine = ? AND name = ?`
)

// scanRecord reads the columns of executionColumns.
func scanRecord(scan func(dest ...any) error) (engine.Record, error) {
	var r engine.Record
	var input, output, state []byte
	var started int64
	var stopped, forget sql.NullInt64
	err := scan(&r.Machine, &r.Name, &r.Digest, &r.Status, &input, &output, &r.Error, &r.Cause,
		&started, &stopped, &forget, &state)
	if err != nil {
		return r, err
	}
	r.Input, r.Started = input, time.Unix(0, started).UTC()
	if len(output) > 0 {
		r.Output = output
	}
	if stopped.Valid {
		r.Stopped = time.Unix(0, stopped.Int64).UTC()
	}
	if forget.Valid {
		r.Forget = time.Unix(0, forget.Int64).UTC()
	}
	r.State = func() ([]byte, error) { return state, nil }
	return r, nil
}

// isOver says whether a name is free again.
func isOver(r engine.Record, now time.Time) bool { return !r.Forget.IsZero() && !now.Before(r.Forget) }

// forget removes some executions whose names are free again.
func forget(tx *tx, now time.Time) error {
	rows, err := tx.query(`SELECT machine, name FROM executions WHERE forget <= ? LIMIT ?`, now.UnixNano(), forgottenAtOnce)
	if err != nil {
		return err
	}
	var over [][2]string
	for rows.Next() {
		var key [2]string
		if err := rows.Scan(&key[0], &key[1]); err != nil {
			return errors.Join(err, rows.Close())
		}
		over = append(over, key)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, key := range over {
		if err := remove(tx, key[0], key[1]); err != nil {
			return err
		}
	}
	return nil
}

func remove(tx *tx, machine, name string) error {
	for _, statement := range []string{
		`DELETE FROM history WHERE machine = ? AND name = ?`,
		`DELETE FROM executions WHERE machine = ? AND name = ?`,
	} {
		if _, err := tx.exec(statement, machine, name); err != nil {
			return err
		}
	}
	return nil
}
