package repository

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/forge"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/repository/git"
)

// Queue brings deliveries from the feed to their consumer.
const Queue = "deliveries"

// DeliveryStatus is what a delivery is at. One that is received is owned by the
// queue; what five attempts could not finish lies with the dead letters, and the
// reconciler finds what it was about.
type DeliveryStatus string

// The statuses of a delivery.
const (
	Received DeliveryStatus = "received"
	Handled  DeliveryStatus = "handled" // it made runs, or there was nothing left to make
	Ignored  DeliveryStatus = "ignored" // nothing in it that we act on; Note says so
)

// Delivery is a delivery as people see it.
type Delivery struct {
	ID       string         `json:"id"`
	Event    string         `json:"event"`
	Status   DeliveryStatus `json:"status"`
	Received time.Time      `json:"received"`
	Runs     []string       `json:"runs,omitempty"`
	Note     string         `json:"note,omitempty"`
}

// message is what travels in the queue: a reference.
type message struct {
	V          int    `json:"v"`
	Org        string `json:"org"`
	Repository string `json:"repository"`
	Delivery   string `json:"delivery"`
}

// HandleChanges is the feed's consumer: each new delivery goes to the queue, and the
// end of each run to who listens to it. It answers how many changes it is done with.
func (s *Service) HandleChanges(ctx context.Context, changes []platform.Change) (done int, err error) {
	for i, c := range changes {
		if run, ended := pipeline.Ended(c); ended {
			org := platform.System(c.Key.Parents()[0], "end of run "+string(run.ID))
			if err := s.tell(ctx, org, run); err != nil {
				return i, err
			}
			continue
		}
		parents, parts := c.Key.Parents(), c.Key.Parts()
		if c.Old != nil || c.New == nil || len(parents) != 3 || parents[1] != "repository" || len(parts) != 2 || parts[0] != "delivery" {
			continue
		}
		body, err := json.Marshal(message{1, parents[0], parents[2], parts[1]})
		if err != nil {
			return i, err
		}
		if err := s.home.Queues.Send(ctx, Queue, body, 0); err != nil {
			return i, err
		}
	}
	return len(changes), nil
}

// HandleMessage is the queue's consumer: it does what a delivery asks for. It may
// be called again, at any point, after any failure. nil means that it is done.
func (s *Service) HandleMessage(ctx context.Context, body []byte) error {
	var m message
	if err := json.Unmarshal(body, &m); err != nil || m.V != 1 {
		return fmt.Errorf("a message of another version: %w", platform.ErrInvalid)
	}
	org := platform.System(m.Org, "delivery "+m.Delivery)
	row, err := s.home.Table.Get(ctx, deliveryRow(org, m.Repository, m.Delivery))
	if errors.Is(err, platform.ErrNotFound) || (err == nil && row.Text("status") != string(Received)) {
		return nil
	}
	if err != nil {
		return err
	}
	r, err := s.Get(ctx, org, m.Repository)
	if err != nil {
		return s.unlessGone(ctx, org, m, err)
	}
	data, err := s.body(ctx, org, m)
	if err != nil {
		return err
	}
	event, err := forge.Providers[row.Text("provider")].Parse(row.Text("event"), data)
	if err != nil {
		return errors.Join(
			s.settle(ctx, org, m, Ignored, nil, fmt.Sprint(err)),
			s.noteHookFailure(ctx, org, m.Repository, fmt.Sprintf("a delivery of %s: %v", row.Text("event"), err)),
		)
	}
	if event.Kind == forge.Ignored || event.Kind == forge.Ping {
		if event.Kind == forge.Ping {
			event.Why = "the provider tried the webhook; it works"
		}
		return s.settle(ctx, org, m, Ignored, nil, event.Why)
	}
	outcomes, err := s.act(ctx, org, r, event)
	if err != nil {
		return errors.Join(err, s.noteHookFailure(ctx, org, r.ID, fmt.Sprintf("delivery %s: %v", m.Delivery, err)))
	}
	return s.settle(ctx, org, m, Handled, outcomes, "")
}

