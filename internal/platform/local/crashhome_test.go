package local_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/local"
)

// crashHome names, for a child process, the data folder that it works in, and
// crashRound how many children there were before it.
const (
	crashHome  = "BUILDIT_TEST_CRASH_HOME"
	crashRound = "BUILDIT_TEST_CRASH_ROUND"
)

const homeCrashes = 20

// TestHomeCrashAck: a process creates, replaces, uploads and deletes objects, sends
// and takes messages, and says so; it is killed at a random moment. Whatever it has
// said holds afterwards, and no object is half there.
func TestHomeCrashAck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	said := map[string][]string{}
	for round := range homeCrashes {
		workUntilKilled(t, dir, round, time.Duration(random.Int64N(int64(60*time.Millisecond))), said)
		checkHome(t, dir, said)
		if t.Failed() {
			t.Fatalf("after kill %d, seed %d", round+1, seed)
		}
	}
	for verb, what := range said {
		t.Logf("%s: %d", verb, len(what))
	}
}

// workUntilKilled starts a child, kills it that long after its first word, and adds
// what it has said, by verb.
func workUntilKilled(t *testing.T, dir string, round int, after time.Duration, said map[string][]string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestHomeCrashChild$")
	child.Env = append(os.Environ(), crashHome+"="+dir, crashRound+"="+strconv.Itoa(round))
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	for lines := bufio.NewScanner(out); lines.Scan(); {
		once.Do(func() {
			time.AfterFunc(after, func() {
				if err := child.Process.Kill(); err != nil {
					t.Errorf("kill: %v", err)
				}
			})
		})
		if line, whole := strings.CutSuffix(lines.Text(), ";"); whole {
			verb, what, _ := strings.Cut(line, " ")
			said[verb] = append(said[verb], what)
		}
	}
	if err := child.Wait(); err == nil || child.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v", child.ProcessState)
	}
}

// crashBytes are the bytes of the object of that name, up to 200 KB.
func crashBytes(name string) []byte {
	size := 0
	for _, c := range name {
		size = (size*31 + int(c)) % 200_000
	}
	return bytes.Repeat([]byte(name+" "), size/(len(name)+1))
}

func crashKey(kind, name string) platform.BlobKey {
	return platform.System("acme", "crash").Blob(kind, name)
}

