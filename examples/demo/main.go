// Command demo shows BuildIt to somebody who has just cloned it: it starts the
// platform, serves examples/shop from a real git server, connects it, pushes a
// commit, follows the run to its end, and leaves platform and git server up.
//
// It does nothing that a person could not type: every step is a command of git or
// of bin/buildit, and is printed before it runs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"
)

const (
	platformURL = "http://127.0.0.1:8080"
	gitAddress  = "127.0.0.1:8090"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) == 3 && os.Args[1] == "git-server" {
		exit(serveGit(ctx, os.Args[2], gitAddress))
	}
	root, err := os.Getwd()
	if err != nil {
		exit(err)
	}
	exit(newDemo(root).run(ctx))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// demo is the folders of one demonstration, all below .buildit, which git ignores.
type demo struct {
	root  string // of the checkout of BuildIt
	cli   string // bin/buildit
	dir   string // .buildit/demo
	bare  string // the repository that the git server serves
	clone string // the working tree of somebody who works on the shop
	start time.Time
}

func newDemo(root string) *demo {
	dir := filepath.Join(root, ".buildit", "demo")
	return &demo{
		root:  root,
		cli:   filepath.Join(root, "bin", "buildit"),
		dir:   dir,
		bare:  filepath.Join(dir, "git", "shop.git"),
		clone: filepath.Join(dir, "shop"),
		start: time.Now(),
	}
}

func (d *demo) run(ctx context.Context) error {
	if _, err := os.Stat(d.cli); err != nil {
		return errors.New("there is no bin/buildit: run make demo, which builds it first")
	}
	for _, step := range []struct {
		title string
		do    func(context.Context) error
	}{
		{"The platform, on this machine", d.startPlatform},
		{"A git server with the repository shop", d.startGit},
		{"Connect the repository", d.connect},
		{"Push a commit", d.push},
		{"Follow its run", d.follow},
		{"What it left behind", d.results},
	} {
		fmt.Printf("\n\033[1m%s\033[0m\n", step.title)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.title, err)
		}
	}
	d.farewell()
	return nil
}
