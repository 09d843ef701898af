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

	"github.com/buildit-dev/buildit/internal/pipeline/language"
)

func init() {
	register(verb{
		name: "validate", summary: "check pipeline files, all mistakes at once",
		usage: "[FILE…] [--json]", example: "buildit validate .buildit.kdl --json",
		flags: []string{"--json"}, files: true,
		run: validate,
	})
}

// validate checks the files named, else those of the working directory: exit code
// 0 valid (with warnings too), 1 errors, 2 usage.
func validate(_ context.Context, env *environment, args []string) int {
	files, asJSON, err := validateArguments(args)
	if err == nil && len(files) == 0 {
		files, err = pipelineFiles(env.dir)
	}
	if err != nil {
		return verbs["validate"].usageError(env, "%v", err)
	}
	diagnostics, valid := []language.Diagnostic{}, []string{}
	for _, name := range files {
		found, err := validateFile(env.dir, name)
		if err != nil {
			return verbs["validate"].usageError(env, "%v", err)
		}
		if !hasErrors(found) {
			valid = append(valid, name)
		}
		diagnostics = append(diagnostics, found...)
	}
	if asJSON {
		err = json.NewEncoder(env.stdout).Encode(map[string]any{"diagnostics": diagnostics})
	} else {
		err = printDiagnostics(env, valid, diagnostics)
	}
	if err != nil {
		fmt.Fprintln(env.stderr, "buildit validate: the result could not be written:", err)
		return exitError
	}
	if len(valid) < len(files) {
		return exitError
	}
	return exitDone
}

// validateArguments separates files from flags; what follows -- is a file.
func validateArguments(args []string) (files []string, asJSON bool, err error) {
	for i, arg := range args {
		switch {
		case arg == "--":
			return append(files, args[i+1:]...), asJSON, nil
		case arg == "--json":
			asJSON = true
		case strings.HasPrefix(arg, "-"):
			return nil, false, fmt.Errorf("there is no flag %s", arg)
		default:
			files = append(files, arg)
		}
	}
	return files, asJSON, nil
}

// pipelineFiles are the pipelines of a folder: its .buildit.kdl and .buildit/*.kdl.
func pipelineFiles(dir string) ([]string, error) {
	var files []string
	if _, err := os.Stat(filepath.Join(dir, ".buildit.kdl")); err == nil {
		files = append(files, ".buildit.kdl")
	}
	more, err := filepath.Glob(filepath.Join(dir, ".buildit", "*.kdl"))
	if err != nil {
		return nil, err
	}
	for _, path := range more {
		files = append(files, filepath.Join(".buildit", filepath.Base(path)))
	}
	if len(files) == 0 {
		return nil, errors.New("there is no .buildit.kdl and no .buildit/*.kdl here; name a file")
	}
	return files, nil
}

// validateFile reads one file as part of its repository, from whose root includes
// count. Diagnostics name files as somebody in dir would.
func validateFile(dir, name string) ([]language.Diagnostic, error) {
	path := name
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, name)
	}
	switch info, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no file %s", name)
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s is a folder; name a file in it", name)
	}
	root := repositoryRoot(filepath.Dir(path))
	inTree, err := filepath.Rel(root, path)
	if err != nil {
		return nil, err
	}
	_, diagnostics := language.Load(os.DirFS(root), filepath.ToSlash(inTree))
	rename := func(file string) string {
		if file == filepath.ToSlash(inTree) {
			return name
		}
		return filepath.Join(strings.TrimSuffix(name, filepath.FromSlash(inTree)), filepath.FromSlash(file))
	}
	for i := range diagnostics {
		d := &diagnostics[i]
		d.File = rename(d.File)
		if d.Fix != nil {
			d.Fix.Range.File = rename(d.Fix.Range.File)
		}
		if d.IncludedFrom != nil {
			from := *d.IncludedFrom
			from.File = rename(from.File)
			d.IncludedFrom = &from
		}
	}
	return diagnostics, nil
}

// repositoryRoot is the nearest folder at or above dir that git made a repository;
// without one it is dir itself, or the folder that .buildit is in.
func repositoryRoot(dir string) string {
	for at := dir; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, ".git")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			break
		}
	}
	if filepath.Base(dir) == ".buildit" {
		return filepath.Dir(dir)
	}
	return dir
}

func hasErrors(diagnostics []language.Diagnostic) bool {
	return slices.ContainsFunc(diagnostics, func(d language.Diagnostic) bool { return d.Severity == "error" })
}

// printDiagnostics writes each diagnostic with its line of source to stderr, and a
// word about each valid file to stdout.
func printDiagnostics(env *environment, valid []string, diagnostics []language.Diagnostic) error {
	sources := map[string][]byte{}
	for _, d := range diagnostics {
		text, read := sources[d.File]
		if !read {
			path := d.File
			if !filepath.IsAbs(path) {
				path = filepath.Join(env.dir, path)
			}
			var err error
			if text, err = os.ReadFile(path); err != nil {
				text = nil // it is what the diagnostic is about, or it went away meanwhile
			}
			sources[d.File] = text
		}
		if _, err := fmt.Fprintln(env.stderr, d.Render(text)); err != nil {
			return err
		}
	}
	for _, name := range valid {
		if _, err := fmt.Fprintf(env.stdout, "%s: valid\n", name); err != nil {
			return err
		}
	}
	return nil
}
