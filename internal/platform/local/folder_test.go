package local_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/platform/local"
)

// ownedFolder names, for a child process, the data folder that it owns.
const ownedFolder = "BUILDIT_TEST_OWNED_FOLDER"

func TestFolderNew(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), ".buildit", "data")
	folder, err := local.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{".": 0o700, "key": 0o600, "lock": 0o600, ".gitignore": 0o600, "format": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %04o, want %04o", name, info.Mode().Perm(), mode)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, ".gitignore")); err != nil || string(text) != "*\n" {
		t.Errorf(".gitignore holds %q, %v", text, err)
	}
	if err := folder.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFolderOwned: a second process is told who owns the folder, and gets it when
// that one is killed.
func TestFolderOwned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	child := exec.Command(os.Args[0], "-test.run=^TestFolderOwner$")
	child.Env = append(os.Environ(), ownedFolder+"="+dir)
	child.Stderr = os.Stderr
	stdin, err := child.StdinPipe() // the child lives for as long as this is open
	if err != nil {
		t.Fatal(err)
	}
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "owned\n" {
		t.Fatalf("the child said %q, %v", line, err)
	}
	_, err = local.OpenFolder(dir)
	want := fmt.Sprintf("another buildit-server (pid %d) owns this data folder", child.Process.Pid)
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) {
		t.Errorf("err = %v, want %q", err, want)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	if err := stdin.Close(); err != nil {
		t.Logf("close: %v", err) // closed by Wait
	}
	folder, err := local.OpenFolder(dir)
	if err != nil {
		t.Fatalf("after the owner was killed: %v", err)
	}
	if err := folder.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFolderOwner is the process that TestFolderOwned kills, and nothing otherwise.
func TestFolderOwner(t *testing.T) {
	dir := os.Getenv(ownedFolder)
	if dir == "" {
		t.Skip("runs as a child of TestFolderOwned")
	}
	if _, err := local.OpenFolder(dir); err != nil {
		t.Fatal(err)
	}
	fmt.Println("owned")
	if _, err := os.Stdin.Read(make([]byte, 1)); err == nil {
		t.Error("nobody was to write to this")
	}
}

// TestFolderNewer: a folder of a newer version is refused, and nothing in it changes.
func TestFolderNewer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "format"), []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := local.Open(t.Context(), dir, local.Options{})
	if err == nil || !strings.Contains(err.Error(), "format 99") || !strings.Contains(err.Error(), "newer BuildIt") {
		t.Errorf("err = %v, want a refusal that says why", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("%d files, %v: something was made", len(files), err)
	}
	if err := os.WriteFile(filepath.Join(dir, "format"), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Open(t.Context(), dir, local.Options{}); err == nil {
		t.Error("a folder of no format was opened")
	}
}

// TestFolderKeyGone: a folder without its key is not given another one.
func TestFolderKeyGone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	home, err := local.Open(t.Context(), dir, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := home.Close(); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "key")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Open(t.Context(), dir, local.Options{}); err == nil || !strings.Contains(err.Error(), key) {
		t.Errorf("err = %v, want one that names %s", err, key)
	}
	if _, err := os.Stat(key); err == nil {
		t.Error("a new key was made")
	}
}
