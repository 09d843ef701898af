package notify

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/buildit-dev/buildit/internal/forge"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
)

// SendDue sends the checks whose time has come. One that cannot be sent holds up no
// other; the failures of ours are answered together.
func (s *Service) SendDue(ctx context.Context) error {
	until := dueAt(s.home.Clock.Now().Add(1), "").SK() // what is due now is before it
	page, err := s.home.Table.Query(ctx, platform.Query{Partition: due(), Index: platform.Due, Until: until, Limit: atOnce})
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	free, errs := make(chan struct{}, senders), make([]error, len(page.Rows))
	for i, row := range page.Rows {
		free <- struct{}{}
		group.Go(func() {
			defer func() { <-free }()
			errs[i] = s.send(ctx, row.Key)
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

// send sends one check as its row is now. Whoever has moved the row into the lease is
// its only sender until the lease is over; a row that moves on meanwhile is sent again
// after it.
func (s *Service) send(ctx context.Context, key platform.RowKey) error {
	org := platform.System(key.Parents()[0], "checks")
	row, err := s.home.Table.Get(ctx, key)
	if errors.Is(err, platform.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	now := s.home.Clock.Now()
	if busy := row.Time("busy"); busy.After(now) {
		return s.later(ctx, key, row, busy, nil)
	}
	row, err = s.home.Table.Write(ctx, platform.Update{
		Key: key, If: unmoved(row), Add: map[string]int64{"sends": 1},
		Set: platform.Item{"busy": platform.Stamp(now.Add(lease))}.DueAt(dueAt(now.Add(lease), row.Text("name"))),
	})
	if errors.Is(err, platform.ErrConditionFailed) {
		return nil // somebody else sends it, or it has moved on and is due again
	}
	if err != nil {
		return err
	}
	api, _, ok, err := s.repositories.API(ctx, org, row.Text("repository"))
	if err != nil {
		return err
	}
	if !ok { // its credential was taken away
		return s.settled(ctx, key, row, "")
	}
	check := checkOf(row)
	remote, err := api.SetCheck(ctx, check)
	switch {
	case err == nil:
		return s.settled(ctx, key, row, remote)
	case ctx.Err() != nil:
		return nil // the lease ends, and it is sent again
	case forge.ForGood(err), now.Sub(row.Time("since")) > patience:
		return errors.Join(s.settled(ctx, key, row, ""), s.tell(ctx, org, check, err))
	}
	pause := pauseAfter(row.Int("failures"), err)
	s.log.InfoContext(ctx, "check not sent yet", "org", org.ID(), "run", check.Run, "check", check.Name, "again_in", pause, "err", err)
	return s.later(ctx, key, row, s.home.Clock.Now().Add(pause), map[string]int64{"failures": 1})
}

// unmoved holds while a row says what was read, and nobody has begun to send it.
func unmoved(row platform.Item) platform.Condition {
	sends := platform.Condition(platform.Absent{Attribute: "sends"})
	if n, has := row["sends"]; has {
		sends = platform.Equal{Attribute: "sends", Value: n}
	}
	return platform.All{platform.Equal{Attribute: "order", Value: row["order"]}, sends}
}

func checkOf(row platform.Item) forge.Check {
	c := forge.Check{
		Commit: row.Text("commit"), Name: row.Text("name"), State: forge.CheckState(row.Text("state")),
		Description: row.Text("description"), URL: row.Text("url"), Run: row.Text("run"),
	}
	if row.Text("remote_run") == c.Run {
		c.Remote = row.Text("remote")
	}
	return c
}

// settled ends the sending of a row. One that has moved on meanwhile is due at once,
// and keeps what the provider calls the check.
func (s *Service) settled(ctx context.Context, key platform.RowKey, row platform.Item, remote string) error {
	set := platform.Item{}
	if remote != "" {
		set["remote"], set["remote_run"] = platform.Text(remote), row["run"]
	}
	done := platform.Update{Key: key, If: unmoved(row), Set: set, Remove: []string{"busy", platform.DuePartition, platform.DueSort}}
	_, err := s.home.Table.Write(ctx, done)
	if !errors.Is(err, platform.ErrConditionFailed) {
		return err
	}
	now := s.home.Clock.Now()
	_, err = s.home.Table.Write(ctx, platform.Update{
		Key: key, If: platform.Equal{Attribute: "sends", Value: row["sends"]}, Remove: []string{"busy"},
		Set: set.DueAt(dueAt(now, row.Text("name"))),
	})
	if errors.Is(err, platform.ErrConditionFailed) {
		return nil // the lease was over, and another sender has it
	}
	return err
}

// later has a row be due again at a time, and nobody send it before.
func (s *Service) later(ctx context.Context, key platform.RowKey, row platform.Item, at time.Time, add map[string]int64) error {
	_, err := s.home.Table.Write(ctx, platform.Update{
		Key: key, If: platform.Equal{Attribute: "sends", Value: row["sends"]}, Add: add,
		Set: platform.Item{"busy": platform.Stamp(at)}.DueAt(dueAt(at, row.Text("name"))),
	})
	if errors.Is(err, platform.ErrConditionFailed) {
		return nil
	}
	return err
}

// pauseAfter is how long a provider is left alone after a failure: as long as it
// says, else twice as long each time.
func pauseAfter(failures int64, err error) time.Duration {
	var refused *forge.Refusal
	if errors.As(err, &refused) && refused.After > 0 {
		return refused.After
	}
	return min(firstPause<<min(failures, 10), lastPause)
}

// tell has people see on the run that the provider does not take its check.
func (s *Service) tell(ctx context.Context, org platform.Org, c forge.Check, why error) error {
	help := ""
	var refused *forge.Refusal
	if errors.As(why, &refused) {
		help = map[int]string{
			401: " Give the repository another token: buildit repo token REPO --token-file FILE.",
			403: " The token may not write statuses of this repository.",
			404: " The token does not see this repository, or the commit is gone.",
		}[refused.Status]
	}
	s.log.WarnContext(ctx, "check refused", "org", org.ID(), "run", c.Run, "check", c.Name, "err", why)
	return s.runs.AddNotice(ctx, org, pipeline.RunID(c.Run), pipeline.Notice{
		Code: "check-refused", Text: fmt.Sprintf("The provider does not take the check %s: %v.%s", c.Name, why, help),
	})
}