const maxFailure = 500 // bytes of a failure that the health of a hook keeps

// noteHookFailure keeps why a delivery could not be acted on, for the page of its
// repository.
func (s *Service) noteHookFailure(ctx context.Context, org platform.Org, id, failure string) error {
	_, err := s.home.Table.Write(platform.Relaxed(ctx), platform.Update{Key: healthRow(org, id), Set: platform.Item{
		"failed": platform.Stamp(s.home.Clock.Now()), "failure": platform.Text(strings.ToValidUTF8(failure[:min(len(failure), maxFailure)], "")),
	}})
	return err
}

// unlessGone ends a delivery of a repository that was disconnected meanwhile.
func (s *Service) unlessGone(ctx context.Context, org platform.Org, m message, err error) error {
	if _, lost := s.home.Table.Get(ctx, repositoryRow(org, m.Repository)); errors.Is(lost, platform.ErrNotFound) {
		return s.settle(ctx, org, m, Ignored, nil, "the repository was disconnected")
	}
	return err
}

func (s *Service) body(ctx context.Context, org platform.Org, m message) ([]byte, error) {
	body, _, err := s.home.Blobs.Open(ctx, deliveryBlob(org, m.Repository, m.Delivery), 0)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(body, forge.MaxBody))
	return data, errors.Join(err, body.Close())
}

// act asks the remote for its heads and looks at the refs that the event names.
func (s *Service) act(ctx context.Context, org platform.Org, r Repository, e forge.Event) ([]outcome, error) {
	remote, err := s.ask(ctx, org, r)
	if err != nil {
		return nil, s.noteFailure(ctx, org, r, err)
	}
	var outcomes []outcome
	switch e.Kind {
	case forge.Push, forge.Tag:
		for _, c := range e.Changes {
			ref, parseErr := git.ParseRef(c.Ref)
			if parseErr != nil || (ref.Branch() == "" && ref.Tag() == "") {
				outcomes = append(outcomes, outcome{Note: fmt.Sprintf("%q is no branch or tag that we follow", clip(c.Ref))})
				continue
			}
			var out outcome
			out, err = s.look(ctx, org, r, remote, ref, hint{after: git.CommitSHA(c.After), actor: e.ActorName})
			outcomes = append(outcomes, out)
			if err != nil {
				break
			}
		}
		if err == nil {
			s.enrolAndLog(ctx, org, r, remote)
		}
		if err == nil && e.Cut {
			err = s.lookSoon(ctx, org, r.ID)
		}
	case forge.PullRequest:
		var out outcome
		out, err = s.actOnPull(ctx, org, r, remote, e)
		outcomes = append(outcomes, out)
	case forge.Life:
		outcomes = append(outcomes, outcome{Note: "the repository was " + e.Action + "; it is looked at"})
		err = s.lookSoon(ctx, org, r.ID)
	}
	return outcomes, errors.Join(err, remote.Close())
}

