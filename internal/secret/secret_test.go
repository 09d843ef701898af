package secret_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/secret"
)

func open(t *testing.T) (*secret.Service, platform.Org) {
	t.Helper()
	clock := memory.NewClock()
	return &secret.Service{Table: memory.NewTable(clock), Keys: memory.NewKeys(), Clock: clock}, platform.System("acme", "test")
}

func set(t *testing.T, s *secret.Service, org platform.Org, scope secret.Scope, name, value string) {
	t.Helper()
	if _, err := s.Set(t.Context(), org, scope, name, value, "ann"); err != nil {
		t.Fatal(err)
	}
}

const file = ".buildit.kdl"

func TestNarrowestScopeWins(t *testing.T) {
	t.Parallel()
	s, org := open(t)
	use := secret.Use{Repository: "r1", Pipeline: file, Environment: "production", Run: "run-1", Stage: "deploy"}
	value := func(use secret.Use) string {
		got, err := s.Value(t.Context(), org, use, "TOKEN")
		if errors.Is(err, platform.ErrNotFound) {
			return "none"
		}
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	want := "none"
	for _, scope := range []secret.Scope{{}, {Repository: "r1"}, {Environment: "production"}, {Repository: "r1", Pipeline: file}} {
		if got := value(use); got != want {
			t.Errorf("before %s is set: %q, want %q", scope, got, want)
		}
		want = "of-" + scope.String()
		set(t, s, org, scope, "TOKEN", want)
	}
	if got := value(use); got != want {
		t.Errorf("in the end %q", got)
	}
	for name, other := range map[string]secret.Use{
		"of-repository":             {Repository: "r1", Pipeline: "other/.buildit.kdl"},
		"of-environment production": {Repository: "r2", Pipeline: file, Environment: "production"},
		"of-organization":           {Repository: "r2", Pipeline: file},
	} {
		if got := value(other); got != name {
			t.Errorf("%+v: %q, want %q", other, got, name)
		}
	}
	if _, err := s.Value(t.Context(), platform.System("other", "test"), use, "TOKEN"); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("of another organization: %v", err)
	}
}

func TestNobodyReadsAValueAgain(t *testing.T) {
	t.Parallel()
	s, org := open(t)
	set(t, s, org, secret.Scope{}, "TOKEN", "canary-4711")
	list, err := s.List(t.Context(), org)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := json.Marshal(list)
	if err != nil || bytes.Contains(shown, []byte("canary")) {
		t.Errorf("%s, %v", shown, err)
	}
	page, err := s.Table.Query(t.Context(), platform.Query{Partition: org.Partition("secrets")})
	if err != nil || len(page.Rows) != 2 {
		t.Fatalf("%d rows, %v", len(page.Rows), err)
	}
	for _, row := range page.Rows {
		if strings.Contains(fmt.Sprintf("%v", row.Item), "canary") || strings.Contains(fmt.Sprintf("%s", row.Item), "canary") {
			t.Errorf("a row holds the value: %v", row.Key.SK())
		}
	}
}

