package local

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/buildit-dev/buildit/internal/supervisor/proctable"
)

// idle keeps supervisors that wait for a start: an exec takes longer than all the
// rest of a short stage. Some have served nobody yet; the others wait for another
// task of their pool. One that nobody wants ends when its descriptor closes, also
// with the server that dies.
type idle struct {
	dir    string
	opt    TaskOptions
	over   func(id string) // a task has recorded its end, and its supervisor goes on
	exited func(id string, state *os.ProcessState, memoryKills int64)

	mu     sync.Mutex
	ready  []*child // that have served nobody
	pooled []*child // that have; the one that became free last is the last
	coming int
	closed bool
	filled sync.WaitGroup // spawns in the background
}

// idlePooled is how long a supervisor waits for another task of its pool: it keeps
// the source unpacked, and 10 to 20 MB of memory.
const idlePooled = 30 * time.Second

// child is a supervisor that is our child.
type child struct {
	start   *os.File // closed once no further start will be written
	process proctable.Process
	done    chan struct{} // closed when its end has been recorded

	// Of the task that it serves first; later ones are of the same pool.
	pool string // "" for a single task
	work string // its folder

	mu       sync.Mutex
	id       string // of the task, "" while idle
	served   int
	stopping bool // it was told to end, and takes no further task
}

func newIdle(dir string, opt TaskOptions, over func(string), exited func(string, *os.ProcessState, int64)) *idle {
	i := &idle{dir: dir, opt: opt, over: over, exited: exited}
	i.fill()
	return i
}

// take is a supervisor that waits for a start: one that has served the pool, or else
// a new one.
func (i *idle) take(pool string) (*child, error) {
	defer i.fill()
	for {
		c := i.next(pool)
		if c == nil {
			return i.spawn()
		}
		if c.process.Lives() {
			return c, nil
		}
		i.dismiss(c)
	}
}

// next takes a supervisor from those that wait, nil if there is none.
func (i *idle) next(pool string) *child {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n, c := range slices.Backward(i.pooled) {
		if pool != "" && c.pool == pool {
			i.pooled = slices.Delete(i.pooled, n, n+1)
			return c
		}
	}
	n := len(i.ready)
	if n == 0 {
		return nil
	}
	c := i.ready[n-1]
	i.ready = i.ready[:n-1]
	return c
}

// giveBack ends a supervisor that is not wanted after all.
func (i *idle) giveBack(c *child) error { return c.start.Close() }

// dismiss ends a supervisor that is idle, or closes what was to one that is dead.
func (i *idle) dismiss(c *child) {
	if err := c.start.Close(); err != nil {
		i.opt.Log.Debug("descriptor of an idle supervisor", "pid", c.process.PID, "err", err)
	}
}

// listen hears a supervisor say that it has ended a task and could take another.
func (i *idle) listen(c *child, ended *os.File) {
	var word [1]byte
	for {
		if _, err := ended.Read(word[:]); err != nil {
			break // it has ended itself
		}
		id, free, served := c.finish()
		i.over(id)
		if free && i.pool(c) {
			i.opt.Clock.AfterFunc(idlePooled, func() { i.expire(c, served) })
		} else {
			i.dismiss(c)
		}
	}
	if err := ended.Close(); err != nil {
		i.opt.Log.Debug("descriptor of a supervisor", "pid", c.process.PID, "err", err)
	}
}

// pool has a supervisor wait for another task, in place of the one that has waited
// longest if there are enough.
func (i *idle) pool(c *child) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.closed {
		return false
	}
	i.pooled = append(i.pooled, c)
	if len(i.pooled) > max(i.opt.Warm, 1) {
		i.dismiss(i.pooled[0])
		i.pooled = slices.Delete(i.pooled, 0, 1)
	}
	return true
}

// expire ends a supervisor that nobody has wanted since it had served that many.
func (i *idle) expire(c *child, served int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := slices.Index(i.pooled, c)
	if n < 0 || c.tasks() != served {
		return
	}
	i.pooled = slices.Delete(i.pooled, n, n+1)
	i.dismiss(c)
}

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
				i.dismiss(c)
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
	for _, c := range slices.Concat(i.ready, i.pooled) {
		err = errors.Join(err, c.start.Close())
	}
	i.ready, i.pooled = nil, nil
	return err
}

// spawn starts a supervisor, in its own session and without a pipe to us but the two
// for its starts and for the word that it has ended a task. It outlives our end of
// either.
func (i *idle) spawn() (*child, error) {
	read, start, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	ended, write, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, read.Close(), start.Close())
	}
	c, err := i.spawnWith(read, write)
	if err = errors.Join(err, read.Close(), write.Close()); err != nil {
		return nil, errors.Join(err, start.Close(), ended.Close())
	}
	c.start = start
	go i.listen(c, ended)
	return c, nil
}

func (i *idle) spawnWith(start, ended *os.File) (*child, error) {
	log, err := os.OpenFile(filepath.Join(i.dir, "supervisors.log"), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	command := exec.Command(i.opt.Runner, "supervise")
	command.Dir, command.Env = i.dir, i.opt.Env
	command.Stdout, command.Stderr = log, log
	command.ExtraFiles = []*os.File{start, ended} // descriptors 3 and 4
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	kills := proctable.MemoryKills()
	err = command.Start()
	if err = errors.Join(err, log.Close()); err != nil {
		return nil, fmt.Errorf("the supervisor %s cannot be started: %w", i.opt.Runner, err)
	}
	process, _ := proctable.Read(command.Process.Pid)
	c := &child{process: process, done: make(chan struct{})}
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
	c.served++
}

// finish says that the task is over, and whether the supervisor may take another.
func (c *child) finish() (id string, free bool, served int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	id, c.id = c.id, ""
	return id, !c.stopping, c.served
}

// stop has do end the supervisor, if it still works for the task. It then takes no
// other, so that what do sends later reaches no other either.
func (c *child) stop(id string, do func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.id != id {
		return nil
	}
	c.stopping = true
	return do()
}

func (c *child) tasks() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.served
}

func (c *child) task() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}
