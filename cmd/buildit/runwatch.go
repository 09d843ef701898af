package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/buildit-dev/buildit/internal/pipeline/workspace"
)

// watchTree runs the pipeline, and again whenever files of the tree have changed;
// what is under way then is canceled first. It ends with the interrupt.
func watchTree(ctx context.Context, env *environment, flags runFlags, root string, git bool, before *earlierRun) int {
	watch, err := workspace.NewWatch(ctx, root, git)
	if err != nil {
		fmt.Fprintln(env.stderr, "buildit run: the tree cannot be watched:", err)
		return exitError
	}
	defer watch.Close()
	for {
		changed := make(chan lookout, 1)
		run, cancel := context.WithCancel(ctx)
		go func() {
			files, err := watch.Next(ctx)
			changed <- lookout{files, err}
			cancel()
		}()
		runOnce(run, env, flags, root, git, before)
		if ctx.Err() == nil && run.Err() == nil {
			sayWatching(env.stdout, flags.json, watch.Files())
		}
		next := <-changed
		cancel()
		switch {
		case ctx.Err() != nil:
			return exitInterrupted
		case next.err != nil:
			fmt.Fprintln(env.stderr, "buildit run: the tree cannot be watched any more:", next.err)
			return exitError
		}
		sayChanged(env.stdout, flags.json, next.files)
	}
}

// lookout is what a watch has seen.
type lookout struct {
	files []string
	err   error
}

func sayWatching(out io.Writer, asJSON bool, files int) {
	if asJSON {
		writeObject(out, map[string]any{"event": "watching", "files": files})
		return
	}
	fmt.Fprintf(out, "\nwatching %d %s; Ctrl-C ends it\n", files, plural(files, "file"))
}

func sayChanged(out io.Writer, asJSON bool, files []string) {
	if asJSON {
		writeObject(out, map[string]any{"event": "changed", "files": files})
		return
	}
	fmt.Fprintf(out, "\n%s changed: %s\n", time.Now().Format(time.TimeOnly), fileList(files))
}
