package e2e

import (
	"io"
	"net/http"
)

// get reads a path of the API, below the organization.
func (s *site) get(path string) string {
	s.t.Helper()
	status, body := s.call(http.MethodGet, "/api/v1/orgs/default"+path, nil, "Authorization", "Bearer "+s.token)
	if status != http.StatusOK {
		s.t.Fatalf("GET %s: %d %s", path, status, body)
	}
	return body
}

// call sends a request with headers, given in pairs.
func (s *site) call(method, path string, body io.Reader, headers ...string) (status int, answer string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	got, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	return got.StatusCode, read(s.t, got.Body)
}
