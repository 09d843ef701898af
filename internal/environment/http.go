package environment

import (
	"net/http"

	"github.com/buildit-dev/buildit/internal/access"
)

// Request is what a person writes of an environment.
type Request struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Branches    []string `json:"branches,omitempty"`
	Approvers   []string `json:"approvers,omitempty"`
	Count       int      `json:"count,omitempty"`
	Self        bool     `json:"self,omitempty"`
}

func (r Request) environment() Environment {
	return Environment{
		Name: r.Name, Description: r.Description, Branches: r.Branches, Approvers: r.Approvers, Count: r.Count, Self: r.Self,
	}
}

// Rules is Request for an environment that the path names.
type Rules struct {
	Description string   `json:"description,omitempty"`
	Branches    []string `json:"branches,omitempty"`
	Approvers   []string `json:"approvers,omitempty"`
	Count       int      `json:"count,omitempty"`
	Self        bool     `json:"self,omitempty"`
}

// Routes are the part of the API that shows environments and keeps their rules.
func (s *Service) Routes() []access.Route {
	const all = "/api/v1/orgs/{org}/environments"
	one := access.InPath("environment")
	return []access.Route{
		{
			Pattern: "GET " + all, Action: access.EnvironmentRead, Resource: access.OfOrg(),
			Summary: "List environments by name", Out: access.Page[Environment]{}, Query: access.WindowQuery(nil), Handle: s.getAll,
		},
		{
			Pattern: "POST " + all, Action: access.EnvironmentProtect, Resource: access.OfOrg(), Status: http.StatusCreated,
			Summary: "Create an environment, with its rules", In: Request{}, Out: Environment{}, Handle: s.post,
		},
		{
			Pattern: "GET " + all + "/{environment}", Action: access.EnvironmentRead, Resource: one,
			Summary: "Show an environment and what runs in it", Out: Environment{}, Handle: s.getOne,
		},
		{
			Pattern: "PUT " + all + "/{environment}", Action: access.EnvironmentProtect, Resource: one,
			Summary: "Replace the rules of an environment", In: Rules{}, Out: Environment{}, Handle: s.put,
		},
		{
			Pattern: "DELETE " + all + "/{environment}", Action: access.EnvironmentProtect, Resource: one,
			Summary: "Delete an environment; its releases stay on record", Handle: s.delete,
		},
		{
			Pattern: "GET " + all + "/{environment}/releases", Action: access.EnvironmentRead, Resource: one,
			Summary: "List what was deployed to an environment, newest first", Out: access.Page[Release]{}, Query: access.WindowQuery(nil), Handle: s.getReleases,
		},
	}
}

func (s *Service) getAll(r *http.Request, caller access.Caller) (any, error) {
	window, err := access.ParseWindow(r)
	if err != nil {
		return nil, err
	}
	list, next, err := s.List(r.Context(), caller.Org, window.Limit, window.Cursor)
	return access.NewPage(list, next), window.Error(err)
}

func (s *Service) post(r *http.Request, caller access.Caller) (any, error) {
	in, err := access.Decode[Request](r)
	if err != nil {
		return nil, err
	}
	return s.Create(r.Context(), caller.Org, in.environment())
}

func (s *Service) getOne(r *http.Request, caller access.Caller) (any, error) {
	return s.Get(r.Context(), caller.Org, r.PathValue("environment"))
}

func (s *Service) put(r *http.Request, caller access.Caller) (any, error) {
	in, err := access.Decode[Rules](r)
	if err != nil {
		return nil, err
	}
	whole := Request{r.PathValue("environment"), in.Description, in.Branches, in.Approvers, in.Count, in.Self}
	return s.Update(r.Context(), caller.Org, whole.environment())
}

func (s *Service) delete(r *http.Request, caller access.Caller) (any, error) {
	return nil, s.Delete(r.Context(), caller.Org, r.PathValue("environment"))
}

func (s *Service) getReleases(r *http.Request, caller access.Caller) (any, error) {
	window, err := access.ParseWindow(r)
	if err != nil {
		return nil, err
	}
	e, err := s.Get(r.Context(), caller.Org, r.PathValue("environment"))
	if err != nil {
		return nil, err
	}
	list, next, err := s.Releases(r.Context(), caller.Org, e.Name, window.Limit, window.Cursor)
	return access.NewPage(list, next), window.Error(err)
}
