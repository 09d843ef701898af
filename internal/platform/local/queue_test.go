package local_test

import (
	"testing"

	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func TestQueues(t *testing.T) {
	platformtest.Queues(t, func(t *testing.T) platformtest.QueueStore {
		clock := platformtest.NewClock()
		return platformtest.QueueStore{Queues: local.NewQueues(openDB(t, t.TempDir()), clock), Elapse: clock.Advance}
	})
}

func TestConsumers(t *testing.T) {
	platformtest.Consumers(t, func(t *testing.T) platformtest.ConsumerStore {
		clock := platformtest.NewClock()
		return platformtest.ConsumerStore{Queues: local.NewQueues(openDB(t, t.TempDir()), clock), Clock: clock}
	})
}

// openDB opens the file of a folder until the test has ended.
func openDB(t testing.TB, dir string) *local.DB {
	t.Helper()
	db, err := local.OpenDB(dir)
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
