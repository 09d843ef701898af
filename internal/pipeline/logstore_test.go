package pipeline_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/access"
	"github.com/buildit-dev/buildit/internal/logs"
	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/fault"
	"github.com/buildit-dev/buildit/internal/platform/memory"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

// aheadOf puts a clock into the home that a test can put forward.
func aheadOf(clock *platformtest.AheadClock) change {
	return func(_ *world, home *platform.Home) { home.Clock = clock }
}

// keep puts the clock forward and does what is then due for logs.
func (w *world) keep(clock *platformtest.AheadClock, d time.Duration) {
	w.t.Helper()
	clock.Advance(d)
	if err := w.service.KeepLogs(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// objects are the names of what is stored of a log, below it.
func (w *world) objects(log pipeline.LogName) []string {
	w.t.Helper()
	under := w.org.Blob("logs", string(log.Run), string(log.Key), "1").Under()
	found, err := w.home.Blobs.List(w.t.Context(), under, platform.BlobKey{}, 10_000)
	if err != nil {
		w.t.Fatal(err)
	}
	names := make([]string, len(found))
	for i, object := range found {
		names[i] = strings.TrimPrefix(object.Key.String(), under.String())
	}
	return names
}

const twoCommands = `pipeline "p"
stage "build" {
    run "seq 1 300000" name="count"
    run "echo over; printf open" name="say"
}`

func counted() string {
	var text strings.Builder
	for i := range 300_000 {
		fmt.Fprintln(&text, i+1)
	}
	return text.String() + "over\nopen"
}

// A log reads the same whatever form it is in: as a whole, from a line, as JSON
// lines. When its time is over it says so.
func TestLogReadsTheSameInEveryForm(t *testing.T) {
	t.Parallel()
	clock := new(platformtest.AheadClock)
	w := newWorld(t, aheadOf(clock))
	view := w.run(twoCommands)
	log := pipeline.LogName{Org: w.org, Run: view.ID, Key: view.Stages[0].Key, Attempt: 1}
	a, path := newAPI(w), fmt.Sprintf("GET /runs/%s/stages/%s/log", view.ID, log.Key)
	for _, form := range []struct {
		after time.Duration
		has   []string // the first names of what is stored
		not   string
	}{
		{0, []string{"live/00000000"}, "index.json"},
		{time.Minute, []string{"00000000.gz", "00000000.times.gz", "00000001.gz"}, "none"},
		{25 * time.Hour, []string{"00000000.gz"}, "live/00000000"},
	} {
		w.keep(clock, form.after)
		names := strings.Join(w.objects(log), " ")
		if !strings.HasPrefix(names, strings.Join(form.has, " ")) || strings.Contains(names, form.not) {
			t.Errorf("after %s there is %s", form.after, names)
		}
		if _, text := a.call(path, ""); text != counted() {
			t.Errorf("after %s: %d bytes of %d", form.after, len(text), len(counted()))
		}
		if _, text := a.call(path+"?line=250000&lines=2", ""); text != "250000\n250001\n" {
			t.Errorf("after %s, two lines: %q", form.after, text)
		}
		if _, text := a.call(path+"?line=300001", ""); text != "over\nopen" {
			t.Errorf("after %s, the end: %q", form.after, text)
		}
		if _, text := a.call(path+"?line=300003", ""); text != "" {
			t.Errorf("after %s, behind the end: %q", form.after, text)
		}
		checkLines(t, a, path, view)
	}
	w.keep(clock, 90*24*time.Hour)
	for _, query := range []string{"", "?line=7", "?format=jsonl", "?from=0"} {
		if status, text := a.call(path+query, ""); status != http.StatusGone || !strings.Contains(text, "expired") {
			t.Errorf("expired%s: %d %s", query, status, text)
		}
	}
	if index := answer[logs.Index](a, strings.TrimPrefix(path, "GET ")+"?format=index"); index.Lines != 300_001 {
		t.Errorf("the index of what has expired: %+v", index)
	}
	w.keep(clock, 366*24*time.Hour)
	if names := w.objects(log); len(names) > 0 {
		t.Errorf("left for ever: %v", names)
	}
}

// checkLines wants commands, times and numbers with the lines.
func checkLines(t *testing.T, a api, path string, view pipeline.View) {
	t.Helper()
	_, text := a.call(path+"?format=jsonl&line=300000", "")
	decoder := json.NewDecoder(strings.NewReader(text))
	for i, want := range []pipeline.LogLine{
		{Line: 300_000, Command: "count", Text: "300000"}, {Line: 300_001, Command: "say", Text: "over"}, {Line: 300_002, Command: "say", Text: "open"},
	} {
		var got pipeline.LogLine
		if err := decoder.Decode(&got); err != nil {
			t.Fatalf("line %d: %v in %s", i, err, text)
		}
		if got.Line != want.Line || got.Command != want.Command || got.Text != want.Text {
			t.Errorf("line %d: %+v", i, got)
		}
		if started := view.Stages[0].Started; got.Time.Before(started.Add(-time.Second)) || got.Time.After(started.Add(time.Minute)) {
			t.Errorf("line %d at %s, the stage began %s", i, got.Time, started)
		}
	}
	index := answer[logs.Index](a, strings.TrimPrefix(path, "GET ")+"?format=index")
	if len(index.Groups) != 2 || index.Groups[0].Name != "count" || index.Groups[0].Last != 300_000 || index.Groups[1].First != 300_001 || !index.Final {
		t.Errorf("groups %+v", index.Groups)
	}
	if index.Lines != 300_001 || index.Bytes != int64(len(counted())) {
		t.Errorf("totals %d, %d", index.Lines, index.Bytes)
	}
}

// parts cuts a text into parts of about size bytes.
func partsOf(t testing.TB, text string, size int) []logs.Part {
	t.Helper()
	var list []logs.Part
	line, offset := int64(1), int64(0)
	for len(text) > 0 {
		piece := text[:min(size, len(text))]
		text = text[len(piece):]
		part := logs.Part{Segment: len(list), Line: line, Offset: offset, Text: []byte(piece), Lines: int64(strings.Count(piece, "\n"))}
		line, offset = line+part.Lines, part.End()
		list = append(list, part)
	}
	list[len(list)-1].Final = true
	return list
}

func storeOf(t testing.TB) (*pipeline.LogStore, platform.Blobs, pipeline.LogName) {
	t.Helper()
	blobs := memory.NewBlobs(memory.NewClock())
	name := pipeline.LogName{Org: platform.System("acme", "test"), Run: "r", Key: "k", Attempt: 1}
	return pipeline.NewLogStore(blobs), blobs, name
}

// stored is a store that has parts of a text.
func stored(t testing.TB, list []logs.Part) (*pipeline.LogStore, platform.Blobs, pipeline.LogName) {
	t.Helper()
	store, blobs, name := storeOf(t)
	for _, part := range list {
		if err := store.Store(t.Context(), name, part); err != nil {
			t.Fatal(err)
		}
	}
	return store, blobs, name
}

// sealedText seals and reads all chunks.
func sealedText(t testing.TB, store *pipeline.LogStore, blobs platform.Blobs, name pipeline.LogName) (string, *logs.Index) {
	t.Helper()
	if damaged, err := store.Seal(t.Context(), name, 0, nil); damaged != nil || err != nil {
		t.Fatal(damaged, err)
	}
	index, err := store.Index(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, chunk := range index.Chunks {
		text, err := logs.Unpack(chunk, object(t, blobs, name, fmt.Sprintf("%08d.gz", chunk.N)))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String(), index
}

func object(t testing.TB, blobs platform.Blobs, name pipeline.LogName, file string) []byte {
	t.Helper()
	body, _, err := blobs.Open(t.Context(), name.Org.Blob("logs", string(name.Run), string(name.Key), "1", file), 0)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		t.Fatal(err)
	}
	return text
}

func TestStoreSegmentSentTwice(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("a line of it\n", 10_000)
	list := partsOf(t, text, 10_000)
	store, blobs, name := stored(t, append(append(list[:3:3], list[:3]...), list...))
	again := list[1]
	again.Text = bytes.ToUpper(again.Text)
	if err := store.Store(t.Context(), name, again); err != nil {
		t.Fatal(err)
	}
	if got, _ := sealedText(t, store, blobs, name); got != text {
		t.Errorf("%d bytes of %d, or others", len(got), len(text))
	}
}

// Parts that overtake each other are read when those before them are there.
func TestStoreSegmentOutOfOrder(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("a line of it\n", 10_000)
	list := partsOf(t, text, 50_000)
	store, blobs, name := stored(t, []logs.Part{list[2], list[1]})
	if _, err := store.Part(t.Context(), name, 0); !errors.Is(err, platform.ErrNotFound) {
		t.Fatalf("part 0: %v", err)
	}
	if err := store.Store(t.Context(), name, list[0]); err != nil {
		t.Fatal(err)
	}
	if got, _ := sealedText(t, store, blobs, name); got != text {
		t.Errorf("%d bytes of %d", len(got), len(text))
	}
}

// A line over 64 KiB is in the bytes as it was; the index alone marks it.
func TestStoreLongLineIsMarkedInTheIndexOnly(t *testing.T) {
	t.Parallel()
	text := "short\n" + strings.Repeat("x", 3<<20) + "\nshort\n"
	store, blobs, name := stored(t, partsOf(t, text, 64<<10))
	got, index := sealedText(t, store, blobs, name)
	if got != text || len(index.Long) != 1 || index.Long[0] != 2 || !index.Chunks[1].Inside {
		t.Errorf("%d bytes of %d, long %v, chunks %+v", len(got), len(text), index.Long, index.Chunks)
	}
}

// Sealing that is cut off at any call of the store is done again, and leaves the
// bytes that one which was not would have left.
func TestSealIsRepeatable(t *testing.T) {
	t.Parallel()
	list := partsOf(t, strings.Repeat("a line of it\n", 200_000), 100_000)
	store, blobs, name := stored(t, list)
	sealedText(t, store, blobs, name)
	want := map[string][]byte{}
	for _, file := range []string{"00000000.gz", "00000001.times.gz", "00000002.gz", "index.json"} {
		want[file] = object(t, blobs, name, file)
	}
	cut := errors.New("killed")
	for _, phase := range []fault.Phase{fault.Before, fault.After} {
		for n := 1; ; n++ {
			_, blobs, name := stored(t, list)
			nth := fault.At(n, phase, cut)
			_, err := pipeline.NewLogStore(fault.Blobs(blobs, nth.Plan)).Seal(t.Context(), name, 0, nil)
			if err == nil {
				break // it makes fewer calls
			}
			if !errors.Is(err, cut) {
				t.Fatal(err)
			}
			sealedText(t, pipeline.NewLogStore(blobs), blobs, name)
			for file, text := range want {
				if !bytes.Equal(object(t, blobs, name, file), text) {
					t.Errorf("%s is another after a kill %s call %d", file, phase, n)
				}
			}
		}
	}
}

// follow reads a log as a stream does, a part at a time, and lets the test act
// between.
func follow(t *testing.T, f *pipeline.Follower, name pipeline.LogName, from access.From, between func(n int)) string {
	t.Helper()
	caller := access.Caller{Org: name.Org, Role: access.Owner}
	var all strings.Builder
	for n := 0; ; n++ {
		view, err := f.Segments(t.Context(), caller, fmt.Sprintf("%s/%s/%d", name.Run, name.Key, name.Attempt), from)
		if err != nil {
			t.Fatal(err)
		}
		for _, segment := range view.Segments {
			all.Write(segment.Text)
		}
		if from = view.Next; view.Ended {
			return all.String()
		}
		between(n)
	}
}

// Who follows when the log is sealed, or when its live parts go, gets every byte once.
func TestFollowResumesWithoutGapOrDouble(t *testing.T) {
	t.Parallel()
	clock := new(platformtest.AheadClock)
	w := newWorld(t, aheadOf(clock))
	view := w.run(twoCommands)
	name := pipeline.LogName{Org: w.org, Run: view.ID, Key: view.Stages[0].Key, Attempt: 1}
	f := pipeline.NewFollower(w.store)
	f.Bind(w.service)
	whole := counted()
	if got := follow(t, f, name, access.From{}, func(n int) {
		if n == 0 {
			w.keep(clock, time.Minute) // sealed
		}
	}); got != whole {
		t.Errorf("sealed while followed: %d bytes of %d", len(got), len(whole))
	}
	bookmark := access.From{Segment: 3}
	rest := follow(t, f, name, bookmark, func(int) {})
	if !strings.HasSuffix(whole, rest) || rest == "" || len(rest) == len(whole) {
		t.Errorf("a bookmark among live parts leads to %d bytes", len(rest))
	}
	if got := follow(t, f, name, access.From{Line: 299_999}, func(int) {}); got != "299999\n300000\nover\nopen" {
		t.Errorf("from a line: %q", got)
	}
	if got := follow(t, f, name, access.From{End: true}, func(int) {}); got != "" {
		t.Errorf("from the end: %q", got)
	}
	resume := access.From{Segment: 3, Offset: int64(len(whole) - len(rest))}
	w.keep(clock, 25*time.Hour) // live parts are gone
	if got := follow(t, f, name, resume, func(int) {}); got != rest {
		t.Errorf("resumed at a byte: %d bytes of %d", len(got), len(rest))
	}
}

// What a supervisor sends that was lost and is back is no part of the log.
func TestLogOfASettledAttemptIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	view := w.run(twoCommands)
	attempt, err := w.service.Attempt(context.Background(), w.org, view.ID, view.Stages[0].Key, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := attempt.Log(t.Context(), logs.Part{Segment: 99, Line: 1}); err == nil {
		t.Error("a part was taken")
	}
}
