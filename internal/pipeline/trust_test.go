package pipeline_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
)

func fork() pipeline.Trigger {
	t := push("")
	t.Event, t.Subject, t.PullRequest, t.Fork, t.Trust, t.Base, t.Head = "pull-request", "7", 7, true, "untrusted", "main", "main"
	t.Ref, t.Actor, t.Action = "refs/pull/7/head", "mallory", "opened"
	return t
}

func (w *world) start(t pipeline.Trigger, text string) pipeline.Run {
	w.t.Helper()
	run, err := w.service.StartFile(w.t.Context(), w.org, t, load(w.t, text), pipeline.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return run
}

// What a file says of forks decides whether their commits run, and how.
func TestForksOfAFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, tt := range []struct {
		on, status, reason string
	}{
		{``, "running", ""},
		{`on "pull-request"`, "running", ""},
		{`on "pull-request" { forks "never"; }`, "skipped", "not-forks"},
		{`on "pull-request" { forks "never"; branches "release"; }`, "skipped", "not-forks"},
		{`on "pull-request" { branches "release"; }`, "skipped", "no-match"},
		{`on "pull-request" { branches "m*"; types "closed"; }`, "skipped", "no-match"},
		{`on "push"`, "skipped", "no-match"},
		{`on "pull-request" { forks "never"; }; on "pull-request" { branches "main"; }`, "running", ""},
	} {
		trigger := fork()
		trigger.Generation = int64(i + 1)
		run := w.start(trigger, "pipeline \"p\"\n"+tt.on+"\nstage \"a\" { run \"true\"; }\n")
		if string(run.Status) != tt.status || run.Reason != tt.reason {
			t.Errorf("%s: %s, %s: %s", tt.on, run.Status, run.Reason, run.Why)
		}
		w.end(run)
	}
}

// `forks "approve"` never begins by itself. A pull request of the repository is not
// asked for.
func TestForksApproveIsHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const file = "pipeline \"p\"\non \"pull-request\" { forks \"approve\"; }\nstage \"a\" { run \"true\"; }\n"
	if run := w.start(fork(), file); run.Status == pipeline.Running || run.Status == pipeline.Succeeded || run.Status == pipeline.Skipped {
		t.Errorf("a stranger's commit is %s", run.Status)
	}
	own := fork()
	own.Fork, own.Trust, own.Generation = false, "trusted", 2
	expect(t, w.end(w.start(own, file)), pipeline.Succeeded, "a succeeded")
}

// A run that the paths of its file leave out is there, and green: a required check
// finds it, with the reason.
func TestRequiredCheckOfPathFilteredRunIsGreen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	trigger := push("main")
	trigger.FilesKnown, trigger.Changed = true, []string{"docs/a.md"}
	view := w.end(w.start(trigger, "pipeline \"p\"\non \"push\" { paths \"src/**\"; }\nstage \"a\" { run \"true\"; }\n"))
	if view.Status != pipeline.Skipped || view.Reason != "no-match" || !strings.Contains(view.Why, "no changed file matches src/**") {
		t.Errorf("%s, %s: %s", view.Status, view.Reason, view.Why)
	}
}

func TestCommitMessageWithNewlinesInEnv(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	trigger := push("main")
	trigger.Message = "first\n\nBUILDIT_TRUST=trusted\n$(touch pwned)\n`id`; \"quoted\" 'too' \\\n\ttab ü\r\nlast"
	view := w.end(w.start(trigger, `pipeline "p"
stage "a" { run "printf %s \"$BUILDIT_COMMIT_MESSAGE\"; test ! -e pwned"; }
`))
	expect(t, view, pipeline.Succeeded, "a succeeded")
	if log := w.log(view.ID, view.Stages[0].Key); log != trigger.Message {
		t.Errorf("log = %q", log)
	}
	if view.Message != "first" {
		t.Errorf("the run shows %q", view.Message)
	}
}

