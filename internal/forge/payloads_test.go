package forge

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/golden"
)

// sample is one public body, and why it is skipped if it is.
type sample struct {
	path     string
	body     []byte
	provider Provider
	event    string
	skip     string
}

// samples are the public bodies of the fixtures' folder, none if it is not there.
func samples(t testing.TB, dir string) []sample {
	var all []sample
	for _, pattern := range []string{"octokit/*/*.json", "git-events/*.json"} {
		paths, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			body, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s := sample{path: strings.TrimPrefix(path, dir+"/"), body: body, provider: GitHub{}}
			s.event, s.skip = eventOf(s.path, &s.provider)
			all = append(all, s)
		}
	}
	return all
}

func eventOf(path string, provider *Provider) (event, skip string) {
	folder, name := filepath.Split(path)
	if !strings.HasPrefix(path, "git-events/") {
		return filepath.Base(folder), ""
	}
	switch {
	case strings.HasPrefix(name, "github-ping"):
		return "ping", ""
	case strings.HasPrefix(name, "github-"):
		return "push", ""
	case strings.HasPrefix(name, "gitlab-"):
		*provider = GitLab{}
		return "Push Hook", ""
	}
	return "", "a body of a server that we have no dialect for"
}

// TestPublicPayloads parses every public body and compares what came out with the
// body, read again by name and without our types.
func TestPublicPayloads(t *testing.T) {
	passed, failed, skipped := 0, 0, map[string]int{}
	for _, s := range samples(t, golden.Folder(t, "BUILDIT_FIXTURES", "../shared/fixtures")) {
		if s.skip != "" {
			skipped[s.skip]++
			continue
		}
		if err := checkSample(s); err != nil {
			failed++
			t.Errorf("%s: %v", s.path, err)
			continue
		}
		passed++
	}
	total := 0
	for reason, n := range skipped {
		fmt.Printf("skipped %d: %s\n", n, reason)
		total += n
	}
	fmt.Printf("payloads: %d passed, %d failed, %d skipped\n", passed, failed, total)
}

func checkSample(s sample) error {
	var raw map[string]any
	if err := json.Unmarshal(s.body, &raw); err != nil {
		return err
	}
	e, err := s.provider.Parse(s.event, s.body)
	if err != nil {
		return err
	}
	if err := checkIdentity(s, raw, e); err != nil {
		return err
	}
	switch s.event {
	case "push", "Push Hook":
		return checkPush(raw, e)
	case "pull_request":
		return checkPullRequest(raw, e)
	case "merge_group":
		if acts := raw["action"] == "checks_requested"; acts != (e.Kind == MergeGroup) || acts && (len(e.Changes) != 1 || e.Base == "") {
			return fmt.Errorf("%v became %s %v onto %q", raw["action"], e.Kind, e.Changes, e.Base)
		}
	case "ping":
		if e.Kind != Ping {
			return fmt.Errorf("kind %s", e.Kind)
		}
	case "repository":
		if e.Kind != Life || e.Action != raw["action"] {
			return fmt.Errorf("%s %s", e.Kind, e.Action)
		}
	default:
		if e.Kind != Ignored || e.Why == "" {
			return fmt.Errorf("kind %s, why %q", e.Kind, e.Why)
		}
	}
	return nil
}

func checkIdentity(s sample, raw map[string]any, e Event) error {
	key := "repository"
	if s.provider == (GitLab{}) {
		key = "project"
	}
	id, err := s.provider.Identify(s.body)
	object, ok := raw[key].(map[string]any)
	if !ok || object["id"] == nil {
		if err == nil {
			return fmt.Errorf("identity %v of a body that names no %s with an id", id, key)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("%.0f", object["id"]); id.ID != want || id != e.Repository {
		return fmt.Errorf("identity %v and %v, want %s", id, e.Repository, want)
	}
	return nil
}

func checkPush(raw map[string]any, e Event) error {
	want := ref(raw["ref"].(string), raw["before"].(string), raw["after"].(string))
	kind := Push
	if strings.HasPrefix(want.Ref, "refs/tags/") {
		kind = Tag
	}
	if e.Kind != kind || len(e.Changes) != 1 || e.Changes[0] != want {
		return fmt.Errorf("got %s %v, want %s %v", e.Kind, e.Changes, kind, want)
	}
	if deleted, ok := raw["deleted"].(bool); ok && deleted != (want.After == "") {
		return fmt.Errorf("after is %q, the body says deleted: %v", want.After, deleted)
	}
	return nil
}

func checkPullRequest(raw map[string]any, e Event) error {
	action, _ := raw["action"].(string)
	ours, acted := githubActions[action]
	if !acted {
		if e.Kind != Ignored {
			return fmt.Errorf("%s became %s", action, e.Kind)
		}
		return nil
	}
	p := e.PullRequest
	pr := raw["pull_request"].(map[string]any)
	head, base := pr["head"].(map[string]any), pr["base"].(map[string]any)
	if e.Kind != PullRequest || e.Action != ours || float64(p.Number) != raw["number"] ||
		p.Head.Commit != head["sha"] || p.Head.Branch != head["ref"] || p.Base.Commit != base["sha"] || p.Base.Branch != base["ref"] {
		return fmt.Errorf("got %s %s %+v", e.Kind, e.Action, p)
	}
	return nil
}
