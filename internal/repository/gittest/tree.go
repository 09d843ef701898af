package gittest

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Server is a git server with a folder of bare repositories.
type Server struct {
	URL  string // of the server
	Root string // the folder
}

// Start serves a new folder until the test ends.
func Start(t testing.TB, options Options) *Server {
	t.Helper()
	root := t.TempDir()
	handler, err := Handler(root, options)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return &Server{server.URL, root}
}

// Tree is a working tree whose origin is a repository of a server.
type Tree struct {
	t    testing.TB
	Dir  string
	Bare string // the repository's folder
	URL  string // to clone from
}

// New makes a bare repository and a working tree of it, on branch main.
func (s *Server) New(t testing.TB, name string) *Tree {
	t.Helper()
	w := &Tree{t: t, Dir: t.TempDir(), Bare: filepath.Join(s.Root, name+".git"), URL: s.URL + "/" + name + ".git"}
	w.Git("init", "--quiet", "--bare", "--initial-branch=main", w.Bare)
	w.Git("init", "--quiet", "--initial-branch=main")
	w.Git("remote", "add", "origin", w.Bare)
	return w
}

// Git runs git in the working tree and returns what it printed. What it would read
// from the machine's configuration is left out, and time stands still.
func (w *Tree) Git(args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = w.Dir
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_AUTHOR_DATE=2026-01-02T03:04:05Z",
		"GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com", "GIT_COMMITTER_DATE=2026-01-02T03:04:05Z",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=protocol.file.allow", "GIT_CONFIG_VALUE_0=always")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// Write writes a file of the working tree.
func (w *Tree) Write(name, content string) {
	w.t.Helper()
	path := filepath.Join(w.Dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// Commit writes files (path and content in turn), commits all that changed and
// returns the commit. The message is the first argument.
func (w *Tree) Commit(message string, files ...string) string {
	w.t.Helper()
	for i := 0; i+1 < len(files); i += 2 {
		w.Write(files[i], files[i+1])
	}
	w.Git("add", "--all")
	w.Git("commit", "--quiet", "--allow-empty", "--message", message)
	return w.Git("rev-parse", "HEAD")
}

// Push pushes refs, main if none are named, by force if it must.
func (w *Tree) Push(refs ...string) {
	w.t.Helper()
	if len(refs) == 0 {
		refs = []string{"main"}
	}
	w.Git(append([]string{"push", "--quiet", "--force", "origin"}, refs...)...)
}
