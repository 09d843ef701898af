package localrun

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/pipeline/workspace"
	"github.com/buildit-dev/buildit/internal/supervisor"
)

// inputs is all that a stage is known to depend on: equal inputs, equal result.
// What it reads beyond (the network, the clock, programs of this machine) nobody
// can see, which is why a run reuses only when it is asked to.
type inputs struct {
	V         int
	StageKey  string
	Image     string
	Shell     []string
	Dir       string
	Commands  []supervisor.Command
	Env       map[string]string // what the platform and the file set
	Inherited []string          // what the terminal's environment sets
	Secrets   []supervisor.SecretUse
	Values    map[string]string // of the secrets, each as a keyed hash
	Fetches   []supervisor.Fetch
	Artifacts []supervisor.ArtifactUse
	Outputs   []string
	Timeout   time.Duration
	Idle      time.Duration

	Files     string // digest of the tree, or of its component's part of it; "" for a stage without a checkout
	Pipelines string // of the pipeline files, where the stage or a file speaks of them
	Git       string // of HEAD, refs and index, where the stage or a file asks git for them
}

// inputsVersion changes with what inputs means.
const inputsVersion = 1

func (in inputs) digest() (string, error) {
	text, err := json.Marshal(in)
	if err != nil {
		return "", fmt.Errorf("inputs of a stage: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// passing are variables of the platform that differ from run to run or from commit
// to commit. They count for a stage only if it, or a file of the tree, names them.
var passing = []string{
	"BUILDIT_RUN_ID", "BUILDIT_RUN_NUMBER", "BUILDIT_RUN_ATTEMPT", "BUILDIT_RUN_URL", "BUILDIT_STAGE_ATTEMPT",
	"BUILDIT_SHA", "BUILDIT_SHORT_SHA", "BUILDIT_BASE_SHA", "BUILDIT_REF", "BUILDIT_BRANCH",
	"BUILDIT_COMMIT_MESSAGE", "BUILDIT_COMMIT_AUTHOR", "BUILDIT_COMMIT_TIME",
}

// Words that show in a file, or in the definition of a stage, that more counts than
// the files. Go's compiler stamps programs with the commit.
var (
	gitWords       = []string{"rev-parse", "git describe", "git log", "git show", "git diff", "git status"}
	gitDefinition  = []string{"git ", "go build", "go install", "goreleaser"}
	pipelinesWords = []string{".buildit.kdl", "buildit validate"}
	imageWords     = []string{"$IMAGE", "${IMAGE"}
)

// session are variables that name the terminal and nothing that a program should
// depend on.
var session = []string{
	"_", "SHLVL", "PWD", "OLDPWD", "COLUMNS", "LINES", "WINDOWID", "TTY", "STY", "TMUX", "TMUX_PANE", "TERM", "COLORTERM",
	"TERM_PROGRAM", "TERM_PROGRAM_VERSION", "TERM_SESSION_ID", "DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS",
	"XDG_SESSION_ID", "SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY", "SSH_AUTH_SOCK", "SSH_AGENT_PID", "GPG_TTY", "HISTFILE",
	"VSCODE_IPC_HOOK_CLI", "VSCODE_GIT_IPC_HANDLE",
}

// words are what the tree is searched for.
func words() []string {
	return slices.Concat(passing, gitWords, pipelinesWords, imageWords)
}

// inputsOf puts together what a job depends on.
func (s *supervisors) inputsOf(job supervisor.Job) (inputs, error) {
	in := inputs{
		V: inputsVersion, StageKey: job.StageKey, Image: job.Image, Shell: job.Shell, Dir: job.Dir, Commands: job.Commands,
		Env: maps.Clone(job.Env), Secrets: job.Secrets, Fetches: job.Fetches,
		Artifacts: job.Artifacts, Outputs: job.Outputs, Timeout: job.Timeout, Idle: job.Idle,
	}
	seen, err := s.past.tree(s.componentOf(job))
	if err != nil {
		return in, err
	}
	if job.Source.Name == "" { // without a checkout it sees no file
		seen.Files, seen.Pipelines, seen.Words = "", "", nil
	}
	in.Files = seen.Files
	for _, name := range append([]string{"IMAGE"}, passing...) {
		delete(in.Env, name)
	}
	text, err := json.Marshal(in)
	if err != nil {
		return in, fmt.Errorf("inputs of %s: %w", job.Stage, err)
	}
	definition := string(text)
	names := func(words ...string) bool {
		return slices.ContainsFunc(words, func(word string) bool {
			return seen.Words[word] || strings.Contains(definition, word)
		})
	}
	for _, name := range passing {
		if names(name) {
			in.Env[name] = job.Env[name]
		}
	}
	if names(imageWords...) {
		in.Env["IMAGE"] = job.Env["IMAGE"]
	}
	if names(pipelinesWords...) {
		in.Pipelines = seen.Pipelines
	}
	if names(gitWords...) || slices.ContainsFunc(gitDefinition, func(word string) bool { return strings.Contains(definition, word) }) {
		if in.Git, err = s.pool.GitSum(); err != nil {
			return in, err
		}
	}
	in.Inherited = inherited(s.config.Env)
	in.Values, err = s.secretHashes(job.Secrets)
	return in, err
}

// componentOf is the component of the job's stage, "" for none. The file says that
// what lies outside it, and outside what it uses, is nothing to the stage.
func (s *supervisors) componentOf(job supervisor.Job) string {
	for _, stage := range s.config.File.Stages {
		for _, cell := range stage.Cells() {
			if cell.Key == job.StageKey {
				return stage.Component
			}
		}
	}
	return ""
}

// look digests the tree, or the files that a component is woken by, once.
func (s *supervisors) look(ctx context.Context, component string) (workspace.Sum, error) {
	<-s.opened
	if s.poolErr != nil {
		return workspace.Sum{}, s.poolErr
	}
	if seen, has := s.past.trees.Load(component); has {
		return seen.(workspace.Sum), nil
	}
	var counts func(string) bool
	if component != "" {
		counts = func(name string) bool {
			return s.config.File.ComponentChanged(component, language.Facts{Changed: []string{name}, FilesKnown: true})
		}
	}
	sum, err := s.pool.Sum(ctx, words(), counts)
	if err == nil {
		s.past.trees.Store(component, sum)
	}
	return sum, err
}

// inherited is the terminal's environment without what names the terminal.
func inherited(environ []string) []string {
	var kept []string
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if !slices.Contains(session, name) && !strings.HasPrefix(name, "LC_TERMINAL") {
			kept = append(kept, entry)
		}
	}
	slices.Sort(kept)
	return kept
}

// secretHashes are keyed with what only this tree has, so that a record betrays no
// value, however easy it is to guess.
func (s *supervisors) secretHashes(uses []supervisor.SecretUse) (map[string]string, error) {
	if len(uses) == 0 {
		return nil, nil
	}
	key, err := secretKey(filepath.Join(s.data.dir, "reuse"))
	if err != nil {
		return nil, err
	}
	hashes := make(map[string]string, len(uses))
	for _, use := range uses {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(s.config.Secrets[use.Name]))
		hashes[use.Name] = hex.EncodeToString(mac.Sum(nil))
	}
	return hashes, nil
}

const secretKeyBytes = 32

// secretKey reads the key, or makes one. Who holds the folder's lock is alone here.
func secretKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, "secret.key")
	key, err := os.ReadFile(path)
	switch {
	case err == nil && len(key) == secretKeyBytes:
		return key, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	key = make([]byte, secretKeyBytes)
	rand.Read(key) // never fails
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return key, writeWhole(path, 0o600, key)
}
