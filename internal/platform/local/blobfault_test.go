package local_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/platform"
	"github.com/buildit-dev/buildit/internal/platform/local"
	"github.com/buildit-dev/buildit/internal/platform/platformtest"
)

func openBlobs(t testing.TB, dir string) *local.Blobs {
	t.Helper()
	blobs, err := local.OpenBlobs(dir, local.BlobOptions{Clock: platformtest.NewClock(), URL: "http://127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	return blobs
}

var blobsOrg = platform.System("acme", "test")

// pattern is a body of a size, whose bytes depend on their place. It takes no memory.
type pattern struct {
	size, at int64
}

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.size-p.at))
	for i := range n {
		b[i] = byte((p.at + int64(i)) >> 3)
	}
	p.at += int64(n)
	return n, nil
}

func (p *pattern) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekStart {
		return 0, errors.ErrUnsupported
	}
	p.at = 0
	return 0, nil
}

// in a child process: what it does, and where.
const (
	fullDisk   = "BUILDIT_TEST_FULL_DISK"
	bigStreams = "BUILDIT_TEST_BIG_STREAMS"
)

// runChild runs a test of this binary in another process.
func runChild(t *testing.T, test, variable, value string, attributes *syscall.SysProcAttr) string {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+test+"$", "-test.v")
	child.Env = append(os.Environ(), variable+"="+value)
	child.SysProcAttr = attributes
	out, err := child.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
		t.Skipf("this machine lets nobody mount in a user namespace: %v", err)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// TestBlobDiskFull: on a full disk a write fails in words, leaves nothing behind, and
// succeeds when there is room again.
func TestBlobDiskFull(t *testing.T) {
	t.Parallel()
	out := runChild(t, "TestBlobDiskFullChild", fullDisk, t.TempDir(), &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	})
	if strings.Contains(out, "--- SKIP") {
		t.Skip(out)
	}
}

// TestBlobDiskFullChild runs in namespaces of its own, where it mounts a small disk.
func TestBlobDiskFullChild(t *testing.T) {
	dir := os.Getenv(fullDisk)
	if dir == "" {
		t.Skip("runs as a child of TestBlobDiskFull")
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("mount a small disk: %v", err)
	}
	blobs := openBlobs(t, filepath.Join(dir, "blobs"))
	kept := blobsOrg.Blob("log", "kept")
	tag, err := blobs.Create(t.Context(), kept, &pattern{size: 300_000})
	if err != nil {
		t.Fatal(err)
	}
	big := blobsOrg.Blob("log", "big")
	_, createErr := blobs.Create(t.Context(), big, &pattern{size: 2 << 20})
	_, replaceErr := blobs.Replace(t.Context(), kept, tag, &pattern{size: 2 << 20})
	for verb, err := range map[string]error{"Create": createErr, "Replace": replaceErr} {
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "the disk is full: make room") {
			t.Errorf("%s: err = %v, want one that says that the disk is full", verb, err)
		}
	}
	if _, err := blobs.Stat(t.Context(), big); !errors.Is(err, platform.ErrNotFound) {
		t.Errorf("half an object is there: %v", err)
	}
	if info, err := blobs.Stat(t.Context(), kept); err != nil || info.Size != 300_000 || info.ETag != tag {
		t.Errorf("what was there is %+v, %v", info, err)
	}
	left, err := os.ReadDir(filepath.Join(dir, "blobs", "tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("%d files left behind, %v", len(left), err)
	}
	if _, err := blobs.Create(t.Context(), big, &pattern{size: 400_000}); err != nil {
		t.Errorf("after the failure there is room, and: %v", err)
	}
}

// TestBlobStreamMemory is blob/stream-memory: 1 GB goes in and out, in one piece and
// in parts, with less than 64 MB of memory.
func TestBlobStreamMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 2 GB")
	}
	t.Parallel()
	runChild(t, "TestBlobStreamMemoryChild", bigStreams, t.TempDir(), nil)
}

