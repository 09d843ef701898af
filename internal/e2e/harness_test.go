package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/repository/gittest"
)

// bin is the folder of the three programs, as `make build` lays them out.
var bin string

func TestMain(m *testing.M) { os.Exit(build(m)) }

func build(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "buildit-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	bin = dir
	for name, from := range map[string]string{"buildit": "cmd/buildit", "buildit-server": "cmd/buildit-server", "buildit-runner": "runner-image"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name), "github.com/buildit-dev/buildit/"+from)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build of %s: %v\n%s", name, err, out)
			return 1
		}
	}
	return m.Run()
}

// site is a running platform, and who uses it.
type site struct {
	t     *testing.T
	dir   string // where its user works
	data  string
	url   string
	token string
	cmd   *exec.Cmd
	log   *output
}

// output collects what a process prints.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// up starts the platform on an empty data folder, until the test ends.
func up(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	s.data = filepath.Join(s.dir, "data")
	s.start()
	t.Cleanup(s.stop)
	return s
}

// start runs `buildit up` and waits until it has said where it listens.
func (s *site) start() {
	s.t.Helper()
	s.cmd = exec.Command(filepath.Join(bin, "buildit"), "up", "--data", s.data, "--listen", "127.0.0.1:0")
	s.cmd.Dir, s.cmd.Env, s.log = s.dir, s.environment(), &output{}
	s.cmd.Stderr = s.log
	said, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	for lines := bufio.NewScanner(said); lines.Scan(); {
		if _, at, ok := strings.Cut(lines.Text(), "listening"); ok {
			s.url = strings.TrimSpace(at)
		}
		if strings.Contains(lines.Text(), "runner classes") {
			break
		}
	}
	token, err := os.ReadFile(filepath.Join(s.data, "token"))
	if s.url == "" || err != nil {
		s.t.Fatalf("the platform did not start: %v\n%s", err, s.log)
	}
	s.token = strings.TrimSpace(string(token))
}

// stop ends the platform as its terminal does.
func (s *site) stop() {
	if s.cmd == nil {
		return
	}
	err := s.cmd.Process.Signal(syscall.SIGTERM)
	if err := errors.Join(err, s.cmd.Wait()); err != nil {
		s.t.Errorf("the platform ended with %v\n%s", err, s.log)
	}
	s.cmd = nil
}

func (s *site) environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "BUILDIT_URL=" + s.url, "BUILDIT_TOKEN=" + s.token}
}

// result is what a command of the user did.
type result struct {
	out, err string
	code     int
}

// buildit runs the command line as the user.
func (s *site) buildit(args ...string) result {
	s.t.Helper()
	return s.with(nil, args...)
}

// with runs it with other environment variables.
func (s *site) with(env []string, args ...string) result {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(bin, "buildit"), args...)
	cmd.Dir, cmd.Env = s.dir, append(s.environment(), env...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return result{out.String(), complaint.String(), cmd.ProcessState.ExitCode()}
}

// ok runs a command that must succeed, and returns what it printed.
func (s *site) ok(args ...string) string {
	s.t.Helper()
	r := s.buildit(args...)
	if r.code != 0 {
		s.t.Fatalf("buildit %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r.out
}

// refuses runs a command that must fail with a code, and say so in these words.
func (s *site) refuses(code int, words string, args ...string) {
	s.t.Helper()
	r := s.buildit(args...)
	if r.code != code || !strings.Contains(r.err, words) {
		s.t.Errorf("buildit %s: exit code %d, want %d and %q\n%s%s", strings.Join(args, " "), r.code, code, words, r.out, r.err)
	}
}

// run is what the tests read of one.
type run struct {
	ID, Status, Event, Branch, Tag, Commit, Reason, Why, Message, Trust, Subject string
	Stages                                                                       []struct{ Name, Status, Reason, Why string }
	Problems                                                                     []struct {
		File, Code   string
		Line, Column int
	}
}

func (r run) final() bool {
	return r.Status != "created" && r.Status != "queued" && r.Status != "running" && r.Status != "canceling"
}

func (r run) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s%s %.7s %s %s", r.Event, r.Branch, r.Tag, r.Commit, r.Status, r.Reason))
}

// runs lists the runs of a repository, the oldest first.
func (s *site) runs(repo string) []run {
	s.t.Helper()
	var list []run
	s.decode(s.ok("runs", "--repo", repo, "--limit", "1000", "--json"), &list)
	for i, j := 0, len(list)-1; i < j; i, j = i+1, j-1 {
		list[i], list[j] = list[j], list[i]
	}
	return list
}

func (s *site) decode(text string, value any) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(text), value); err != nil {
		s.t.Fatalf("%v in %s", err, text)
	}
}

const patience = 60 * time.Second // for whatever is awaited, on a busy machine

// await asks until it is so.
func (s *site) await(what string, so func() bool) {
	s.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(patience); !so(); <-tick.C {
		if time.Now().After(until) {
			s.t.Fatalf("%s: not within %s\n%s", what, patience, s.log)
		}
	}
}

// over waits until every run that a repository has is final. The reconciler may add
// more at any time.
func (s *site) over(repo string) []run {
	s.t.Helper()
	var list []run
	s.await("the runs of "+repo+" have ended", func() bool {
		list = s.runs(repo)
		return !slices.ContainsFunc(list, func(r run) bool { return !r.final() })
	})
	return list
}

// ended waits until a repository has so many runs, all of them final.
func (s *site) ended(repo string, count int) []run {
	s.t.Helper()
	var list []run
	s.await(fmt.Sprintf("%d runs of %s have ended", count, repo), func() bool {
		list = s.runs(repo)
		done := 0
		for _, r := range list {
			if r.final() {
				done++
			}
		}
		return len(list) >= count && done == len(list)
	})
	if len(list) != count {
		s.t.Errorf("%d runs of %s, want %d: %v", len(list), repo, count, list)
	}
	return list
}

const hello = `pipeline "shop"
stage "test" {
    run "echo hello from $BUILDIT_BRANCH"
}
`

// connect makes a repository with one commit on a git server, and connects it.
func (s *site) connect(server *gittest.Server, name string, flags ...string) *gittest.Tree {
	s.t.Helper()
	tree := server.New(s.t, name)
	tree.Commit("first", ".buildit.kdl", hello)
	tree.Push()
	s.ok(append([]string{"repo", "connect", tree.URL, "--name", filepath.Base(name)}, flags...)...)
	return tree
}

// write makes a file of the user.
func (s *site) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// read reads a stream to its end.
func read(t *testing.T, body io.ReadCloser) string {
	t.Helper()
	text, err := io.ReadAll(body)
	if err := errors.Join(err, body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(text)
}
