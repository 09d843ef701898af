package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/buildit-dev/buildit/internal/pipeline/draft"
)

func init() {
	register(verb{
		name: "init", summary: "write a .buildit.kdl for what this tree holds",
		usage:   "[--print] [--force] [--json]",
		example: "buildit init --print",
		flags:   []string{"--print", "--force", "--json"},
		run:     initPipeline,
	})
}

// initPipeline looks at the working directory and writes its first pipeline.
func initPipeline(_ context.Context, env *environment, args []string) int {
	files, flags, err := filesAndFlags(args, "--print", "--force", "--json")
	if err == nil && len(files) > 0 {
		err = errors.New("it looks at the working directory and takes no file")
	}
	if err != nil {
		return verbs["init"].usageError(env, "%v", err)
	}
	text, findings, err := draft.Draft(os.DirFS(env.dir), filepath.Base(env.dir))
	switch {
	case err != nil:
		fmt.Fprintln(env.stderr, "buildit init:", err)
		return exitError
	case text == "":
		fmt.Fprintln(env.stderr, "buildit init: nothing here is known: no go.mod, package.json with a test or build script, pyproject.toml, requirements.txt,\nCargo.toml, pom.xml, build.gradle or Dockerfile. `buildit help validate` shows how a file is checked; buildit import converts workflows.")
		return exitError
	}
	outputs := []output{{".buildit.kdl", text}}
	if !flags["--print"] {
		if code := writePipelines(env, "init", outputs, flags["--force"]); code != exitDone {
			return code
		}
	}
	if flags["--json"] {
		err := json.NewEncoder(env.stdout).Encode(map[string]any{"path": ".buildit.kdl", "written": !flags["--print"], "found": findings, "text": text})
		if err != nil {
			fmt.Fprintln(env.stderr, "buildit init: the result could not be written:", err)
			return exitError
		}
		return exitDone
	}
	for _, f := range findings {
		fmt.Fprintf(env.stderr, "%s: %s\n", f.Path, f.Reason)
	}
	if flags["--print"] {
		return env.print(text)
	}
	return env.print("wrote .buildit.kdl; buildit run tries it\n")
}
