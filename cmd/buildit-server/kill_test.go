package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/buildit-dev/buildit/internal/repository/gittest"
	"github.com/buildit-dev/buildit/internal/supervisor/proctable"
)

// BUILDIT_TORTURE is how long the server is killed again and again, such as 2m, and
// BUILDIT_TORTURE_SEED which moments that is at.
const (
	tortureTime = "BUILDIT_TORTURE"
	tortureSeed = "BUILDIT_TORTURE_SEED"
)

const (
	runsInFlight    = 20
	killFor         = 4 * time.Second // without BUILDIT_TORTURE
	supervisorKills = 2               // as often as a stage is repeated for our own failures
	endWithin       = 90 * time.Second
)

// build builds the server and the supervisor into a folder of the test's own.
func build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, source := range map[string]string{"buildit-server": ".", runnerName: "../../runner-image"} {
		program := exec.Command("go", "build", "-o", filepath.Join(dir, name), source)
		if out, err := program.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v: %s", name, err, out)
		}
	}
	return dir
}

// kinds are the pipelines of the runs in flight. %s is the folder in which each
// attempt of a stage notes that its commands have run: outside of every workspace.
var kinds = []struct{ file, status, stages string }{
	{
		file: `pipeline "diamond"
stage "a" { artifact "bin" path="out/*"; run "` + note + `mkdir out; seq 1 2000 | tee out/numbers"; }
stage "b" needs="a" { fetch "bin" to="in"; run "` + note + `sleep 1.2; sum in/out/numbers; test $(wc -l < in/out/numbers) = 2000"; }
stage "c" needs="a" { fetch "bin" to="in"; run "` + note + `seq 1 3000; sleep 0.6; seq 3001 5000"; }
stage "d" { needs "b" "c"; run "` + note + `"; }
`,
		status: "succeeded", stages: "a succeeded, b succeeded, c succeeded, d succeeded",
	},
	{
		file: `pipeline "matrix"
stage "m" { matrix { v "1" "2" "3"; }; run "` + note + `sleep 0.$MATRIX_V; sleep 0.3"; }
stage "z" needs="m" { run "` + note + `"; }
`,
		status: "succeeded", stages: "m (1) succeeded, m (2) succeeded, m (3) succeeded, z succeeded",
	},
	{
		file: `pipeline "failing"
stage "bad" { run "` + note + `sleep 0.8; exit 3"; }
stage "soft" { allow-failure; run "` + note + `exit 4"; }
stage "after" needs="bad" { run "` + note + `"; }
stage "alarm" { needs "bad" on="failed"; run "` + note + `"; }
stage "next" { needs "soft" "alarm"; run "` + note + `"; }
`,
		status: "failed", stages: "bad failed, soft allowed, after skipped, alarm succeeded, next succeeded",
	},
	{
		file: `pipeline "chain"
stage "one" { run "` + note + `sleep 0.9"; }
stage "two" needs="one" { run "` + note + `sleep 1.3"; }
stage "three" needs="two" { run "` + note + `"; }
`,
		status: "succeeded", stages: "one succeeded, two succeeded, three succeeded",
	},
	{
		file: `pipeline "endless"
stage "long" { run "` + note + `sleep 600 & sleep 600"; }
stage "never" needs="long" { run "` + note + `"; }
`,
		status: "canceled", stages: "long canceled, never canceled",
	},
}

// endless is the kind that does not end by itself: it is canceled.
const endless = 4

// note appends a line to the attempt's file, so that commands which run twice in one
// attempt make two.
const note = `echo ran >> %[1]s/$BUILDIT_RUN_ID-$BUILDIT_STAGE_KEY-$BUILDIT_STAGE_ATTEMPT; `

// machine is one machine with a server that dies, its repository, and what its
// stages have noted.
type machine struct {
	t              *testing.T
	random         *rand.Rand
	programs, data string
	notes          string
	url, token     string
	server         *exec.Cmd
	log            *os.File
	kills          int
	lost, again    int             // supervisors that were killed, attempts that were made again
	answers, steps []time.Duration // from each start: until it answers, until a stage's commands begin
}

