package supervisor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/buildit-dev/buildit/internal/supervisor/proctable"
)

// groups are the process groups of the commands: one runs, those before it may
// have left children behind.
type groups struct {
	a     *attempt
	alone bool
	ooms  int64  // kills for want of memory before the first command
	shell string // path of the shell, once it is looked up

	mu      sync.Mutex
	running int   // pid of the command, which leads its group; 0 for none
	left    []int // groups with left-over children
	stopped func() bool
	killAt  time.Time           // the end of the grace, zero for none
	escaped []proctable.Process // descendants outside the groups, when termination began
	tree    string              // the processes then
}

func newGroups(a *attempt) *groups {
	g := &groups{a: a, alone: a.opt.Alone}
	if g.alone {
		g.ooms = proctable.MemoryKills()
	}
	return g
}

// start begins a command as the leader of a new group, with stdout and stderr one
// pipe.
func (g *groups) start(argv []string, dir string, env []string, stdin, out *os.File) error {
	if g.shell == "" {
		path, err := lookUp(argv[0], env)
		if err != nil {
			return err
		}
		g.shell = path
	}
	raw, err := out.SyscallConn()
	if err != nil {
		return err
	}
	var pid int
	controlErr := raw.Control(func(fd uintptr) {
		pid, err = syscall.ForkExec(g.shell, argv, &syscall.ProcAttr{
			Dir: dir, Env: env,
			Files: []uintptr{stdin.Fd(), fd, fd},
			Sys:   &syscall.SysProcAttr{Setpgid: true},
		})
	})
	if err = errors.Join(controlErr, err); err != nil {
		return &os.PathError{Op: "start " + g.shell + " in", Path: dir, Err: err}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = pid
	return nil
}

// lookUp finds a program in the PATH of env.
func lookUp(program string, env []string) (string, error) {
	if strings.Contains(program, "/") {
		return program, nil
	}
	path := "/usr/local/bin:/usr/bin:/bin"
	for _, pair := range env {
		if value, ok := strings.CutPrefix(pair, "PATH="); ok {
			path = value
		}
	}
	for dir := range strings.SplitSeq(path, ":") {
		candidate := dir + "/" + program
		if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", &exec.Error{Name: program, Err: exec.ErrNotFound}
}

// wait returns when the running command has ended; its group may live on. In a
// process of its own, what the commands orphaned is reaped on the way.
func (g *groups) wait() (commandEnd, error) {
	leader := g.leader()
	which := leader
	if g.alone {
		which = -1
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(which, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return commandEnd{}, fmt.Errorf("wait for the command: %w", err)
		case pid != leader:
			continue
		}
		g.mu.Lock()
		g.running = 0
		if alive(leader) {
			g.left = append(g.left, leader)
		}
		if g.stopped != nil {
			g.stopped()
			g.stopped = nil
		}
		g.mu.Unlock()
		return endOf(status), nil
	}
}

func (g *groups) leader() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.running
}

func endOf(status syscall.WaitStatus) commandEnd {
	if status.Signaled() {
		return commandEnd{128 + int(status.Signal()), signalName(status.Signal()), status.Signal() == syscall.SIGKILL}
	}
	// A shell tells the death of its last child as 128 + signal.
	return commandEnd{code: status.ExitStatus(), killed: status.ExitStatus() == 137}
}

// alive tells whether a group has a member. The dead do not count, who stay in the
// table until their parent asks for them, and an init may be slow to ask.
func alive(group int) bool {
	if syscall.Kill(-group, 0) != nil {
		return false
	}
	return slices.ContainsFunc(proctable.All(), func(p proctable.Process) bool { return p.Group == group && p.Status != 'Z' })
}

// terminate asks every group to end, and kills after grace what has not.
func (g *groups) terminate(grace time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running == 0 {
		return
	}
	members := g.members()
	g.tree = processTree(members)
	for _, p := range members {
		if !slices.Contains(g.left, p.Group) && p.Group != g.running {
			g.escaped = append(g.escaped, p)
		}
	}
	g.killAt = g.a.clock.Now().Add(grace)
	if grace <= 0 {
		g.signal(syscall.SIGKILL)
		return
	}
	g.signal(syscall.SIGTERM)
	g.stopped = g.a.clock.AfterFunc(grace, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.signal(syscall.SIGKILL)
	})
}