// openHome opens the parts of a home that the test is about.
func openHome(t *testing.T, dir string) (*local.Home, func()) {
	t.Helper()
	home, err := local.Open(t.Context(), dir, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return home, func() {
		if err := home.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestHomeCrashChild is the process that TestHomeCrashAck kills, and nothing
// otherwise.
func TestHomeCrashChild(t *testing.T) {
	dir := os.Getenv(crashHome)
	if dir == "" {
		t.Skip("runs as a child of TestHomeCrashAck")
	}
	home, stop := openHome(t, dir)
	defer stop()
	var all sync.WaitGroup
	var saying sync.Mutex
	said := func(line string) {
		saying.Lock()
		defer saying.Unlock()
		fmt.Printf("%s;\n", line) // one write: a line is whole or ends without ;
	}
	for _, work := range []func(context.Context, *local.Home, string, func(string)) error{
		crashCreate, crashReplace, crashUpload, crashHide, crashSend, crashTake,
	} {
		all.Go(func() {
			for n := 0; ; n++ {
				name := os.Getenv(crashRound) + "-" + strconv.Itoa(n)
				ctx := t.Context()
				if n%2 == 1 { // a kill, other than a power cut, takes no relaxed write either
					ctx = platform.Relaxed(ctx)
				}
				if err := work(ctx, home, name, said); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// sayDone says what has been done, if it has.
func sayDone(said func(string), line string, err error) error {
	if err == nil {
		said(line)
	}
	return err
}

func crashCreate(ctx context.Context, home *local.Home, name string, said func(string)) error {
	_, err := home.Blobs.Create(ctx, crashKey("created", name), bytes.NewReader(crashBytes(name)))
	return sayDone(said, "created "+name, err)
}

func crashReplace(ctx context.Context, home *local.Home, name string, said func(string)) error {
	key := crashKey("counter", "one")
	info, err := home.Blobs.Stat(ctx, key)
	if errors.Is(err, platform.ErrNotFound) {
		_, err = home.Blobs.Create(ctx, key, strings.NewReader(name))
	} else if err == nil {
		_, err = home.Blobs.Replace(ctx, key, info.ETag, strings.NewReader(name))
	}
	return sayDone(said, "replaced "+name, err)
}

func crashUpload(ctx context.Context, home *local.Home, name string, said func(string)) error {
	key := crashKey("uploaded", name)
	id, err := home.Blobs.Upload(ctx, key)
	if err != nil {
		return err
	}
	part, err := home.Blobs.SendPart(ctx, key, id, 1, bytes.NewReader(crashBytes(name)))
	if err != nil {
		return err
	}
	_, err = home.Blobs.Complete(ctx, key, id, []platform.Part{part})
	return sayDone(said, "uploaded "+name, err)
}

func crashHide(ctx context.Context, home *local.Home, name string, said func(string)) error {
	key := crashKey("hidden", name)
	if _, err := home.Blobs.Create(ctx, key, bytes.NewReader(crashBytes(name))); err != nil {
		return err
	}
	err := home.Blobs.Delete(ctx, key)
	return sayDone(said, "hidden "+name, err)
}

func crashSend(ctx context.Context, home *local.Home, name string, said func(string)) error {
	err := home.Queues.Send(ctx, "crash", []byte(name), 0)
	return sayDone(said, "sent "+name, err)
}

func crashTake(ctx context.Context, home *local.Home, _ string, said func(string)) error {
	// Not hidden: what is killed between Receive and its word is found by the check.
	messages, err := home.Queues.Receive(ctx, "crash", 1, time.Minute, 0)
	if err != nil {
		return err
	}
	for _, m := range messages {
		said("took " + string(m.Body))
		if err := home.Queues.Delete(ctx, "crash", m.Receipt); err != nil {
			return err
		}
		said("deleted " + string(m.Body))
	}
	return nil
}

// checkHome opens the folder again and checks what must hold.
func checkHome(t *testing.T, dir string, said map[string][]string) {
	t.Helper()
	home, stop := openHome(t, dir)
	defer stop()
	for _, kind := range []string{"created", "uploaded"} {
		checkWhole(t, home, kind, said[kind])
	}
	for _, name := range said["hidden"] {
		versions, err := home.Blobs.Versions(t.Context(), crashKey("hidden", name))
		if err != nil || len(versions) != 1 {
			t.Errorf("%s was deleted: %d versions of it, %v", name, len(versions), err)
		}
		if _, err := home.Blobs.Stat(t.Context(), crashKey("hidden", name)); !errors.Is(err, platform.ErrNotFound) {
			t.Errorf("%s was deleted and is there: %v", name, err)
		}
	}
	checkVersions(t, home, said["replaced"])
	checkMessages(t, home, said)
	if left, err := os.ReadDir(dir + "/blobs/tmp"); err != nil || len(left) > 0 {
		t.Errorf("%d temporary files left, %v", len(left), err)
	}
}

// checkWhole checks that the objects of a kind are those that were acknowledged, and
// more, and that each is whole.
func checkWhole(t *testing.T, home *local.Home, kind string, acknowledged []string) {
	t.Helper()
	infos, err := home.Blobs.List(t.Context(), platform.System("acme", "crash").Blob(kind).Under(), platform.BlobKey{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, info := range infos {
		_, name, _ := strings.Cut(strings.TrimPrefix(info.Key.String(), "acme/"), "/")
		there[name] = true
		if got := readBlob(t, home, info.Key); !bytes.Equal(got, crashBytes(name)) {
			t.Errorf("%s has %d bytes, want %d", info.Key, len(got), len(crashBytes(name)))
		}
	}
	for _, name := range acknowledged {
		if !there[name] {
			t.Errorf("%s %s was acknowledged and is not there", kind, name)
		}
	}
}

func readBlob(t *testing.T, home *local.Home, key platform.BlobKey) []byte {
	t.Helper()
	body, _, err := home.Blobs.Open(t.Context(), key, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		t.Fatal(err)
	}
	return got
}

// checkVersions checks that every text that was acknowledged is a version, in order.
func checkVersions(t *testing.T, home *local.Home, acknowledged []string) {
	t.Helper()
	key := crashKey("counter", "one")
	versions, err := home.Blobs.Versions(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, v := range slices.Backward(versions) {
		body, _, err := home.Blobs.OpenVersion(t.Context(), key, v.Version)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(body)
		if err := errors.Join(err, body.Close()); err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	at := 0
	for _, want := range acknowledged {
		i := slices.Index(texts[at:], want)
		if i < 0 {
			t.Fatalf("version %s was acknowledged and is not there, or not in order", want)
		}
		at += i + 1
	}
}

// checkMessages checks that what was sent is there unless it was taken, and that what
// was deleted is not.
func checkMessages(t *testing.T, home *local.Home, said map[string][]string) {
	t.Helper()
	left := map[string]bool{}
	var receipts []string
	for {
		messages, err := home.Queues.Receive(t.Context(), "crash", 100, 0, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if len(messages) == 0 {
			break
		}
		for _, m := range messages {
			left[string(m.Body)] = true
			receipts = append(receipts, m.Receipt)
		}
	}
	for _, name := range said["deleted"] {
		if left[name] {
			t.Errorf("message %s was deleted and is there", name)
		}
	}
	for _, name := range said["sent"] {
		if !left[name] && !slices.Contains(said["took"], name) {
			t.Errorf("message %s was sent and is lost", name)
		}
	}
	// The next round begins with an empty queue: this one's messages are accounted for.
	said["sent"] = nil
	if err := home.Queues.Delete(t.Context(), "crash", receipts...); err != nil {
		t.Fatal(err)
	}
}
