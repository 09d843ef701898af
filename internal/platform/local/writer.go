package local

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// maxGroup is how many writes share a commit.
const maxGroup = 64

// maxBusy is how many turns of busyTurn the writer waits for a lock that is not
// ours.
const (
	maxBusy  = 50
	busyTurn = 100 * time.Millisecond
)

// writer is the one connection that writes. What arrives while a commit waits for
// the disk is committed together by the next one, so that many callers share an
// fsync and none waits for company.
type writer struct {
	conn     *sql.Conn
	ctx      context.Context // of the connection; a caller's would interrupt others' writes
	requests chan *request
	closing  chan struct{}
	closed   chan struct{}
	once     sync.Once
	closeErr error

	statements map[string]*sql.Stmt
	relaxed    bool // what synchronous is now
}

// request is one write, and its answer.
type request struct {
	ctx     context.Context
	relaxed bool
	do      func(*tx) error
	tx      tx
	err     error
	done    chan struct{}
}

// tx is a write under way. It reads what it and the writes before it have done.
type tx struct {
	w         *writer
	committed []func()
}

// errClosed is a write that came after Close.
var errClosed = errors.New("the data folder is closed")

// write runs do in a transaction: all of what it does is stored when write
// returns nil, and nothing otherwise. Unless relaxed, it is on the disk then. do
// may share its transaction with other writes; it never sees half of one.
func (db *DB) write(ctx context.Context, relaxed bool, do func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w := &db.writer
	r := &request{ctx: ctx, relaxed: relaxed, do: do, tx: tx{w: w}, done: make(chan struct{})}
	select {
	case w.requests <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.closing:
		return errClosed
	}
	<-r.done
	if r.err != nil {
		return describe(r.err)
	}
	for _, tell := range r.tx.committed {
		tell()
	}
	return nil
}

func (w *writer) start(ctx context.Context, conn *sql.Conn) {
	w.conn, w.ctx = conn, ctx
	w.requests = make(chan *request)
	w.closing, w.closed = make(chan struct{}), make(chan struct{})
	w.statements = map[string]*sql.Stmt{}
	go w.run()
}

// stop ends the writer after the writes that it has taken.
func (w *writer) stop() error {
	w.once.Do(func() { close(w.closing) })
	<-w.closed
	return w.closeErr
}

func (w *writer) run() {
	defer close(w.closed)
	for {
		select {
		case first := <-w.requests:
			w.commit(w.gather(first))
		case <-w.closing:
			w.closeErr = w.conn.Close()
			return
		}
	}
}

// gather is first and those that wait beside it.
func (w *writer) gather(first *request) []*request {
	group := []*request{first}
	for len(group) < maxGroup {
		select {
		case next := <-w.requests:
			group = append(group, next)
		default:
			return group
		}
	}
	return group
}

// commit does the writes of a group in one transaction, and answers them.
func (w *writer) commit(group []*request) {
	group = w.begin(group)
	if len(group) == 0 {
		return
	}
	failed := 0
	for _, r := range group {
		if r.err = w.part(r, len(group) > 1); r.err != nil {
			failed++
		}
	}
	err := w.end(failed == len(group))
	for _, r := range group {
		r.answer(errors.Join(r.err, err))
	}
}

// end commits the transaction, or undoes one in which nothing went well.
func (w *writer) end(undo bool) error {
	if undo {
		return w.exec("ROLLBACK")
	}
	if err := w.exec("COMMIT"); err != nil {
		return errors.Join(err, w.exec("ROLLBACK"))
	}
	return nil
}

// begin opens the transaction, and returns the writes that are still wanted. A
// lock that another process holds is waited for, until nobody waits any more.
func (w *writer) begin(group []*request) []*request {
	err := w.setMode(group)
	for turn := 1; err == nil && len(group) > 0; turn++ {
		err = w.exec("BEGIN IMMEDIATE")
		switch {
		case err == nil:
			return group
		case !isBusy(err):
		case turn == maxBusy:
			err = errBusy
		default:
			err, group = nil, dismiss(group)
		}
	}
	for _, r := range group {
		r.answer(err)
	}
	return nil
}

// errBusy is a write that was never begun.
var errBusy = fmt.Errorf("%w: another process holds the data folder's lock", platform.ErrThrottled)

// dismiss answers the writes whose callers have gone, and returns the others.
func dismiss(group []*request) (waiting []*request) {
	for _, r := range group {
		if gone := r.ctx.Err(); gone != nil {
			r.answer(errors.Join(errBusy, gone))
		} else {
			waiting = append(waiting, r)
		}
	}
	return waiting
}

func (r *request) answer(err error) {
	r.err = err
	close(r.done)
}

// setMode makes the next commit wait for the disk if one of its writes wants to.
//
// Source: SQLite, PRAGMA synchronous: with a WAL, NORMAL keeps transactions whole
// and in order, and FULL syncs the WAL, with all that came before, at each commit.
func (w *writer) setMode(group []*request) error {
	relaxed := true
	for _, r := range group {
		relaxed = relaxed && r.relaxed
	}
	if relaxed == w.relaxed {
		return nil
	}
	mode := "PRAGMA synchronous = FULL"
	if relaxed {
		mode = "PRAGMA synchronous = NORMAL"
	}
	if err := w.exec(mode); err != nil {
		return err
	}
	w.relaxed = relaxed
	return nil
}

// part does one write of a group; one that fails leaves nothing behind.
func (w *writer) part(r *request, shared bool) error {
	if !shared {
		return r.do(&r.tx)
	}
	if err := w.exec("SAVEPOINT part"); err != nil {
		return err
	}
	err := r.do(&r.tx)
	if err != nil {
		err = errors.Join(err, w.exec("ROLLBACK TO part"))
	}
	return errors.Join(err, w.exec("RELEASE part"))
}

func (w *writer) exec(statement string) error {
	stmt, err := w.statement(statement)
	if err != nil {
		return err
	}
	_, err = stmt.ExecContext(w.ctx)
	return err
}

func (w *writer) statement(query string) (*sql.Stmt, error) {
	if stmt := w.statements[query]; stmt != nil {
		return stmt, nil
	}
	stmt, err := w.conn.PrepareContext(w.ctx, query)
	if err != nil {
		return nil, err
	}
	w.statements[query] = stmt
	return stmt, nil
}

// exec changes rows.
func (t *tx) exec(query string, args ...any) (sql.Result, error) {
	stmt, err := t.w.statement(query)
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(t.w.ctx, args...)
}

// query reads rows; the caller closes them before it does anything else.
func (t *tx) query(query string, args ...any) (*sql.Rows, error) {
	stmt, err := t.w.statement(query)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(t.w.ctx, args...)
}

// one reads one row into dest, or fails with sql.ErrNoRows.
func (t *tx) one(query string, args []any, dest ...any) error {
	stmt, err := t.w.statement(query)
	if err != nil {
		return err
	}
	return stmt.QueryRowContext(t.w.ctx, args...).Scan(dest...)
}

// onCommit has f called by the goroutine that wrote, once the write is stored.
func (t *tx) onCommit(f func()) { t.committed = append(t.committed, f) }