// runView is what the API tells of a run.
type runView struct {
	ID     string `json:"id"`
	Status string `json:"status"`
	Why    string `json:"why"`
	Stages []struct {
		Key     string `json:"key"`
		Name    string `json:"name"`
		Status  string `json:"status"`
		Reason  string `json:"reason"`
		Why     string `json:"why"`
		Attempt int    `json:"attempt"`
	} `json:"stages"`
}

// TestKillAfterEveryWriteOfARun kills the real server, and some of its supervisors,
// at random moments while runs are in flight, starts it again at once, and wants the
// end that an undisturbed machine would have reached, with nothing done twice.
func TestKillAfterEveryWriteOfARun(t *testing.T) {
	if testing.Short() {
		t.Skip("kills real processes for some seconds")
	}
	t.Parallel()
	m := newMachine(t)
	ids := m.beginRuns()
	m.killForAWhile()
	for i := endless; i < len(ids); i += len(kinds) {
		m.must(http.MethodPost, "/runs/"+ids[i]+"/cancel", "", map[string]any{}, nil)
		m.restart()
	}
	for i, id := range ids {
		m.checkRun(m.awaitFinal(id), i%len(kinds))
	}
	m.checkNotes()
	m.stopServer()
	m.checkNothingIsLeft()
	t.Logf("%d kills of the server, %d of supervisors, %d attempts made again; it answers again after %s (median of %d), and begins the next commands after %s (median of %d)",
		m.kills, m.lost, m.again, median(m.answers), len(m.answers), median(m.steps), len(m.steps))
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(tortureSeed); text != "" {
		given, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seed = given
	}
	t.Logf("%s=%d", tortureSeed, seed)
	dir := build(t)
	listener := ownPort(t)
	m := &machine{
		t: t, random: rand.New(rand.NewPCG(seed, 0)), programs: dir, notes: t.TempDir(),
		data: filepath.Join(t.TempDir(), "data"), url: link(listener.Addr()),
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	var err error
	if m.log, err = os.Create(filepath.Join(t.TempDir(), "server.log")); err != nil {
		t.Fatal(err)
	}
	m.startServer()
	t.Cleanup(m.cleanUp)
	token, err := os.ReadFile(filepath.Join(m.data, "token"))
	if err != nil {
		t.Fatal(err)
	}
	m.token = strings.TrimSpace(string(token))
	return m
}

// ownPort takes a port below those that the kernel gives to outgoing connections:
// one of them must not take it while the server is down.
func ownPort(t *testing.T) net.Listener {
	t.Helper()
	for range 100 {
		if listener, err := listen(fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(10000))); err == nil {
			return listener
		}
	}
	t.Fatal("no port between 20000 and 30000 is free")
	return nil
}

func (m *machine) startServer() {
	m.t.Helper()
	m.server = exec.Command(filepath.Join(m.programs, "buildit-server"), "--listen", strings.TrimPrefix(m.url, "http://"), "--data", m.data)
	m.server.Stdout, m.server.Stderr = m.log, m.log
	began := time.Now()
	if err := m.server.Start(); err != nil {
		m.t.Fatal(err)
	}
	if err := awaitHealth(m.url + "/healthz"); err != nil {
		m.t.Fatal(err)
	}
	m.answers = append(m.answers, time.Since(began))
}

// cleanUp ends what a test that failed has left, and shows the server's log then.
func (m *machine) cleanUp() {
	if m.server != nil {
		m.killServer()
	}
	if m.t.Failed() {
		text, err := os.ReadFile(m.log.Name())
		m.t.Logf("the server's log (%v):\n%s", err, text[max(0, len(text)-6000):])
	}
	if err := m.log.Close(); err != nil {
		m.t.Error(err)
	}
}

func (m *machine) killServer() {
	m.t.Helper()
	if err := m.server.Process.Kill(); err != nil {
		m.t.Fatal(err)
	}
	var killed *exec.ExitError
	if err := m.server.Wait(); err != nil && !errors.As(err, &killed) {
		m.t.Fatal(err)
	}
	m.server = nil
}

