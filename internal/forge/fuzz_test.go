package forge

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/golden"
)

// A body either fails, or makes an event that the rest of the house may rely on:
// a known kind, refs by full name, within every limit, the same repository for
// intake and consumer.
func fuzz(f *testing.F, p Provider, events ...string) {
	dir := os.Getenv("BUILDIT_FIXTURES")
	if dir == "" {
		dir = filepath.Join(golden.Root(f), "../shared/fixtures")
	}
	for _, s := range samples(f, dir) { // seeds where they are at hand; the target runs without them
		f.Add(s.body, uint8(0))
	}
	f.Add([]byte(`{"repository":{"id":1,"uuid":"{1}"},"project":{"id":1},"push":{"changes":[{"new":{"name":"a"}}]}}`), uint8(1))
	f.Add([]byte("payload=%7B%7D"), uint8(0))
	f.Fuzz(func(t *testing.T, body []byte, pick uint8) {
		if p.Verify(http.Header{"X-Gitlab-Token": {string(body)}}, body, []string{"secret"}, noon) == Accepted && string(body) != "secret" {
			t.Fatal("accepted without a proof")
		}
		if id, err := p.Identify(body); err == nil && (id.ID == "" || len(id.ID) > 64) {
			t.Fatalf("identity %+v", id)
		}
		e, err := p.Parse(events[int(pick)%len(events)], body)
		if err != nil {
			return
		}
		switch e.Kind {
		case Push, Tag:
			if len(e.Changes) == 0 || len(e.Changes) > MaxChanges {
				t.Fatalf("%d changes", len(e.Changes))
			}
			for _, c := range e.Changes {
				if c.Ref == "" || (e.Kind == Tag) && !strings.HasPrefix(c.Ref, "refs/tags/") {
					t.Fatalf("%s with ref %q", e.Kind, c.Ref)
				}
			}
		case PullRequest:
			if e.PullRequest.Number < 1 {
				t.Fatal("a pull request without a number")
			}
		case Ignored:
			if e.Why == "" {
				t.Fatal("ignored without a reason")
			}
		case Life, Ping:
		default:
			t.Fatalf("kind %q", e.Kind)
		}
	})
}

func FuzzGitHub(f *testing.F) { fuzz(f, GitHub{}, "push", "pull_request", "ping", "repository", "") }
func FuzzGitLab(f *testing.F) { fuzz(f, GitLab{}, "Push Hook", "Merge Request Hook", "Note Hook") }
func FuzzBitbucket(f *testing.F) {
	fuzz(f, Bitbucket{}, "repo:push", "pullrequest:created", "repo:updated")
}
