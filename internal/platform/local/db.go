package local

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"modernc.org/sqlite" // the driver, and its error type
	sqlite3 "modernc.org/sqlite/lib"
)

// databaseFile is the name of the file in the data folder.
const databaseFile = "buildit.db"

// schemaVersion is the version of the tables below. A file of a later version is
// refused; one of an earlier version is brought up to date when it is opened.
const schemaVersion = 1

// applicationID tells our files from other people's (SQLite's application_id).
const applicationID = 0x42494c44 // "BILD"

// schema makes the tables of an empty file. Each driver that keeps rows has its
// list beside its code, of statements that are harmless when repeated.
var schema = slices.Concat(
	tableSchema,
	feedSchema,
	queueSchema,
	timerSchema,
	flowSchema,
)

// connectionPragmas are of every connection. Readers never wait for the writer
// (WAL). A lock that another process holds is waited for in turns, between which
// the writer lets callers go whose time is over.
var connectionPragmas = fmt.Sprintf("_pragma=busy_timeout(%d)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)",
	busyTurn.Milliseconds())

// readers is how many reads happen at once.
const readers = 4

// DB is the one SQLite file of a data folder: one connection writes, some read.
// All of its methods may be called concurrently.
type DB struct {
	path   string
	pool   *sql.DB // of readers
	writer writer

	mu    sync.Mutex
	reads map[string]*sql.Stmt
}

// OpenDB opens <dir>/buildit.db, or makes it. Whoever opens it owns the folder:
// see Lock. A file that a newer BuildIt has written is left untouched, and the
// error says what to do.
func OpenDB(dir string) (*DB, error) {
	path, err := filepath.Abs(filepath.Join(dir, databaseFile)) // a relative one is no file URI
	if err != nil {
		return nil, err
	}
	if err := checkVersion(path); err != nil {
		return nil, err
	}
	if err := ensureFile(path); err != nil {
		return nil, err
	}
	pool, err := sql.Open("sqlite", dsn(path, connectionPragmas))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	pool.SetMaxOpenConns(readers + 1)
	pool.SetMaxIdleConns(readers + 1)
	db := &DB{path: path, pool: pool, reads: map[string]*sql.Stmt{}}
	if err := db.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, describe(err)), pool.Close())
	}
	return db, nil
}

func dsn(path, options string) string {
	return (&url.URL{Scheme: "file", Path: path, RawQuery: options}).String()
}

// ensureFile makes the file before SQLite would, for its owner's eyes alone. The
// WAL beside it inherits the mode.
func ensureFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// checkVersion looks at a file without changing it.
func checkVersion(path string) (err error) {
	if info, err := os.Stat(path); err != nil || info.Size() == 0 {
		if err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	pool, err := sql.Open("sqlite", dsn(path, "mode=ro&_pragma=busy_timeout(5000)"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	pool.SetMaxOpenConns(1)
	var version, application, tables int64
	err = pool.QueryRow(`SELECT (SELECT user_version FROM pragma_user_version),
		(SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_master)`).
		Scan(&version, &application, &tables)
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", path, describe(err))
	case application != applicationID && tables > 0:
		return fmt.Errorf("%s is not a file of BuildIt: choose another data folder", path)
	case version > schemaVersion:
		return fmt.Errorf("%s has format %d, written by a newer BuildIt; this one knows formats up to %d: "+
			"start the newer one, or choose another data folder (nothing was changed)", path, version, schemaVersion)
	}
	return nil
}

// prepare brings the schema up to date and starts the writer.
func (db *DB) prepare() error {
	ctx := context.Background() // of the file's whole life, not of a call
	conn, err := db.pool.Conn(ctx)
	if err != nil {
		return err
	}
	if err := migrate(ctx, conn); err != nil {
		return errors.Join(err, conn.Close())
	}
	db.writer.start(ctx, conn)
	return nil
}

func migrate(ctx context.Context, conn *sql.Conn) error {
	statements := slices.Concat([]string{"BEGIN IMMEDIATE"}, schema, []string{
		fmt.Sprintf("PRAGMA application_id = %d", applicationID),
		fmt.Sprintf("PRAGMA user_version = %d", schemaVersion),
		"COMMIT",
	})
	for _, statement := range statements {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// Close waits for writes under way and closes the file. What comes later fails.
func (db *DB) Close() error {
	return errors.Join(db.writer.stop(), db.pool.Close())
}

// query reads. Reads see every write that has returned.
func (db *DB) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := db.read(query)
	if err != nil {
		return nil, describe(err)
	}
	rows, err := stmt.QueryContext(ctx, args...)
	return rows, describe(err)
}

// read is the query as a prepared statement, which every connection makes once.
func (db *DB) read(query string) (*sql.Stmt, error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if stmt := db.reads[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := db.pool.Prepare(query)
	if err != nil {
		return nil, err
	}
	db.reads[query] = stmt
	return stmt, nil
}

// describe says in a person's words what SQLite says in its own.
func describe(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return fmt.Errorf("the disk is full: make room and try again, nothing was half written: %w", err)
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return fmt.Errorf("the file is damaged: restore it from a backup: %w", err)
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		return fmt.Errorf("the file cannot be written: check its owner and mode: %w", err)
	}
	return err
}

func isBusy(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_BUSY || e.Code()&0xff == sqlite3.SQLITE_LOCKED)
}
