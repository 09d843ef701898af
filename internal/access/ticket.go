package access

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
)

// Tickets, btt_<256 random bits>, open one thing for a short time. The row is named
// by the ticket's hash.
const (
	ticketPrefix = "btt_"

	// StreamTicketLife is how long a ticket for a WebSocket can be used, once.
	StreamTicketLife = 30 * time.Second

	// HelloTicketLife is how long the ticket of an attempt can be used: as long as
	// a task may take to be placed and to start, on the slowest class.
	HelloTicketLife = 15 * time.Minute

	forStream = "stream"
	forHello  = "hello"
)

// BootHeader names the boot of a supervisor that says hello. The first boot that
// shows a ticket has it: the same one may ask again when an answer was lost, any
// other is refused.
const BootHeader = "Buildit-Boot"

// StreamTicket makes a ticket with which the caller's browser opens one WebSocket.
func (c *Credentials) StreamTicket(ctx context.Context, caller Caller) (ticket string, expires time.Time, err error) {
	return c.issueTicket(ctx, forStream, StreamTicketLife, platform.Item{"token": platform.Text(caller.token)})
}

// HelloTicket makes the ticket with which the task of an attempt says hello. It
// travels in platform.TaskSpec.Ticket.
func (c *Credentials) HelloTicket(ctx context.Context, org platform.Org, job JobClaims) (string, error) {
	ticket, _, err := c.issueTicket(ctx, forHello, HelloTicketLife, platform.Item{
		"org":     platform.Text(org.ID()),
		"run":     platform.Text(job.Run),
		"stage":   platform.Text(job.StageKey),
		"attempt": platform.Int(job.Attempt),
		"epoch":   platform.Int(job.Epoch),
	})
	return ticket, err
}

func (c *Credentials) issueTicket(ctx context.Context, use string, life time.Duration, item platform.Item) (string, time.Time, error) {
	ticket := ticketPrefix + c.ids.New() + c.ids.New()
	until := c.clock.Now().Add(life)
	item["use"] = platform.Text(use)
	item["until"] = platform.Stamp(until)
	item[platform.ExpiresAttribute] = platform.Int(until.Unix() + 1)
	_, err := c.table.Write(ctx, platform.Put{Key: ticketRow(ticket), Item: item, If: platform.NoRow})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("ticket: %w", err)
	}
	return ticket, until, nil
}

// redeemStream answers whose ticket it is, once: of two that show it, the one
// whose delete finds the row has it.
func (c *Credentials) redeemStream(ctx context.Context, ticket string) (Caller, error) {
	row, err := c.readTicket(ctx, ticket, forStream)
	if err != nil {
		return Caller{}, err
	}
	_, err = c.table.Write(ctx, platform.Delete{Key: ticketRow(ticket), If: platform.RowIs})
	if errors.Is(err, platform.ErrConditionFailed) {
		return Caller{}, errBadCredential
	}
	if err != nil {
		return Caller{}, fmt.Errorf("ticket: %w", err)
	}
	return c.again(ctx, Caller{token: row.Text("token")})
}

// redeemHello answers which attempt's ticket it is, to the first boot that asks.
func (c *Credentials) redeemHello(ctx context.Context, ticket, boot string) (Caller, error) {
	row, err := c.readTicket(ctx, ticket, forHello)
	if err != nil {
		return Caller{}, err
	}
	_, err = c.table.Write(ctx, platform.Update{
		Key: ticketRow(ticket),
		Set: platform.Item{"boot": platform.Text(boot)},
		If: platform.All{platform.RowIs, platform.Any{
			platform.Absent{Attribute: "boot"},
			platform.Equal{Attribute: "boot", Value: platform.Text(boot)},
		}},
	})
	if errors.Is(err, platform.ErrConditionFailed) {
		return Caller{}, errBadCredential
	}
	if err != nil {
		return Caller{}, fmt.Errorf("ticket: %w", err)
	}
	job := JobClaims{
		Run: row.Text("run"), StageKey: row.Text("stage"),
		Attempt: int(row.Int("attempt")), Epoch: row.Int("epoch"),
	}
	return Caller{Org: platform.Verified(row.Text("org")), Kind: KindRunner, Name: job.Run, Job: job}, nil
}

func (c *Credentials) readTicket(ctx context.Context, ticket, use string) (platform.Item, error) {
	secret, ok := strings.CutPrefix(ticket, ticketPrefix)
	if !ok || len(secret) != secretLength || !isName(secret) {
		return nil, errBadCredential
	}
	row, err := c.table.Get(ctx, ticketRow(ticket))
	if errors.Is(err, platform.ErrNotFound) {
		return nil, errBadCredential
	}
	if err != nil {
		return nil, fmt.Errorf("ticket: %w", err)
	}
	if row.Text("use") != use || !c.clock.Now().Before(row.Time("until")) {
		return nil, errBadCredential
	}
	return row, nil
}
