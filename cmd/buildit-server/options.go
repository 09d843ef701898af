package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/buildit-dev/buildit/internal/pipeline"
)

// options are what the command line decides.
type options struct {
	listen         string
	data           string
	public         string
	allowLocal     bool
	allowUntrusted bool
	stages         int
	runs           int
	verbose        bool
	version        bool
}

const usage = `usage: buildit-server [FLAG…]

Everything of BuildIt on one machine, in one process.

  --listen ADDRESS    where to answer (127.0.0.1:8080)
  --data FOLDER       where to keep everything (.buildit/data)
  --public-url URL    the address that git providers and browsers call, behind a proxy
  --allow-local       repositories may be folders and addresses of this machine; always so
                      where only this machine reaches the server
  --allow-untrusted   run the commits of strangers (pull requests from forks) too, with your
                      rights on this machine; without it they are skipped
  --stages N          how many stages of an organization go on at once, unless it has set a
                      quota of its own (200; 0 is no limit)
  --runs N            the same of runs (0, no limit)
  --verbose           log more
  --version           print the version

example: buildit-server --listen 127.0.0.1:8080 --data /var/lib/buildit
`

// defaultStages is more than one machine has work for, and less than would hang it.
const defaultStages = 200

// errHelp is asked for, and no mistake.
var errHelp = errors.New("help")

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("buildit-server", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8080", "")
	flags.StringVar(&o.data, "data", filepath.Join(".buildit", "data"), "")
	flags.StringVar(&o.public, "public-url", "", "")
	flags.BoolVar(&o.allowLocal, "allow-local", false, "")
	flags.BoolVar(&o.allowUntrusted, "allow-untrusted", false, "")
	flags.IntVar(&o.stages, "stages", defaultStages, "")
	flags.IntVar(&o.runs, "runs", 0, "")
	flags.BoolVar(&o.verbose, "verbose", false, "")
	flags.BoolVar(&o.version, "version", false, "")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return o, errHelp
	case err != nil:
		return o, fmt.Errorf("%w; buildit-server --help lists the flags", err)
	case flags.NArg() > 0:
		return o, fmt.Errorf("%q is no flag; buildit-server --help lists them", flags.Arg(0))
	case o.stages < 0 || o.stages > pipeline.MaxQuota || o.runs < 0 || o.runs > pipeline.MaxQuota:
		return o, fmt.Errorf("--stages and --runs are numbers from 1 to %d, or 0 for no limit", pipeline.MaxQuota)
	}
	o.data, err = filepath.Abs(o.data)
	if err != nil {
		return o, err
	}
	if info, err := os.Stat(o.data); err == nil && !info.IsDir() {
		return o, fmt.Errorf("--data %s is a file, not a folder", o.data)
	}
	return o, nil
}

// origins are those of our own pages, besides the address that is listened on.
func (o options) origins() []string {
	if o.public == "" {
		return nil
	}
	return []string{o.public}
}
