package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/buildit-dev/buildit/internal/logs"
)

// commandEnd is how a command's process ended.
type commandEnd struct {
	code   int    // of exit, 128 + signal for one that died by it
	signal string // name, "" for none
	killed bool   // by SIGKILL
}

// openOutput makes the stream that the commands will write.
func (a *attempt) openOutput(stop context.CancelCauseFunc) {
	over := func() {
		stop(failed(ReasonLogLimit, "The stage wrote more than %d bytes of output, the limit; it was stopped.", a.job.LogLimit))
	}
	a.out = newOutput(a.clock, logs.NewCutter(a.clock, a.job.Live, a.ship.put), a.job.LogLimit, over)
}

// runCommands runs one command after the other until one fails or ctx ends.
func (a *attempt) runCommands(ctx context.Context) error {
	if len(a.job.Commands) == 0 {
		return nil
	}
	if err := a.out.open(); err != nil {
		return err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()

	group := newGroups(a)
	defer group.close()
	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer a.limitTime(work, a.job.Timeout, "stage", a.job.Stage, stop)()
	defer a.limitSilence(stop)()

	for i, command := range a.job.Commands {
		a.live.command.Store(int64(i))
		if err := a.runCommand(work, stop, group, null, i, command); err != nil {
			if work.Err() != nil {
				a.out.say("%s", group.report())
			}
			return errors.Join(err, group.end())
		}
		group.warnLeftOver(command)
	}
	return group.end()
}

// runCommand runs one command and records how it ended.
func (a *attempt) runCommand(ctx context.Context, stop context.CancelCauseFunc, group *groups, stdin *os.File, i int, command Command) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	argv := append(append([]string(nil), a.job.Shell...), command.Script)
	dir, err := a.commandDir(command.Dir)
	if err != nil {
		return a.cannotStart(i, command, err)
	}
	first, _ := a.out.position()
	a.out.stir()
	began := a.clock.Now()
	if err := group.start(argv, dir, a.env.list(), stdin, a.out.write); err != nil {
		return a.cannotStart(i, command, err)
	}
	release := a.limitTime(ctx, command.Timeout, "command", command.Name, stop)
	halt := context.AfterFunc(ctx, func() { group.terminate(a.stopGrace(ctx)) })
	end, err := group.wait()
	halt()
	release()
	if err = errors.Join(err, a.out.settle()); err != nil {
		return err
	}
	_, last := a.out.position()
	a.result.Commands = append(a.result.Commands, CommandResult{
		Name: a.masks.Text(command.Name), ExitCode: end.code, Signal: end.signal,
		Took: a.clock.Now().Sub(began), FirstLine: first, LastLine: last,
	})
	return a.judge(ctx, i, command, end, group)
}

// judge decides what a command's end means for the stage.
func (a *attempt) judge(ctx context.Context, i int, command Command, end commandEnd, group *groups) error {
	if ctx.Err() == nil && end.code == 0 {
		return a.env.readAdditions(a)
	}
	a.result.Command, a.result.ExitCode, a.result.Signal = i, end.code, end.signal
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	name := commandTitle(i, command)
	if full := a.fullDisk(); full != "" {
		return failed(ReasonDiskFull, "The disk of %s is full: %s ended with code %d. Free space, or choose a larger runner.", full, name, end.code)
	}
	if end.killed && group.outOfMemory() {
		return failed(ReasonOOM, "%s was killed: the runner was out of memory. Choose a larger size.", name)
	}
	if end.signal != "" {
		return failed(ReasonSignal, "%s was ended by signal %s.", name, end.signal)
	}
	return failed(ReasonExit, "%s ended with exit code %d.", name, end.code)
}

// fullDisk is the folder of ours whose disk has no space left, or "".
func (a *attempt) fullDisk() string {
	for _, dir := range []string{a.folders.workspace, a.folders.dir} {
		if free := freeSpace(dir); free >= 0 && free < fullBelow {
			return dir
		}
	}
	return ""
}

func (a *attempt) cannotStart(i int, command Command, err error) error {
	a.result.Command, a.result.ExitCode = i, 127
	name := commandTitle(i, command)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return failed(ReasonClassUnfit, "%s needs the shell %q, and this runner has none.", name, a.job.Shell[0])
	case errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return failed(ReasonExit, "%s could not start in its folder: %v.", name, err)
	}
	return failed(ReasonExit, "%s could not be started: %v.", name, err)
}

// commandDir is the folder that a command runs in: its own or the stage's, inside
// the workspace.
func (a *attempt) commandDir(dir string) (string, error) {
	if dir == "" {
		dir = a.job.Dir
	}
	if dir == "" || dir == "." {
		return a.folders.workspace, nil
	}
	if !filepath.IsLocal(dir) {
		return "", fmt.Errorf("the folder %q is outside the workspace", dir)
	}
	path := filepath.Join(a.folders.workspace, dir)
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = &os.PathError{Op: "enter", Path: dir, Err: syscall.ENOTDIR}
	}
	return path, err
}

// commandTitle names a command for people: its name, or its number and first line.
func commandTitle(i int, command Command) string {
	if command.Name != "" {
		return fmt.Sprintf("Command %q", command.Name)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(command.Script), "\n")
	if len(line) > 80 {
		line = strings.ToValidUTF8(line[:80], "") + "…"
	}
	return fmt.Sprintf("Command %d (%s)", i+1, line)
}

// limitTime stops the work after limit, 0 for never. The answer ends the watch.
func (a *attempt) limitTime(ctx context.Context, limit time.Duration, what, name string, stop context.CancelCauseFunc) func() bool {
	if limit <= 0 {
		return func() bool { return true }
	}
	return a.clock.AfterFunc(limit, func() {
		stop(failed(ReasonTimeout, "The %s %s ran longer than its timeout of %v. %s", what, name, limit, a.whatRan()))
	})
}

// whatRan says which command was running and how long it had been silent.
func (a *attempt) whatRan() string {
	i := int(a.live.command.Load())
	return fmt.Sprintf("%s was running; its last output was %v before.",
		commandTitle(i, a.job.Commands[i]), a.out.silence().Round(100*time.Millisecond))
}

// limitSilence stops the work when nothing was written for the job's idle time.
func (a *attempt) limitSilence(stop context.CancelCauseFunc) func() {
	if a.job.Idle <= 0 {
		return func() {}
	}
	watch := &silenceWatch{attempt: a, stop: stop}
	watch.arm(a.job.Idle)
	return watch.end
}
