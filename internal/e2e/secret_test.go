package e2e

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

// A secret reaches the stage that names it and nothing else: no log, no row, no object,
// no file of the data folder has it, however a command prints it.
func TestSecretReachesItsStageAlone(t *testing.T) {
	t.Parallel()
	s, server := up(t), gittest.Start(t, gittest.Options{})
	tree := server.New(t, "shop")
	tree.Commit("first", ".buildit.kdl", `pipeline "shop"
stage "has" {
    secret "TOKEN" as="THE_TOKEN"
    run "test \"$(printf %s \"$THE_TOKEN\" | sha256sum | cut -c1-16)\" = 776136589afeebd8"
    run "echo token=$THE_TOKEN; printf %s \"$THE_TOKEN\" | base64; printf %.9s \"$THE_TOKEN\"; sleep 0.1; printf '%s\\n' \"${THE_TOKEN#?????????}\""
}
stage "has-not" needs="has" { run "test -z \"$THE_TOKEN\"; ! env | grep canary"; }
stage "missing" { secret "NO_SUCH"; run "echo never"; }
`)
	tree.Push()
	s.ok("repo", "connect", tree.URL)
	value := filepath.Join(s.dir, "value")
	for scope, text := range map[string]string{"": "canary-of-the-organization\n", "shop": "canary-of-the-repository\n"} {
		if err := os.WriteFile(value, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		args := []string{"secret", "set", "TOKEN", "--file", value}
		if scope != "" {
			args = append(args, "--repo", scope)
		}
		s.ok(args...)
	}
	if err := os.Remove(value); err != nil {
		t.Fatal(err)
	}
	s.ok("start", "shop")
	s.ended("shop", 1)
	shown := s.ok("runs", "show", "1")
	if !strings.Contains(shown, "secret-missing") || strings.Count(shown, "succeeded") < 2 {
		t.Errorf("%s", shown)
	}
	if text := s.ok("logs", "1", "has"); !strings.Contains(text, "token=***") || strings.Contains(text, "canary-of-the-repository") {
		t.Errorf("%s", text)
	}
	if list := s.ok("secret", "list"); !strings.Contains(list, "has of ") || !strings.Contains(list, "never") {
		t.Errorf("%s", list)
	}
	err := filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte("canary-of-the-")) && !strings.Contains(path, ".git") {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
