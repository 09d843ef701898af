package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/pipeline"
	"github.com/buildit-dev/buildit/internal/pipeline/language"
	"github.com/buildit-dev/buildit/internal/pipeline/workspace"
	"github.com/buildit-dev/buildit/internal/problem"
	"github.com/buildit-dev/buildit/internal/supervisor"
	"github.com/buildit-dev/buildit/internal/wiring/localrun"
)

func init() {
	register(verb{
		name: "run", summary: "run the pipeline of this working tree, here and without a server",
		usage: "[STAGE…] [--with-deps] [--reuse] [--watch] [--fresh] [--from RUN] [--file FILE] [--event EVENT] [--branch NAME] [--tag NAME] " +
			"[--param NAME=VALUE]… [--secret NAME]… [--secret-file FILE] [--in-place] [--yes] [--json] [--server URL] [--org ORG]",
		example: "buildit run test --with-deps --reuse --secret NPM_TOKEN",
		flags: []string{
			"--with-deps", "--reuse", "--watch", "--fresh", "--from", "--file", "--event", "--branch", "--tag", "--param",
			"--secret", "--secret-file", "--in-place", "--yes", "--json", "--server", "--org",
		},
		run: runHere,
	})
}

// runFlags are what a person asks of `buildit run`.
type runFlags struct {
	stages             []string
	file               string
	event, branch, tag string
	params             map[string]string
	secrets            []string
	secretFile         string
	inPlace, yes, json bool
	withDeps           bool // named stages run with what they need
	reuse, fresh       bool
	watch              bool
	from, server, org  string
}

// collectAt lets the heap grow to five times what is in use before it is
// collected: a short run needs no collection at all, a long one has little.
const collectAt = 400 // percent

// runHere runs the pipeline of the working directory, once or at every change.
func runHere(ctx context.Context, env *environment, args []string) int {
	debug.SetGCPercent(collectAt)
	flags, err := parseRunFlags(args)
	if err != nil {
		return verbs["run"].usageError(env, "%v", err)
	}
	root, git := workspace.Root(env.dir)
	var before *earlierRun
	if flags.from != "" {
		if before, err = findEarlierRun(ctx, env, &flags, root, git); err != nil {
			return finish(env, "run", err)
		}
	}
	if flags.watch {
		return watchTree(ctx, env, flags, root, git, before)
	}
	return runOnce(ctx, env, flags, root, git, before)
}

// runOnce runs the pipeline of the tree at root. before is the run that it repeats,
// nil for none.
func runOnce(ctx context.Context, env *environment, flags runFlags, root string, git bool, before *earlierRun) int {
	path, err := pipelineToRun(root, env.dir, flags.file)
	if err != nil {
		return verbs["run"].usageError(env, "%v", err)
	}
	file, diagnostics := language.Load(os.DirFS(root), path)
	if file == nil {
		return refuseFile(env, flags, root, diagnostics)
	}
	secrets, err := readSecrets(env, flags, root, git)
	if err != nil {
		return verbs["run"].usageError(env, "%v", err)
	}
	trigger := localTrigger(root, git, path, flags, env.getenv)
	options := pipeline.Options{Only: flags.stages, Alone: len(flags.stages) > 0 && !flags.withDeps, Local: true}
	config := localrun.Config{Root: root, Git: git, InPlace: flags.inPlace, File: file, Reuse: flags.reuse, Secrets: secrets}
	before.apply(&trigger, &options, &config)
	if asksForFiles(file) && !trigger.FilesKnown {
		trigger.Changed, trigger.FilesKnown = changedFiles(root, trigger.DefaultBranch)
	}
	if waits := pipeline.Approvals(file, trigger, options); len(waits) > 0 {
		if code := askApprovals(env, flags, waits); code != exitDone {
			return code
		}
		options.Approve = true
	}
	if err := supervisor.Adopt(); err != nil {
		fmt.Fprintln(env.stderr, "buildit run: what leaves its process group will outlive the run:", err)
	}
	show := newRunShow(env, flags, file)
	config.Trigger, config.Options, config.Env = trigger, options, withoutSecrets(os.Environ(), secrets)
	config.Log, config.Show = slog.New(slog.NewTextHandler(env.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})), show
	result, err := localrun.Do(ctx, config)
	if err = errors.Join(err, supervisor.EndAdopted()); err != nil {
		fmt.Fprintln(env.stderr, "buildit run:", err)
		if err := show.broken(err); err != nil {
			fmt.Fprintln(env.stderr, "buildit run: the result could not be written:", err)
		}
		return exitError
	}
	if err := show.end(result); err != nil {
		fmt.Fprintln(env.stderr, "buildit run: the result could not be written:", err)
		return exitError
	}
	return exitOfRun(ctx, result.Run)
}

