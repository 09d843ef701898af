package secret

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/buildit-dev/buildit/internal/mask"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Limits of secrets.
const (
	maxValue   = 32 << 10 // bytes
	maxSecrets = 1000     // of an organization
	eventsKept = 400 * 24 * time.Hour
)

// Service keeps secrets. Its methods may be called concurrently.
type Service struct {
	Table platform.Table
	Keys  platform.Keys
	Clock platform.Clock
}

// Secret is what people see of one: never its value.
type Secret struct {
	Name string `json:"name"`
	Scope
	Set     time.Time `json:"set_at"`
	By      string    `json:"set_by"`
	Version int64     `json:"version"`
	// Used is when a stage last got the value, and Run and Stage which one: what is
	// never used can go, and what was used must be rotated if it leaks.
	Used  time.Time `json:"last_used_at,omitzero"`
	Run   string    `json:"last_used_run,omitempty"`
	Stage string    `json:"last_used_stage,omitempty"`
}

// Set stores a value, in place of the one before. The same call twice is one change
// and a second version of it.
func (s *Service) Set(ctx context.Context, org platform.Org, scope Scope, name, value, by string) (Secret, error) {
	if err := checkNew(scope, name, value); err != nil {
		return Secret{}, err
	}
	if err := s.hasRoom(ctx, org, scope, name); err != nil {
		return Secret{}, err
	}
	at, err := s.seal(ctx, org, scope, name, value)
	if err != nil {
		return Secret{}, err
	}
	for {
		before, err := s.find(ctx, org, scope, name)
		if err != nil && !errors.Is(err, platform.ErrNotFound) {
			return Secret{}, err
		}
		now := s.Clock.Now().UTC()
		next := Secret{Name: name, Scope: scope, Set: now, By: by, Version: before.Version + 1, Used: before.Used, Run: before.Run, Stage: before.Stage}
		condition := platform.Condition(platform.NoRow)
		if err == nil {
			condition = platform.Equal{Attribute: "version", Value: platform.Int(before.Version)}
		}
		err = s.Table.Transact(ctx, "",
			platform.Put{Key: row(org, scope, name), Item: next.item(at), If: condition},
			s.event(org, next, "set", by, now))
		if !errors.Is(err, platform.ErrConditionFailed) {
			return next, err
		}
	}
}

func checkNew(scope Scope, name, value string) error {
	if err := scope.check(); err != nil {
		return err
	}
	if !names().MatchString(name) {
		return problem.New(problem.Invalid, "%.80q cannot be the name of a secret: letters, digits, dots, dashes and underscores, 63 at most, a letter or digit first.", name).InField("name")
	}
	switch {
	case len(value) > maxValue:
		return problem.New(problem.Invalid, "A secret has at most %d bytes; this one has %d.", maxValue, len(value)).InField("value")
	case !utf8.ValidString(value):
		return problem.New(problem.Invalid, "The value is not text (UTF-8). Encode bytes, with base64 for example.").InField("value")
	}
	if why := mask.Refuse(value); why != "" {
		refused := problem.New(problem.Invalid, "This cannot be a secret: one of fewer than %d bytes, or a common word, cannot be masked without blotting out other text of the logs. Put it into env, where it is no secret.", mask.Shortest)
		return refused.InField("value")
	}
	return nil
}

// hasRoom refuses a new secret beyond the limit.
func (s *Service) hasRoom(ctx context.Context, org platform.Org, scope Scope, name string) error {
	if _, err := s.find(ctx, org, scope, name); !errors.Is(err, platform.ErrNotFound) {
		return err
	}
	all, err := s.List(ctx, org)
	if err == nil && len(all) >= maxSecrets {
		return problem.New(problem.Conflict, "The organization has %d secrets, and may have %d. Remove those that are not used.", len(all), maxSecrets)
	}
	return err
}

// Delete removes a secret, or fails with problem.NotFound.
func (s *Service) Delete(ctx context.Context, org platform.Org, scope Scope, name, by string) error {
	if err := scope.check(); err != nil {
		return err
	}
	var before Secret
	err := platform.ErrNotFound // as of every name that no secret can have
	if names().MatchString(name) {
		before, err = s.find(ctx, org, scope, name)
	}
	if errors.Is(err, platform.ErrNotFound) {
		return problem.New(problem.NotFound, "There is no secret %.80q in the scope %s.", name, scope)
	}
	if err != nil {
		return err
	}
	now := s.Clock.Now().UTC()
	before.Version++
	err = s.Table.Transact(ctx, "",
		platform.Delete{Key: row(org, scope, name), If: platform.Equal{Attribute: "version", Value: platform.Int(before.Version - 1)}},
		s.event(org, before, "deleted", by, now))
	if errors.Is(err, platform.ErrConditionFailed) {
		return s.Delete(ctx, org, scope, name, by)
	}
	return err
}

// List answers all secrets of an organization, by name and scope.
func (s *Service) List(ctx context.Context, org platform.Org) ([]Secret, error) {
	q := platform.Query{Partition: partition(org), Prefix: partition(org).Rows("secret")}
	list := []Secret{}
	for {
		page, err := s.Table.Query(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("list of secrets: %w", err)
		}
		for _, r := range page.Rows {
			list = append(list, secretOf(r.Item))
		}
		if q.Cursor = page.Cursor; q.Cursor == "" {
			break
		}
	}
	slices.SortStableFunc(list, func(a, b Secret) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), slices.Compare(a.parts(), b.parts()))
	})
	return list, nil
}

// Use is a stage of a run that asks for a secret.
type Use struct {
	Repository, Pipeline string
	Environment          string // "" if the stage has none, or may not use its secrets
	Run, Stage           string
}

// scopes are where a stage looks, the narrowest first.
func (u Use) scopes() []Scope {
	all := []Scope{{Repository: u.Repository, Pipeline: u.Pipeline}}
	if u.Environment != "" {
		all = append(all, Scope{Environment: u.Environment})
	}
	return append(all, Scope{Repository: u.Repository}, Scope{})
}

// Value is what a stage gets, or platform.ErrNotFound. It notes the use.
func (s *Service) Value(ctx context.Context, org platform.Org, use Use, name string) (string, error) {
	for _, scope := range use.scopes() {
		if scope.check() != nil {
			continue
		}
		item, err := s.Table.Get(ctx, row(org, scope, name))
		if errors.Is(err, platform.ErrNotFound) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("secret %s: %w", name, err)
		}
		value, err := s.open(ctx, org, scope, name, sealed{item.Bytes("key"), item.Bytes("box")})
		if err != nil {
			return "", err
		}
		return value, s.used(ctx, org, scope, name, use)
	}
	return "", fmt.Errorf("secret %s: %w", name, platform.ErrNotFound)
}

// used notes the last use. One that a power cut forgets is no loss: the run's own rows
// say the same.
func (s *Service) used(ctx context.Context, org platform.Org, scope Scope, name string, use Use) error {
	_, err := s.Table.Write(platform.Relaxed(ctx), platform.Update{
		Key: row(org, scope, name), If: platform.RowIs,
		Set: platform.Item{"used": platform.Stamp(s.Clock.Now()), "run": platform.Text(use.Run), "stage": platform.Text(use.Stage)},
	})
	if errors.Is(err, platform.ErrConditionFailed) { // deleted in this moment
		return nil
	}
	return err
}

func (s *Service) find(ctx context.Context, org platform.Org, scope Scope, name string) (Secret, error) {
	item, err := s.Table.Get(ctx, row(org, scope, name))
	if err != nil {
		return Secret{}, err
	}
	return secretOf(item), nil
}
