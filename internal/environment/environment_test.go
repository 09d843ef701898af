package environment_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/buildit-dev/buildit/internal/environment"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/problem"
)

var acme = platform.System("acme", "test")

func service() *environment.Service {
	clock := memory.NewClock()
	return environment.New(memory.NewTable(clock), clock)
}

func TestRulesAreChecked(t *testing.T) {
	t.Parallel()
	for field, e := range map[string]environment.Environment{
		"name":        {Name: "-x"},
		"description": {Name: "x", Description: strings.Repeat("d", 501)},
		"branches":    {Name: "x", Branches: []string{"a b"}},
		"approvers":   {Name: "x", Count: 2},
		"count":       {Name: "x", Count: 11, Approvers: []string{"lead"}},
	} {
		_, err := service().Create(t.Context(), acme, e)
		if !problem.Is(err, problem.Invalid) || err.(*problem.Error).At[0].Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	s := service()
	if _, err := s.Create(t.Context(), acme, environment.Environment{Name: "production"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), acme, environment.Environment{Name: "Production"}); !problem.Is(err, problem.Exists) {
		t.Errorf("a name that differs in case alone: %v", err)
	}
	if _, err := s.Update(t.Context(), acme, environment.Environment{Name: "prodction"}); !problem.Is(err, problem.NotFound) || !strings.Contains(err.Error(), `"production"`) {
		t.Errorf("an update of none: %v", err)
	}
}

// Whoever records releases at the same time, each stage has one, the numbers are
// unbroken, and the newest is the current one. An environment that is made again goes on.
func TestReleasesAreRecordedOnce(t *testing.T) {
	t.Parallel()
	s := service()
	if _, err := s.Create(t.Context(), acme, environment.Environment{Name: "production"}); err != nil {
		t.Fatal(err)
	}
	var together sync.WaitGroup
	for i := range 12 {
		together.Go(func() {
			run := string(rune('a' + i%4)) // each three times
			if err := s.Record(t.Context(), acme, "production", "k", environment.Release{Run: run}); err != nil {
				t.Error(err)
			}
		})
	}
	together.Wait()
	list, _, err := s.Releases(t.Context(), acme, "production", 0, "")
	if err != nil || len(list) != 4 {
		t.Fatalf("%d releases, %v", len(list), err)
	}
	for i, r := range list {
		if r.Number != int64(4-i) {
			t.Errorf("release %d has number %d", i, r.Number)
		}
	}
	e, err := s.Get(t.Context(), acme, "production")
	if err != nil || e.Releases != 4 || e.Current == nil || e.Current.Run != list[0].Run {
		t.Errorf("%+v, %v", e, err)
	}
	if err := s.Delete(t.Context(), acme, "production"); err != nil {
		t.Fatal(err)
	}
	if err := s.Record(t.Context(), acme, "production", "k", environment.Release{Run: "late"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), acme, "production"); !problem.Is(err, problem.NotFound) {
		t.Errorf("a late release has brought it back: %v", err)
	}
}