// actOnPull looks at a pull request. Its number is the event's; its head is the
// remote's answer.
func (s *Service) actOnPull(ctx context.Context, org platform.Org, r Repository, remote *git.Remote, e forge.Event) (outcome, error) {
	p := e.PullRequest
	folder := git.Pulls
	if r.Provider == GitLab {
		folder = git.Merges
	}
	ref := git.Ref(fmt.Sprintf("%s%d/head", folder, p.Number))
	h := hint{actor: e.ActorName, action: actionOf(e), after: git.CommitSHA(p.Head.Commit)}
	head := remote.Head(ref)
	if head == "" && !p.Fork() { // Bitbucket has no refs of pull requests
		h.head = remote.Head(git.Ref(git.Heads + validBranch(p.Head.Branch)))
		head = h.head
	}
	reopens := e.Action == forge.Opened || e.Action == forge.Reopened
	state, err := s.notePull(ctx, org, r.ID, ref, head, func(state *refState) {
		state.Closed = e.Action == forge.Closed || (state.Closed && !reopens)
		state.Base, state.Branch = validBranch(p.Base.Branch), validBranch(p.Head.Branch)
		state.Fork, state.Draft = p.Fork(), p.Draft
	})
	switch {
	case err != nil:
		return outcome{Ref: ref}, err
	case state.Closed && e.Action == forge.Closed:
		return s.closed(ctx, org, r, remote, ref, head, state, h)
	case state.Closed:
		return outcome{Ref: ref, Note: "the pull request is closed"}, nil
	case head == "":
		return outcome{Ref: ref, Note: "the remote shows no head of this pull request: it comes from a fork, whose commits this provider's git server does not hand out"}, nil
	}
	return s.look(ctx, org, r, remote, ref, h)
}

// actionOf is what happened to a pull request, in the words of a pipeline file's
// `types`; one that wants to go elsewhere was updated.
func actionOf(e forge.Event) string {
	if e.Action == forge.Retargeted {
		return forge.Updated
	}
	return e.Action
}

// validBranch is a branch's name if it is one, else "".
func validBranch(name string) string {
	if _, err := git.ParseRef(git.Heads + name); err != nil {
		return ""
	}
	return name
}

// settle ends a delivery, once, and keeps what became of it.
func (s *Service) settle(ctx context.Context, org platform.Org, m message, status DeliveryStatus, outcomes []outcome, note string) error {
	set := platform.Item{"status": platform.Text(status), "version": platform.Int(2)}
	var runs, notes []string
	generations := platform.Map{}
	for _, o := range outcomes {
		runs = append(runs, o.Runs...)
		if o.Note != "" {
			notes = append(notes, o.Note)
		}
		if o.Ref != "" {
			generations[string(o.Ref)] = platform.Int(o.Generation)
		}
	}
	if note != "" {
		notes = append(notes, note)
	}
	set["runs"], set["note"], set["generations"] = platform.TextList(runs), platform.Text(strings.Join(notes, "; ")), generations
	now := s.home.Clock.Now()
	row, err := s.home.Table.Write(ctx, platform.Update{
		Key: deliveryRow(org, m.Repository, m.Delivery), Set: set,
		If: platform.Equal{Attribute: "status", Value: platform.Text(Received)},
	})
	if errors.Is(err, platform.ErrConditionFailed) {
		return nil
	}
	if err != nil {
		return err
	}
	s.log.InfoContext(ctx, "delivery settled", "org", org.ID(), "repository", m.Repository, "delivery", m.Delivery, "status", status, "runs", len(runs))
	_, err = s.home.Table.Write(platform.Relaxed(ctx), platform.Update{Key: healthRow(org, m.Repository), Set: platform.Item{
		"last": platform.Stamp(now), "event": platform.Text(row.Text("event")),
	}})
	return err
}

// Deliveries reads a page of a repository's deliveries, the newest first.
func (s *Service) Deliveries(ctx context.Context, org platform.Org, idOrName string, limit int, cursor string) ([]Delivery, string, error) {
	r, err := s.Get(ctx, org, idOrName)
	if err != nil {
		return nil, "", err
	}
	page, err := s.home.Table.Query(ctx, platform.Query{Partition: deliveriesOf(org, r.ID), Index: platform.List1, Reverse: true, Limit: limit, Cursor: cursor})
	if err != nil {
		return nil, "", err
	}
	var list []Delivery
	for _, row := range page.Rows {
		i := row.Item
		list = append(list, Delivery{i.Text("id"), i.Text("event"), DeliveryStatus(i.Text("status")), i.Time("received"), i.Texts("runs"), i.Text("note")})
	}
	return list, page.Cursor, nil
}