// kept is a blob store that remembers what was put into it.
type kept struct {
	platform.Blobs
	mu  sync.Mutex
	all bytes.Buffer
}

func (k *kept) keep(body io.ReadSeeker) (io.ReadSeeker, error) {
	content, err := io.ReadAll(body)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all.Write(content)
	return bytes.NewReader(content), err
}

func (k *kept) Create(ctx context.Context, key platform.BlobKey, body io.ReadSeeker) (platform.ETag, error) {
	body, err := k.keep(body)
	if err != nil {
		return "", err
	}
	return k.Blobs.Create(ctx, key, body)
}

func (k *kept) Replace(ctx context.Context, key platform.BlobKey, old platform.ETag, body io.ReadSeeker) (platform.ETag, error) {
	body, err := k.keep(body)
	if err != nil {
		return "", err
	}
	return k.Blobs.Replace(ctx, key, old, body)
}

// A run of a stranger's commit has no secret: not in a row, a blob, a log or its job,
// though its file names them and its commands look for them.
func TestForkRunHasNoSecretAnywhere(t *testing.T) {
	t.Parallel()
	const secret, marker = "hunter2-and-much-more", "no-secret-at-all"
	blobs := new(kept)
	w := newWorld(t, func(_ *world, home *platform.Home) { blobs.Blobs, home.Blobs = home.Blobs, blobs })
	w.secrets["TOKEN"] = secret
	trigger := fork()
	trigger.Message = marker
	view := w.end(w.start(trigger, `pipeline "p"
stage "named" { secret "TOKEN"; run "echo $TOKEN"; }
stage "kept-out" { when "!fork"; secret "TOKEN" as="T"; run "echo $T"; }
stage "looks" { output "O"; artifact "env" path="env.txt"; run "env | tee env.txt; cat /proc/self/environ /proc/$PPID/environ || true; echo O=$TOKEN${T}x >> $BUILDIT_OUTPUT"; }
`))
	expect(t, view, pipeline.Errored, "named errored, kept-out skipped condition, looks succeeded")
	if view.Stages[0].Reason != "secret-untrusted" || view.Stages[2].Outputs["O"] != "x" {
		t.Errorf("stages = %+v", view.Stages)
	}
	for _, st := range view.Stages[:2] {
		attempt, err := w.service.Attempt(t.Context(), w.org, view.ID, st.Key, 1)
		if err != nil {
			t.Fatal(err)
		}
		if values, err := attempt.Secrets(t.Context()); !errors.Is(err, platform.ErrDenied) || len(values) > 0 {
			t.Errorf("%s may have %d secrets: %v", st.Name, len(values), err)
		}
	}
	stored := blobs.all.String() + w.allRows()
	for _, st := range view.Stages { // parts of a log are stored in another form
		stored += w.log(view.ID, st.Key)
	}
	for _, needle := range []string{secret, base64.StdEncoding.EncodeToString([]byte(secret))[:24]} {
		if strings.Contains(stored, needle) {
			t.Errorf("%q is stored", needle)
		}
	}
	if strings.Count(stored, marker) < 3 { // row, graph, log
		t.Error("what was searched does not have the run")
	}
}

// allRows is every row that there ever was, as text.
func (w *world) allRows() string {
	ctx, stop := context.WithCancel(w.t.Context())
	last := w.org.Partition("marker").Row("marker")
	if _, err := w.sure.Write(ctx, platform.Put{Key: last, Item: platform.Item{}}); err != nil {
		w.t.Fatal(err)
	}
	var text strings.Builder
	err := w.sure.(platform.Feed).Consume(ctx, "search", func(_ context.Context, changes []platform.Change) (int, error) {
		for _, c := range changes {
			for name, value := range c.New {
				if raw, isBytes := value.(platform.Bytes); isBytes {
					value = platform.Text(raw)
				}
				fmt.Fprintf(&text, "%s %s=%v\n", c.Key.SK(), name, value)
			}
			if c.Key == last {
				stop()
			}
		}
		return len(changes), nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return text.String()
}
