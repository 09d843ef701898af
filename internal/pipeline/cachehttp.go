package pipeline

import (
	"net/http"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/problem"
)

// cacheRoutes show the caches of a repository, named by its id, and let people remove
// and publish them.
func (s *Service) cacheRoutes() []access.Route {
	const caches = "/api/v1/orgs/{org}/repositories/{repository}/caches"
	repository := access.InPath("repository")
	return []access.Route{
		{
			Pattern: "GET " + caches, Action: access.CacheRead, Resource: repository,
			Summary: "List the cache entries of a repository, the last used first", Out: access.Page[Cache]{}, Handle: s.getCaches,
		},
		{
			Pattern: "DELETE " + caches + "/{cache}", Action: access.CacheDelete, Resource: repository,
			Summary: "Remove a cache entry; the next run makes a new one", Status: http.StatusNoContent, Handle: s.deleteCache,
		},
		{
			Pattern: "POST " + caches + "/{cache}/publish", Action: access.CachePublish, Resource: repository,
			Summary: "Let runs of forks read what the default branch keeps under a cache's name, or not any more",
			In:      PublishRequest{}, Out: Published{}, Handle: s.postPublish,
		},
	}
}

// PublishRequest says whether runs of forks may read a cache.
type PublishRequest struct {
	Public *bool `json:"public" required:"true"`
}

// Published is a cache's name and who may read it.
type Published struct {
	Name   string `json:"name"`
	Public bool   `json:"public"`
}

// maxRepositoryID is longer than any id of a repository, in bytes.
const maxRepositoryID = 64

// cachesOf is the repository of a path, by its id.
func cachesOf(r *http.Request) (string, error) {
	id := r.PathValue("repository")
	if id == "" || len(id) > maxRepositoryID {
		return "", problem.New(problem.NotFound, "There is no repository with the id %.64q.", id)
	}
	return id, nil
}

func (s *Service) getCaches(r *http.Request, caller access.Caller) (any, error) {
	repository, err := cachesOf(r)
	if err != nil {
		return nil, err
	}
	list, err := s.Caches(r.Context(), caller.Org, repository)
	return access.NewPage(list, ""), err
}

func (s *Service) deleteCache(r *http.Request, caller access.Caller) (any, error) {
	repository, err := cachesOf(r)
	if err != nil {
		return nil, err
	}
	return nil, s.DeleteCache(r.Context(), caller.Org, repository, r.PathValue("cache"))
}

// maxCacheName is the longest name of a cache, in bytes, as of everything in a file.
const maxCacheName = 63

func (s *Service) postPublish(r *http.Request, caller access.Caller) (any, error) {
	repository, err := cachesOf(r)
	if err != nil {
		return nil, err
	}
	in, err := access.Decode[PublishRequest](r)
	if err != nil {
		return nil, err
	}
	name := r.PathValue("cache")
	switch {
	case in.Public == nil:
		return nil, problem.New(problem.Invalid, "Say whether it is public: true or false.").InField("public")
	case name == "" || len(name) > maxCacheName:
		return nil, problem.New(problem.Invalid, "A cache's name has 1 to %d bytes.", maxCacheName).InField("cache")
	}
	err = s.PublishCache(r.Context(), caller.Org, repository, name, caller.Name, *in.Public)
	return Published{name, *in.Public}, err
}