// signal sends to all groups; the lock is held. A group that has ended meanwhile
// is no matter.
func (g *groups) signal(signal syscall.Signal) {
	all := g.left
	if g.running != 0 {
		all = append(slices.Clone(all), g.running)
	}
	for _, group := range all {
		g.kill(-group, signal)
	}
	for _, p := range g.escaped {
		g.kill(p.PID, signal)
	}
}

// kill sends a signal to a process, or to a group by its negative number.
func (g *groups) kill(pid int, signal syscall.Signal) {
	if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
		g.a.log.Warn("signal not sent", "pid", pid, "signal", signal.String(), "err", err)
	}
}

// members are the processes of the commands; the lock is held.
func (g *groups) members() []proctable.Process {
	all := proctable.All()
	root := g.running
	if g.alone {
		root = os.Getpid()
	}
	return slices.DeleteFunc(slices.Clone(all), func(p proctable.Process) bool {
		return p.Group != g.running && !slices.Contains(g.left, p.Group) && !proctable.Descends(all, p, root)
	})
}

// report is the tree of processes at the time of the termination.
func (g *groups) report() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tree == "" {
		return "No process of the stage was running."
	}
	return "These processes were running and have been stopped:\n" + g.tree
}

// warnLeftOver tells of processes that a command has left behind.
func (g *groups) warnLeftOver(command Command) {
	g.mu.Lock()
	g.left = slices.DeleteFunc(g.left, func(group int) bool { return !alive(group) })
	var tree string
	if len(g.left) > 0 {
		tree = processTree(g.members())
	}
	g.mu.Unlock()
	if tree != "" {
		g.a.notice("left-over-processes", "The command left processes behind; they are ended with the stage (a service that is to live on is a `service`):\n%s", strings.TrimRight(tree, "\n"))
	}
}

// endWithin is how long killed processes may take to vanish.
const endWithin = 5 * time.Second

// end ends whatever the commands have left behind: at once, or after the grace of
// a termination that is under way.
func (g *groups) end() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var deadline time.Time
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		strays := g.alive()
		if len(g.left)+len(g.escaped)+len(strays) == 0 {
			return nil
		}
		now := g.a.clock.Now()
		switch {
		case now.Before(g.killAt): // they have their grace
		case deadline.IsZero():
			deadline = now.Add(endWithin)
			fallthrough
		case now.Before(deadline):
			g.signal(syscall.SIGKILL)
			for _, p := range strays {
				g.kill(p.PID, syscall.SIGKILL)
			}
		default:
			return failed(ReasonCrash, "Processes of the stage could not be ended:\n%s", processTree(g.members()))
		}
		time.Sleep(wait) // the kernel tells nobody when the last of a group is gone
	}
}

// alive forgets the groups and processes that have ended, and answers those that
// left their group and became children of ours. The lock is held.
func (g *groups) alive() []proctable.Process {
	strays := g.strays()
	g.left = slices.DeleteFunc(g.left, func(group int) bool { return !alive(group) })
	g.escaped = slices.DeleteFunc(g.escaped, func(p proctable.Process) bool { return !p.Lives() })
	return strays
}

// strays are the processes that became children of ours. It reaps the dead.
func (g *groups) strays() []proctable.Process {
	if !g.alone {
		return nil
	}
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR) || pid > 0:
		case err != nil:
			return nil // no child is left
		default:
			all := proctable.All()
			return slices.DeleteFunc(slices.Clone(all), func(p proctable.Process) bool {
				return p.PID == os.Getpid() || !proctable.Descends(all, p, os.Getpid())
			})
		}
	}
}

// outOfMemory tells whether the kernel has killed for want of memory since the
// first command.
func (g *groups) outOfMemory() bool { return g.alone && proctable.MemoryKills() > g.ooms }

// close ends the timer of a termination.
func (g *groups) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped != nil {
		g.stopped()
	}
}
