package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/buildit-dev/buildit/internal/logs"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// How long a log is kept in each of its forms. Sealing waits until those who follow
// a run have seen its end, and lets stages that run meanwhile have the machine; live
// parts stay for whoever holds a bookmark among them.
const (
	sealAfter         = 30 * time.Second
	sealAgain         = 15 * time.Second // after a look that found the attempt not over, or failed
	liveKept          = 24 * time.Hour
	keptDays          = 90
	keptDaysUntrusted = 7
	indexKept         = 365 * 24 * time.Hour
)

// What of a log there is, as its attempt's row says (attribute "log"). The row is due
// (a partition of its own of GSI2) in the transaction that stores the attempt's
// result, and stays due under the next deadline until the last of the log is gone: so
// the row of an attempt is the outbox row of its log, and costs no write of its own.
const (
	logLive    = ""        // parts
	logSealed  = "sealed"  // parts, chunks, index
	logStored  = "stored"  // chunks, index
	logExpired = "expired" // index
	logGone    = "gone"
)

// logKeeper is a log store whose logs have a life after their attempts.
type logKeeper interface {
	Seal(ctx context.Context, log LogName, keep int64, groups []logs.Group) (damaged, err error)
	DropLive(ctx context.Context, log LogName) error
	DropChunks(ctx context.Context, log LogName) error
	DropIndex(ctx context.Context, log LogName) error
}

// logDue makes the row of an attempt due for the care of its log.
func (s *Service) logDue(item platform.Item, run RunID, after time.Duration) platform.Item {
	if _, keeps := s.Logs.(logKeeper); !keeps {
		return item
	}
	return item.DueAt(logDueKey(run, s.home.Clock.Now().Add(after)))
}

func logDuePartition(shard int) platform.Partition {
	return platform.Global("due", "log", strconv.Itoa(shard))
}

func logDueKey(run RunID, at time.Time) platform.IndexKey {
	h := fnv.New32a()
	h.Write([]byte(run))
	return logDuePartition(int(h.Sum32()%dueShards)).Index(string(platform.Stamp(at)), string(run))
}

// KeepLogs does what is due for the logs of attempts that are over: seals them, and
// later removes first their live parts, then their chunks, then their index. Every
// step may be done twice. It is called in a loop of its own: sealing 1 GB takes
// seconds, and holds up nobody who runs stages. Errors are joined; what failed is due
// again.
func (s *Service) KeepLogs(ctx context.Context) error {
	keeper, keeps := s.Logs.(logKeeper)
	if !keeps {
		return nil
	}
	var errs []error
	for shard := range dueShards {
		partition := logDuePartition(shard)
		query := platform.Query{
			Partition: partition, Index: platform.Due,
			Until: partition.Index(string(platform.Stamp(s.home.Clock.Now()))).SK(),
		}
		for ctx.Err() == nil {
			page, err := s.home.Table.Query(ctx, query)
			if err != nil {
				errs = append(errs, fmt.Errorf("which logs are due: %w", err))
				break
			}
			for _, row := range page.Rows {
				errs = append(errs, s.keepLog(ctx, keeper, row))
			}
			if query.Cursor = page.Cursor; query.Cursor == "" {
				break
			}
		}
	}
	return errors.Join(errs...)
}

// keepLog takes one step of a log, and says when the next is due.
func (s *Service) keepLog(ctx context.Context, keeper logKeeper, row platform.Row) error {
	parents := row.Key.Parents()
	if len(parents) != 3 {
		return fmt.Errorf("log of row %s: %w", row.Key.SK(), platform.ErrInvalid)
	}
	item, err := s.home.Table.Get(ctx, row.Key) // the index may be behind
	if errors.Is(err, platform.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	log := LogName{platform.System(parents[0], "log keeper"), RunID(parents[2]), StageKey(item.Text("key")), int(item.Int("attempt"))}
	next, after, err := s.logStep(ctx, keeper, log, item)
	if err != nil {
		next, after = item.Text("log"), sealAgain
		err = fmt.Errorf("log %s, which is %q: %w", log, next, err)
	}
	update := platform.Update{Key: row.Key, Set: platform.Item{"log": platform.Text(next)}, If: platform.RowIs}
	if next == logGone {
		update.Remove = []string{platform.DuePartition, platform.DueSort}
	} else {
		update.Set.DueAt(logDueKey(log.Run, s.home.Clock.Now().Add(after)))
	}
	// Relaxed: a step that a power cut forgets is done again.
	_, noted := s.home.Table.Write(platform.Relaxed(ctx), update)
	return errors.Join(err, noted)
}

// logStep takes the step, and answers what the log is then, and for how long.
func (s *Service) logStep(ctx context.Context, keeper logKeeper, log LogName, item platform.Item) (next string, after time.Duration, err error) {
	switch item.Text("log") {
	case logLive:
		over, _, err := s.logOver(ctx, log)
		if err != nil || !over {
			return logLive, sealAgain, err
		}
		damaged, err := keeper.Seal(ctx, log, logKeep, groupsOf(item))
		if damaged != nil {
			s.Log.WarnContext(ctx, "log sealed in part: what follows is damaged", "log", log.String(), "err", damaged)
		}
		return logSealed, liveKept, err
	case logSealed:
		kept, err := s.logKept(ctx, log)
		if err != nil {
			return "", 0, err
		}
		return logStored, kept - liveKept, keeper.DropLive(ctx, log)
	case logStored:
		return logExpired, indexKept, keeper.DropChunks(ctx, log)
	default:
		return logGone, 0, keeper.DropIndex(ctx, log)
	}
}

// floodNotice tells people of a log that is longer than what is kept of it.
func (s *Service) floodNotice(result supervisor.Result) []supervisor.Notice {
	if _, keeps := s.Logs.(logKeeper); !keeps || result.LogBytes <= logKeep+logs.TailBytes {
		return nil
	}
	return []supervisor.Notice{{Code: "log-cut", Text: fmt.Sprintf(
		"It printed %d MiB. The first %d MiB of its log stay, and the last %d; what is between them is left out. Write such output to a file, and keep that as an artifact.",
		result.LogBytes>>20, logKeep>>20, logs.TailBytes>>20,
	)}}
}

// logKept is for how long the chunks of a log stay.
func (s *Service) logKept(ctx context.Context, log LogName) (time.Duration, error) {
	r, _, err := s.openRun(ctx, log.Org, log.Run)
	if err != nil {
		return 0, err
	}
	if r.graph != nil && r.graph.Trigger.Trust != "trusted" {
		return keptDaysUntrusted * 24 * time.Hour, nil
	}
	return keptDays * 24 * time.Hour, nil
}

// groupsOf are the commands of an attempt with their lines, once it has reported.
func groupsOf(item platform.Item) []logs.Group {
	var result supervisor.Result
	if err := json.Unmarshal(item.Bytes("result"), &result); err != nil {
		return nil // it has not
	}
	groups := make([]logs.Group, len(result.Commands))
	for i, c := range result.Commands {
		groups[i] = logs.Group{Name: c.Name, First: c.FirstLine, Last: c.LastLine, Seconds: c.Took.Seconds(), ExitCode: c.ExitCode}
	}
	return groups
}