// exitOfRun is the exit code of a run that has ended.
func exitOfRun(ctx context.Context, run pipeline.Run) int {
	switch run.Status {
	case pipeline.Succeeded, pipeline.Skipped:
		return exitDone
	case pipeline.Canceled:
		if ctx.Err() != nil {
			return exitInterrupted
		}
	}
	switch run.Reason {
	case problem.NotAvailable.Type:
		return exitRefused
	case problem.BadConfig.Type, problem.Invalid.Type:
		return exitUsage
	}
	return exitError
}

// pipelineToRun is the path of the pipeline file below root. One that was named
// counts from dir; else it is the nearest .buildit.kdl from dir up to root, else
// the only file of .buildit.
func pipelineToRun(root, dir, named string) (string, error) {
	below := func(file string) (string, error) {
		path, err := filepath.Rel(root, file)
		if err != nil || !filepath.IsLocal(path) {
			return "", fmt.Errorf("%s is not below %s", named, root)
		}
		return filepath.ToSlash(path), nil
	}
	if named != "" {
		file := named
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, named)
		}
		if _, err := os.Stat(file); err != nil {
			return "", fmt.Errorf("there is no file %s", named)
		}
		return below(file)
	}
	for at := dir; ; at = filepath.Dir(at) {
		file := filepath.Join(at, ".buildit.kdl")
		if _, err := os.Stat(file); err == nil {
			return below(file)
		}
		if at == root || at == filepath.Dir(at) {
			break
		}
	}
	files, err := filepath.Glob(filepath.Join(root, ".buildit", "*.kdl"))
	switch {
	case err != nil:
		return "", err
	case len(files) == 1:
		return below(files[0])
	case len(files) > 1:
		return "", fmt.Errorf("there are %d pipelines in .buildit; name one: --file .buildit/%s", len(files), filepath.Base(files[0]))
	}
	return "", errors.New("there is no .buildit.kdl here; write one, or name a file with --file")
}

// refuseFile shows what is wrong with the file: it is a bad one, unless all that
// is wrong is what this version cannot do yet.
func refuseFile(env *environment, flags runFlags, root string, diagnostics []language.Diagnostic) int {
	reason, code := "not-available", exitRefused
	for _, d := range diagnostics {
		if d.Severity == "error" && d.Code != reason {
			reason, code = "config-invalid", exitUsage
			break
		}
	}
	from := *env
	from.dir = root
	var err error
	if !flags.json {
		err = printDiagnostics(&from, nil, diagnostics)
	}
	if err = errors.Join(err, newRunShow(env, flags, nil).invalid(reason, diagnostics)); err != nil {
		fmt.Fprintln(env.stderr, "buildit run: the result could not be written:", err)
	}
	return code
}

// parseRunFlags reads the arguments. A value stands in the next argument, or
// behind =.
func parseRunFlags(args []string) (runFlags, error) {
	f := runFlags{event: "manual", params: map[string]string{}}
	for i := 0; i < len(args); i++ {
		name, value, inline := strings.Cut(args[i], "=")
		if !strings.HasPrefix(name, "-") {
			f.stages = append(f.stages, args[i])
			continue
		}
		set, takes := f.flag(name)
		switch {
		case set == nil:
			return f, unknownFlag(name)
		case takes && !inline && i+1 == len(args):
			return f, fmt.Errorf("%s needs a value", name)
		case takes && !inline:
			i++
			value = args[i]
		case !takes && inline:
			return f, fmt.Errorf("%s takes no value", name)
		}
		if err := set(value); err != nil {
			return f, err
		}
	}
	return f, f.check()
}

