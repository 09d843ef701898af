package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/buildit-dev/buildit/internal/supervisor/proctable"
)

// idle keeps supervisors that wait for their start: an exec takes longer than all
// the rest of a short stage. One that nobody wants ends when its descriptor closes,
// also with the server that dies.
type idle struct {
	dir    string
	opt    TaskOptions
	exited func(id string, state *os.ProcessState, memoryKills int64)

	mu     sync.Mutex
	ready  []*child
	coming int
	closed bool
	filled sync.WaitGroup // spawns in the background
}

// child is a supervisor that is our child.
type child struct {
	start   *os.File // closed once the start is written
	process proctable.Process
	done    chan struct{} // closed when its end has been recorded

	mu sync.Mutex
	id string // of the task, "" while idle
}

func newIdle(dir string, opt TaskOptions, exited func(string, *os.ProcessState, int64)) *idle {
	i := &idle{dir: dir, opt: opt, exited: exited}
	i.fill()
	return i
}

// take is a supervisor that waits for its start.
func (i *idle) take() (*child, error) {
	defer i.fill()
	for {
		i.mu.Lock()
		n := len(i.ready)
		if n == 0 {
			i.mu.Unlock()
			return i.spawn()
		}
		c := i.ready[n-1]
		i.ready = i.ready[:n-1]
		i.mu.Unlock()
		if c.process.Lives() {
			return c, nil
		}
		if err := c.start.Close(); err != nil {
			i.opt.Log.Debug("descriptor of a dead supervisor", "err", err)
		}
	}
}

// giveBack ends a supervisor that is not wanted after all.
func (i *idle) giveBack(c *child) error { return c.start.Close() }

// fill starts supervisors in the background until enough wait.
func (i *idle) fill() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for !i.closed && len(i.ready)+i.coming < i.opt.Warm {
		i.coming++
		i.filled.Go(func() {
			c, err := i.spawn()
			i.mu.Lock()
			defer i.mu.Unlock()
			i.coming--
			switch {
			case err != nil:
				i.opt.Log.Warn("no idle supervisor", "err", err)
			case i.closed:
				if err := c.start.Close(); err != nil {
					i.opt.Log.Debug("descriptor of an idle supervisor", "err", err)
				}
			default:
				i.ready = append(i.ready, c)
			}
		})
	}
}

// close ends the idle supervisors, also those that are just coming.
func (i *idle) close() error {
	i.mu.Lock()
	i.closed = true
	i.mu.Unlock()
	i.filled.Wait()
	i.mu.Lock()
	defer i.mu.Unlock()
	var err error
	for _, c := range i.ready {
		err = errors.Join(err, c.start.Close())
	}
	i.ready = nil
	return err
}

// spawn starts a supervisor, in its own session and without a pipe to us but the
// one for its start.
func (i *idle) spawn() (*child, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	c, err := i.spawnWith(read, write)
	if err = errors.Join(err, read.Close()); err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return c, nil
}

func (i *idle) spawnWith(read, write *os.File) (*child, error) {
	log, err := os.OpenFile(filepath.Join(i.dir, "supervisors.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	command := exec.Command(i.opt.Runner, "supervise")
	command.Dir, command.Env = i.dir, i.opt.Env
	command.Stdout, command.Stderr = log, log
	command.ExtraFiles = []*os.File{read} // descriptor 3
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	kills := proctable.MemoryKills()
	err = command.Start()
	if err = errors.Join(err, log.Close()); err != nil {
		return nil, fmt.Errorf("the supervisor %s cannot be started: %w", i.opt.Runner, err)
	}
	process, _ := proctable.Read(command.Process.Pid)
	c := &child{start: write, process: process, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		if err := command.Wait(); err != nil {
			i.opt.Log.Debug("supervisor ended", "pid", process.PID, "err", err)
		}
		i.exited(c.task(), command.ProcessState, proctable.MemoryKills()-kills)
	}()
	return c, nil
}

// serve names the task that the supervisor works for.
func (c *child) serve(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id = id
}

func (c *child) task() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}