func (m *machine) stopServer() {
	m.t.Helper()
	if err := m.server.Process.Signal(syscall.SIGTERM); err != nil {
		m.t.Fatal(err)
	}
	if err := m.server.Wait(); err != nil {
		m.t.Errorf("the server ended with %v", err)
	}
	m.server = nil
}

// beginRuns connects a repository with all kinds and asks for the runs, some of
// them again and again across a kill.
func (m *machine) beginRuns() []string {
	m.t.Helper()
	tree := gittest.Start(m.t, gittest.Options{}).New(m.t, "shop")
	var files []string
	for i, kind := range kinds {
		files = append(files, fileOf(i), fmt.Sprintf(kind.file, m.notes))
	}
	tree.Commit("all kinds", files...)
	tree.Push()
	m.must(http.MethodPost, "/repositories", "connect", map[string]any{"name": "shop", "url": tree.URL}, nil)
	ids := make([]string, runsInFlight)
	for i := range ids {
		if i == runsInFlight/2 {
			m.restart()
		}
		var started struct {
			ID string `json:"id"`
		}
		m.must(http.MethodPost, "/runs", fmt.Sprintf("run-%d", i), map[string]any{"repository": "shop", "file": fileOf(i % len(kinds))}, &started)
		ids[i] = started.ID
	}
	return ids
}

func fileOf(kind int) string {
	if kind == 0 {
		return ".buildit.kdl"
	}
	return fmt.Sprintf(".buildit/kind%d.kdl", kind)
}

func (m *machine) restart() {
	m.t.Helper()
	m.killServer()
	m.kills++
	m.startServer()
}

// killForAWhile kills the server at random moments, and a few supervisors.
func (m *machine) killForAWhile() {
	m.t.Helper()
	whole := killFor
	if text := os.Getenv(tortureTime); text != "" {
		var err error
		if whole, err = time.ParseDuration(text); err != nil {
			m.t.Fatal(err)
		}
	}
	supervisors := supervisorKills
	for until := time.Now().Add(whole); time.Now().Before(until); {
		began := time.Now()
		moment := time.NewTimer(time.Duration(m.random.Int64N(int64(600 * time.Millisecond))))
		m.awaitStep(began, moment.C)
		if supervisors > 0 && m.random.IntN(2) == 0 && m.killSupervisor() {
			supervisors--
			m.lost++
		}
		m.restart()
	}
}

// awaitStep waits for the moment of the next kill, and measures meanwhile when the
// first commands begin.
func (m *machine) awaitStep(began time.Time, moment <-chan time.Time) {
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	before, seen := len(m.noted()), false
	for {
		select {
		case <-moment:
			return
		case <-look.C:
			if !seen && len(m.noted()) > before {
				seen = true
				m.steps = append(m.steps, time.Since(began)+m.answers[len(m.answers)-1])
			}
		}
	}
}

func (m *machine) noted() []os.DirEntry {
	m.t.Helper()
	entries, err := os.ReadDir(m.notes)
	if err != nil {
		m.t.Fatal(err)
	}
	return entries
}

// killSupervisor kills one that has commands running, of a run that is not canceled
// in the end.
func (m *machine) killSupervisor() bool {
	m.t.Helper()
	all := proctable.All()
	m.random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, command := range all {
		i := slices.IndexFunc(all, func(p proctable.Process) bool { return p.PID == command.Session })
		if i < 0 || command.PID == command.Session || !m.isSupervisor(all[i]) {
			continue
		}
		environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", command.PID))
		if err == nil && !bytes.Contains(environment, []byte("BUILDIT_PIPELINE=endless")) {
			return syscall.Kill(command.Session, syscall.SIGKILL) == nil
		}
	}
	return false
}

// isSupervisor tells whether a process is a supervisor of this machine's tasks.
func (m *machine) isSupervisor(p proctable.Process) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.PID))
	cwd, cwdErr := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.PID))
	return err == nil && cwdErr == nil && exe == filepath.Join(m.programs, runnerName) && strings.HasPrefix(cwd, m.data)
}

