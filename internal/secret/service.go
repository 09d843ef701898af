package secret

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Secret is what may be told of a secret: everything but its value.
type Secret struct {
	Name        string    `json:"name"`
	Scope       Kind      `json:"scope"`
	Repository  string    `json:"repository,omitempty"` // its name
	Pipeline    string    `json:"pipeline,omitempty"`
	Environment string    `json:"environment,omitempty"`
	SetBy       string    `json:"set_by"`
	SetAt       time.Time `json:"set_at"`
	LastUsed    *Use      `json:"last_used,omitempty"`

	repository string // id
	version    int64
	deleted    bool
	sealed     sealed
}

// Use is a delivery of a secret to an attempt.
type Use struct {
	Run   string    `json:"run"`
	Stage string    `json:"stage"`
	At    time.Time `json:"at"`
}

// Repositories finds a connected repository by its id or name: package repository.
type Repositories func(ctx context.Context, org platform.Org, idOrName string) (id, name string, err error)

// Service is the verbs of this package.
type Service struct {
	home         platform.Home
	repositories Repositories
}

// New makes a Service on a home.
func New(home platform.Home, repositories Repositories) *Service {
	return &Service{home, repositories}
}

// The rows of an organization's secrets share a partition:
//
//	secret  acme#secrets#  secret#<kind>#<repository>#<pipeline or environment>#<name>#
//	event   acme#secrets#  event#<the same>#<version, 8 digits>#
//
// A deleted one keeps its row, without a value, so that versions and events go on.
func rows(org platform.Org) platform.Partition { return org.Partition("secrets") }

func secretRow(org platform.Org, scope Scope, name string) platform.RowKey {
	return rows(org).Row("secret", append(scope.parts(), name)...)
}

func eventRow(org platform.Org, scope Scope, name string, version int64) platform.RowKey {
	return rows(org).Row("event", append(scope.parts(), name, fmt.Sprintf("%08d", version))...)
}

// place resolves the repository of a scope, which people may call by its name.
func (s *Service) place(ctx context.Context, org platform.Org, scope Scope, name string) (_ Scope, repository string, err error) {
	if err := checkName(name); err != nil {
		return scope, "", err
	}
	if err := scope.check(); err != nil {
		return scope, "", err
	}
	if scope.Repository != "" {
		scope.Repository, repository, err = s.repositories(ctx, org, scope.Repository)
	}
	return scope, repository, err
}

// Set keeps a value under a name, in place of the one that was there. by is who asks.
func (s *Service) Set(ctx context.Context, org platform.Org, scope Scope, name, value, by string) (Secret, error) {
	scope, repository, err := s.place(ctx, org, scope, name)
	if err == nil {
		err = checkValue(value)
	}
	if err != nil {
		return Secret{}, err
	}
	at, err := s.seal(ctx, org, scope, name, value)
	if err != nil {
		return Secret{}, err
	}
	set := platform.Item{
		"name": platform.Text(name), "repository": platform.Text(scope.Repository), "repository_name": platform.Text(repository),
		"pipeline": platform.Text(scope.Pipeline), "environment": platform.Text(scope.Environment),
		"set_by": platform.Text(by), "set_at": platform.Stamp(s.home.Clock.Now()), "deleted": platform.Bool(false),
		"key": platform.Bytes(at.key), "text": platform.Bytes(at.text),
	}
	item, err := s.change(ctx, org, scope, name, "set", by, func(platform.Item) (platform.Update, error) {
		return platform.Update{Set: set}, nil
	})
	return secretOf(item), err
}

// Delete forgets a value at once; runs that have it keep it.
func (s *Service) Delete(ctx context.Context, org platform.Org, scope Scope, name, by string) error {
	scope, repository, err := s.place(ctx, org, scope, name)
	if err != nil {
		return err
	}
	_, err = s.change(ctx, org, scope, name, "deleted", by, func(was platform.Item) (platform.Update, error) {
		if was == nil || was.Bool("deleted") {
			return platform.Update{}, problem.New(problem.NotFound, "There is no secret %s of the %s.", name, scope.Text(repository))
		}
		return platform.Update{Set: platform.Item{"deleted": platform.Bool(true)}, Remove: []string{"key", "text", "used_run", "used_stage", "used_at"}}, nil
	})
	return err
}

