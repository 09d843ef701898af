package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/buildit-dev/buildit/internal/pipeline/convert"
)

func init() {
	register(verb{
		name: "import", summary: "convert GitHub Actions workflows and CircleCI configurations to pipeline files",
		usage:   "FILE… [--print] [--force] [--json]",
		example: "buildit import .github/workflows/ci.yml\n\n" + importHelp,
		flags:   []string{"--print", "--force", "--json"}, files: true,
		run: importFiles,
	})
}

const importHelp = `One pipeline becomes .buildit.kdl, several become .buildit/NAME.kdl. What is not carried over is
listed as file:line:column with the reason and what to do, and stands as a comment at its place.
Exit codes: 0 everything is carried over; 2 the files are written, and something is not carried over
(also for wrong usage); 1 a file could not be read or written; 4 a file is there already: --force.`

// importFiles converts the files named: exit code 2 says that something of them was
// not carried over.
func importFiles(_ context.Context, env *environment, args []string) int {
	files, flags, err := filesAndFlags(args, "--print", "--force", "--json")
	if err == nil && len(files) == 0 {
		err = errors.New("name a workflow of .github/workflows, or .circleci/config.yml")
	}
	if err != nil {
		return verbs["import"].usageError(env, "%v", err)
	}
	all := convert.Result{Pipelines: []convert.Pipeline{}, Losses: []convert.Loss{}}
	for _, name := range files {
		result, err := importFile(env.dir, name)
		all.Losses = append(all.Losses, result.Losses...)
		if err != nil {
			fmt.Fprintln(env.stderr, "buildit import:", err)
			return exitError
		}
		all.Pipelines = append(all.Pipelines, result.Pipelines...)
	}
	outputs := pipelineOutputs(all.Pipelines)
	code := exitDone
	if all.Lost() > 0 {
		code = exitUsage
	}
	switch {
	case flags["--print"] && !flags["--json"]:
		var text strings.Builder
		for i, o := range outputs {
			if len(outputs) > 1 {
				fmt.Fprintf(&text, "%s// ==== %s\n", strings.Repeat("\n", min(i, 1)), o.path)
			}
			text.WriteString(o.text)
		}
		if done := env.print(text.String()); done != exitDone {
			return done
		}
	case !flags["--print"]:
		if done := writePipelines(env, "import", outputs, flags["--force"]); done != exitDone {
			return done
		}
	}
	if flags["--json"] {
		return printImport(env, all, outputs, code)
	}
	for _, l := range all.Losses {
		fmt.Fprintln(env.stderr, lossLine(l))
	}
	if !flags["--print"] {
		fmt.Fprintf(env.stderr, "%s; %d things not carried over\n", written(outputs), all.Lost())
	}
	return code
}

// lossLine is one loss for a person.
func lossLine(l convert.Loss) string {
	word := "not carried over"
	if l.Kept {
		word = "note"
	}
	line := fmt.Sprintf("%s:%d:%d: %s: %s: %s", l.File, l.Line, l.Column, word, l.What, l.Why)
	if l.Do != "" {
		line += "\n  help: " + l.Do
	}
	return line
}

// importFile converts one file by what it is: CircleCI has a version, GitHub has on.
func importFile(dir, name string) (convert.Result, error) {
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, name)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		return convert.Result{}, err
	}
	return convert.File(filepath.ToSlash(name), source)
}

// output is a pipeline and where it is written.
type output struct{ path, text string }

// pipelineOutputs are the files of pipelines, relative to the working directory.
func pipelineOutputs(pipelines []convert.Pipeline) []output {
	if len(pipelines) == 1 {
		return []output{{".buildit.kdl", pipelines[0].Text}}
	}
	var all []output
	for _, p := range pipelines {
		path := ".buildit/" + p.Name + ".kdl"
		for n := 2; slices.ContainsFunc(all, func(o output) bool { return strings.EqualFold(o.path, path) }); n++ {
			path = fmt.Sprintf(".buildit/%s-%d.kdl", p.Name, n)
		}
		all = append(all, output{path, p.Text})
	}
	return all
}

// writePipelines writes all files or, where one is there already, none.
func writePipelines(env *environment, verb string, outputs []output, force bool) int {
	for _, o := range outputs {
		if _, err := os.Lstat(filepath.Join(env.dir, o.path)); !errors.Is(err, fs.ErrNotExist) && !force {
			fmt.Fprintf(env.stderr, "buildit %s: %s is there already; --force writes over it, --print shows what would be written\n", verb, o.path)
			return exitRefused
		}
	}
	for _, o := range outputs {
		path := filepath.Join(env.dir, o.path)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(o.text), 0o644)
		}
		if err != nil {
			fmt.Fprintf(env.stderr, "buildit %s: %v\n", verb, err)
			return exitError
		}
	}
	return exitDone
}

func written(outputs []output) string {
	var paths []string
	for _, o := range outputs {
		paths = append(paths, o.path)
	}
	return "wrote " + strings.Join(paths, ", ")
}

func printImport(env *environment, all convert.Result, outputs []output, code int) int {
	type file struct {
		convert.Pipeline
		Path string `json:"path"`
		Text string `json:"text"`
	}
	files := []file{}
	for i, o := range outputs {
		files = append(files, file{all.Pipelines[i], o.path, o.text})
	}
	err := json.NewEncoder(env.stdout).Encode(map[string]any{"pipelines": files, "losses": all.Losses, "lost": all.Lost()})
	if err != nil {
		fmt.Fprintln(env.stderr, "buildit import: the result could not be written:", err)
		return exitError
	}
	return code
}

// filesAndFlags separates files from flags without values; what follows -- is a file.
func filesAndFlags(args []string, known ...string) (files []string, flags map[string]bool, err error) {
	flags = map[string]bool{}
	for i, arg := range args {
		switch {
		case arg == "--":
			return append(files, args[i+1:]...), flags, nil
		case slices.Contains(known, arg):
			flags[arg] = true
		case strings.HasPrefix(arg, "-"):
			return nil, nil, fmt.Errorf("there is no flag %s%s", arg, meant(arg, known))
		default:
			files = append(files, arg)
		}
	}
	return files, flags, nil
}
