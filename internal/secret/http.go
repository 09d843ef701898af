package secret

import (
	"net/http"

	"github.com/buildit-dev/buildit/internal/access"
)

// SetRequest brings a value. It is never answered again.
type SetRequest struct {
	Value string `json:"value"`
	Scope
}

// scopeQuery names the scope of a secret that is not in a body.
var scopeQuery = map[string]string{
	"repository": "Id of the repository that it holds in.", "pipeline": "Beside repository: the pipeline file that it holds in.",
	"environment": "Name of the environment that it holds in.",
}

// Routes are this package's part of the API.
func (s *Service) Routes() []access.Route {
	const secrets = "/api/v1/orgs/{org}/secrets"
	return []access.Route{
		{
			Pattern: "GET " + secrets, Action: access.SecretRead, Resource: access.OfOrg(),
			Summary: "List secrets: their scopes, who set them, and when which stage last used them; never a value",
			Out:     access.Page[Secret]{}, Handle: s.getSecrets,
		},
		{
			Pattern: "PUT " + secrets + "/{secret}", Action: access.SecretWrite, Resource: access.InPath("secret"),
			Summary: "Set a secret; a scope that is not named is the organization", In: SetRequest{}, Out: Secret{}, Handle: s.putSecret,
		},
		{
			Pattern: "DELETE " + secrets + "/{secret}", Action: access.SecretWrite, Resource: access.InPath("secret"),
			Summary: "Remove a secret", Status: http.StatusNoContent, Query: scopeQuery, Handle: s.deleteSecret,
		},
	}
}

func (s *Service) getSecrets(r *http.Request, caller access.Caller) (any, error) {
	list, err := s.List(r.Context(), caller.Org)
	return access.NewPage(list, ""), err
}

func (s *Service) putSecret(r *http.Request, caller access.Caller) (any, error) {
	in, err := access.Decode[SetRequest](r)
	if err != nil {
		return nil, err
	}
	return s.Set(r.Context(), caller.Org, in.Scope, r.PathValue("secret"), in.Value, caller.Name)
}

func (s *Service) deleteSecret(r *http.Request, caller access.Caller) (any, error) {
	query := r.URL.Query()
	scope := Scope{Repository: query.Get("repository"), Pipeline: query.Get("pipeline"), Environment: query.Get("environment")}
	return nil, s.Delete(r.Context(), caller.Org, scope, r.PathValue("secret"), caller.Name)
}
