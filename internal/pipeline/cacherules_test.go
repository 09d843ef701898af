package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"pgregory.net/rapid"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
)

// The table of pipelines.md 3.10.
func TestCacheScopeTable(t *testing.T) {
	t.Parallel()
	on := func(change func(*Trigger)) Trigger {
		t := Trigger{Trust: "trusted", DefaultBranch: "main", Branch: "main"}
		change(&t)
		return t
	}
	pull := on(func(t *Trigger) { t.Branch, t.PullRequest, t.Base, t.Head = "", 7, "main", "feature" })
	stranger := pull
	stranger.Trust, stranger.Head = "untrusted", "main"
	for _, tt := range []struct {
		name          string
		trigger       Trigger
		deploys, read bool
		want          string
	}{
		{"default branch", on(func(*Trigger) {}), false, false, "trusted/main <- [trusted/main] false"},
		{"branch", on(func(t *Trigger) { t.Branch = "dev" }), false, false, "branch/dev <- [branch/dev trusted/main] false"},
		{"tag", on(func(t *Trigger) { t.Branch, t.Tag = "", "v1" }), false, false, "trusted/tag:v1 <- [trusted/tag:v1 trusted/main] false"},
		{"pull request", pull, false, false, "pr/7 <- [pr/7 branch/feature trusted/main] false"},
		{"fork", stranger, false, false, "fork/7 <- [fork/7 trusted/main] true"},
		{"untrusted push", on(func(t *Trigger) { t.Trust = "untrusted" }), false, false, " <- [trusted/main] true"},
		{"read only", on(func(*Trigger) {}), false, true, " <- [trusted/main] false"},
		{"deploys", on(func(*Trigger) {}), true, false, " <- [] false"},
		{"deploys, reads", on(func(t *Trigger) { t.Branch = "dev" }), true, true, " <- [trusted/main] false"},
		{"fork that deploys", stranger, true, false, " <- [] true"},
		{"no ref", on(func(t *Trigger) { t.Branch = "" }), false, false, " <- [trusted/main] false"},
		{"no default branch", on(func(t *Trigger) { t.Branch, t.DefaultBranch = "dev", "" }), false, false, "branch/dev <- [branch/dev] false"},
	} {
		s := cacheScopes(tt.trigger, tt.deploys, tt.read)
		if got := fmt.Sprintf("%s <- %v %v", s.write, s.read, s.public); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Information flows only downwards: whatever names people give to branches and tags, no
// run writes where one of more trust reads.
func TestCachesFlowDownwards(t *testing.T) {
	t.Parallel()
	names := rapid.SampledFrom([]string{"main", "dev", "trusted/main", "tag:v1", "v1", "fork/7", "pr/7", "7", "branch/main", "../trusted/main"})
	trust := func(t Trigger) int {
		switch {
		case t.Trust != "trusted":
			return 0
		case t.PullRequest > 0:
			return 1
		case t.Branch != "" && t.Branch != t.DefaultBranch:
			return 2
		}
		return 3
	}
	trigger := rapid.Custom(func(t *rapid.T) Trigger {
		tr := Trigger{DefaultBranch: "main", Trust: rapid.SampledFrom([]string{"trusted", "untrusted", ""}).Draw(t, "trust")}
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			tr.Branch = names.Draw(t, "branch")
		case 1:
			tr.Tag = names.Draw(t, "tag")
		default:
			tr.PullRequest, tr.Base, tr.Head = rapid.IntRange(1, 9).Draw(t, "number"), names.Draw(t, "base"), names.Draw(t, "head")
		}
		return tr
	})
	rapid.Check(t, func(t *rapid.T) {
		writer, reader := trigger.Draw(t, "writer"), trigger.Draw(t, "reader")
		w := cacheScopes(writer, rapid.Bool().Draw(t, "deploys"), rapid.Bool().Draw(t, "read only"))
		r := cacheScopes(reader, rapid.Bool().Draw(t, "deploys"), rapid.Bool().Draw(t, "read only"))
		if w.write != "" && slices.Contains(r.read, w.write) && trust(writer) < trust(reader) {
			t.Errorf("%+v writes %s, which %+v reads", writer, w.write, reader)
		}
	})
}

// A stage with an environment has no cache but one that it only reads.
func TestDeployHasNoCache(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]int{"": 0, `mode="read"`: 1} {
		text := fmt.Sprintf("pipeline \"p\"\nstage \"d\" { environment \"production\"; cache \"deps\" %s key=\"k-${git.branch}-${hash:go.sum}\" path=\"deps\"; run \"true\"; }\n", mode)
		file, diagnostics := language.Load(fstest.MapFS{".buildit.kdl": {Data: []byte(text)}}, ".buildit.kdl")
		if file == nil {
			t.Fatal(diagnostics)
		}
		g := &Graph{Stages: file.Stages, Nodes: []Node{{Kind: Cell}}}
		// A branch whose name looks like ours is not read again.
		uses, err := g.caches(0, language.Facts{Branch: "${hash:secret}"})
		if err != nil || len(uses) != want {
			t.Fatalf("%q: %+v, %v", mode, uses, err)
		}
		if want == 1 && (len(uses[0].Key) != 3 || uses[0].Key[0].Text != "k-${hash:secret}-" || strings.Join(uses[0].Key[1].Hash, ",") != "go.sum") {
			t.Errorf("key %+v", uses[0].Key)
		}
	}
}
