package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/buildit-dev/buildit/internal/golden"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
)

// TestEveryDependencyHasItsReason holds ARCHITECTURE.md to go.mod.
func TestEveryDependencyHasItsReason(t *testing.T) {
	mod := page(t, "go.mod")
	architecture := page(t, "ARCHITECTURE.md")
	direct := regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(mod, -1)
	if len(direct) == 0 {
		t.Fatal("no direct dependency was found in go.mod")
	}
	for _, m := range direct {
		if !strings.Contains(architecture, "`"+m[1]+"`") {
			t.Errorf("ARCHITECTURE.md gives no reason for %s", m[1])
		}
	}
}

// TestPipelinesOfThePagesAreValid checks every pipeline that README.md shows.
func TestPipelinesOfThePagesAreValid(t *testing.T) {
	shown := regexp.MustCompile("(?s)```kdl\n(.*?)```").FindAllStringSubmatch(page(t, "README.md"), -1)
	if len(shown) == 0 {
		t.Fatal("README.md shows no pipeline")
	}
	for _, m := range shown {
		tree := fstest.MapFS{".buildit.kdl": {Data: []byte(m[1])}}
		if _, diagnostics := language.Load(tree, ".buildit.kdl"); len(diagnostics) > 0 {
			t.Errorf("%v\n%s", diagnostics, m[1])
		}
	}
}

// TestTheHouseIsWhatThePageShows checks that every room of ARCHITECTURE.md's picture
// exists, and that every package stands in one.
func TestTheHouseIsWhatThePageShows(t *testing.T) {
	root := golden.Root(t)
	picture := strings.Split(page(t, "ARCHITECTURE.md"), "```")[1]
	var drawn []string
	for _, m := range regexp.MustCompile(`(?m)^(\S+/\S+|runner-image|examples|statemachines)\s{2,}`).FindAllStringSubmatch(picture, -1) {
		drawn = append(drawn, m[1])
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Errorf("ARCHITECTURE.md draws %s: %v", m[1], err)
		}
	}
	for _, p := range list(t, module+"/...") {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		shown := path == "internal/golden" // named in the line of problem
		for _, r := range drawn {
			shown = shown || path == r || strings.HasPrefix(path, r+"/")
		}
		if !shown {
			t.Errorf("%s is in no room of ARCHITECTURE.md", path)
		}
	}
}

func page(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(golden.Root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
