package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// options are what the command line decides.
type options struct {
	listen         string
	data           string
	public         string
	allowLocal     bool
	allowUntrusted bool
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
  --verbose           log more
  --version           print the version

example: buildit-server --listen 127.0.0.1:8080 --data /var/lib/buildit
`

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
