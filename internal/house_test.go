package internal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/buildit-dev/buildit"

// rooms is the house from top to bottom (ARCHITECTURE.md). A package imports
// packages that stand below its own room, and subpackages of its own room.
var rooms = []string{
	"cmd/buildit-server", "cmd/buildit", "runner-image", "examples", "internal/bench", "internal/e2e",
	"internal/wiring",
	"internal/pipeline/convert", "internal/pipeline/draft",
	"internal/notify", "internal/repository", "internal/pipeline", "internal/environment", "internal/secret", "internal/access",
	"internal/forge", "internal/outbound",
	"internal/platform/local", "internal/platform/memory", "internal/platform/fault", "internal/platform/platformtest",
	"internal/supervisor", "internal/asl", "internal/report", "internal/mask", "internal/logs", "internal/cost",
	"internal/platform", "statemachines", "internal/problem", "internal/pattern", "internal/golden",
}

// drivers are seen only from where a home is chosen, and from tests.
var drivers = []string{"internal/platform/local", "internal/platform/memory"}

// domains never import a driver.
var domains = []string{
	"internal/pipeline/convert", "internal/pipeline/draft",
	"internal/notify", "internal/repository", "internal/pipeline", "internal/environment", "internal/secret", "internal/access", "internal/forge", "internal/outbound",
	"internal/supervisor", "internal/asl", "internal/report", "internal/mask", "internal/logs", "internal/cost", "internal/problem",
}

// only are modules that one room may import, and what no binary may link.
var only = map[string][]string{
	"modernc.org/sqlite":               {"internal/platform/local"},
	"github.com/danielgtaylor/huma":    {"internal/access"},
	"github.com/go-git/go-git":         {"internal/repository"},
	"github.com/sblinch/kdl-go":        {"internal/pipeline"},
	"gopkg.in/yaml.v3":                 {"internal/pipeline/convert"},
	"github.com/aws/aws-sdk-go-v2":     {"internal/platform/aws"},
	"k8s.io/client-go":                 {"internal/cluster"},
	"github.com/rogpeppe/go-internal":  {},                                 // tests alone
	"pgregory.net/rapid":               {"internal/platform/platformtest"}, // tests alone
	"github.com/aws/aws-cdk-go/awscdk": {"infra"},
	"github.com/coder/websocket":       {"internal/access", "internal/platform/local", "cmd/buildit", "internal/bench"},
	"github.com/go-git/go-billy":       {"internal/repository"},
	"github.com/aws/aws-lambda-go":     {"functions"},
}

// light are binaries that people start often, and what they must not link.
var light = map[string][]string{
	"cmd/buildit":  {"modernc.org/sqlite", "github.com/danielgtaylor/huma", "github.com/go-git/go-git", "k8s.io/", "github.com/aws/", module + "/internal/platform/local"},
	"runner-image": {"modernc.org/sqlite", "github.com/danielgtaylor/huma", "github.com/go-git/go-git", "k8s.io/", "github.com/aws/", "github.com/sblinch/kdl-go", "gopkg.in/yaml.v3", module + "/internal/pipeline", module + "/internal/platform/local"},
}

type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// TestWhoImportsWhom holds the code to the house of ARCHITECTURE.md.
func TestWhoImportsWhom(t *testing.T) {
	for _, p := range list(t, module+"/...") {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		from := room(path)
		if from == "" {
			t.Errorf("%s stands in no room of the house", path)
			continue
		}
		for _, imported := range p.Imports {
			checkImport(t, path, from, imported)
		}
		for _, heavy := range light[path] {
			for _, dep := range p.Deps {
				if strings.HasPrefix(dep, heavy) {
					t.Errorf("%s links %s, and must stay light", path, dep)
				}
			}
		}
	}
}

func checkImport(t *testing.T, path, from, imported string) {
	for name, allowed := range only {
		if strings.HasPrefix(imported, name) && !slices.Contains(allowed, from) {
			t.Errorf("%s imports %s, which is for %v alone", path, imported, allowed)
		}
	}
	ours, found := strings.CutPrefix(imported, module+"/")
	if !found {
		return
	}
	to := room(ours)
	if to == from {
		return
	}
	if slices.Index(rooms, to) < slices.Index(rooms, from) {
		t.Errorf("%s imports %s, which stands above it", path, ours)
	}
	if slices.Contains(domains, from) && slices.Contains(drivers, to) {
		t.Errorf("%s imports the driver %s: only a port may be used", path, ours)
	}
}

// room is the longest room that path stands in.
func room(path string) string {
	best := ""
	for _, r := range rooms {
		if (path == r || strings.HasPrefix(path, r+"/")) && len(r) > len(best) {
			best = r
		}
	}
	return best
}

func list(t *testing.T, pattern string) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", pattern).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var packages []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(p.ImportPath, module+"/") && p.ImportPath != module+"/internal" {
			packages = append(packages, p)
		}
	}
}
