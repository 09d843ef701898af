package repository

import (
	"context"
	"errors"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/repository/git"
)

func (r Repository) item() platform.Item {
	i := platform.Item{
		"id": platform.Text(r.ID), "name": platform.Text(r.Name), "url": platform.Text(r.URL),
		"provider": platform.Text(r.Provider), "default_branch": platform.Text(r.DefaultBranch),
		"status": platform.Text(r.Status), "banner": platform.Text(r.Banner),
		"run_pipelines": platform.Bool(r.RunPipelines), "created": platform.Stamp(r.Created),
		"pulls": platform.Int(r.pulls), "version": platform.Int(r.version),
	}
	if r.APIURL != "" {
		i["api_url"] = platform.Text(r.APIURL)
	}
	if r.ProviderID != "" {
		i["provider_id"] = platform.Text(r.ProviderID)
	}
	if len(r.credential) > 0 {
		i["credential"] = platform.Bytes(r.credential)
	}
	if !r.Looked.IsZero() {
		i["looked"] = platform.Stamp(r.Looked)
	}
	return i
}

func fromItem(i platform.Item) Repository {
	return Repository{
		ID: i.Text("id"), Name: i.Text("name"), URL: git.RepoURL(i.Text("url")),
		Provider: i.Text("provider"), ProviderID: i.Text("provider_id"), DefaultBranch: i.Text("default_branch"),
		Status: Status(i.Text("status")), Banner: i.Text("banner"), RunPipelines: i.Bool("run_pipelines"),
		Created: i.Time("created"), Looked: i.Time("looked"),
		version: i.Int("version"), pulls: int(i.Int("pulls")), credential: i.Bytes("credential"), APIURL: i.Text("api_url"),
		hook: hookStateOf(i),
	}
}

// Get reads a repository by its id or its name.
func (s *Service) Get(ctx context.Context, org platform.Org, idOrName string) (Repository, error) {
	item, err := s.home.Table.Get(ctx, repositoryRow(org, idOrName))
	if errors.Is(err, platform.ErrNotFound) {
		var named platform.Item
		if named, err = s.home.Table.Get(ctx, nameRow(org, idOrName)); err == nil {
			item, err = s.home.Table.Get(ctx, repositoryRow(org, named.Text("id")))
		}
	}
	if errors.Is(err, platform.ErrInvalid) { // too long for a key
		return Repository{}, problem.New(problem.NotFound, "No repository %q is connected.", clip(idOrName))
	}
	if errors.Is(err, platform.ErrNotFound) {
		return Repository{}, problem.New(problem.NotFound, "No repository %q is connected.", idOrName)
	}
	if err != nil {
		return Repository{}, err
	}
	return fromItem(item), nil
}

// withHealth adds how its webhook is doing.
func (s *Service) withHealth(ctx context.Context, org platform.Org, r Repository) (Repository, error) {
	if r.Provider == Plain {
		return r, nil
	}
	item, err := s.home.Table.Get(ctx, healthRow(org, r.ID))
	if err != nil && !errors.Is(err, platform.ErrNotFound) {
		return r, err
	}
	r.Hook = &Health{
		LastDelivery: item.Time("last"), LastEvent: item.Text("event"),
		LastFailure: item.Time("failed"), Failure: item.Text("failure"),
		Looked: r.hook.looked, Reason: r.hook.reason, Banner: r.hook.banner, Repaired: r.hook.repaired, Repair: r.hook.repair,
	}
	return r, nil
}

// List reads a page of the organization's repositories, by name.
func (s *Service) List(ctx context.Context, org platform.Org, limit int, cursor string) ([]Repository, string, error) {
	page, err := s.home.Table.Query(ctx, platform.Query{Partition: listOf(org), Index: platform.List1, Limit: limit, Cursor: cursor})
	if err != nil {
		return nil, "", err
	}
	var list []Repository
	for _, row := range page.Rows {
		list = append(list, fromItem(row.Item))
	}
	return list, page.Cursor, nil
}

// update changes a repository's row and writes the event of the change, in one
// transaction on the version that was read. change may be called again, on a
// newer row; it answers false if there is nothing to change.
func (s *Service) update(ctx context.Context, org platform.Org, id, event string, change func(*Repository, platform.Item) bool) (Repository, error) {
	for {
		item, err := s.home.Table.Get(ctx, repositoryRow(org, id))
		if err != nil {
			return Repository{}, err
		}
		r, set := fromItem(item), platform.Item{}
		if !change(&r, set) {
			return r, nil
		}
		old := r.version
		r.version++
		set["version"] = platform.Int(r.version)
		err = s.home.Table.Transact(
			ctx, "",
			platform.Update{Key: repositoryRow(org, id), Set: set, If: platform.Equal{Attribute: "version", Value: platform.Int(old)}},
			platform.Put{Key: eventRow(org, id, r.version), Item: platform.Item{
				"event": platform.Text(event), "status": platform.Text(r.Status), "at": platform.Stamp(s.home.Clock.Now()), "reason": platform.Text(org.Reason()),
			}},
		)
		if !errors.Is(err, platform.ErrConditionFailed) && !errors.Is(err, platform.ErrConflict) {
			return r, err
		}
	}
}
