package environment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// Service keeps environments in a table.
type Service struct {
	table platform.Table
	clock platform.Clock
}

// New makes a Service.
func New(table platform.Table, clock platform.Clock) *Service { return &Service{table, clock} }

// Create makes an environment. One of that name, in whatever case, is problem.Exists.
func (s *Service) Create(ctx context.Context, org platform.Org, e Environment) (Environment, error) {
	e = e.complete()
	if err := e.check(); err != nil {
		return e, err
	}
	names, err := s.Names(ctx, org)
	if err != nil {
		return e, err
	}
	for _, name := range names {
		if strings.EqualFold(name, e.Name) {
			return e, problem.New(problem.Exists, "There is an environment %q already.", name).InField("name")
		}
	}
	e.Created, e.Releases, e.Current = s.clock.Now().UTC(), 0, nil
	item, err := e.item()
	if err != nil {
		return e, err
	}
	_, err = s.table.Write(ctx, platform.Put{Key: row(org, e.Name), Item: item, If: platform.NoRow})
	if errors.Is(err, platform.ErrConditionFailed) {
		return e, problem.New(problem.Exists, "There is an environment %q already.", e.Name).InField("name")
	}
	return e, err
}

func (e Environment) complete() Environment {
	if e.Count == 0 && len(e.Approvers) > 0 {
		e.Count = 1
	}
	return e
}

// Update replaces the rules of an environment; what was released stays.
func (s *Service) Update(ctx context.Context, org platform.Org, e Environment) (Environment, error) {
	e = e.complete()
	if err := e.check(); err != nil {
		return e, err
	}
	item, err := e.item()
	if err != nil {
		return e, err
	}
	after, err := s.table.Write(ctx, platform.Update{Key: row(org, e.Name), Set: platform.Item{"rules": item["rules"]}, If: platform.RowIs})
	if errors.Is(err, platform.ErrConditionFailed) {
		return e, s.missing(ctx, org, e.Name)
	}
	if err != nil {
		return e, err
	}
	return read(after)
}

// Get finds an environment by its name, or answers problem.NotFound with the nearest.
func (s *Service) Get(ctx context.Context, org platform.Org, name string) (Environment, error) {
	e, err := s.Find(ctx, org, name)
	if errors.Is(err, platform.ErrNotFound) {
		return e, s.missing(ctx, org, name)
	}
	return e, err
}

// Find is Get that fails with platform.ErrNotFound.
func (s *Service) Find(ctx context.Context, org platform.Org, name string) (Environment, error) {
	if !validName().MatchString(name) {
		return Environment{}, fmt.Errorf("environment %q: %w", name, platform.ErrNotFound)
	}
	item, err := s.table.Get(ctx, row(org, name))
	if err != nil {
		return Environment{}, fmt.Errorf("environment %q: %w", name, err)
	}
	return read(item)
}

func (s *Service) missing(ctx context.Context, org platform.Org, name string) error {
	text, err := s.Missing(ctx, org, name)
	if err != nil {
		return err
	}
	return problem.New(problem.NotFound, "%s", text)
}

// Missing is a sentence for who names an environment that there is not.
func (s *Service) Missing(ctx context.Context, org platform.Org, name string) (string, error) {
	names, err := s.Names(ctx, org)
	if err != nil {
		return "", err
	}
	name = name[:min(len(name), maxPattern)]
	text := fmt.Sprintf("There is no environment %q", name)
	switch nearest := access.Nearest(name, names); {
	case nearest != "":
		text += fmt.Sprintf("; did you mean %q?", nearest)
	case len(names) > 0:
		text += "; there is " + strings.Join(names[:min(len(names), 12)], ", ") + "."
	default:
		text += fmt.Sprintf(", nor any other; `buildit environment create %s` makes it.", name)
	}
	return text, nil
}

// Names are those of all environments.
func (s *Service) Names(ctx context.Context, org platform.Org) ([]string, error) {
	var names []string
	for cursor := ""; ; {
		list, next, err := s.List(ctx, org, 0, cursor)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			names = append(names, e.Name)
		}
		if cursor = next; cursor == "" {
			return names, nil
		}
	}
}

// List answers environments by name, one page.
func (s *Service) List(ctx context.Context, org platform.Org, limit int, cursor string) ([]Environment, string, error) {
	page, err := s.table.Query(ctx, platform.Query{Partition: partition(org), Limit: limit, Cursor: cursor})
	if err != nil {
		return nil, "", fmt.Errorf("environments: %w", err)
	}
	list := make([]Environment, 0, len(page.Rows))
	for _, r := range page.Rows {
		e, err := read(r.Item)
		if err != nil {
			return nil, "", err
		}
		list = append(list, e)
	}
	return list, page.Cursor, nil
}

