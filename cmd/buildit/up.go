package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

const serverName = "buildit-server"

func init() {
	register(verb{
		name: "up", summary: "run the whole platform on this machine, in one process",
		usage:   "[--listen ADDRESS] [--data FOLDER] [FLAG OF buildit-server]…",
		example: "buildit up --listen 127.0.0.1:8080 --data .buildit/data",
		flags:   []string{"--listen", "--data", "--allow-local", "--allow-untrusted", "--stages", "--runs"},
		run:     up,
	})
}

// up becomes buildit-server: this process ends and that one has its place, its
// terminal and its signals.
func up(_ context.Context, env *environment, args []string) int {
	path, err := findServer()
	if err == nil {
		err = syscall.Exec(path, append([]string{serverName}, args...), os.Environ())
		err = fmt.Errorf("%s does not start: %w", path, err)
	}
	fmt.Fprintln(env.stderr, "buildit up:", err)
	return exitError
}

// findServer looks beside this program, then in the PATH.
func findServer() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", err
	}
	beside := filepath.Join(filepath.Dir(self), serverName)
	if _, err := os.Stat(beside); err == nil {
		return beside, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	path, err := exec.LookPath(serverName)
	if err != nil {
		return "", fmt.Errorf("there is no %s beside %s or in the PATH; `make build` in a checkout of BuildIt builds both", serverName, self)
	}
	return path, nil
}
