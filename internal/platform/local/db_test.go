package local

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/system"
)

func openTestDB(t *testing.T, dir string) *DB {
	t.Helper()
	db, err := OpenDB(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// A file of a newer version is refused with what to do, and not touched: neither
// the file nor what a killed process has left in its WAL.
func TestOpenDBRefusesNewer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	newer, err := sql.Open("sqlite", dsn(filepath.Join(dir, databaseFile), "_pragma=journal_mode(WAL)"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := newer.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, statement := range []string{
		"CREATE TABLE things (thing TEXT)",
		fmt.Sprintf("PRAGMA application_id = %d", applicationID),
		fmt.Sprintf("PRAGMA user_version = %d", schemaVersion+1),
	} {
		if _, err := newer.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	killed := t.TempDir() // as if its process had gone without a word
	before := map[string][]byte{}
	for _, name := range []string{databaseFile, databaseFile + "-wal"} {
		if before[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(killed, name), before[name], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err = OpenDB(killed)
	if err == nil || !strings.Contains(err.Error(), "newer BuildIt") || !strings.Contains(err.Error(), killed) {
		t.Errorf("got %v, want to be told of a newer BuildIt and the folder", err)
	}
	for name, want := range before {
		got, err := os.ReadFile(filepath.Join(killed, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s has changed (%v)", name, err)
		}
	}
}

// What is no file of ours is not written to.
func TestOpenDBRefusesStrangers(t *testing.T) {
	t.Parallel()
	garbage := bytes.Repeat([]byte("not a database. "), 100)
	dir := t.TempDir()
	path := filepath.Join(dir, databaseFile)
	if err := os.WriteFile(path, garbage, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDB(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("garbage: got %v", err)
	}
	if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, garbage) {
		t.Errorf("garbage has changed (%v)", err)
	}

	dir = t.TempDir()
	other, err := sql.Open("sqlite", filepath.Join(dir, databaseFile))
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Exec("CREATE TABLE recipes (name TEXT)")
	if err := errors.Join(err, other.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenDB(dir); err == nil || !strings.Contains(err.Error(), "not a file of BuildIt") {
		t.Errorf("somebody else's database: got %v", err)
	}
	if _, err := OpenDB(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: got %v", err)
	}
}

// A folder may have any name, and may be given relative to where we are.
func TestOpenDBAnyFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"plain", "with space", "50%", "%41", "a?b=c", "a#b", "ünï", "a&_pragma=user_version(7)"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		openTestDB(t, dir)
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) == 0 || entries[0].Name() != databaseFile {
			t.Errorf("%q holds %v (%v)", dir, entries, err)
		}
	}
}

// The file is its owner's alone.
func TestOpenDBMode(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	openTestDB(t, dir)
	for _, name := range []string{databaseFile, databaseFile + "-wal"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

const (
	probeTable  = `CREATE TABLE probe (n INTEGER PRIMARY KEY)`
	probeInsert = `INSERT INTO probe (n) VALUES (?)`
)

func probes(t *testing.T, db *DB) (all []int64) {
	t.Helper()
	rows, err := db.query(t.Context(), `SELECT n FROM probe ORDER BY n`)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var n int64
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	return all
}

// A write that is acknowledged is committed with a sync of the WAL; a relaxed one
// is not, unless it shares a commit with one that is.
func TestWriteWaitsForTheDisk(t *testing.T) {
	t.Parallel()
	db := openTestDB(t, t.TempDir())
	for _, tt := range []struct {
		relaxed bool
		mode    int // SQLite, PRAGMA synchronous: 1 is NORMAL, 2 is FULL
	}{{false, 2}, {true, 1}, {true, 1}, {false, 2}} {
		var mode int
		err := db.write(t.Context(), tt.relaxed, func(tx *tx) error { return tx.one("PRAGMA synchronous", nil, &mode) })
		if err != nil || mode != tt.mode {
			t.Errorf("relaxed %v: synchronous is %d, want %d (%v)", tt.relaxed, mode, tt.mode, err)
		}
	}
}

// Writes that wait beside each other share a commit, and a write that fails takes
// back its own part and no other's.
func TestWritesShareACommit(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		db := openTestDB(t, dir)
		hold := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() {
			if err := db.write(t.Context(), false, func(tx *tx) error {
				<-hold
				_, err := tx.exec(probeTable)
				return err
			}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait() // the writer is busy
		refused := errors.New("refused")
		const writes = 9
		modes := make([]int, writes)
		for n := range writes {
			all.Go(func() {
				err := db.write(t.Context(), n > 0, func(tx *tx) error {
					if err := tx.one("PRAGMA synchronous", nil, &modes[n]); err != nil {
						return err
					}
					if _, err := tx.exec(probeInsert, n); err != nil {
						return err
					}
					if n%3 == 1 {
						return refused
					}
					return nil
				})
				if errors.Is(err, refused) != (n%3 == 1) {
					t.Errorf("write %d: %v", n, err)
				}
			})
		}
		synctest.Wait() // all of them are waiting
		close(hold)
		all.Wait()
		if got := fmt.Sprint(probes(t, db)); got != "[0 2 3 5 6 8]" {
			t.Errorf("stored: %s", got)
		}
		for n, mode := range modes { // one of them is not relaxed, so this commit is not
			if mode != 2 {
				t.Errorf("write %d was committed with synchronous %d", n, mode)
			}
		}
	})
}

// A write that comes too late is told so.
func TestWriteAfterClose(t *testing.T) {
	t.Parallel()
	db := openTestDB(t, t.TempDir())
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	err := db.write(t.Context(), false, func(*tx) error { return nil })
	if !errors.Is(err, errClosed) {
		t.Errorf("after Close: got %v", err)
	}
}

// A full disk is said to be one; what was there is there, and reading goes on.
func TestWriteDiskFull(t *testing.T) {
	t.Parallel()
	db := openTestDB(t, t.TempDir())
	table := NewTable(db, system.Clock{})
	p := platform.System("acme", "test").Partition("run")
	body := platform.Text(strings.Repeat("x", 100<<10))
	err := db.write(t.Context(), false, func(tx *tx) error { // as many pages as there are, and some
		var pages int
		if err := tx.one("PRAGMA page_count", nil, &pages); err != nil {
			return err
		}
		return tx.one(fmt.Sprintf("PRAGMA max_page_count = %d", pages+200), nil, &pages)
	})
	if err != nil {
		t.Fatal(err)
	}
	stored := 0
	for err == nil {
		stored++
		err = table.Transact(t.Context(), "",
			platform.Put{Key: p.Row("one", fmt.Sprint(stored)), Item: platform.Item{"body": body}},
			platform.Put{Key: p.Row("two", fmt.Sprint(stored)), Item: platform.Item{"body": body}})
	}
	if !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("got %v", err)
	}
	for _, kind := range []string{"one", "two"} {
		page, err := table.Query(t.Context(), platform.Query{Partition: p, Prefix: p.Rows(kind)})
		if err != nil || len(page.Rows) != stored-1 {
			t.Errorf("%s: %d rows of %d transactions, %v", kind, len(page.Rows), stored-1, err)
		}
	}
}

// Every query reads its index from where it begins, in order: it never scans, and
// never sorts.
func TestQueryPlans(t *testing.T) {
	t.Parallel()
	db := openTestDB(t, t.TempDir())
	p := platform.System("acme", "test").Partition("run")
	at := platform.Position{Sort: "stage#b#", Row: p.Row("stage", "b")}
	for index, want := range map[platform.Index]string{
		platform.Base:  "SEARCH rows USING PRIMARY KEY (pk=?",
		platform.List1: "SEARCH rows USING INDEX rows_list (list_pk=?",
		platform.Due:   "SEARCH rows USING INDEX rows_due (due_pk=?",
	} {
		for _, resumed := range []bool{false, true} {
			for _, reverse := range []bool{false, true} {
				q := platform.Query{Partition: p, Index: index, Prefix: p.Rows("stage"), Reverse: reverse}
				statement, args := selection(q, at, resumed)
				if plan := queryPlan(t, db, statement, args); !strings.HasPrefix(plan, want) || strings.Contains(plan, "B-TREE") {
					t.Errorf("index %d, resumed %v, reverse %v: %s", index, resumed, reverse, plan)
				}
			}
		}
	}
}

func queryPlan(t *testing.T, db *DB, statement string, args []any) string {
	t.Helper()
	rows, err := db.query(t.Context(), "EXPLAIN QUERY PLAN "+statement, args...)
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, detail)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Fatal(err)
	}
	return strings.Join(steps, "; ")
}