// change writes a secret's row together with the event of the change, on the version
// that was read. make may be called again, on a newer row; it is given nil for none.
func (s *Service) change(ctx context.Context, org platform.Org, scope Scope, name, event, by string, make func(platform.Item) (platform.Update, error)) (platform.Item, error) {
	key := secretRow(org, scope, name)
	for {
		was, err := s.home.Table.Get(ctx, key)
		if err != nil && !errors.Is(err, platform.ErrNotFound) {
			return nil, err
		}
		write, err := make(was)
		if err != nil {
			return nil, err
		}
		version := was.Int("version") + 1
		write.Key, write.If = key, platform.NoRow
		if was != nil {
			write.If = platform.Equal{Attribute: "version", Value: platform.Int(was.Int("version"))}
		}
		write.Set["version"] = platform.Int(version)
		err = s.home.Table.Transact(ctx, "", write, platform.Put{
			Key: eventRow(org, scope, name, version), If: platform.NoRow,
			Item: platform.Item{"event": platform.Text(event), "by": platform.Text(by), "at": platform.Stamp(s.home.Clock.Now()), "reason": platform.Text(org.Reason())},
		})
		if !errors.Is(err, platform.ErrConditionFailed) && !errors.Is(err, platform.ErrConflict) {
			return write.Set, err
		}
	}
}

func secretOf(i platform.Item) Secret {
	found := Secret{
		Name: i.Text("name"), Repository: i.Text("repository_name"), Pipeline: i.Text("pipeline"), Environment: i.Text("environment"),
		SetBy: i.Text("set_by"), SetAt: i.Time("set_at"), repository: i.Text("repository"),
		version: i.Int("version"), deleted: i.Bool("deleted"), sealed: sealed{i.Bytes("key"), i.Bytes("text")},
	}
	found.Scope = Scope{found.repository, found.Pipeline, found.Environment}.Kind()
	if used := i.Text("used_run"); used != "" {
		found.LastUsed = &Use{Run: used, Stage: i.Text("used_stage"), At: i.Time("used_at")}
	}
	return found
}

// List reads a page of the secrets of an organization, without their values.
func (s *Service) List(ctx context.Context, org platform.Org, limit int, cursor string) ([]Secret, string, error) {
	p := rows(org)
	page, err := s.home.Table.Query(ctx, platform.Query{Partition: p, Prefix: p.Rows("secret"), Limit: limit, Cursor: cursor})
	if err != nil {
		return nil, "", err
	}
	list := []Secret{}
	for _, row := range page.Rows {
		if found := secretOf(row.Item); !found.deleted {
			list = append(list, found)
		}
	}
	return list, page.Cursor, nil
}

// Asker is the attempt that a secret is looked up for.
type Asker struct {
	Repository  string // id
	Pipeline    string
	Environment string // of the stage, "" if it has none, or may not have its secrets
	Run, Stage  string
}

// Scopes are where an attempt's secrets are looked up, in this order.
func (a Asker) Scopes() []Scope {
	var list []Scope
	if a.Pipeline != "" && a.Repository != "" {
		list = append(list, Scope{Repository: a.Repository, Pipeline: a.Pipeline})
	}
	if a.Environment != "" {
		list = append(list, Scope{Environment: a.Environment})
	}
	if a.Repository != "" {
		list = append(list, Scope{Repository: a.Repository})
	}
	return append(list, Scope{})
}

// Value finds and opens a secret for an attempt, and keeps that it was used: by which
// run and stage, in one write, so that nothing is handed out of which nobody knows.
// It fails with platform.ErrNotFound if no scope of the attempt has it.
func (s *Service) Value(ctx context.Context, org platform.Org, asker Asker, name string) (string, error) {
	for _, scope := range asker.Scopes() {
		key := secretRow(org, scope, name)
		item, err := s.home.Table.Get(ctx, key)
		if errors.Is(err, platform.ErrNotFound) || err == nil && item.Bool("deleted") {
			continue
		}
		if err != nil {
			return "", err
		}
		value, err := s.open(ctx, org, scope, name, secretOf(item).sealed)
		if err != nil {
			return "", err
		}
		_, err = s.home.Table.Write(ctx, platform.Update{
			Key: key, If: platform.RowIs,
			Set: platform.Item{"used_run": platform.Text(asker.Run), "used_stage": platform.Text(asker.Stage), "used_at": platform.Stamp(s.home.Clock.Now())},
		})
		return value, err
	}
	return "", platform.ErrNotFound
}
