package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/platform"
)

// Ticks brings what schedules are due to their consumer.
const Ticks = "ticks"

const (
	maxSchedules = 50 // of a repository
	// lateAfter is how much later than its time a tick is called late: a timer may take
	// a minute by itself.
	lateAfter = 2 * time.Minute
	// rearmAfter is how long a tick that is due may wait before its timer is set again:
	// its message has gone to the dead letters, as after a long outage of the remote.
	rearmAfter = 15 * time.Minute
)

// Schedule is an `on "schedule"` of the default branch's head, as people see it. Its
// row lives as long as the head asks for the same file, times and branch.
type Schedule struct {
	Key      string    `json:"key"`
	File     string    `json:"file"`
	Line     int       `json:"line"`
	Cron     string    `json:"cron"`
	Zone     string    `json:"tz"`
	Branch   string    `json:"branch,omitempty"` // the default branch if empty
	Next     time.Time `json:"next"`
	LastTick time.Time `json:"last_tick,omitzero"` // that was acted on
	LastRun  string    `json:"last_run,omitempty"`
	Late     bool      `json:"late,omitempty"` // the last tick was made up for after an outage
	Note     string    `json:"note,omitempty"` // why the last tick made no run

	commit string // that the next tick runs, once it is due
}

// ScheduleList is the schedules of a repository and what there is to know of them.
type ScheduleList struct {
	Branch string     `json:"branch,omitempty"` // that they were read from
	Commit string     `json:"commit,omitempty"`
	Note   string     `json:"note,omitempty"`
	Items  []Schedule `json:"items"`
}

// Schedules lists the schedules of a repository that are in force, by file and line.
func (s *Service) Schedules(ctx context.Context, org platform.Org, idOrName string) (ScheduleList, error) {
	r, err := s.Get(ctx, org, idOrName)
	if err != nil {
		return ScheduleList{}, err
	}
	item, err := s.home.Table.Get(ctx, enrolledRow(org, r.ID))
	if err != nil && !errors.Is(err, platform.ErrNotFound) {
		return ScheduleList{}, err
	}
	at := enrolledOf(item)
	list := ScheduleList{Branch: at.branch, Commit: string(at.commit), Note: at.note, Items: []Schedule{}}
	if !r.RunPipelines {
		list.Note = "pipelines of this repository are not confirmed, so nothing of it is scheduled; `buildit repo confirm` does it"
	}
	items, err := s.schedules(ctx, org, r.ID)
	list.Items = append(list.Items, items...)
	sortSchedules(list.Items)
	return list, err
}

// schedulesOf are the schedules that pipeline files ask for, and what was left out.
func schedulesOf(files []*language.Pipeline) (list []Schedule, note string) {
	seen := make(map[string]bool)
	for _, file := range files {
		for _, e := range file.Events {
			if e.Kind != "schedule" {
				continue
			}
			sched := Schedule{File: file.File, Line: e.Pos.Line, Cron: e.Cron, Zone: e.Zone, Branch: e.Branch}
			sched.Key = digest(fmt.Appendf(nil, "%q %q %q %q", sched.File, sched.Cron, sched.Zone, sched.Branch))[:16]
			if seen[sched.Key] {
				continue
			}
			if len(list) == maxSchedules {
				return list, fmt.Sprintf("a repository has at most %d schedules; those from %s:%d on are not in force", maxSchedules, sched.File, sched.Line)
			}
			seen[sched.Key] = true
			list = append(list, sched)
		}
	}
	return list, ""
}

// putSchedules makes the rows of a repository's schedules those of a list. One that
// was there keeps its next tick; one that is not in the list ends with its timer.
func (s *Service) putSchedules(ctx context.Context, org platform.Org, id string, wanted []Schedule) error {
	there, err := s.schedules(ctx, org, id)
	if err != nil {
		return err
	}
	old := make(map[string]Schedule, len(there))
	for _, sched := range there {
		old[sched.Key] = sched
	}
	for _, sched := range wanted {
		before, known := old[sched.Key]
		delete(old, sched.Key)
		sched.Next = before.Next
		set := platform.Item{
			"key": platform.Text(sched.Key), "file": platform.Text(sched.File), "line": platform.Int(sched.Line),
			"cron": platform.Text(sched.Cron), "zone": platform.Text(sched.Zone), "branch": platform.Text(sched.Branch),
		}
		if !known {
			if sched.Next, err = language.NextTick(sched.Cron, sched.Zone, s.home.Clock.Now()); err != nil {
				return err
			}
			set["next"] = platform.Stamp(sched.Next)
		}
		if _, err := s.home.Table.Write(ctx, platform.Update{Key: scheduleRow(org, id, sched.Key), Set: set}); err != nil {
			return err
		}
		if err := s.setTimer(ctx, org, id, sched, sched.Next); err != nil {
			return err
		}
	}
	for key := range old { // the row first: a message that is on its way finds nothing
		if _, err := s.home.Table.Write(ctx, platform.Delete{Key: scheduleRow(org, id, key)}); err != nil {
			return err
		}
		if err := s.home.Timers.Cancel(ctx, timerName(org, id, key)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) schedules(ctx context.Context, org platform.Org, id string) ([]Schedule, error) {
	p := rows(org, id)
	page, err := s.home.Table.Query(ctx, platform.Query{Partition: p, Prefix: p.Rows("schedule"), Limit: 2 * maxSchedules})
	list := make([]Schedule, 0, len(page.Rows))
	for _, row := range page.Rows {
		list = append(list, scheduleOf(row.Item))
	}
	return list, err
}

func scheduleOf(i platform.Item) Schedule {
	return Schedule{
		Key: i.Text("key"), File: i.Text("file"), Line: int(i.Int("line")), Cron: i.Text("cron"), Zone: i.Text("zone"), Branch: i.Text("branch"),
		Next: i.Time("next"), LastTick: i.Time("last_tick"), LastRun: i.Text("last_run"), Late: i.Bool("late"), Note: i.Text("note"),
		commit: i.Text("commit"),
	}
}

// rearm sets the timers of ticks that nobody has acted on again.
func (s *Service) rearm(ctx context.Context, org platform.Org, id string) error {
	list, err := s.schedules(ctx, org, id)
	if err != nil {
		return err
	}
	now := s.home.Clock.Now()
	for _, sched := range list {
		if now.Sub(sched.Next) > rearmAfter {
			err = errors.Join(err, s.setTimer(ctx, org, id, sched, now))
		}
	}
	return err
}

// tickMessage is what a timer sends: a reference.
type tickMessage struct {
	V          int       `json:"v"`
	Org        string    `json:"org"`
	Repository string    `json:"repository"`
	Schedule   string    `json:"schedule"`
	Tick       time.Time `json:"tick"`
}

// setTimer has the next tick of a schedule come at an instant.
func (s *Service) setTimer(ctx context.Context, org platform.Org, id string, sched Schedule, at time.Time) error {
	body, err := json.Marshal(tickMessage{1, org.ID(), id, sched.Key, sched.Next})
	if err != nil {
		return err
	}
	return s.home.Timers.Set(ctx, platform.Timer{Name: timerName(org, id, sched.Key), At: at, Queue: Ticks, Body: body})
}

func timerName(org platform.Org, id, key string) string {
	return "tick-" + digest(fmt.Appendf(nil, "%q %q %q", org.ID(), id, key))[:40]
}
