package secret

import (
	"net/http"

	"github.com/buildit-dev/buildit/internal/access"
)

// SetRequest brings a value, and where it is valid: the organization if nothing is said.
type SetRequest struct {
	Value       string `json:"value"`
	Repository  string `json:"repository,omitempty"` // id or name
	Pipeline    string `json:"pipeline,omitempty"`   // of the repository
	Environment string `json:"environment,omitempty"`
}

// Routes are this package's part of the API. None answers a value.
func (s *Service) Routes() []access.Route {
	return []access.Route{
		{
			Pattern: "GET /api/v1/orgs/{org}/secrets", Action: access.SecretRead, Resource: access.OfOrg(),
			Summary: "List the secrets: scope, who set each, and its last use; never a value", Out: access.Page[Secret]{},
			Query: access.WindowQuery(nil), Handle: s.getSecrets,
		},
		{
			Pattern: "PUT /api/v1/orgs/{org}/secrets/{name}", Action: access.SecretWrite, Resource: access.OfOrg(),
			Summary: "Keep a secret under a name, in place of the one that was there", In: SetRequest{}, Out: Secret{},
			MaxBody: 8 * maxValue, Handle: s.putSecret,
		},
		{
			Pattern: "DELETE /api/v1/orgs/{org}/secrets/{name}", Action: access.SecretWrite, Resource: access.OfOrg(),
			Summary: "Forget a secret; runs that have it keep it", Status: http.StatusNoContent,
			Query: map[string]string{
				"repository":  "Id or name of the repository that it is of.",
				"pipeline":    "The pipeline of the repository that it is of.",
				"environment": "The environment that it is of.",
			},
			Handle: s.deleteSecret,
		},
	}
}

func (s *Service) getSecrets(r *http.Request, caller access.Caller) (any, error) {
	window, err := access.ParseWindow(r)
	if err != nil {
		return nil, err
	}
	list, cursor, err := s.List(r.Context(), caller.Org, window.Limit, window.Cursor)
	return access.NewPage(list, cursor), window.Error(err)
}

func (s *Service) putSecret(r *http.Request, caller access.Caller) (any, error) {
	in, err := access.Decode[SetRequest](r)
	if err != nil {
		return nil, err
	}
	scope := Scope{Repository: in.Repository, Pipeline: in.Pipeline, Environment: in.Environment}
	return s.Set(r.Context(), caller.Org, scope, r.PathValue("name"), in.Value, caller.Name)
}

func (s *Service) deleteSecret(r *http.Request, caller access.Caller) (any, error) {
	query := r.URL.Query()
	scope := Scope{Repository: query.Get("repository"), Pipeline: query.Get("pipeline"), Environment: query.Get("environment")}
	return nil, s.Delete(r.Context(), caller.Org, scope, r.PathValue("name"), caller.Name)
}
