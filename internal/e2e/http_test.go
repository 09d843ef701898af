package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/repository/gittest"
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

// A program that repeats a request under its key makes one run; without a key, two. It
// pages through the runs by cursors, each of which it is given once.
func TestRepeatedRequestsAndPages(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	s.connect(server, "shop")
	start := func(body, key string) (int, string) {
		headers := []string{"Authorization", "Bearer " + s.token, "Content-Type", "application/json"}
		if key != "" {
			headers = append(headers, "Idempotency-Key", key)
		}
		code, answer := s.call(http.MethodPost, "/api/v1/orgs/default/runs", strings.NewReader(body), headers...)
		var made struct{ ID string }
		s.decode(answer, &made)
		return code, made.ID
	}
	const body = `{"repository":"shop"}`
	_, one := start(body, "key-1")
	code, again := start(body, "key-1")
	if code != http.StatusCreated || one == "" || again != one {
		t.Errorf("%d %s, first %s", code, again, one)
	}
	if code, _ := start(`{"repository":"shop","branch":"main"}`, "key-1"); code != http.StatusUnprocessableEntity {
		t.Errorf("another request under the key: %d", code)
	}
	for range 4 {
		if code, other := start(body, ""); code != http.StatusCreated || other == one {
			t.Errorf("%d %s", code, other)
		}
	}
	s.ended("shop", 5)
	seen := map[string]int{}
	for cursor := ""; ; {
		var page struct {
			Items []run
			Next  string
		}
		s.decode(s.get(fmt.Sprintf("/runs?limit=2&cursor=%s", cursor)), &page)
		for _, r := range page.Items {
			seen[r.ID]++
		}
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if len(seen) != 5 || seen[one] != 1 {
		t.Errorf("%v", seen)
	}
}
