package repository

import (
	"context"
	"errors"
	"net/url"

	"github.com/buildit-dev/buildit/internal/forge"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/problem"
)

// API is a repository at its provider; ok is false for one that has no API, or no
// credential for it.
func (s *Service) API(ctx context.Context, org platform.Org, id string) (api forge.API, at Repository, ok bool, err error) {
	r, err := s.Get(ctx, org, id)
	if problem.Is(err, problem.NotFound) {
		return api, r, false, nil // disconnected
	}
	if err != nil || r.Provider == Plain || len(r.credential) == 0 {
		return api, r, false, err
	}
	token, err := s.home.Keys.Unwrap(ctx, r.credential, keyContext(org, r.ID, "token"))
	if err != nil {
		return api, r, false, err
	}
	api = forge.API{Provider: r.Provider, Base: r.APIURL, FullName: r.URL.FullName(), Token: string(token), HTTP: s.calls}
	if api.Base == "" {
		api.Base = forge.BaseOf(r.Provider, string(r.URL))
	}
	return api, r, api.Base != "", nil
}

// TokenRequest brings a token for clones and for the provider's API; "" forgets the
// one that there is.
type TokenRequest struct {
	Token string `json:"token"`
	// APIURL is the address of a self-hosted provider's API, where the clone URL does
	// not tell it.
	APIURL string `json:"api_url,omitempty"`
}

// SetToken replaces the credential of a repository.
func (s *Service) SetToken(ctx context.Context, org platform.Org, idOrName string, in TokenRequest) (Repository, error) {
	r, err := s.Get(ctx, org, idOrName)
	if err != nil {
		return r, err
	}
	if len(in.Token) > maxToken {
		return r, problem.New(problem.Invalid, "A token has at most %d bytes.", maxToken).InField("token")
	}
	if in.APIURL != "" {
		at, err := url.Parse(in.APIURL)
		if err != nil || at.Host == "" || at.Scheme != "https" && at.Scheme != "http" || at.User != nil || at.RawQuery != "" || at.Fragment != "" || len(in.APIURL) > 500 {
			return r, problem.New(problem.Invalid, "%.100q is no address of an API: https://HOST/PATH, without a user.", in.APIURL).InField("api_url")
		}
	}
	var wrapped []byte
	if in.Token != "" {
		if wrapped, err = s.home.Keys.Wrap(ctx, []byte(in.Token), keyContext(org, r.ID, "token")); err != nil {
			return r, err
		}
	}
	r, err = s.update(ctx, org, r.ID, "token-set", func(r *Repository, set platform.Item) bool {
		set["credential"], set["api_url"] = platform.Bytes(wrapped), platform.Text(in.APIURL)
		r.credential, r.APIURL = wrapped, in.APIURL
		return true
	})
	return r, errors.Join(err, s.hookSoon(ctx, org, r.ID))
}
