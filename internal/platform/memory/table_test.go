package memory_test

import (
	"testing"

	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func openStore(*testing.T) platformtest.Store {
	clock := &platformtest.AheadClock{}
	table := memory.NewTable(clock)
	return platformtest.Store{Table: table, Feed: table, Advance: clock.Advance}
}

func TestTable(t *testing.T) { platformtest.Table(t, openStore) }

func TestFeed(t *testing.T) { platformtest.Feed(t, openStore) }

func TestTableModel(t *testing.T) { platformtest.TableModel(t, openStore) }
