package pipeline_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
)

const twoArtifacts = `pipeline "p"
stage "short" { artifact "short" path="?" expire="1d"; run "echo both > a; echo short > b"; }
stage "long" { artifact "long" path="?" expire="90d"; run "echo both > a; echo long > c"; }
`

// kept counts what is stored of a kind.
func (w *world) kept(kind string) int {
	w.t.Helper()
	infos, err := w.home.Blobs.List(w.t.Context(), w.org.Blob("objects", kind).Under(), platform.BlobKey{}, 100)
	if err != nil {
		w.t.Fatal(err)
	}
	return len(infos)
}

// Files are kept until their time is over and then answer when that was; what no
// artifact names any more goes a week later, and what another one names stays.
func TestArtifactsExpire(t *testing.T) {
	t.Parallel()
	clock := &laterClock{}
	w := newWorld(t, func(_ *world, home *platform.Home) {
		clock.Clock = home.Clock
		home.Clock = clock
	})
	view := w.run(twoArtifacts)
	a := newAPI(w)
	keep := func(manifests, blobs int) {
		t.Helper()
		if err := w.service.KeepArtifacts(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := w.service.KeepArtifacts(t.Context()); err != nil { // what the first has made due
			t.Fatal(err)
		}
		if m, b := w.kept("artifact"), w.kept("blob"); m != manifests || b != blobs {
			t.Errorf("%d manifests and %d blobs, want %d and %d", m, b, manifests, blobs)
		}
	}
	keep(2, 3)
	path := "/runs/" + string(view.ID) + "/artifacts/"
	if status, body := a.call("GET "+path+"short", ""); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	clock.move(25 * time.Hour)
	status, body := a.call("GET "+path+"short", "")
	when := view.Artifacts[1].Expires.UTC().Format(time.RFC3339)
	if status != http.StatusGone || !strings.Contains(body, when) || !strings.Contains(body, "buildit rerun") {
		t.Errorf("expired: %d %s, and it was %s", status, body, when)
	}
	keep(2, 3)
	clock.move(6 * 24 * time.Hour)
	keep(2, 3)
	clock.move(2 * 24 * time.Hour)
	keep(1, 2)
	if status, body := a.call("GET "+path+"long", ""); status != http.StatusOK {
		t.Errorf("kept: %d %s", status, body)
	}
	clock.move(90 * 24 * time.Hour)
	keep(1, 2)
	clock.move(8 * 24 * time.Hour)
	keep(0, 0)
	rows, err := w.home.Table.Query(t.Context(), platform.Query{Partition: w.org.Partition("artifact-care")})
	if err != nil || len(rows.Rows) != 0 {
		t.Errorf("%v, %v: rows are left of what has gone", rows.Rows, err)
	}
}

// An object that was about to go and is made again is not sent, and stays.
func TestArtifactOfDeadObjects(t *testing.T) {
	t.Parallel()
	clock := &laterClock{}
	w := newWorld(t, func(_ *world, home *platform.Home) {
		clock.Clock = home.Clock
		home.Clock = clock
	})
	file := strings.ReplaceAll(twoArtifacts, "90d", "1d")
	first := w.run(file)
	keep := func() {
		t.Helper()
		for range 2 {
			if err := w.service.KeepArtifacts(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	clock.move(25 * time.Hour)
	keep() // marks
	clock.move(6 * 24 * time.Hour)
	trigger := push("main")
	trigger.Generation = 2
	run, err := w.service.StartFile(t.Context(), w.org, trigger, load(t, twoArtifacts), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	second := w.end(run)
	clock.move(12 * time.Hour)
	keep()
	if m, b := w.kept("artifact"), w.kept("blob"); m != 2 || b != 3 {
		t.Errorf("%d manifests and %d blobs are left", m, b)
	}
	for i, artifact := range second.Artifacts { // the same bytes have one digest
		if artifact.SHA256 != first.Artifacts[i].SHA256 || artifact.SHA256 == "" {
			t.Errorf("%s: digest %s, then %s", artifact.Name, first.Artifacts[i].SHA256, artifact.SHA256)
		}
	}
}

// What a stranger's commit leaves behind is kept for a week at most.
func TestUntrustedArtifactIsKeptAWeek(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run, err := w.service.StartFile(t.Context(), w.org, cacheFork(3, "x", 'a'), load(t, "pipeline \"p\"\non \"pull-request\"\nstage \"a\" { artifact \"x\" path=\"f\" expire=\"90d\"; run \"echo x > f\"; }\n"), pipeline.Options{})
	if err != nil {
		t.Fatal(err)
	}
	view := w.end(run)
	if kept := view.Artifacts[0].Expires.Sub(view.Artifacts[0].Created); kept != 7*24*time.Hour {
		t.Errorf("kept for %s", kept)
	}
}
