package local_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/platform/system"
)

// crashFolder names, for a child process, the data folder that it writes to.
const crashFolder = "BUILDIT_TEST_CRASH_FOLDER"

const (
	crashes      = 30
	crashWriters = 4
)

func crashRun(writer int) platform.Partition {
	return platform.System("acme", "crash").Partition("run", strconv.Itoa(writer))
}

// TestTableCrashAck is table/crash-ack: a process writes and says so, and is
// killed at a random moment. Whatever it has said is there afterwards, every
// transaction is whole, and so is the feed.
func TestTableCrashAck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	feed := map[platform.RowKey]int64{}
	total := int64(0)
	for i := range crashes {
		acknowledged := writeUntilKilled(t, dir, time.Duration(random.Int64N(int64(40*time.Millisecond))))
		total = checkAfterCrash(t, dir, acknowledged, feed)
		if t.Failed() {
			t.Fatalf("after kill %d, seed %d", i+1, seed)
		}
	}
	t.Logf("%d kills, %d transactions", crashes, total)
}

// writeUntilKilled starts a child, kills it that long after its first word, and
// returns the last number that each of its writers has acknowledged.
func writeUntilKilled(t *testing.T, dir string, after time.Duration) map[int]int64 {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
	child.Env = append(os.Environ(), crashFolder+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged := map[int]int64{}
	var once sync.Once
	for lines := bufio.NewScanner(out); lines.Scan(); {
		once.Do(func() {
			time.AfterFunc(after, func() {
				if err := child.Process.Kill(); err != nil {
					t.Errorf("kill: %v", err)
				}
			})
		})
		var writer int
		var n int64
		if _, err := fmt.Sscanf(lines.Text(), "%d %d;", &writer, &n); err == nil && strings.HasSuffix(lines.Text(), ";") {
			acknowledged[writer] = n
		}
	}
	if err := child.Wait(); err == nil || child.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v", child.ProcessState)
	}
	return acknowledged
}

// TestCrashChild is the process that TestTableCrashAck kills, and nothing
// otherwise.
func TestCrashChild(t *testing.T) {
	dir := os.Getenv(crashFolder)
	if dir == "" {
		t.Skip("runs as a child of TestTableCrashAck")
	}
	db, err := local.OpenDB(dir)
	if err != nil {
		t.Fatal(err)
	}
	table := local.NewTable(db, system.Clock{})
	var said sync.Mutex
	var all sync.WaitGroup
	for writer := range crashWriters {
		all.Go(func() {
			ctx := t.Context()
			if writer%2 == 1 { // a kill, other than a power cut, takes no relaxed write either
				ctx = platform.Relaxed(ctx)
			}
			for {
				n, err := writeOnce(ctx, table, crashRun(writer))
				if err != nil {
					t.Error(err)
					return
				}
				said.Lock()
				fmt.Printf("%d %d;\n", writer, n) // one write: a line is whole or ends without ;
				said.Unlock()
			}
		})
	}
	all.Wait()
}

// writeOnce raises the counter of a run, and puts the event and the mirror that
// must agree with it.
func writeOnce(ctx context.Context, table platform.Table, run platform.Partition) (int64, error) {
	items, err := table.GetMany(ctx, []platform.RowKey{run.Row("counter")})
	if err != nil {
		return 0, err
	}
	var n int64
	if len(items) == 1 {
		n = items[0].Item.Int("n")
	}
	return n + 1, table.Transact(
		ctx, "",
		platform.Update{Key: run.Row("counter"), Add: map[string]int64{"n": 1}},
		platform.Put{Key: run.Row("event", fmt.Sprintf("%08d", n+1)), Item: platform.Item{"n": platform.Int(n + 1)}, If: platform.NoRow},
		platform.Put{Key: run.Row("mirror"), Item: platform.Item{"n": platform.Int(n + 1)}},
	)
}

// checkAfterCrash opens the folder again and checks what must hold. feed is how
// far the changes of each counter have been followed. It returns how many
// transactions there are.
func checkAfterCrash(t *testing.T, dir string, acknowledged map[int]int64, feed map[platform.RowKey]int64) (total int64) {
	t.Helper()
	db, err := local.OpenDB(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	table := local.NewTable(db, system.Clock{})
	want := map[platform.RowKey]int64{}
	for writer := range crashWriters {
		run := crashRun(writer)
		rows, err := table.GetMany(t.Context(), []platform.RowKey{run.Row("counter"), run.Row("mirror")})
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 && acknowledged[writer] == 0 {
			continue
		}
		if len(rows) != 2 {
			t.Fatalf("writer %d: %d of 2 rows", writer, len(rows))
		}
		n := rows[0].Item.Int("n")
		if n < acknowledged[writer] {
			t.Errorf("writer %d: %d was acknowledged, %d is there", writer, acknowledged[writer], n)
		}
		if events := countEvents(t, table, run); rows[1].Item.Int("n") != n || events != n {
			t.Errorf("writer %d: half a transaction: counter %d, mirror %d, events %d", writer, n, rows[1].Item.Int("n"), events)
		}
		want[run.Row("counter")] = n
		total += n
	}
	followCounters(t, table, feed, want)
	return total
}

func countEvents(t *testing.T, table platform.Table, run platform.Partition) (n int64) {
	t.Helper()
	q := platform.Query{Partition: run, Prefix: run.Rows("event")}
	for {
		page, err := table.Query(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		n += int64(len(page.Rows))
		if q.Cursor = page.Cursor; q.Cursor == "" {
			return n
		}
	}
}

// followCounters reads the feed until each counter has come to where its row is,
// step by step.
func followCounters(t *testing.T, table *local.Table, at, want map[platform.RowKey]int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if reached(at, want) {
		return
	}
	err := table.Consume(ctx, "checker", func(_ context.Context, changes []platform.Change) (int, error) {
		for _, c := range changes {
			if _, counter := want[c.Key]; !counter {
				continue
			}
			n := c.New.Int("n")
			if n > at[c.Key]+1 { // one that comes again is no harm
				t.Errorf("the feed goes from %d to %d", at[c.Key], n)
			}
			at[c.Key] = max(at[c.Key], n)
		}
		if reached(at, want) {
			cancel()
		}
		return len(changes), nil
	})
	if err != nil || !reached(at, want) {
		t.Errorf("the feed has come to %v, the rows are at %v (%v)", at, want, err)
	}
}

func reached(at, want map[platform.RowKey]int64) bool {
	for key, n := range want {
		if at[key] < n {
			return false
		}
	}
	return true
}
