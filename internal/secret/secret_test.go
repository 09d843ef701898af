package secret_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/secret"
)

var acme = platform.System("acme", "test")

func open(t *testing.T) (*secret.Service, platform.Home) {
	t.Helper()
	clock := memory.NewClock()
	home := platform.Home{Table: memory.NewTable(clock), Keys: memory.NewKeys(), Clock: clock, IDs: memory.NewIDs()}
	return secret.New(home, func(_ context.Context, _ platform.Org, name string) (string, string, error) {
		id, known := map[string]string{"shop": "r-shop", "r-shop": "r-shop", "blog": "r-blog"}[name]
		if !known {
			return "", "", problem.New(problem.NotFound, "No repository %q is connected.", name)
		}
		return id, strings.TrimPrefix(id, "r-"), nil
	}), home
}

func set(t *testing.T, s *secret.Service, scope secret.Scope, name, value string) {
	t.Helper()
	if _, err := s.Set(t.Context(), acme, scope, name, value, "ada"); err != nil {
		t.Fatal(err)
	}
}

func TestNarrowestScopeWins(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	deploy := secret.Asker{Repository: "r-shop", Pipeline: "ci", Environment: "production", Run: "run1", Stage: "deploy"}
	scopes := []secret.Scope{{}, {Repository: "shop"}, {Environment: "production"}, {Repository: "shop", Pipeline: "ci"}}
	for i, value := range []string{"of-organization", "of-repository", "of-environment", "of-pipeline"} {
		set(t, s, scopes[i], "KEY", value)
		if got, err := s.Value(t.Context(), acme, deploy, "KEY"); got != value || err != nil {
			t.Errorf("with %+v: %q, %v, want %q", scopes[i], got, err, value)
		}
	}
	for _, c := range []struct {
		who  string
		by   secret.Asker
		want string
	}{
		{"a stage without an environment", secret.Asker{Repository: "r-shop", Pipeline: "other"}, "of-repository"},
		{"another environment", secret.Asker{Repository: "r-blog", Pipeline: "ci", Environment: "staging"}, "of-organization"},
		{"another repository with a pipeline of the name", secret.Asker{Repository: "r-blog", Pipeline: "ci"}, "of-organization"},
	} {
		if got, err := s.Value(t.Context(), acme, c.by, "KEY"); got != c.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", c.who, got, err, c.want)
		}
	}
	if _, err := s.Value(t.Context(), platform.System("other", "test"), deploy, "KEY"); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("another organization: %v", err)
	}
}