// TestBlobStreamMemoryChild has a process, and so a peak of memory, of its own.
func TestBlobStreamMemoryChild(t *testing.T) {
	dir := os.Getenv(bigStreams)
	if dir == "" {
		t.Skip("runs as a child of TestBlobStreamMemory")
	}
	const size = 1 << 30
	blobs := openBlobs(t, dir)
	key := blobsOrg.Blob("log", "big")
	begin := time.Now()
	if _, err := blobs.Create(t.Context(), key, &pattern{size: size}); err != nil {
		t.Fatal(err)
	}
	t.Logf("in: %s", time.Since(begin))
	begin = time.Now()
	body, info, err := blobs.Open(t.Context(), key, 0)
	if err != nil || info.Size != size {
		t.Fatalf("%+v, %v", info, err)
	}
	if err := same(body, &pattern{size: size}); err != nil {
		t.Error(err)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	t.Logf("out: %s", time.Since(begin))
	peak := peakMemory(t)
	t.Logf("peak %d MB", peak>>20)
	if peak > 64<<20 {
		t.Errorf("peak memory is %d MB, want at most 64", peak>>20)
	}
}

// same reads a stream to its end and says where it differs from a pattern.
func same(stream io.Reader, want *pattern) error {
	x, y := make([]byte, 1<<16), make([]byte, 1<<16)
	for {
		n, err := stream.Read(x)
		if _, short := io.ReadFull(want, y[:n]); short != nil || !bytes.Equal(x[:n], y[:n]) {
			return fmt.Errorf("the stream differs before byte %d", want.at)
		}
		if errors.Is(err, io.EOF) && want.at == want.size {
			return nil
		}
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", want.at, err)
		}
	}
}

// peakMemory is the largest resident size that this process has had, in bytes.
// getrusage(2) would count what the parent had before the exec.
func peakMemory(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skipf("this system does not tell a process's peak of memory: %v", err)
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	var kilobytes int64
	if _, err := fmt.Sscan(after, &kilobytes); err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// TestBlobTornFile: a file that a power cut has cut short is no object, and is in
// nobody's way.
func TestBlobTornFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	blobs := openBlobs(t, dir)
	key := blobsOrg.Blob("log", "torn")
	if _, err := blobs.Create(t.Context(), key, strings.NewReader("whole")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "objects", "acme+", "log+", "torn")
	for _, size := range []int64{0, 10, 51} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		if _, err := blobs.Stat(t.Context(), key); !errors.Is(err, platform.ErrNotFound) {
			t.Errorf("%d bytes are an object: %v", size, err)
		}
		if infos, err := blobs.List(t.Context(), blobsOrg.Blob("log").Under(), platform.BlobKey{}, 10); err != nil || len(infos) > 0 {
			t.Errorf("%d bytes are listed: %v, %v", size, infos, err)
		}
		if err := blobs.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
		if _, err := blobs.Create(t.Context(), key, strings.NewReader("anew")); err != nil {
			t.Errorf("create over %d bytes: %v", size, err)
		}
		if info, err := blobs.Stat(t.Context(), key); err != nil || info.Size != 4 {
			t.Errorf("%+v, %v", info, err)
		}
	}
}

// TestBlobSweep: what a killed process left half written is gone when the store is
// opened, as are uploads that nobody completes; those of today go on.
func TestBlobSweep(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	blobs := openBlobs(t, dir)
	key := blobsOrg.Blob("log", "parts")
	var uploads []string
	for range 2 {
		id, err := blobs.Upload(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := blobs.SendPart(t.Context(), key, id, 1, strings.NewReader("part")); err != nil {
			t.Fatal(err)
		}
		uploads = append(uploads, id)
	}
	now := platformtest.NewClock().Now()
	for i, age := range []time.Duration{25 * time.Hour, time.Hour} {
		if err := os.Chtimes(filepath.Join(dir, "uploads", uploads[i]), now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	half := filepath.Join(dir, "tmp", "new-123")
	if err := os.WriteFile(half, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	blobs = openBlobs(t, dir)
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a half written file is there: %v", err)
	}
	if _, err := blobs.SendPart(t.Context(), key, uploads[0], 2, strings.NewReader("late")); !errors.Is(err, platform.ErrGone) {
		t.Errorf("an upload of yesterday goes on: %v", err)
	}
	if _, err := blobs.SendPart(t.Context(), key, uploads[1], 1, strings.NewReader("part")); err != nil {
		t.Errorf("an upload of today: %v", err)
	}
}