// check refuses flags that contradict each other, and fills in what one means for
// another.
func (f *runFlags) check() error {
	switch {
	case f.withDeps && len(f.stages) == 0:
		return errors.New("--with-deps needs the name of a stage; without one the whole pipeline runs")
	case f.reuse && f.fresh:
		return errors.New("--reuse and --fresh contradict each other")
	case f.inPlace && (f.reuse || f.watch):
		return errors.New("--in-place keeps nothing of earlier runs: neither --reuse nor --watch goes with it")
	case f.from != "" && len(f.stages) > 0:
		return errors.New("--from runs the stages that failed and those after them; name no stage")
	case f.from == "" && f.server+f.org != "":
		return errors.New("--server and --org go with --from")
	}
	f.reuse = f.reuse || f.watch && !f.fresh
	return nil
}

// flag finds what an argument sets, and whether it takes a value.
func (f *runFlags) flag(name string) (set func(string) error, takes bool) {
	text := func(into *string) (func(string) error, bool) {
		return func(value string) error { *into = value; return nil }, true
	}
	yes := func(into *bool) (func(string) error, bool) {
		return func(string) error { *into = true; return nil }, false
	}
	switch name {
	case "--file":
		return text(&f.file)
	case "--event":
		return f.setEvent, true
	case "--branch":
		return text(&f.branch)
	case "--tag":
		return text(&f.tag)
	case "--secret-file":
		return text(&f.secretFile)
	case "--in-place":
		return yes(&f.inPlace)
	case "--with-deps":
		return yes(&f.withDeps)
	case "--reuse":
		return yes(&f.reuse)
	case "--fresh":
		return yes(&f.fresh)
	case "--watch":
		return yes(&f.watch)
	case "--from":
		return text(&f.from)
	case "--server":
		return text(&f.server)
	case "--org":
		return text(&f.org)
	case "--yes", "-y":
		return yes(&f.yes)
	case "--json":
		return yes(&f.json)
	case "--secret":
		return func(value string) error { f.secrets = append(f.secrets, value); return nil }, true
	case "--param":
		return func(value string) error {
			key, text, ok := strings.Cut(value, "=")
			if !ok {
				return fmt.Errorf("--param needs NAME=VALUE, not %q", value)
			}
			f.params[key] = text
			return nil
		}, true
	}
	return nil, false
}

// setEvent takes an event of the language.
func (f *runFlags) setEvent(value string) error {
	if value == "pull_request" {
		value = "pull-request" // as the language takes it too
	}
	if !slices.Contains(language.Events, value) {
		return fmt.Errorf("there is no event %q; one of %s", value, strings.Join(language.Events, ", "))
	}
	f.event = value
	return nil
}

func unknownFlag(name string) error {
	if nearest := language.Nearest(name, verbs["run"].flags); nearest != "" {
		return fmt.Errorf("there is no flag %s; did you mean %s?", name, nearest)
	}
	return fmt.Errorf("there is no flag %s", name)
}

// withoutSecrets is the environment that commands inherit: a stage gets the
// secrets that it names, and no other.
func withoutSecrets(environ []string, secrets map[string]string) []string {
	kept := make([]string, 0, len(environ))
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if _, secret := secrets[name]; !secret && !strings.HasPrefix(name, "BUILDIT_") {
			kept = append(kept, entry)
		}
	}
	return kept
}

// askApprovals asks a person about stages that wait for one.
func askApprovals(env *environment, flags runFlags, waits []string) int {
	if flags.yes {
		return exitDone
	}
	stdin, isFile := env.stdin.(*os.File)
	info, err := os.Stdin.Stat()
	if !isFile || stdin != os.Stdin || err != nil || info.Mode()&os.ModeCharDevice == 0 {
		fmt.Fprintf(env.stderr, "buildit run: waits for a person: %s; --yes approves\n", strings.Join(waits, ", "))
		return waitsForPerson(env, flags, waits)
	}
	answers := bufio.NewReader(env.stdin)
	for _, stage := range waits {
		fmt.Fprintf(env.stderr, "Stage %q waits for an approval. Run it? [y/N] ", stage)
		answer, err := answers.ReadString('\n')
		if word := strings.ToLower(strings.TrimSpace(answer)); err != nil || word != "y" && word != "yes" {
			fmt.Fprintf(env.stderr, "buildit run: %q was not approved\n", stage)
			return waitsForPerson(env, flags, waits)
		}
	}
	return exitDone
}

// waitsForPerson is the end of a run that nobody approved: nothing of it began.
func waitsForPerson(env *environment, flags runFlags, waits []string) int {
	if err := newRunShow(env, flags, nil).waits(waits); err != nil {
		fmt.Fprintln(env.stderr, "buildit run: the result could not be written:", err)
	}
	return exitWaits
}