// Delete removes an environment. Its releases stay, for one of the same name.
func (s *Service) Delete(ctx context.Context, org platform.Org, name string) error {
	if _, err := s.Get(ctx, org, name); err != nil {
		return err
	}
	_, err := s.table.Write(ctx, platform.Delete{Key: row(org, name)})
	return err
}

// Unmoved is the condition, for a transaction, that nothing was released since e was read.
func Unmoved(org platform.Org, e Environment) platform.Action {
	return platform.Check{Key: row(org, e.Name), If: platform.Equal{Attribute: "releases", Value: platform.Int(e.Releases)}}
}

// Record writes a release, once for each stage however often it is called, and makes
// it the current one. An environment that was deleted meanwhile keeps it too.
func (s *Service) Record(ctx context.Context, org platform.Org, name, key string, r Release) error {
	for {
		_, err := s.table.Get(ctx, onceRow(org, name, r.Run, key))
		if err == nil {
			return nil
		}
		if !errors.Is(err, platform.ErrNotFound) {
			return fmt.Errorf("release to %s: %w", name, err)
		}
		r.Number, err = s.next(ctx, org, name)
		if err != nil {
			return err
		}
		body, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("release to %s: %w", name, err)
		}
		actions := []platform.Action{
			platform.Put{Key: onceRow(org, name, r.Run, key), Item: platform.Item{"number": platform.Int(r.Number)}, If: platform.NoRow},
			platform.Put{Key: releaseRow(org, name, r.Number), Item: platform.Item{"release": platform.Bytes(body)}, If: platform.NoRow},
		}
		if _, err := s.Find(ctx, org, name); err == nil {
			actions = append(actions, platform.Update{
				Key: row(org, name), Set: platform.Item{"releases": platform.Int(r.Number), "current": platform.Bytes(body)},
				If: platform.Less{Attribute: "releases", Value: platform.Int(r.Number)},
			})
		} else if !errors.Is(err, platform.ErrNotFound) {
			return err
		}
		err = s.table.Transact(ctx, "", actions...)
		if !errors.Is(err, platform.ErrConditionFailed) {
			return err
		}
	}
}

// next is the number of the next release: behind the newest that is recorded, which
// may be older than an environment that was deleted and made again.
func (s *Service) next(ctx context.Context, org platform.Org, name string) (int64, error) {
	newest, _, err := s.Releases(ctx, org, name, 1, "")
	if err != nil || len(newest) == 0 {
		return 1, err
	}
	return newest[0].Number + 1, nil
}

// Releases answers what was deployed, newest first, one page.
func (s *Service) Releases(ctx context.Context, org platform.Org, name string, limit int, cursor string) ([]Release, string, error) {
	at := releases(org, name)
	page, err := s.table.Query(ctx, platform.Query{Partition: at, Prefix: at.Rows("release"), Reverse: true, Limit: limit, Cursor: cursor})
	if err != nil {
		return nil, "", fmt.Errorf("releases to %s: %w", name, err)
	}
	list := make([]Release, 0, len(page.Rows))
	for _, row := range page.Rows {
		var r Release
		if err := json.Unmarshal(row.Item.Bytes("release"), &r); err != nil {
			return nil, "", fmt.Errorf("a release to %s cannot be read: %w", name, err)
		}
		list = append(list, r)
	}
	return list, page.Cursor, nil
}

// item is the row of a new environment. The rules are what a person has written.
func (e Environment) item() (platform.Item, error) {
	rules := e
	rules.Releases, rules.Current = 0, nil
	body, err := json.Marshal(rules)
	if err != nil {
		return nil, fmt.Errorf("environment %s: %w", e.Name, err)
	}
	return platform.Item{"rules": platform.Bytes(body), "created": platform.Stamp(e.Created), "releases": platform.Int(e.Releases)}, nil
}

func read(item platform.Item) (Environment, error) {
	var e Environment
	if err := json.Unmarshal(item.Bytes("rules"), &e); err != nil {
		return e, fmt.Errorf("an environment cannot be read: %w", err)
	}
	e.Created, e.Releases = item.Time("created"), item.Int("releases")
	if body := item.Bytes("current"); body != nil {
		e.Current = new(Release)
		if err := json.Unmarshal(body, e.Current); err != nil {
			return e, fmt.Errorf("the release of %s cannot be read: %w", e.Name, err)
		}
	}
	return e, nil
}
