// Package gittest is a real git server for tests and demonstrations: git's own
// http-backend behind net/http, on loopback, and working trees that push to it
// with the real git.
package gittest

import (
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Options change how a server behaves.
type Options struct {
	// Token, if set, is the password that every request must bring; any user will do.
	Token string
	// ReadOnly refuses pushes over HTTP.
	ReadOnly bool
	// Log takes what git complains of; nil drops it.
	Log io.Writer
}

// Handler serves the bare repositories under root over smart HTTP, as
// /<name>.git. Whoever can reach it may push, unless Options say otherwise.
func Handler(root string, options Options) (http.Handler, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	folder, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		return nil, errors.Join(errors.New("git is not installed"), err)
	}
	if options.Log == nil {
		options.Log = io.Discard
	}
	backend := &cgi.Handler{
		Stderr: options.Log,
		Path: filepath.Join(strings.TrimSpace(string(folder)), "git-http-backend"),
		Root: "/",
		Env: []string{
			"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "HOME=" + root,
			"GIT_CONFIG_COUNT=2",
			"GIT_CONFIG_KEY_0=http.receivepack", "GIT_CONFIG_VALUE_0=" + map[bool]string{true: "false", false: "true"}[options.ReadOnly],
			"GIT_CONFIG_KEY_1=safe.directory", "GIT_CONFIG_VALUE_1=*",
		},
		InheritEnv: []string{"PATH"},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); options.Token != "" && subtle.ConstantTimeCompare([]byte(password), []byte(options.Token)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}), nil
}