// awaitFinal asks until the run has ended.
func (m *machine) awaitFinal(id string) runView {
	m.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(endWithin); ; <-tick.C {
		var run runView
		m.must(http.MethodGet, "/runs/"+id, "", nil, &run)
		if slices.Contains([]string{"succeeded", "failed", "errored", "canceled", "timed_out", "skipped"}, run.Status) {
			return run
		}
		if time.Now().After(until) {
			m.t.Fatalf("run %s does not end: %+v", id, run)
		}
	}
}

// checkRun compares a run with what its pipeline says, and reads what it left.
func (m *machine) checkRun(run runView, kind int) {
	m.t.Helper()
	var stages []string
	for _, st := range run.Stages {
		stages = append(stages, st.Name+" "+st.Status)
		m.again += max(st.Attempt-1, 0)
	}
	if got := strings.Join(stages, ", "); run.Status != kinds[kind].status || got != kinds[kind].stages {
		m.t.Errorf("run %s is %s: %s (%s)\nwant %s: %s\n%+v", run.ID, run.Status, got, run.Why, kinds[kind].status, kinds[kind].stages, run.Stages)
		return
	}
	if kind != 0 {
		return
	}
	for name, lines := range map[int]int{0: 2000, 2: 5000} { // behind what the supervisor says of source and artifacts
		if got := string(m.read("/runs/" + run.ID + "/stages/" + run.Stages[name].Key + "/log")); !strings.Contains(got, "\n"+numbers(lines)) {
			m.t.Errorf("run %s: the log of %s has %d bytes, want %d", run.ID, run.Stages[name].Name, len(got), len(numbers(lines)))
		}
	}
	if got := m.read("/runs/" + run.ID + "/artifacts/bin"); len(got) == 0 {
		m.t.Errorf("run %s: the artifact is empty", run.ID)
	}
}

func numbers(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintln(&text, i+1)
	}
	return text.String()
}

// checkNotes wants one line of each attempt.
func (m *machine) checkNotes() {
	m.t.Helper()
	for _, entry := range m.noted() {
		text, err := os.ReadFile(filepath.Join(m.notes, entry.Name()))
		if err != nil {
			m.t.Fatal(err)
		}
		if string(text) != "ran\n" {
			m.t.Errorf("the commands of %s ran %d times", entry.Name(), bytes.Count(text, []byte("\n")))
		}
	}
}

// checkNothingIsLeft wants no supervisor and no command to outlive the runs.
func (m *machine) checkNothingIsLeft() {
	m.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var left []string
	for until := time.Now().Add(5 * time.Second); time.Now().Before(until); <-tick.C {
		if left = m.leftOver(); len(left) == 0 {
			return
		}
	}
	m.t.Errorf("processes are left: %v", left)
}

// leftOver are the processes whose folder is in the data folder.
func (m *machine) leftOver() []string {
	var left []string
	for _, p := range proctable.All() {
		if cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", p.PID)); err == nil && strings.HasPrefix(cwd, m.data) {
			left = append(left, fmt.Sprintf("%d in %s", p.PID, cwd))
		}
	}
	return left
}

// must makes an API call that a server which comes back answers.
func (m *machine) must(method, path, key string, in, out any) {
	m.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		m.t.Fatal(err)
	}
	text := m.call(method, path, key, body)
	if out == nil {
		return
	}
	if err := json.Unmarshal(text, out); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) read(path string) []byte {
	m.t.Helper()
	return m.call(http.MethodGet, path, "", nil)
}

func (m *machine) call(method, path, key string, body []byte) []byte {
	m.t.Helper()
	if method == http.MethodGet {
		body = nil
	}
	r, err := http.NewRequestWithContext(m.t.Context(), method, m.url+"/api/v1/orgs/default"+path, bytes.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+m.token)
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		m.t.Fatal(err)
	}
	text, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		m.t.Fatal(err)
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		m.t.Fatalf("%s %s: %s: %s", method, path, answer.Status, text)
	}
	return text
}

func median(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(all))[len(all)/2].Round(time.Millisecond)
}
