package local_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func TestTable(t *testing.T) { platformtest.Table(t, openEmpty) }

func TestFeed(t *testing.T) { platformtest.Feed(t, openEmpty) }

func TestTableModel(t *testing.T) {
	t.Parallel()
	platformtest.TableModel(t, openEmpty)
}

func openEmpty(t *testing.T) platformtest.Store {
	return openStore(t, t.TempDir(), &platformtest.AheadClock{})
}

// openStore opens the table in a data folder, until the test ends or reopens it.
func openStore(t *testing.T, dir string, clock *platformtest.AheadClock) platformtest.Store {
	t.Helper()
	db, err := local.OpenDB(dir)
	if err != nil {
		t.Fatal(err)
	}
	closeDB := func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(closeDB)
	table := local.NewTable(db, clock)
	return platformtest.Store{
		Table: table, Feed: table, Advance: clock.Advance,
		Reopen: func(t *testing.T) platformtest.Store {
			t.Helper()
			closeDB()
			return openStore(t, dir, clock)
		},
		Disturb: func(t *testing.T, _ error) (calm func()) { return holdLock(t, dir) },
	}
}

// holdLock takes the file's write lock as a process that is not ours would, which
// is all that can make a write of this home come again.
func holdLock(t *testing.T, dir string) (release func()) {
	t.Helper()
	other, err := sql.Open("sqlite", filepath.Join(dir, "buildit.db"))
	if err != nil {
		t.Fatal(err)
	}
	other.SetMaxOpenConns(1)
	if _, err := other.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
}