// A row that is moved to another name, scope or organization does not open.
func TestMovedRowDoesNotOpen(t *testing.T) {
	t.Parallel()
	s, org := open(t)
	set(t, s, org, secret.Scope{Repository: "r1"}, "TOKEN", "canary-4711")
	key := org.Partition("secrets").Row("secret", "repository", "r1", "", "TOKEN")
	item, err := s.Table.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	other := platform.System("other", "test")
	for _, to := range []platform.RowKey{
		org.Partition("secrets").Row("secret", "repository", "r1", "", "OTHER"),
		org.Partition("secrets").Row("secret", "repository", "r2", "", "TOKEN"),
		org.Partition("secrets").Row("secret", "organization", "", "", "TOKEN"),
		other.Partition("secrets").Row("secret", "repository", "r1", "", "TOKEN"),
	} {
		if _, err := s.Table.Write(t.Context(), platform.Put{Key: to, Item: item}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		org  platform.Org
		use  secret.Use
		name string
	}{{org, secret.Use{Repository: "r1"}, "OTHER"}, {org, secret.Use{Repository: "r2"}, "TOKEN"}, {org, secret.Use{Repository: "r3"}, "TOKEN"}, {other, secret.Use{Repository: "r1"}, "TOKEN"}} {
		if value, err := s.Value(t.Context(), c.org, c.use, c.name); !errors.Is(err, platform.ErrDenied) {
			t.Errorf("%+v opened: %q, %v", c, value, err)
		}
	}
	if value, err := s.Value(t.Context(), org, secret.Use{Repository: "r1"}, "TOKEN"); value != "canary-4711" || err != nil {
		t.Errorf("where it belongs: %q, %v", value, err)
	}
}

func TestRefusedInWords(t *testing.T) {
	t.Parallel()
	s, org := open(t)
	for name, c := range map[string]struct {
		scope       secret.Scope
		name, value string
		says        string
	}{
		"too short":              {secret.Scope{}, "A", "1", "cannot be masked"},
		"a common word":          {secret.Scope{}, "A", "true", "cannot be masked"},
		"too long":               {secret.Scope{}, "A", strings.Repeat("x", 40_000), "at most 32768 bytes"},
		"no text":                {secret.Scope{}, "A", "\xff\xfe\xfd\xfc\xfb", "base64"},
		"a bad name":             {secret.Scope{}, "a b", "long-enough", "cannot be the name"},
		"no name":                {secret.Scope{}, "", "long-enough", "cannot be the name"},
		"a pipeline of nothing":  {secret.Scope{Pipeline: file}, "A", "long-enough", "name that too"},
		"no pipeline file":       {secret.Scope{Repository: "r1", Pipeline: "x.yml"}, "A", "long-enough", ".kdl"},
		"two scopes":             {secret.Scope{Repository: "r1", Environment: "e"}, "A", "long-enough", "not in both"},
		"a key in a repository":  {secret.Scope{Repository: "r#1"}, "A", "long-enough", "no id"},
		"an environment's name":  {secret.Scope{Environment: "a/b"}, "A", "long-enough", "cannot be the name of an environment"},
		"a name with a key mark": {secret.Scope{}, "A#B", "long-enough", "cannot be the name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Set(t.Context(), org, c.scope, c.name, c.value, "ann")
			if !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if len(c.value) > 3 && err != nil && strings.Contains(err.Error(), c.value) {
				t.Errorf("the refusal shows the value: %v", err)
			}
		})
	}
	if list, err := s.List(t.Context(), org); len(list) != 0 || err != nil {
		t.Errorf("left behind: %v, %v", list, err)
	}
	if err := s.Delete(t.Context(), org, secret.Scope{}, "A", "ann"); !problem.Is(err, problem.NotFound) {
		t.Errorf("deleting what there is not: %v", err)
	}
}

func TestUsesAndVersionsAreShown(t *testing.T) {
	t.Parallel()
	s, org := open(t)
	set(t, s, org, secret.Scope{}, "TOKEN", "first-value")
	if _, err := s.Value(t.Context(), org, secret.Use{Repository: "r1", Run: "run-1", Stage: "deploy"}, "TOKEN"); err != nil {
		t.Fatal(err)
	}
	var setting sync.WaitGroup
	for range 8 { // of many at once each is a version
		setting.Go(func() {
			if _, err := s.Set(context.Background(), org, secret.Scope{}, "TOKEN", "other-value", "bob"); err != nil {
				t.Error(err)
			}
		})
	}
	setting.Wait()
	list, err := s.List(t.Context(), org)
	if err != nil || len(list) != 1 {
		t.Fatalf("%v, %v", list, err)
	}
	if got := list[0]; got.Version != 9 || got.By != "bob" || got.Run != "run-1" || got.Stage != "deploy" || got.Used.IsZero() {
		t.Errorf("%+v", got)
	}
	if err := s.Delete(t.Context(), org, secret.Scope{}, "TOKEN", "ann"); err != nil {
		t.Fatal(err)
	}
	page, err := s.Table.Query(t.Context(), platform.Query{Partition: org.Partition("secrets")})
	if err != nil || len(page.Rows) != 10 { // its history, and not itself
		t.Errorf("%d rows, %v", len(page.Rows), err)
	}
}
