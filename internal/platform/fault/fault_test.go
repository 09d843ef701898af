package fault_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/fault"
	"github.com/buildit-dev/buildit/internal/platform/memory"
)

var row = platform.System("acme", "test").Partition("run").Row("run")

func count(t *testing.T, table platform.Table) int64 {
	t.Helper()
	item, err := table.Get(t.Context(), row)
	if err != nil && !errors.Is(err, platform.ErrNotFound) {
		t.Fatal(err)
	}
	return item.Int("n")
}

func add(ctx context.Context, table platform.Table) error {
	_, err := table.Write(ctx, platform.Update{Key: row, Add: map[string]int64{"n": 1}})
	return err
}

// What fails before has not been done, what fails after has, and what is done
// again has been done twice.
func TestPhases(t *testing.T) {
	for _, tt := range []struct {
		name  string
		phase fault.Phase
		err   error
		want  int64
	}{
		{"before", fault.Before, platform.ErrThrottled, 0},
		{"after", fault.After, platform.ErrThrottled, 1},
		{"again", fault.Before, fault.ErrAgain, 2},
		{"crash before", fault.Before, fault.ErrCrash, 0},
		{"crash after", fault.After, fault.ErrCrash, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			table := memory.NewTable(nil)
			nth := fault.At(1, tt.phase, tt.err)
			var err error
			crashed := fault.Survive(func() { err = add(t.Context(), fault.Table(table, nth.Plan)) })
			if crashed != errors.Is(tt.err, fault.ErrCrash) {
				t.Errorf("crashed: %v", crashed)
			}
			if errors.Is(tt.err, platform.ErrThrottled) != errors.Is(err, platform.ErrThrottled) {
				t.Errorf("the caller sees %v", err)
			}
			if got := count(t, table); got != tt.want {
				t.Errorf("done %d times, want %d", got, tt.want)
			}
		})
	}
}

// The nth call is counted over all ports that share a plan; the others go on.
func TestAtCountsEveryPort(t *testing.T) {
	table := memory.NewTable(nil)
	nth := fault.At(2, fault.Before, platform.ErrConflict)
	one, two := fault.Table(table, nth.Plan), fault.Table(table, nth.Plan)
	if err := add(t.Context(), one); err != nil || nth.Fired() {
		t.Fatalf("first call: %v, fired %v", err, nth.Fired())
	}
	if err := add(t.Context(), two); !errors.Is(err, platform.ErrConflict) || !nth.Fired() {
		t.Fatalf("second call: %v, fired %v", err, nth.Fired())
	}
	if err := add(t.Context(), one); err != nil {
		t.Fatalf("third call: %v", err)
	}
}

// Survive catches planned crashes and no other panic.
func TestSurviveIsNoRecover(t *testing.T) {
	defer func() {
		if recover() != "a bug" {
			t.Error("a panic that nobody planned was swallowed")
		}
	}()
	fault.Survive(func() { panic("a bug") })
}

// A blob created again gets its whole body again.
func TestBlobsAgain(t *testing.T) {
	blobs := memory.NewBlobs(memory.NewClock())
	key := platform.System("acme", "test").Blob("log", "1")
	nth := fault.At(1, fault.Before, fault.ErrAgain)
	if _, err := fault.Blobs(blobs, nth.Plan).Create(t.Context(), key, bytes.NewReader([]byte("line"))); !errors.Is(err, platform.ErrExists) {
		t.Fatalf("created twice: %v, want ErrExists", err)
	}
	body, _, err := blobs.Open(t.Context(), key, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil || string(got) != "line" {
		t.Errorf("body %q, %v", got, err)
	}
}