func TestMovedRowDoesNotOpen(t *testing.T) {
	t.Parallel()
	s, home := open(t)
	set(t, s, secret.Scope{Environment: "production"}, "KEY", "the production key")
	p := acme.Partition("secrets")
	item, err := home.Table.Get(t.Context(), p.Row("secret", "environment", "", "production", "KEY"))
	if err != nil {
		t.Fatal(err)
	}
	for where, key := range map[string]platform.RowKey{
		"the organization's scope": p.Row("secret", "organization", "", "", "KEY"),
		"another name":             p.Row("secret", "environment", "", "production", "OTHER"),
		"another environment":      p.Row("secret", "environment", "", "staging", "KEY"),
	} {
		if _, err := home.Table.Write(t.Context(), platform.Put{Key: key, Item: item}); err != nil {
			t.Fatal(err)
		}
		parts := key.Parts()
		got, err := s.Value(t.Context(), acme, secret.Asker{Environment: parts[3]}, parts[4])
		if !errors.Is(err, platform.ErrDenied) || got != "" {
			t.Errorf("%s: %q, %v, want denied", where, got, err)
		}
	}
	changed := item.Clone()
	changed["text"].(platform.Bytes)[20] ^= 1
	if _, err := home.Table.Write(t.Context(), platform.Put{Key: p.Row("secret", "environment", "", "production", "KEY"), Item: changed}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Value(t.Context(), acme, secret.Asker{Environment: "production"}, "KEY"); !errors.Is(err, platform.ErrDenied) {
		t.Errorf("a changed bit: %v, want denied", err)
	}
}

func TestLastUseAndDeletion(t *testing.T) {
	t.Parallel()
	s, home := open(t)
	long := strings.Repeat("0123456789abcdef", 4<<10) // as long as a secret may be
	set(t, s, secret.Scope{Repository: "shop"}, "KEY", long)
	by := secret.Asker{Repository: "r-shop", Pipeline: "ci", Run: "run1", Stage: "build"}
	if got, err := s.Value(t.Context(), acme, by, "KEY"); got != long || err != nil {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	list, _, err := s.List(t.Context(), acme, 10, "")
	if err != nil || len(list) != 1 || list[0].LastUsed == nil || list[0].LastUsed.Run != "run1" || list[0].LastUsed.Stage != "build" {
		t.Fatalf("%+v, %v", list, err)
	}
	if list[0].Scope != secret.OfRepository || list[0].Repository != "shop" || list[0].SetBy != "ada" {
		t.Errorf("%+v", list[0])
	}
	if err := s.Delete(t.Context(), acme, secret.Scope{Repository: "r-shop"}, "KEY", "ada"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Value(t.Context(), acme, by, "KEY"); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	if list, _, err := s.List(t.Context(), acme, 10, ""); err != nil || len(list) != 0 {
		t.Errorf("deleted: %+v, %v", list, err)
	}
	if err := s.Delete(t.Context(), acme, secret.Scope{Repository: "shop"}, "KEY", "ada"); !problem.Is(err, problem.NotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	set(t, s, secret.Scope{Repository: "shop"}, "KEY", "a new value")
	p := acme.Partition("secrets")
	events, err := home.Table.Query(t.Context(), platform.Query{Partition: p, Prefix: p.Rows("event")})
	if err != nil {
		t.Fatal(err)
	}
	var story []string
	for _, row := range events.Rows {
		story = append(story, row.Item.Text("event")+" by "+row.Item.Text("by"))
	}
	if got := strings.Join(story, ", "); got != "set by ada, deleted by ada, set by ada" {
		t.Errorf("the events are %s", got)
	}
}

func TestWhatIsNoSecret(t *testing.T) {
	t.Parallel()
	s, _ := open(t)
	for _, c := range []struct {
		name, value string
		scope       secret.Scope
		why         string
	}{
		{"KEY", "1", secret.Scope{}, "at least 4 characters"},
		{"KEY", "   a   ", secret.Scope{}, "at least 4 characters"},
		{"KEY", "", secret.Scope{}, "at least 4 characters"},
		{"KEY", "True", secret.Scope{}, "a common word"},
		{"KEY", strings.Repeat("x", 64<<10+1), secret.Scope{}, "at most 65536 bytes"},
		{"", "a good value", secret.Scope{}, "no name"},
		{"1KEY", "a good value", secret.Scope{}, "no name"},
		{"A KEY", "a good value", secret.Scope{}, "no name"},
		{"BUILDIT_RUN_ID", "a good value", secret.Scope{}, "the platform's own"},
		{"KEY", "a good value", secret.Scope{Repository: "none"}, "No repository"},
		{"KEY", "a good value", secret.Scope{Pipeline: "ci"}, "needs its repository"},
		{"KEY", "a good value", secret.Scope{Repository: "shop", Environment: "e"}, "name the environment alone"},
	} {
		_, err := s.Set(t.Context(), acme, c.scope, c.name, c.value, "ada")
		var p *problem.Error
		if !errors.As(err, &p) || !strings.Contains(p.Detail, c.why) {
			t.Errorf("%q = %.10q in %+v: %v, want %q", c.name, c.value, c.scope, err, c.why)
		}
		if c.value != "" && len(c.value) > 4 && err != nil && strings.Contains(err.Error(), c.value) {
			t.Errorf("%q: the problem tells the value", c.name)
		}
	}
	if list, _, err := s.List(t.Context(), acme, 10, ""); err != nil || len(list) != 0 {
		t.Errorf("something was kept: %+v, %v", list, err)
	}
}
